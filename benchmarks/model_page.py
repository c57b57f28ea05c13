"""Writes docs/model.md and its charts from the records of the weights: curves, confusion, reliability."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd
import tyro

from dashboard.report_charts import class_table, confusion_chart, reliability_chart
from fer.emotions import Emotion
from fer.model_card import ModelCard, load_card
from fer.model_shelf import find_weights, list_weights
from training.model_text import describe_views
from training.run_files import BEFORE_FOLDER, read_epochs, read_object

INTRODUCTION = """# The models

Training curves, confusion matrices and calibration of the shipped networks. This page and its charts are written by
`python -m benchmarks.model_page` from the history and the report of each set of weights (`weights/NAME/run/`). All figures are
on the validation splits of the training data, which were also used to select the epoch, the temperature and the thresholds; no
validation image has a copy in a training split. [results.md](results.md) has separate figures for each data set, with the
project's own detector for images that need one.
"""


@dataclass(frozen=True)
class Options:
    """Output of the page.

    Attributes:
        output: The page; its charts are written to ``images`` next to it.
    """

    output: Path = Path("docs/model.md")


def main(options: Options) -> None:
    """Write the page, print its path."""
    images = options.output.parent / "images"
    images.mkdir(parents=True, exist_ok=True)
    sections = [INTRODUCTION]
    for name in list_weights():
        folder = find_weights(name)
        card, report = load_card(folder), read_object(folder / "run" / "report.json")
        sections += [f"## `{card.name}`\n", summary(card), history(folder / "run", images, card.name)]
        offered = {head.name for head in card.choices}
        for head, figures in report["heads"].items():
            if head not in offered:
                continue
            sections.append(
                head_section(card.name, head, figures, images, is_shown=head == card.default_head)
            )
        if "int8" in report:
            sections.append(integers(report["int8"]))
    options.output.write_text("\n".join(sections), encoding="utf-8")
    print(f"wrote {options.output}")


def summary(card: ModelCard) -> str:
    data = ", ".join(f"`{each['name']}`" for each in card.data_sets)
    return (
        f"Trained on {data}. {describe_views(card)} Intended use, limits and licences: see its `README.md`.\n"
    )


def history(run: Path, images: Path, name: str) -> str:
    """Curves of the training, and of the one it went on from."""
    rows: list[dict[str, Any]] = []
    parts = [run]
    while (parts[-1] / BEFORE_FOLDER).is_dir():
        parts.append(parts[-1] / BEFORE_FOLDER)
    start = 0
    for part in reversed(parts):
        epochs = read_epochs(part)
        for row in epochs:
            for split in ("train", "val"):
                key = f"{split}_accuracy"
                if key in row:
                    rows.append({"epoch": start + row["epoch"], "split": split, "accuracy": row[key]})
        start += len(epochs)
    chart = (
        alt.Chart(pd.DataFrame(rows), title="accuracy by epoch, all trainings one after the other")
        .mark_line()
        .encode(
            alt.X("epoch:Q"),
            alt.Y("accuracy:Q", scale=alt.Scale(zero=False), axis=alt.Axis(format="%")),
            alt.StrokeDash("split:N", sort=["val", "train"], title=None),
        )
        .properties(width=560, height=240)
    )
    path = save(chart, images / f"{name}.curves.svg")
    return f"{start} epochs in {len(parts)} training(s).\n\n![accuracy by epoch]({path})\n"


def head_section(name: str, head: str, report: dict[str, Any], images: Path, *, is_shown: bool) -> str:
    confusion = save(confusion_chart(report).properties(width=420), images / f"{name}.{head}.confusion.svg")
    reliability = save(
        reliability_chart(report).properties(width=300), images / f"{name}.{head}.reliability.svg"
    )
    low, high = report["intervals_95"]["accuracy"]
    lines = [
        f"### Head `{head}`{', the default' if is_shown else ''}\n",
        f"{report['count']} faces: accuracy {report['accuracy']:.3f} ({low:.3f}–{high:.3f}), balanced "
        f"{report['balanced_accuracy']:.3f}, macro F1 {report['macro_f1']:.3f}, negative log-likelihood "
        f"{report['nll']:.3f}, calibration error {report['ece']:.3f}.\n",
        "| | Precision | Recall | F1 | Faces |\n|---|---|---|---|---|",
    ]
    for row in class_table(report).itertuples(index=False):
        title = Emotion(row.expression).display_name
        lines.append(f"| {title} | {row.precision:.3f} | {row.recall:.3f} | {row.F1:.3f} | {row.pictures} |")
    lines += [
        f"\n![confusion of head {head}]({confusion})\n",
        f"![reliability of head {head}]({reliability})\n",
        "| Coverage (most confident first) | Accuracy | Minimum confidence |\n|---|---|---|",
        *(
            f"| {row['coverage']:.0%} | {row['accuracy']:.3f} | {row['confidence']:.2f} |"
            for row in report["coverage_risk"]
        ),
        "",
    ]
    return "\n".join(lines)


def integers(figures: dict[str, Any]) -> str:
    """Return a table of the accuracy in single precision and in eight-bit integers."""
    lines = ["### Eight-bit integers\n", "| Head | single precision | integers |\n|---|---|---|"]
    lines += [
        f"| `{head}` | {value:.4f} | {figures['int8_accuracy'][head]:.4f} |"
        for head, value in figures["float32_accuracy"].items()
    ]
    shipped = "are shipped and used" if figures["shipped"] else "lose too much accuracy and are not shipped"
    return "\n".join([*lines, f"\nThe eight-bit networks {shipped}.\n"])


def save(chart: Any, path: Path) -> str:
    """Write a chart as SVG; return its path relative to the page."""
    chart.save(path)
    return f"images/{path.name}"


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
