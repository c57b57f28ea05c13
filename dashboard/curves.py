"""Histories as tables that charts are drawn from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pandas as pd

from dashboard.shown_runs import ShownRun, best_row


@dataclass(frozen=True, slots=True)
class Curve:
    """One figure over the epochs.

    Attributes:
        title: Above the chart.
        columns: Keys of the history by what the line is called; the first one is drawn solid.
        unit: Behind the axis' title; empty for none.
        is_share: Whether the values are shares in [0, 1], shown as percent.
        from_zero: Whether the axis begins at 0.
    """

    title: str
    columns: tuple[tuple[str, str], ...]
    unit: str = ""
    is_share: bool = False
    from_zero: bool = False


CURVES: Final = (
    Curve("Accuracy", (("val", "val_accuracy"), ("train", "train_accuracy")), is_share=True),
    Curve("Loss", (("val", "val_loss"), ("train", "train_loss"))),
    Curve("Macro F1", (("val", "val_macro_f1"),), is_share=True),
    Curve("Boxed faces found", (("val", "val_boxed_recall"),), is_share=True),
    Curve("Web faces found", (("val", "val_web_recall"),), is_share=True),
    Curve("False positives per photo", (("val", "val_false_boxes"),), from_zero=True),
    Curve("Learning rate", (("rate", "learning_rate"),)),
    Curve("Time per epoch", (("time", "seconds"),), unit="s", from_zero=True),
)


def curve_table(runs: Sequence[ShownRun], curve: Curve, smoothing: float = 0.0) -> pd.DataFrame:
    """Rows of ``run, line, epoch, value``; missing values and epochs are left out.

    Args:
        runs: Whose histories.
        curve: Which figure.
        smoothing: Share of the past in each value, in [0, 1); 0 is the value itself.
    """
    rows = []
    for shown in runs:
        for line, column in curve.columns:
            past, weight = 0.0, 0.0
            for row in shown.run.epochs:
                value, epoch = row.get(column), row.get("epoch")
                if not isinstance(value, int | float) or not isinstance(epoch, int):
                    continue
                # Without bias at the start: the weights of what was seen add up to 1 (Kingma & Ba 2015).
                past = past * smoothing + value * (1 - smoothing)
                weight = weight * smoothing + 1 - smoothing
                rows.append((shown.name, line, epoch, past / weight))
    return pd.DataFrame(rows, columns=["run", "line", "epoch", "value"])


def mark_table(runs: Sequence[ShownRun], table: pd.DataFrame, curve: Curve) -> pd.DataFrame:
    """The best epoch of each run and where it stopped early, as points of ``run, mark, epoch, value``."""
    line = curve.columns[0][0]
    rows = []
    for shown in runs:
        points = table[(table["run"] == shown.name) & (table["line"] == line)].set_index("epoch")["value"]
        best = (best_row(shown.run) or {}).get("epoch")
        if isinstance(best, int) and best in points.index:
            rows.append((shown.name, "best epoch", best, float(points[best])))
        if (shown.run.report or {}).get("stopped_early") and len(points):
            rows.append((shown.name, "stopped early", int(points.index[-1]), float(points.iloc[-1])))
    return pd.DataFrame(rows, columns=["run", "mark", "epoch", "value"])
