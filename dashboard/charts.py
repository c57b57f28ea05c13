"""Charts of training curves."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from typing import Any, Final

import altair as alt
import pandas as pd

from dashboard.shown_runs import ShownRun, best_row

RUN_COLOURS: Final = ("#0f7fc4", "#d5640a", "#0e9b73", "#c4689b", "#b78a09", "#7a6fd0")
"""Six colours that are distinct for colour-blind people and readable on light and dark backgrounds."""

CHART_HEIGHT: Final = 280


@dataclass(frozen=True, slots=True)
class Curve:
    """One metric over the epochs.

    Attributes:
        title: Title of the chart.
        columns: Keys of the history by line name; the first line is solid.
        unit: Unit in the axis title; empty for none.
        is_share: Whether the values are shares in [0, 1], shown in percent.
        from_zero: Whether the axis starts at 0.
    """

    title: str
    columns: tuple[tuple[str, str], ...]
    unit: str = ""
    is_share: bool = False
    from_zero: bool = False


def curve_chart(
    runs: Sequence[ShownRun], curve: Curve, *, smoothing: float = 0.0, is_log: bool = False
) -> dict[str, Any] | None:
    """Return a line chart over epochs with a rule at the pointer; None if no run has the metric.

    Args:
        runs: At most six; their colours are those of ``legend_html``.
        curve: The metric.
        smoothing: As in ``curve_table``.
        is_log: Whether to use a logarithmic axis, without values of 0 and below.

    Returns:
        A Vega-Lite specification with its tables under ``datasets``.
    """
    table = curve_table(runs, curve, smoothing)
    if is_log:
        table = table[table["value"] > 0]
    if table.empty:
        return None
    names = table["line"] if table["run"].nunique() == 1 else table["run"] + " · " + table["line"]
    values = table.assign(column=names).pivot_table(index="epoch", columns="column", values="value")
    plan = _plan(
        curve,
        tuple(shown.name for shown in runs),
        tuple(values.columns),
        is_log=is_log,
        is_short=table["epoch"].nunique() == 1,
    )
    # Plain names: Vega reads some characters as paths into nested values.
    values.columns = [f"line {number}" for number in range(len(values.columns))]
    marks = mark_table(runs, table, curve)
    return {**deepcopy(plan), "datasets": {"lines": table, "pointer": values.reset_index(), "marks": marks}}


@lru_cache(maxsize=256)
def _plan(
    curve: Curve, names: tuple[str, ...], columns: tuple[str, ...], *, is_log: bool, is_short: bool
) -> dict[str, Any]:
    """Return the specification without its tables; cached, because Altair's validation is slow."""
    colour = alt.Color(
        "run:N", scale=alt.Scale(domain=list(names), range=list(RUN_COLOURS[: len(names)])), legend=None
    )
    value = alt.Y(
        "value:Q",
        title=None,
        scale=alt.Scale(type="log" if is_log else "linear", zero=curve.from_zero and not is_log, nice=True),
        axis=alt.Axis(format="%" if curve.is_share else ".3~g", tickCount=5),  # without .3, 80 becomes 8e+1
    )
    epoch = alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickMinStep=1, format="d"))
    drawn = alt.Chart(alt.NamedData("lines"))
    lines = [line for line, _ in curve.columns]
    dashes = alt.StrokeDash("line:N", scale=alt.Scale(domain=lines, range=[[1, 0], [4, 3]]), legend=None)
    layers: list[alt.Chart] = [drawn.mark_line(strokeWidth=2, clip=True).encode(epoch, value, colour, dashes)]
    if is_short:  # a line with one point is invisible
        layers.append(drawn.mark_point(filled=True, size=45).encode(epoch, value, colour))
    layers.append(_pointer(columns, curve, epoch))
    layers.append(_mark_points(epoch, value, colour))
    title = f"{curve.title} ({curve.unit})" if curve.unit else curve.title
    plan: dict[str, Any] = alt.LayerChart(layer=layers, height=CHART_HEIGHT, title=title).to_dict()
    return plan


def legend_html(runs: Sequence[ShownRun]) -> str:
    """Return the legend of all charts as HTML: colours, dashes and marks."""
    dots = [
        f'<span style="white-space:nowrap;margin-right:1.2em"><span style="color:{colour}">●</span> '
        f"{escape(shown.name)}</span>"
        for shown, colour in zip(runs, RUN_COLOURS, strict=False)
    ]
    runs_part = " ".join(dots) + "<br>" if len(runs) > 1 else ""
    return (
        f'<div style="font-size:0.9rem;line-height:1.7">{runs_part}'
        '<span style="opacity:0.75">━━ validation&ensp; ┄┄ training&ensp; ◆ best epoch&ensp; '
        "✚ stopped early</span></div>"
    )


def _mark_points(epoch: alt.X, value: alt.Y, colour: alt.Color) -> alt.Chart:
    shapes = alt.Shape(
        "mark:N",
        scale=alt.Scale(domain=["best epoch", "stopped early"], range=["diamond", "cross"]),
        legend=None,
    )
    points = alt.Chart(alt.NamedData("marks")).mark_point(filled=True, size=110, opacity=1)
    chart: alt.Chart = points.encode(epoch, value, colour, shapes, tooltip=["run:N", "mark:N", "epoch:Q"])
    return chart


def _pointer(columns: Sequence[str], curve: Curve, epoch: alt.X) -> alt.Chart:
    """Return a rule at the nearest epoch with the values of all lines."""
    number_format = ".1%" if curve.is_share else ".4~g"
    tips: list[Any] = [alt.Tooltip("epoch:Q", format="d")]
    tips += [
        alt.Tooltip(f"line {number}:Q", title=name, format=number_format)
        for number, name in enumerate(columns)
    ]
    near = alt.selection_point(
        name="near", fields=["epoch"], nearest=True, on="pointermove", clear="pointerout", empty=False
    )
    chart: alt.Chart = (
        alt.Chart(alt.NamedData("pointer"))
        .mark_rule(color="#888888")
        .encode(epoch, opacity=alt.condition(near, alt.value(0.7), alt.value(0.0)), tooltip=tips)
        .add_params(near)
    )
    return chart


CURVES: Final = (
    Curve("Accuracy", (("val", "val_accuracy"), ("train", "train_accuracy")), is_share=True),
    Curve("Loss", (("val", "val_loss"), ("train", "train_loss"))),
    Curve("Macro F1", (("val", "val_macro_f1"),), is_share=True),
    Curve("Boxed faces found", (("val", "val_boxed_recall"),), is_share=True),
    Curve("Web faces found", (("val", "val_web_recall"),), is_share=True),
    Curve("False positives per photo", (("val", "val_false_boxes"),), from_zero=True),
    Curve("Learning rate", (("rate", "learning_rate"),)),
    Curve("Time per epoch", (("time", "seconds"),), unit="s", from_zero=True),
    Curve("Processor cores in use", (("cores", "cores_used"),), from_zero=True),
    Curve("Memory", (("process", "memory_mb"), ("GPU", "gpu_memory_mb")), unit="MB", from_zero=True),
)


def curve_table(runs: Sequence[ShownRun], curve: Curve, smoothing: float = 0.0) -> pd.DataFrame:
    """Return rows of ``run, line, epoch, value``, without missing values and epochs.

    Args:
        runs: The runs.
        curve: The metric.
        smoothing: Weight of the past in each value, in [0, 1); 0 for no smoothing.
    """
    rows = []
    for shown in runs:
        for line, column in curve.columns:
            past, weight = 0.0, 0.0
            for row in shown.run.epochs:
                value, epoch = row.get(column), row.get("epoch")
                if not isinstance(value, int | float) or not isinstance(epoch, int):
                    continue
                # Bias correction at the start (Kingma & Ba 2015).
                past = past * smoothing + value * (1 - smoothing)
                weight = weight * smoothing + 1 - smoothing
                rows.append((shown.name, line, epoch, past / weight))
    return pd.DataFrame(rows, columns=["run", "line", "epoch", "value"])


def mark_table(runs: Sequence[ShownRun], table: pd.DataFrame, curve: Curve) -> pd.DataFrame:
    """Return each run's best epoch and early stop as points of ``run, mark, epoch, value``."""
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
