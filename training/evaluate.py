"""Entry point: evaluates weights on labelled faces."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fer.classification import EmotionClassifier, Engine
from fer.emotions import Label
from fer.model_card import OWN_HEAD
from fer.model_shelf import find_weights
from training.command import run_command
from training.data.datasets import DatasetError, FaceTable, decode, read_table
from training.data.splits import data_hash
from training.data.targets import expressions_of, majority, was_voted
from training.metrics import RESAMPLE_COUNT, report_head

_BATCH_SIZE = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateOptions:
    """Weights to evaluate, and data to evaluate them on.

    Attributes:
        weights: A weights folder, or a name under ``weights/``.
        data: A folder of class folders, a FER2013 CSV or a parquet file, with cropped faces.
        split: The split to evaluate; default: all images.
        head: A head of the card; default: the card's default head.
        votes: Use the crowd's majority as the label.
        classes: ``head`` evaluates all expressions of the head, ``six`` the six of the default answer.
        inset: Share to crop from each side of data with wider framing than FER2013.
        engine: ``onnx`` for the shipped network on the CPU, ``torch`` for CUDA if there is a GPU.
        json: Print one JSON object instead of a table.
    """

    weights: str
    data: Path
    split: Literal["train", "val", "test"] | None = None
    head: str | None = None
    votes: bool = False
    classes: Literal["head", "six"] = "head"
    inset: float = 0.0
    engine: Engine = "onnx"
    json: bool = False


def evaluate(options: EvaluateOptions) -> dict[str, Any]:
    """Evaluate weights on a data set.

    Raises:
        UnknownModelError: No such weights or head.
        WeightsMismatchError: The weights do not match their card.
        DatasetError: The data cannot be used.
    """
    classifier = EmotionClassifier(find_weights(options.weights), engine=options.engine, head=options.head)
    table = read_table(options.data, own=classifier.head.name == OWN_HEAD)
    if options.split is not None:
        table = table.split(options.split)
        if not len(table):
            raise DatasetError(f"the split {options.split!r} of {options.data} is empty")
    faces = decode(table, classifier.card.preprocessing, options.inset)
    truth = true_labels(faces.table, votes=options.votes)
    labels = expressions_of("six") if options.classes == "six" else classifier.head.emotions
    try:
        report = report_head(
            classify_all(classifier, faces.crops),
            classifier.head.labels,
            truth,
            labels=labels,
            resample_count=RESAMPLE_COUNT,
        )
    except ValueError as error:
        raise DatasetError(f"{options.data}: {error}") from error
    return report | {
        "weights": classifier.card.name,
        "head": classifier.head.name,
        "data": options.data.name,
        "data_sha256": data_hash(options.data),
        "split": options.split or "all",
        "votes": options.votes,
        "unreadable": list(faces.problems),
        "left_out": list(table.left_out),
    }


def true_labels(table: FaceTable, *, votes: bool) -> list[Label | None]:
    """Return the data set's labels, or the crowd's majority.

    Raises:
        DatasetError: The data has no votes.
    """
    if not votes:
        return list(table.labels)
    if not table.has_votes:
        raise DatasetError("expected columns votes_neutral … votes_nf for --votes, got data without votes")
    voted = was_voted(table.votes)
    by_crowd = majority(np.where(voted[:, None], table.votes, 0))
    return [label if has else None for label, has in zip(by_crowd, voted, strict=True)]


def classify_all(classifier: EmotionClassifier, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the head's probabilities of all preprocessed crops, computed in batches."""
    parts = [
        classifier.probabilities(crops[start : start + _BATCH_SIZE])
        for start in range(0, len(crops), _BATCH_SIZE)
    ]
    return np.concatenate(parts) if parts else np.empty((0, len(classifier.head.labels)), dtype=np.float32)


def format_report(report: dict[str, Any]) -> str:
    """Format a report as text."""
    lines = [
        f"{report['weights']}, head {report['head']}, on {report['data']} ({report['split']}"
        f"{', crowd majority' if report['votes'] else ''})",
        f"{report['count']} faces, {report['skipped']} without one of the labels skipped",
        f"accuracy {report['accuracy']:.3f}   balanced {report['balanced_accuracy']:.3f}   "
        f"macro F1 {report['macro_f1']:.3f}   NLL {report['nll']:.3f}   ECE {report['ece']:.3f}",
        "",
        f"{'':<12}{'precision':>10}{'recall':>10}{'F1':>10}{'count':>8}",
    ]
    for name, row in report["per_class"].items():
        lines.append(
            f"{name:<12}{row['precision']:>10.3f}{row['recall']:>10.3f}{row['f1']:>10.3f}{row['count']:>8}"
        )
    lines += [f"skipped: {problem}" for problem in (*report["unreadable"], *report["left_out"])]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, evaluate, print the report; return 1 with a sentence on an error."""
    return run_command(EvaluateOptions, _print_report, "training.evaluate", arguments)


def _print_report(options: EvaluateOptions) -> None:
    report = evaluate(options)
    print(json.dumps(report) if options.json else format_report(report))


if __name__ == "__main__":
    sys.exit(main())
