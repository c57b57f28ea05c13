"""Plans of several trainings, and reports that are repeated on another machine."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from toy_faces import WORDS, write_folder

from fer.classification import EmotionClassifier
from training.config import TrainConfig
from training.pack import PackOptions, pack
from training.recipe import RecipeOptions, follow, main, read_plan
from training.report import ReportOptions, repeat_report
from training.run_files import earlier_runs, portable, read_epochs, read_object, write_json, write_lines
from training.runs import read_run

PLAN = """
[settings]
data = ["web", "crowd"]
heads = ["votes", "web"]
teaches = ["web=votes+web", "crowd=votes"]
batch_size = 12
warmup_epochs = 1
epochs = 2

[[stages]]
name = "teacher_0"
architecture = "kv_fast"
size = 64
mirror_average = false

[[stages]]
name = "teacher_1"
architecture = "kv_fast"
seed = 1

[[stages]]
name = "student"
architecture = "kv_fast"
tag = "toy"
teachers = ["teacher_0", "teacher_1"]
"""


@pytest.fixture
def options(tmp_path: Path) -> RecipeOptions:
    for name in ("web", "crowd"):
        write_folder(tmp_path / "data" / name, count=2 + (name == "web"), words=WORDS)
    (tmp_path / "plan.toml").write_text(PLAN)
    return RecipeOptions(
        folders=(tmp_path / "data",), plan=tmp_path / "plan.toml", weights=tmp_path / "weights",
        runs=tmp_path / "runs", device="cpu", thread_count=1,
    )  # fmt: skip


def test_a_stage_goes_on_from_an_earlier_one(options: RecipeOptions) -> None:
    further = """
[[stages]]
name = "further"
architecture = "kv_fast"
colour = "rgb"
initial_weights = "teacher_1"
teachers = ["student"]
"""
    assert options.plan is not None
    options.plan.write_text(PLAN + further)
    stage = read_plan(options)[-1]
    assert stage.after == ("teacher_1", "student")
    assert stage.config.initial_weights == str(options.runs / "teacher_1")
    options = replace(options, stages=("teacher_1", "further"), epochs=1)
    options.plan.write_text(PLAN + further.replace('["student"]', '["teacher_1"]'))
    assert follow(options) == []
    record = read_run(options.runs / "further")
    assert (record.config["colour"], record.config["size"]) == ("rgb", 48)
    assert [run.name for run in earlier_runs(options.runs / "further")] == ["01"]


@pytest.mark.slow
def test_a_plan_goes_from_data_to_weights_and_does_nothing_twice(
    options: RecipeOptions, tmp_path: Path
) -> None:
    (folder,) = follow(options)
    assert folder.name == "kv_fast.toy"
    assert [head.name for head in EmotionClassifier(folder).card.heads] == ["six", "seven", "votes", "web"]
    student = read_run(options.runs / "student")
    assert student.config["teachers"] == [str(options.runs / name) for name in ("teacher_0", "teacher_1")]
    history = [read_object(run / "config.json") for run in earlier_runs(options.runs / "student")]
    assert [record["name"] for record in history] == ["teacher_0", "teacher_1"]
    assert [Path(path).parent for record in history for path in record["data"]] == [Path()] * 4
    stamps = {path: path.stat().st_mtime_ns for path in options.runs.glob("*/epochs.jsonl")}
    assert len(stamps) == 3
    follow(options)
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps

    # The same report comes out again from the weights and the data alone, as on another machine.
    shutil.copytree(options.runs / "student", moved := tmp_path / "moved")
    (moved / "report.json").unlink()
    (moved / "last.pt").unlink()
    write_json(moved / "environment.json", portable(read_object(moved / "environment.json")))
    repeat_report(ReportOptions(run=moved, folders=options.folders, thread_count=1))
    first, again = (read_object(run / "report.json") for run in (options.runs / "student", moved))
    assert first["heads"]["six"]["nll"] == pytest.approx(again["heads"]["six"]["nll"], rel=1e-4)
    assert first["best_epoch"] == again["best_epoch"]
    assert "trained_on" not in read_object(moved / "environment.json"), "the same data in another folder"


@pytest.mark.slow
def test_stages_train_side_by_side_after_their_teachers(tmp_path: Path, options: RecipeOptions) -> None:
    pack(PackOptions(data=(tmp_path / "data" / "web",), output=tmp_path / "packed"))
    (tmp_path / "plan.toml").write_text(PLAN.replace('"web", "crowd"', '"web.parquet"'))
    arguments = ["--folders", str(tmp_path / "packed"), "--plan", str(options.plan), "--processes", "2"]
    arguments += ["--runs", str(options.runs), "--weights", str(options.weights), "--device", "cpu"]
    assert main([*arguments, "--no-report", "--epochs", "1", "--thread-count", "1"]) == 0
    runs = [read_run(options.runs / name) for name in ("teacher_0", "teacher_1", "student")]
    assert [len(run.epochs) for run in runs] == [1, 1, 1]
    assert max(run.status["updated_at"] for run in runs[:2]) <= runs[2].status["started_at"]
    assert not options.weights.exists()
    assert [run.report for run in runs] == [None] * 3

    # The plan followed again evaluates and exports what is trained.
    assert main([*arguments, "--epochs", "1", "--thread-count", "1"]) == 0
    assert (options.weights / "kv_fast.toy" / "card.json").is_file()
    assert [run.epochs for run in map(read_run, (run.folder for run in runs))] == [run.epochs for run in runs]


def test_a_repeated_report_names_the_epoch_that_the_training_chose(
    config: TrainConfig, run: Path, tmp_path: Path
) -> None:
    shutil.copytree(run, moved := tmp_path / "moved")
    first = read_object(moved / "report.json")
    rows = [
        row | {"val_loss": float(row["epoch"] != 1), "val_accuracy": float(row["epoch"] == 2)}
        for row in read_epochs(moved)
    ]
    write_lines(moved / "epochs.jsonl", rows)
    for name in ("report.json", "status.json"):
        (moved / name).unlink()
    repeat_report(ReportOptions(run=moved, folders=tuple(path.parent for path in config.data)))
    again = read_object(moved / "report.json")
    assert (config.select_by, again["best_epoch"]) == ("accuracy", 2)
    assert again.keys() == first.keys()


def test_packed_images_keep_labels_splits_and_sizes(tmp_path: Path) -> None:
    from training.data.datasets import pixels_of, read_table  # noqa: PLC0415

    source = write_folder(tmp_path / "web", count=3, words=WORDS)
    (path,) = pack(PackOptions(data=(source,), output=tmp_path / "packed", size=32))
    table, packed = read_table(source), read_table(path)
    assert sorted(zip(table.splits, map(str, table.labels), strict=True)) == sorted(
        zip(packed.splits, map(str, packed.labels), strict=True)
    )
    assert packed.sources == ("web",) * len(table)
    assert pixels_of(packed.pictures[0]).shape == (32, 32, 3)
    (large,) = pack(PackOptions(data=(source,), output=tmp_path / "large", size=80))
    assert pixels_of(read_table(large).pictures[0]).shape == (48, 48, 3)


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        pytest.param("stages = 3", "expected a table 'settings' and tables 'stages'", id="no tables"),
        pytest.param("[[stages", "is no TOML file", id="no TOML"),
        pytest.param(PLAN.replace("teacher_1", "teacher_0", 1), "a name of its own", id="twice"),
        pytest.param(PLAN.replace('"web", "crowd"', '"lost"'), "expected lost in", id="no data"),
        pytest.param(PLAN.replace("batch_size = 12", "batch_size = 0"), "batch_size", id="setting"),
        pytest.param(PLAN.replace("batch_size", "batch"), "unknown batch", id="unknown"),
        pytest.param("stages = [3]", "expected every stage to be a table", id="no table"),
        pytest.param(PLAN.replace('["web", "crowd"]', "3"), "data of a plan to be a list", id="no list"),
        pytest.param(PLAN.replace('["teacher_0", "teacher_1"]', '"t"'), "teachers of a plan", id="teachers"),
    ],
)
def test_a_faulty_plan_is_refused_with_a_sentence(
    options: RecipeOptions, capsys, plan: str, expected: str
) -> None:
    (options.folders[0].parent / "plan.toml").write_text(plan)
    arguments = ["--folders", str(options.folders[0]), "--plan", str(options.plan)]
    assert main([*arguments, "--runs", str(options.runs)]) == 1
    assert expected in capsys.readouterr().err


def test_a_stopped_stage_stops_the_plan(options: RecipeOptions, monkeypatch, capsys) -> None:
    def stopped(config, folder: Path, **_options: object) -> None:
        shutil.copytree(options.folders[0], folder)
        write_json(folder / "config.json", config.to_dict())
        write_json(folder / "status.json", {"state": "stopped"})

    monkeypatch.setattr("training.recipe.train", stopped)
    arguments = ["--folders", str(options.folders[0]), "--plan", str(options.plan)]
    assert main([*arguments, "--runs", str(options.runs)]) == 1
    assert "the stage teacher_0 was stopped; follow the plan again" in capsys.readouterr().err
    assert [run.name for run in options.runs.iterdir()] == ["teacher_0"]


def test_a_missing_plan_and_a_file_as_folder_are_named(
    options: RecipeOptions, tmp_path: Path, capsys
) -> None:
    assert main(["--folders", str(options.folders[0]), "--plan", str(tmp_path / "none.toml")]) == 1
    assert "expected a plan at" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"plan\.toml is a file"):
        pack(PackOptions(data=(options.folders[0] / "web",), output=tmp_path / "plan.toml"))


def test_unknown_stages_are_named(options: RecipeOptions, capsys) -> None:
    arguments = ["--folders", str(options.folders[0]), "--plan", str(options.plan), "--stages", "teacher_7"]
    assert main(arguments) == 1
    assert "got teacher_7" in capsys.readouterr().err


def test_the_shipped_plan_can_be_read(tmp_path: Path) -> None:
    names = [
        "fer2013_train",
        "fer2013_publictest",
        "rafdb",
        "affectnet_found",
        "rafml",
        "films",
        "posed",
        "expw_train",
    ]
    for name in (*names, "others_places", "others_without"):
        (tmp_path / f"{name}.parquet").touch()
    stages = read_plan(RecipeOptions(folders=(tmp_path,)))
    assert sorted(stage.name for stage in stages if stage.tag) == ["kv_accurate", "kv_fast"]
    assert all(set(stage.after) < {each.name for each in stages} for stage in stages if stage.tag)
