"""Training on synthetic faces, evaluation, distillation and fine-tuning, end to end."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_faces import WORDS, write_folder
from toy_runs import EPOCHS

from fer.model_card import (
    Preprocessing,
    load_card,
)
from training import evaluate, export, final_report, train
from training.config import TrainConfig
from training.data.splits import head_truth, load_splits
from training.data.targets import HEAD_LABELS
from training.final_report import classifier_report
from training.run_files import RunState, earlier_runs, read_epochs
from training.runs import read_run
from training.setup import keep_history


def test_a_training_learns_and_leaves_a_whole_record(run: Path) -> None:
    record = read_run(run)
    assert record.state is RunState.FINISHED
    assert [row["epoch"] for row in record.epochs] == list(range(1, EPOCHS + 1))
    assert record.epochs[-1]["train_loss"] < record.epochs[0]["train_loss"]
    assert record.report is not None
    assert record.report["heads"]["crowd"]["accuracy"] > 0.5  # a sixth by chance
    assert record.environment["data"]["train"]["happy"] == 12
    names = {path.name for path in run.iterdir()}
    assert {"config.json", "environment.json", "status.json", "best.safetensors", "last.pt"} <= names
    with np.load(run / "mistakes.npz") as mistakes:
        assert mistakes["crops"].shape[1:] == (1, 48, 48)
        assert (mistakes["target"] != mistakes["predicted"]).all()


def test_a_compiled_network_takes_whole_batches_and_learns_the_same(
    config: TrainConfig, run: Path, tmp_path: Path, monkeypatch
) -> None:
    sizes = set()

    def compiled(network, *, dynamic):
        assert not dynamic
        return lambda crops: sizes.add(len(crops)) or network(crops)

    monkeypatch.setattr(torch, "compile", compiled)
    monkeypatch.setenv("CXX", sys.executable)  # nothing is compiled: any program will do
    train.train(replace(config, compile=True, epochs=EPOCHS), tmp_path / "compiled")
    assert sizes == {config.batch_size}
    losses = [row["train_loss"] for row in read_epochs(run)]
    assert [row["train_loss"] for row in read_epochs(tmp_path / "compiled")] == pytest.approx(
        losses, rel=1e-3
    )


def test_the_limit_of_other_spares_small_faces(
    config: TrainConfig, run: Path, tmp_path: Path, monkeypatch
) -> None:
    shutil.copytree(run, folder := tmp_path / "judged")
    splits = load_splits(config, Preprocessing())
    crops = torch.from_numpy(splits.val.crops)
    truth = {head: head_truth(head, splits.val.table, config) for head in config.heads}

    def limit() -> float:
        report = classifier_report(config, folder, splits, crops, truth)
        return float(report["heads"]["crowd"]["other_above"])

    assert limit() < 0.99
    others = (
        torch.nn.functional.one_hot(torch.tensor([6] * len(crops)), 7) * 50.0
    )  # small faces look like none
    monkeypatch.setattr(
        final_report, "_scores_of_small_faces", lambda *_: dict.fromkeys(config.heads, others)
    )
    assert limit() == pytest.approx(1.0)


def test_compiling_without_a_compiler_is_one_sentence(
    config: TrainConfig, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ValueError, match=r"expected a C\+\+ compiler for --compile, got no-such-compiler"):
        train.train(replace(config, compile=True), tmp_path / "run")


def test_a_resumed_training_gives_the_same_curve(config: TrainConfig, run: Path, tmp_path: Path) -> None:
    whole = read_epochs(run)
    cut = tmp_path / "cut"

    class KilledError(Exception):
        pass

    def kill_in_fourth_epoch(self, loss, epoch: int, step: int, step_count: int) -> None:
        original(self, loss, epoch, step, step_count)
        if epoch == 4 and step == 2:
            raise KilledError

    original = train.ClassifierTrainer.take_step
    train.ClassifierTrainer.take_step = kill_in_fourth_epoch  # type: ignore[method-assign]
    try:
        with pytest.raises(KilledError):
            train.train(config, cut)
    finally:
        train.ClassifierTrainer.take_step = original  # type: ignore[method-assign]
    assert read_run(cut).state is RunState.FAILED
    train.train(config, cut, resume=True)
    again = read_epochs(cut)
    for name in ("epoch", "train_loss", "val_loss", "val_accuracy", "learning_rate"):
        assert [row[name] for row in again] == pytest.approx([row[name] for row in whole], rel=1e-4)


def test_a_training_that_goes_on_with_the_same_seed_draws_anew(
    config: TrainConfig, weights: Path, tmp_path: Path, monkeypatch
) -> None:
    orders: dict[str, torch.Tensor] = {}

    def first_order(name: str, initial_weights: str) -> list[int]:
        monkeypatch.setattr(train, "draw_rows", lambda *args: orders.setdefault(name, drawn(*args)))
        settings = replace(config, epochs=1, initial_weights=initial_weights)
        train.train(settings, tmp_path / name, with_report=False)
        return orders[name].tolist()

    drawn = train.draw_rows
    first = first_order("first", "")
    second = first_order("second", str(weights))
    assert sorted(second) == sorted(first)
    assert second != first
    assert first_order("repeated", str(weights)) == second
    assert first_order("third", str(tmp_path / "second")) not in (first, second)


def test_early_stopping_keeps_the_best_epoch(config: TrainConfig, tmp_path: Path) -> None:
    patient = replace(config, epochs=30, learning_rate=1e-6, early_stopping_patience=2, augment=False)
    train.train(patient, tmp_path / "run")
    record = read_run(tmp_path / "run")
    assert record.report is not None
    assert record.report["stopped_early"]
    assert len(record.epochs) == record.report["best_epoch"] + 2


def test_plateau_lowers_the_learning_rate(config: TrainConfig, tmp_path: Path) -> None:
    resting = replace(
        config, epochs=6, learning_rate=1e-6, schedule="plateau", plateau_patience=1, warmup_epochs=0,
        ema_decay=0.0, optimizer="adamw",
    )  # fmt: skip
    train.train(resting, tmp_path / "run")
    rates = [row["learning_rate"] for row in read_epochs(tmp_path / "run")]
    losses = [row["val_loss"] for row in read_epochs(tmp_path / "run")]
    rested = any(losses[i] >= min(losses[:i]) and losses[i + 1] >= min(losses[:i]) for i in range(1, 4))
    assert (rates[-1] < rates[0]) == rested


def test_mixup_balance_and_one_head_train_too(config: TrainConfig, tmp_path: Path) -> None:
    train.train(replace(config, epochs=2, mixup=0.4, class_balance=0.5, heads=("fer2013",)), tmp_path / "run")
    report = read_run(tmp_path / "run").report
    assert report is not None
    assert set(report["heads"]) == {"fer2013"}


def test_evaluation_prints_what_the_interface_promises(weights: Path, data: Path, capsys) -> None:
    arguments = ["--weights", str(weights), "--data", str(data), "--split", "val", "--json"]
    assert evaluate.main(arguments) == 0
    report = json.loads(capsys.readouterr().out)
    promised = {"count", "accuracy", "balanced_accuracy", "macro_f1", "nll", "ece", "per_class", "confusion",
                "labels", "skipped"}  # fmt: skip
    assert promised <= set(report)
    assert report["count"] == 72
    assert set(report["per_class"]["happy"]) == {"precision", "recall", "f1", "count"}
    assert evaluate.main([*arguments[:-1], "--head", "fer2013"]) == 0
    assert "balanced" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        pytest.param(["--votes"], "expected columns votes_neutral", id="no votes"),
        pytest.param(["--head", "nose"], "no head 'nose'", id="unknown head"),
        pytest.param(["--split", "test"], "split 'test'.*is empty", id="empty split"),
    ],
)
def test_evaluation_tells_what_is_missing(weights: Path, data: Path, capsys, extra, expected: str) -> None:
    assert evaluate.main(["--weights", str(weights), "--data", str(data), *extra]) == 1
    import re  # noqa: PLC0415

    assert re.search(expected, capsys.readouterr().err)


def test_fine_tuning_starts_from_exported_weights(config: TrainConfig, weights: Path, tmp_path: Path) -> None:
    tuned = replace(config, epochs=1, learning_rate=1e-5, warmup_epochs=0, initial_weights=str(weights))
    train.train(tuned, tmp_path / "run")
    first, trained = read_epochs(tmp_path / "run")[0], load_card(weights).metrics["crowd"]["accuracy"]
    assert first["val_accuracy"] == pytest.approx(trained, abs=0.05)
    folder = export.export_run(
        export.ExportOptions(run=tmp_path / "run", tag="on", weights=tmp_path / "weights")
    )
    assert read_run(folder / "history" / "01").epochs == read_run(weights / "run").epochs


def test_a_training_that_led_to_weights_and_teacher_is_recorded_once(
    config: TrainConfig, run: Path, weights: Path, tmp_path: Path
) -> None:
    keep_history(replace(config, initial_weights=str(weights), teachers=(str(run),)), tmp_path)
    assert [earlier.name for earlier in earlier_runs(tmp_path)] == ["01"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param(["--data", "nowhere"], "no data at nowhere", id="missing data"),
        pytest.param(["--data", ".", "--epochs", "0"], "epochs", id="no epochs"),
        pytest.param(["--resume", "nowhere"], "cannot be resumed", id="nothing to resume"),
    ],
)
def test_a_training_that_cannot_start_says_why(arguments, expected: str, tmp_path: Path, capsys) -> None:
    runs = [] if "--resume" in arguments else ["--runs", str(tmp_path)]
    try:
        status = train.main([*arguments, *runs])
    except SystemExit as end:  # how the command line refuses a value
        status = end.code
    assert status not in (0, None)
    shown = capsys.readouterr()
    assert expected in shown.err + shown.out
    assert "Traceback" not in shown.err


@pytest.mark.slow
def test_two_processes_train_together(data: Path, tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone",
        "-m", "training.train", "--data", str(data), "--epochs", "2", "--batch-size", "16", "--device", "cpu",
        "--runs", str(tmp_path), "--name", "pair", "--thread-count", "1", "--warmup-epochs", "1",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    record = read_run(tmp_path / "pair")
    assert record.state is RunState.FINISHED
    assert record.environment["process_count"] == 2
    assert len(record.epochs) == 2


def test_sources_of_several_kinds_come_to_one_shown_answer(config: TrainConfig, tmp_path: Path) -> None:
    """From two data sets that teach different heads to weights that answer with six and with seven."""
    web = write_folder(tmp_path / "web", words=WORDS)
    votes = write_folder(tmp_path / "crowd", words=WORDS)
    settings = replace(
        config,
        data=(web, votes),
        heads=("web", "votes"),
        teaches=("web=web", "crowd=votes"),
        draws=("crowd=0.5",),
        size=64,
        prior_shift=0.0,
    )
    train.train(settings, tmp_path / "run")
    record = read_run(tmp_path / "run")
    assert record.report is not None
    heads = record.report["heads"]
    assert list(heads) == ["six", "seven", "web", "votes"]
    assert record.report["default_head"] == "six"
    assert set(heads["six"]["sets"]) == set(heads["six"]["left_out"]) == {"web", "crowd"}
    assert heads["seven"]["count"] == heads["six"]["count"] * 7 // 6
    assert heads["seven"]["accuracy"] > 0.5  # a seventh by chance
    folder = export.export_run(export.ExportOptions(run=tmp_path / "run", tag="toy", weights=tmp_path))
    card = load_card(folder)
    assert card.preprocessing.size == 64
    assert card.head().labels == HEAD_LABELS["six"]
    assert card.head("seven").labels == HEAD_LABELS["seven"]
    assert set(card.metrics["six"]["sets"]) == {"web", "crowd"}
    shown = evaluate.evaluate(
        evaluate.EvaluateOptions(weights=str(folder), data=web, split="val", head="seven", classes="head")
    )
    assert shown["accuracy"] == pytest.approx(
        heads["seven"]["sets"]["web"]["accuracy"], abs=0.05
    )  # eight bits
    assert "ECE held out" in (folder / "README.md").read_text(encoding="utf-8")
