"""Charts of a model's errors and calibration."""

from collections.abc import Mapping
from typing import Any, Final

import altair as alt
import pandas as pd

from fer.palette import GREY_HEX, label_colours

_CHART_HEIGHT: Final = 300
_BLUE: Final = "#0f7fc4"


def confusion_table(report: Mapping[str, Any]) -> pd.DataFrame:
    """Return rows of ``true, predicted, count, share``; shares sum to 1 per true class."""
    labels, counts = report["labels"], report["confusion"]
    rows = []
    for truth, line in zip(labels, counts, strict=True):
        total = sum(line)
        for guess, count in zip(labels, line, strict=True):
            rows.append((truth, guess, int(count), count / total if total else 0.0))
    return pd.DataFrame(rows, columns=["true", "predicted", "count", "share"])


def confusion_chart(report: Mapping[str, Any], *, is_share: bool = True) -> alt.LayerChart:
    """Chart the confusion matrix: true classes as rows, predicted classes as columns; darker is more."""
    table = confusion_table(report)
    table["text"] = (
        (table["share"] * 100).round().astype(int).astype(str) + " %"
        if is_share
        else table["count"].astype(str)
    )
    labels = list(report["labels"])
    across = alt.Axis(orient="top", labelAngle=-45, labelOverlap=False)  # keep all labels in narrow windows
    drawn = alt.Chart(table).encode(
        alt.X("predicted:N", sort=labels, title="predicted", axis=across),
        alt.Y("true:N", sort=labels, title="true"),
        tooltip=["true", "predicted", "count", alt.Tooltip("share", format=".1%")],
    )
    squares = drawn.mark_rect(cornerRadius=2).encode(
        alt.Color("share:Q", scale=alt.Scale(domain=[0, 1], range=["#e8f0ef", "#00544f"]), legend=None)
    )
    ink = alt.condition(alt.datum["share"] > 0.45, alt.value("#ffffff"), alt.value("#22272c"))
    texts = drawn.mark_text(fontSize=12).encode(text="text:N", color=ink)
    return alt.LayerChart(layer=[squares, texts], height=56 + 44 * len(labels))


def class_table(report: Mapping[str, Any]) -> pd.DataFrame:
    """Return one row per class: precision, recall and F1 in [0, 1], and the number of images."""
    rows = [
        (label, row["precision"], row["recall"], row["f1"], int(row["count"]))
        for label, row in report["per_class"].items()
    ]
    return pd.DataFrame(rows, columns=["expression", "precision", "recall", "F1", "pictures"])


def class_chart(report: Mapping[str, Any]) -> alt.Chart:
    """Return a chart of precision, recall and F1 per class, in the class's colour."""
    table = class_table(report).melt(
        ["expression", "pictures"], ["precision", "recall", "F1"], var_name="figure", value_name="value"
    )
    labels = list(report["labels"])
    colours = list(label_colours(labels).values())
    chart: alt.Chart = (
        alt.Chart(table)
        .mark_bar(cornerRadius=2)
        .encode(
            alt.X("figure:N", sort=["precision", "recall", "F1"], title=None, axis=None),
            alt.Y("value:Q", title=None, scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%")),
            alt.Color("expression:N", scale=alt.Scale(domain=labels, range=colours), legend=None),
            alt.Opacity(
                "figure:N",
                scale=alt.Scale(domain=["precision", "recall", "F1"], range=[0.45, 0.7, 1.0]),
                legend=alt.Legend(
                    title=None, orient="bottom", symbolFillColor=GREY_HEX
                ),  # visible on light and dark
            ),
            alt.Column(
                "expression:N",
                sort=labels,
                title=None,
                spacing=6,
                header=alt.Header(orient="bottom", labelAngle=-35, labelAlign="right"),
            ),
            tooltip=["expression", "figure", alt.Tooltip("value", format=".1%"), "pictures"],
        )
        .properties(width=alt.Step(16), height=200)
    )
    return chart


def reliability_chart(report: Mapping[str, Any]) -> alt.LayerChart:
    """Chart accuracy against confidence; the dashed line is perfect calibration."""
    table = pd.DataFrame(report["reliability"], columns=["confidence", "accuracy", "count"])
    axis = alt.Axis(format="%", tickCount=5)
    x = alt.X("confidence:Q", title="confidence", scale=alt.Scale(domain=[0, 1]), axis=axis)
    y = alt.Y("accuracy:Q", title="accuracy", scale=alt.Scale(domain=[0, 1]), axis=axis)
    ideal = pd.DataFrame({"confidence": [0.0, 1.0], "accuracy": [0.0, 1.0]})
    line = alt.Chart(ideal).mark_line(strokeDash=[4, 4], color=GREY_HEX).encode(x, y)
    drawn = alt.Chart(table).encode(
        x,
        y,
        tooltip=[
            alt.Tooltip("confidence", format=".1%"),
            alt.Tooltip("accuracy", format=".1%", title="right"),
            alt.Tooltip("count", title="pictures"),
        ],
    )
    points = drawn.mark_circle(color=_BLUE, opacity=0.9).encode(
        alt.Size("count:Q", scale=alt.Scale(range=[30, 400]), legend=None)
    )
    return alt.LayerChart(layer=[line, drawn.mark_line(color=_BLUE), points], height=_CHART_HEIGHT)


def coverage_chart(report: Mapping[str, Any]) -> alt.Chart:
    """Chart accuracy against coverage, the share of faces with the highest confidence."""
    table = pd.DataFrame(report["coverage_risk"], columns=["coverage", "accuracy", "confidence"])
    table["risk"] = 1 - table["accuracy"]
    chart: alt.Chart = (
        alt.Chart(table)
        .mark_line(color=_BLUE, point=alt.OverlayMarkDef(size=55, filled=True, color=_BLUE))
        .encode(
            alt.X("coverage:Q", title="coverage", axis=alt.Axis(format="%")),
            alt.Y("risk:Q", title="error rate", axis=alt.Axis(format="%")),
            tooltip=[
                alt.Tooltip("coverage", format=".0%", title="answered"),
                alt.Tooltip("risk", format=".1%", title="wrong"),
                alt.Tooltip("confidence", format=".2f", title="confidence from"),
            ],
        )
        .properties(height=_CHART_HEIGHT)
    )
    return chart
