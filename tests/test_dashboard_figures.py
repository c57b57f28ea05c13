"""The dashboard's data on runs: key figures, curves, report tables and mistakes."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from toy_runs import toy_head_report, write_toy_run

from dashboard.charts import CURVES, RUN_COLOURS, curve_chart, curve_table, legend_html, mark_table
from dashboard.mistakes import filter_mistakes, read_mistakes
from dashboard.report_charts import class_table, confusion_table
from dashboard.shown_runs import ShownRun, best_row, epoch_count, figures, seconds_left, setting_differences
from training.run_files import MISTAKES_FILE, RunState
from training.runs import Run, read_run

ACCURACY = CURVES[0]


def history(*rows, state=RunState.FINISHED, **parts):
    return Run(Path("a"), state, epochs=tuple(rows), **({"config": {"epochs": 10}} | parts))


def shown(*rows, name="a", **parts):
    return ShownRun(name, history(*rows, **parts))


def row(epoch, value, **more):
    return {"epoch": epoch, "val_accuracy": value, "val_loss": 1 - value, "seconds": 10.0} | more


def detector(*recalls):
    rows = []
    for epoch, recall, *false_boxes in recalls:
        judged = {} if recall is None else {"val_boxed_recall": recall, "val_web_recall": recall}
        judged |= {"val_false_boxes": false_boxes[0]} if false_boxes else {}
        rows.append({"epoch": epoch, "val_loss": 1.0} | judged)
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
        pytest.param(detector((1, 0.7), (2, 0.8, 30.0)), 1, id="detector, false boxes cost"),
    ],
)
def test_best_epoch(run, epoch):
    assert (best_row(run) or {}).get("epoch") == epoch
    assert figures(run).best_epoch == epoch


@pytest.mark.parametrize("folder", ["run", "history/01"])
def test_the_detectors_history_names_the_epoch_that_its_training_chose(repository, folder):
    """Older trainings did not write it down; false boxes were left out of the choice before."""
    run = read_run(repository / "weights" / "kv_face.web" / folder)
    judged = [row for row in run.epochs if "val_false_boxes" in row]
    if not judged or (run.report or {}).get("best_epoch"):
        pytest.skip("needs a history without best_epoch")
    best = max(
        judged,
        key=lambda row: (
            row["val_boxed_recall"]
            + row["val_web_recall"]
            - 0.01 * (row["val_loss"] + row["val_false_boxes"])
        ),
    )
    assert best_row(run)["epoch"] == best["epoch"]


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


def test_the_toy_run_is_what_training_writes(tmp_path):
    """The rows here have the keys of the real trainer's first epoch."""
    run = read_run(write_toy_run(tmp_path / "a", 2))
    root = Path(__file__).parent.parent / "training"
    source = (root / "train.py").read_text() + (root / "frame.py").read_text()
    assert json.loads((tmp_path / "a" / "report.json").read_text())["best_epoch"] in (1, 2)
    for key in ("learning_rate", "train_loss", "train_accuracy", "seconds"):
        assert f'"{key}"' in source
        assert key in run.epochs[0]


def test_trainings_choose_by_the_functions_that_readers_fall_back_on():
    for path, function in (("train.py", "classifier_figure"), ("detector/train.py", "detector_figure")):
        source = (Path(__file__).parent.parent / "training" / path).read_text()
        assert f"return {function}(row" in source
        assert "select_by ==" not in source
    assert '"architecture": DETECTOR' in source


@pytest.mark.parametrize("curve", CURVES, ids=lambda curve: curve.title)
def test_axes_write_numbers_out(curve):
    rows = [{"epoch": n} | {column: 20.0 * n for _, column in curve.columns} for n in (1, 2)]
    chart = curve_chart([shown(*rows)], curve)
    assert chart["layer"][0]["encoding"]["y"]["axis"]["format"] in ("%", ".3~g")  # "~g" writes 80 as 8e+1
