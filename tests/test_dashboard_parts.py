import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from toy_faces import write_folder
from toy_runs import toy_head_report, write_toy_run

from dashboard import programs
from dashboard.charts import RUN_COLOURS, curve_chart, legend_html
from dashboard.checks import check_training, make_config, train_count
from dashboard.curves import CURVES, curve_table, mark_table
from dashboard.data_check import FEW_PICTURES, check_data, class_problems, spread
from dashboard.devices import Card, free_memory_bytes, list_cards, parse_cards
from dashboard.mistakes import filter_mistakes, read_mistakes
from dashboard.picture_sets import PictureSetError, crop_set, delete_set, list_sets, set_folder
from dashboard.places import parse_places
from dashboard.presets import ARCHITECTURE_NOTES, PRESETS
from dashboard.report_charts import class_table, confusion_table
from dashboard.setting_form import ELSEWHERE, preset_value, setting_help
from dashboard.share_table import in_percent
from dashboard.shown_runs import (
    DETECTOR,
    ShownRun,
    best_row,
    epoch_count,
    figures,
    seconds_left,
    setting_differences,
)
from dashboard.wording import duration_text, percent_text, size_text
from fer.detection import load_detector
from training.config import TrainConfig
from training.datasets import read_table
from training.runs import MISTAKES_FILE, Run, RunState, read_run

ACCURACY = CURVES[0]


def history(*rows, state=RunState.FINISHED, **parts):
    return Run(Path("a"), state, epochs=tuple(rows), **({"config": {"epochs": 10}} | parts))


def shown(*rows, name="a", **parts):
    return ShownRun(name, history(*rows, **parts))


def row(epoch, value, **more):
    return {"epoch": epoch, "val_accuracy": value, "val_loss": 1 - value, "seconds": 10.0} | more


def detector(*recalls):
    rows = [{"epoch": epoch, "val_loss": 1.0} for epoch, _ in recalls]
    rows = [
        row if recall is None else row | {"val_boxed_recall": recall, "val_web_recall": recall}
        for row, (_, recall) in zip(rows, recalls, strict=True)
    ]
    return history(*rows, config={"architecture": "kv_face"})


@pytest.mark.parametrize(
    ("run", "epoch"),
    [
        pytest.param(history(), None, id="no epochs"),
        pytest.param(history(row(1, 0.5), row(2, 0.7), row(3, 0.6)), 2, id="by accuracy"),
        pytest.param(history(row(1, 0.5), row(2, 0.7), config={"select_by": "loss"}), 2, id="by loss"),
        pytest.param(history(row(1, 0.5), row(2, 0.7), report={"best_epoch": 1}), 1, id="as the report says"),
        pytest.param(history(row(1, 0.5), row(2, 0.7), status={"best_epoch": 1}), 1, id="as the status says"),
        pytest.param(history(row(1, 0.5), report={"best_epoch": 9}), 1, id="an epoch that is gone"),
        pytest.param(history({"epoch": 1, "val_accuracy": None}), None, id="not a number"),
        pytest.param(detector((1, None), (2, 0.7), (3, 0.8), (4, 0.75)), 3, id="detector"),
        pytest.param(detector((1, None)), None, id="detector, not judged yet"),
    ],
)
def test_best_epoch(run, epoch):
    assert (best_row(run) or {}).get("epoch") == epoch
    assert figures(run).best_epoch == epoch


def test_time_left_follows_the_latest_epochs():
    rows = [row(n, 0.5, seconds=100.0 if n < 3 else 10.0) for n in range(1, 8)]
    status = {"step": 5, "step_count": 10, "epoch_count": 10}
    run = history(*rows, state=RunState.RUNNING, status=status)
    assert seconds_left(run) == pytest.approx(25.0)  # two and a half epochs of ten seconds
    assert seconds_left(history(*rows)) is None
    started = datetime(2026, 1, 1, tzinfo=UTC)
    fresh = history(state=RunState.RUNNING, status=status | {"started_at": started.isoformat()})
    assert seconds_left(fresh, started + timedelta(seconds=20)) == pytest.approx(
        380.0
    )  # half an epoch took 20 s
    assert seconds_left(history(state=RunState.RUNNING, status={})) is None


@pytest.mark.parametrize(("planned", "rows", "count"), [(10, 3, 10), (None, 3, 3), ("many", 2, 2), (2, 5, 5)])
def test_planned_epochs_are_never_fewer_than_there_are(planned, rows, count):
    assert epoch_count(history(*(row(n, 0.5) for n in range(rows)), config={"epochs": planned})) == count


def test_smoothing_keeps_a_constant_and_starts_without_bias():
    flat = shown(*(row(n, 0.5) for n in range(1, 6)))
    assert curve_table([flat], ACCURACY, 0.9)["value"].tolist() == pytest.approx(
        [0.5] * 5
    )  # rounding of sums
    jump = shown(row(1, 0.0), row(2, 1.0))
    assert curve_table([jump], ACCURACY, 0.5)["value"].tolist() == pytest.approx([0.0, 2 / 3])
    assert curve_table([jump], ACCURACY)["value"].tolist() == [0.0, 1.0]


def test_missing_values_leave_gaps_not_zeros():
    table = curve_table([shown(row(1, 0.5), {"epoch": 2, "val_accuracy": None}, {"epoch": 3})], ACCURACY)
    assert table["epoch"].tolist() == [1]
    assert curve_table([shown()], ACCURACY).empty
    assert curve_chart([shown()], ACCURACY) is None


def test_best_epoch_and_early_stop_are_marked():
    run = shown(row(1, 0.5), row(2, 0.7), row(3, 0.6), report={"best_epoch": 2, "stopped_early": True})
    marks = mark_table([run], curve_table([run], ACCURACY), ACCURACY)
    assert marks[["mark", "epoch", "value"]].values.tolist() == [
        ["best epoch", 2, 0.7],
        ["stopped early", 3, 0.6],
    ]


@pytest.mark.parametrize("count", [1, 2, 6])
def test_charts_have_the_colours_of_the_legend(count):
    runs = [shown(row(1, 0.5), row(2, 0.6), name=f"run.{n}[<b>]") for n in range(count)]
    for curve in CURVES[:1]:
        for is_log in (False, True):
            chart = curve_chart(runs, curve, is_log=is_log)
            scale = chart["layer"][0]["encoding"]["color"]["scale"]
            assert scale["range"] == list(RUN_COLOURS[:count])
            assert scale["domain"] == [run.name for run in runs]
    html = legend_html(runs)
    assert "<b>" not in html, "names are text"
    assert all(colour in html for colour in RUN_COLOURS[:count]) or count == 1


def test_settings_that_differ():
    first = shown(config={"epochs": 3, "seed": 1, "data": ["x"], "name": "a"})
    second = shown(name="b", config={"epochs": 3, "seed": 2, "data": ["x"], "name": "b", "mixup": 0.1})
    rows = {line["setting"]: (line["a"], line["b"]) for line in setting_differences([first, second])}
    assert rows == {"seed": ("1", "2"), "mixup": ("–", "0.1")}
    assert len(setting_differences([first, second], everything=True)) == 4


def test_report_tables_agree_with_the_report():
    report = toy_head_report(["happy", "sad", "other"])
    confusion = confusion_table(report)
    assert confusion.groupby("true")["share"].sum().tolist() == pytest.approx([1, 1, 1])  # rounding
    assert confusion["count"].sum() == report["count"]
    assert class_table(report)["pictures"].sum() == report["count"]
    empty = report | {"confusion": [[0, 0, 0]] * 3}
    assert confusion_table(empty)["share"].tolist() == [0.0] * 9


def test_mistakes_are_sorted_filtered_and_shown_in_rgb(tmp_path):
    assert read_mistakes(tmp_path) == []
    write_toy_run(tmp_path / "a", 2)
    mistakes = read_mistakes(tmp_path / "a")
    confidences = [mistake.confidence for mistake in mistakes]
    assert confidences == sorted(confidences, reverse=True)
    assert mistakes[0].image().shape == (48, 48, 3)
    only = filter_mistakes(mistakes, mistakes[0].target, mistakes[0].predicted)
    assert only
    assert {(m.target, m.predicted) for m in only} == {(mistakes[0].target, mistakes[0].predicted)}
    (tmp_path / "a" / MISTAKES_FILE).write_bytes(b"PK broken")
    with pytest.raises(ValueError, match="cannot be read"):
        read_mistakes(tmp_path / "a")


def test_colour_mistakes_keep_their_colour(tmp_path):
    crops = np.zeros((1, 3, 8, 8), np.uint8)
    crops[:, 0] = 200
    np.savez(
        tmp_path / MISTAKES_FILE, crops=crops, target=["sad"], predicted=["happy"], confidence=[0.5], name=["x"]
    )  # fmt: skip
    (mistake,) = read_mistakes(tmp_path)
    assert mistake.image()[0, 0].tolist() == [200, 0, 0], "red stays red"


@pytest.mark.parametrize(
    ("values", "settings"),
    [
        ({"epochs": 0}, {"epochs"}),
        ({"learning_rate": 10.0}, {"learning_rate"}),
        ({"epochs": 0, "learning_rate": 10.0, "batch_size": 1}, {"epochs", "learning_rate", "batch_size"}),
        ({"epochs": 3, "warmup_epochs": 9}, {"warmup_epochs"}),
        ({"heads": ()}, {"heads"}),
        ({"val_share": 0.0}, {"val_share"}),
    ],
)
def test_every_wrong_setting_is_named(values, settings):
    problems = make_config({"data": (Path("x"),), "warmup_epochs": 1} | values)
    assert {problem.setting for problem in problems} == settings
    assert all(problem.is_fatal and problem.text.startswith("Expected") for problem in problems)


@pytest.fixture
def faces(tmp_path):
    return read_table(write_folder(tmp_path / "faces", 8))


def config(tmp_path, **changes):
    return TrainConfig(**({"data": (tmp_path,), "batch_size": 16, "runs": tmp_path / "runs"} | changes))


CARD = Card(0, "Card", 8 << 30, 8 << 30)


@pytest.mark.parametrize(
    ("changes", "cards", "chosen", "setting", "words"),
    [
        pytest.param({}, [], [], None, "", id="fine"),
        pytest.param({"batch_size": 64}, [], [], "batch_size", "larger than the 48", id="batch"),
        pytest.param({"device": "cuda"}, [], [], "device", "No CUDA card", id="no card"),
        pytest.param({"device": "cuda"}, [CARD], [], None, "", id="card"),
        pytest.param({"device": "cpu"}, [CARD], [0], "device", "device is cpu", id="card unused"),
        pytest.param(
            {"initial_weights": "gone"}, [], [], "initial_weights", "No weights named 'gone'", id="weights"
        ),
        pytest.param({"name": "a b"}, [], [], "name", "A name has letters", id="name"),
    ],
)
def test_what_stands_in_the_way_of_a_training(tmp_path, faces, changes, cards, chosen, setting, words):
    problems = [p for p in check_training(config(tmp_path, **changes), faces, cards, chosen) if p.is_fatal]
    assert {problem.setting for problem in problems} == ({setting} if setting else set())
    assert words in " ".join(problem.text for problem in problems)


def test_a_full_disk_and_little_memory_are_told_before(tmp_path, faces, monkeypatch):
    monkeypatch.setattr("dashboard.checks._free_disk", lambda folder: 1_000_000)
    monkeypatch.setattr("dashboard.checks.free_memory_bytes", lambda: 1_000_000)
    problems = {p.setting: p for p in check_training(config(tmp_path), faces, [])}
    assert problems["runs"].is_fatal
    assert "1.0 MB are free" in problems["runs"].text
    assert "of memory are free" in problems["data"].text


def test_training_pictures_are_counted_as_they_will_be_split(faces):
    assert train_count(TrainConfig(data=(Path("x"),)), faces) == 48
    unsplit = faces.with_split(["" for _ in faces.splits])
    assert train_count(TrainConfig(data=(Path("x"),), val_share=0.25), unsplit) == 72


def test_advice_about_a_data_set(faces):
    detector = load_detector("haar")
    check = check_data(faces, detector)
    assert (check.checked_count, check.unreadable, check.copies_across) == (96, (), 0)
    assert any(f"{FEW_PICTURES} each are a beginning" in text for text in check.advice())
    alone = faces.take(row for row, label in enumerate(faces.labels) if label == "happy")
    assert "Only happy" in class_problems(alone)[0]
    doubled = faces.take([*range(len(faces)), 0])
    assert check_data(doubled, detector).copies_within == 1


def test_whole_photos_are_told_from_crops(tmp_path, astronaut):
    detector = load_detector("haar")
    for word in ("happy", "sad"):
        (tmp_path / "photos" / word).mkdir(parents=True)
        for number in range(3):
            shifted = np.roll(astronaut, number * 4, axis=1)
            Image.fromarray(shifted).save(tmp_path / "photos" / word / f"{number}.jpg")
    photos = read_table(tmp_path / "photos")
    assert check_data(photos, detector).looks_uncropped
    told = []
    report = crop_set(photos, tmp_path / "crops", detector, told.append)
    assert (report.kept_count, report.without_face, told[-1]) == (6, (), 1.0)
    crops = read_table(tmp_path / "crops")
    assert sorted(crops.labels) == sorted(photos.labels)
    assert not check_data(crops, detector).looks_uncropped
    with pytest.raises(PictureSetError, match="already"):
        crop_set(photos, tmp_path / "crops", detector)


def test_pictures_without_faces_make_no_data_set(tmp_path, faces):
    with pytest.raises(PictureSetError, match="no face was found"):
        crop_set(faces.take(range(3)), tmp_path / "crops", load_detector("haar"))
    assert not list(tmp_path.glob("*crops*"))


def test_data_sets_are_listed_and_deleted_by_plain_names(tmp_path):
    assert list_sets(tmp_path / "missing") == []
    (tmp_path / "b").mkdir()
    (tmp_path / "a").mkdir()
    (tmp_path / ".draft").mkdir()
    assert list_sets(tmp_path) == ["a", "b"]
    delete_set(tmp_path, "a")
    assert list_sets(tmp_path) == ["b"]
    for name in ("gone", "../b", ""):
        with pytest.raises(PictureSetError):
            delete_set(tmp_path, name)
    with pytest.raises(PictureSetError, match="expected a name"):
        set_folder(tmp_path, "..")


@pytest.mark.parametrize(("count", "wanted", "rows"), [(0, 3, [0]), (2, 5, [0, 1]), (10, 3, [0, 4, 9])])
def test_spread(count, wanted, rows):
    assert spread(count, wanted) == rows if count else True


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", []),
        ("0, NVIDIA H100, 81000, 81559\n1, NVIDIA L4, 100, 23034\n", ["NVIDIA H100", "NVIDIA L4"]),
        ("NVIDIA-SMI has failed because it couldn't communicate with the driver", []),
        ("0, X, [N/A], [N/A]", []),
    ],
)
def test_cards_are_read_from_the_driver(text, names):
    cards = parse_cards(text)
    assert [card.name for card in cards] == names
    assert all(card.total_bytes > card.free_bytes for card in cards)


def test_no_driver_is_no_card(tmp_path):
    assert list_cards(str(tmp_path / "nvidia-smi")) == []
    assert free_memory_bytes(tmp_path / "meminfo") is None
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    2048 kB\n")
    assert free_memory_bytes(tmp_path / "meminfo") == 2048 * 1024


def test_the_list_of_networks_is_the_real_one():
    from fer.networks import ARCHITECTURES, ExpressionNetwork  # noqa: PLC0415 - imports torch
    from training.targets import HEAD_LABELS  # noqa: PLC0415

    assert list(ARCHITECTURE_NOTES) == list(ARCHITECTURES)
    outputs = {head: len(labels) for head, labels in HEAD_LABELS.items()}
    for name, note in ARCHITECTURE_NOTES.items():
        count = sum(parameter.numel() for parameter in ExpressionNetwork(name, outputs).parameters())
        assert note.parameter_count == pytest.approx(count, rel=0.05), name  # for sizes on a disk


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_right_and_contain_only_differences(name):
    defaults = TrainConfig(data=(Path("x"),))
    TrainConfig(data=(Path("x"),), **PRESETS[name].changes)
    assert all(getattr(defaults, setting) != value for setting, value in PRESETS[name].changes.items())
    assert preset_value(PRESETS[name], "seed") == defaults.seed


def test_every_setting_has_a_help_text():
    assert set(setting_help()) == set(TrainConfig.__dataclass_fields__)
    assert set(TrainConfig.__dataclass_fields__) >= ELSEWHERE
    assert setting_help()["schedule"].startswith("`cosine` falls to 0")


def test_places_from_the_command_line(tmp_path):
    places = parse_places(["--runs", str(tmp_path / "r"), "--data", str(tmp_path / "d"), "--other", "x"])
    assert (places.runs, places.data) == (tmp_path / "r", tmp_path / "d")
    assert parse_places([]).runs == Path("runs").absolute()


@pytest.mark.parametrize(
    ("script", "words"),
    [
        pytest.param("raise SystemExit('no such card')", "no such card", id="says why"),
        pytest.param("raise SystemExit(3)", "status 3", id="silent"),
        pytest.param("print('hello')", "no answer that can be read", id="no JSON"),
        pytest.param("print([1])", "no answer that can be read", id="no object"),
        pytest.param("import no_torch_here", "No module named", id="import"),
        pytest.param("import time; time.sleep(30)", "longer than 2 s", id="hangs"),
    ],
)
def test_a_program_that_fails_is_a_sentence(tmp_path, monkeypatch, script, words):
    (tmp_path / "odd.py").write_text(script)
    monkeypatch.setattr(programs, "_ROOT", tmp_path)
    with pytest.raises(programs.ProgramError, match=words):
        programs._read_object(programs._run("odd", [], 2))


def test_a_program_may_print_before_its_answer(tmp_path, monkeypatch):
    (tmp_path / "chatty.py").write_text("print('warming up'); print('{\"a\": 1}')")
    monkeypatch.setattr(programs, "_ROOT", tmp_path)
    assert programs._read_object(programs._run("chatty", [], 20)) == {"a": 1}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0.24, "0.2 s"),
        (45, "45 s"),
        (99, "99 s"),
        (120, "2 min"),
        (5999, "1 h 40 min"),
        (12345, "3 h 26 min"),
    ],
)
def test_durations(seconds, text):
    assert duration_text(seconds) == text


def test_other_numbers():
    assert [percent_text(share) for share in (None, 0, 0.7055, 1)] == ["–", "0.0 %", "70.5 %", "100.0 %"]
    assert [size_text(count) for count in (12, 3_200, 3_720_000, 5e12)] == [
        "12 bytes",
        "3.2 kB",
        "3.7 MB",
        "5000.0 GB",
    ]


def test_the_toy_run_is_what_training_writes(tmp_path):
    """The rows here have the keys of the real trainer's first epoch."""
    run = read_run(write_toy_run(tmp_path / "a", 2))
    source = (Path(__file__).parent.parent / "training" / "train.py").read_text()
    assert json.loads((tmp_path / "a" / "report.json").read_text())["best_epoch"] in (1, 2)
    for key in ("learning_rate", "train_loss", "train_accuracy", "seconds"):
        assert f'"{key}"' in source
        assert key in run.epochs[0]


def test_a_detectors_epoch_is_chosen_as_its_training_chooses():
    source = (Path(__file__).parent.parent / "training" / "detector" / "train.py").read_text()
    assert 'row["val_boxed_recall"] + row["val_web_recall"] - row["val_loss"] * 0.01' in source
    assert (
        f'"architecture": "{DETECTOR}"'
        in (Path(__file__).parent.parent / "training" / "detector" / "config.py").read_text()
    )


def test_shares_are_told_as_percent():
    table = in_percent(pd.DataFrame({"name": ["a", "b"], "share": [0.858, None]}), ("share",))
    assert table["share"].iloc[0] == pytest.approx(85.8)  # rounding
    assert pd.isna(table["share"].iloc[1])


@pytest.mark.parametrize("curve", CURVES, ids=lambda curve: curve.title)
def test_axes_write_numbers_out(curve):
    rows = [{"epoch": n} | {column: 20.0 * n for _, column in curve.columns} for n in (1, 2)]
    chart = curve_chart([shown(*rows)], curve)
    assert chart["layer"][0]["encoding"]["y"]["axis"]["format"] in ("%", ".3~g")  # "~g" writes 80 as 8e+1
