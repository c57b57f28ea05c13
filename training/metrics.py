"""Metrics of a classifier: accuracy, calibration, intervals, per-class figures."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torchmetrics import MetricCollection
from torchmetrics.classification import (
    MulticlassCalibrationError,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
)

from fer.emotions import OTHER, Label, label_of

BIN_COUNT: Final = 15
"""Bins of the calibration error and the reliability diagram (Guo et al. 2017)."""

COVERAGES: Final = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5)
RESAMPLE_COUNT: Final = 1000

_LOST_FACES: Final = 0.01
"""Share of the faces that a limit on ``other`` may reject."""


def restrict(
    probabilities: NDArray[np.floating], head_labels: Sequence[str], labels: Sequence[str]
) -> NDArray[np.float64]:
    """Return the columns of some labels, renormalised to sum 1.

    Args:
        probabilities: Shape (N, outputs) in the order of ``head_labels``.
        head_labels: All outputs of the head.
        labels: The columns to keep, in output order.
    """
    columns = [list(head_labels).index(label) for label in labels]
    kept = np.asarray(probabilities, dtype=np.float64)[:, columns]
    return np.asarray(kept / np.maximum(kept.sum(axis=1, keepdims=True), 1e-12))


def key_figures(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the key metrics of a :func:`report_head` report, for cards and tables, with recall per class."""
    names = ("count", "accuracy", "balanced_accuracy", "macro_f1", "nll", "ece")
    recall = {label: row["recall"] for label, row in report["per_class"].items()}
    return {name: report[name] for name in names} | {"recall": recall}


def report_head(
    probabilities: NDArray[np.floating],
    head_labels: Sequence[str],
    truth: Sequence[Label | None],
    *,
    labels: Sequence[Label] | None = None,
    resample_count: int = RESAMPLE_COUNT,
) -> dict[str, Any]:
    """Compute all metrics of one head on one data set.

    Rows without a ground-truth label among ``labels`` are skipped and counted in ``skipped``; the
    probabilities are renormalised over ``labels``.

    Args:
        probabilities: Calibrated, shape (N, outputs) in the order of ``head_labels``.
        head_labels: All outputs of the head.
        truth: The ground-truth label of each row.
        labels: The classes to evaluate, except those that the head lacks; None for all expressions of the
            head.
        resample_count: Bootstrap resamples for the 95 % intervals; 0 for no intervals.

    Raises:
        ValueError: No row has one of the labels.
    """
    wanted = [label_of(label) for label in head_labels if label != OTHER] if labels is None else labels
    judged = [label for label in wanted if label in head_labels]
    shares, target = judged_shares(probabilities, head_labels, truth, judged)
    report = _measures(shares, target, [str(label) for label in judged])
    report["skipped"] = len(truth) - len(target)
    if resample_count:
        report["intervals_95"] = _intervals(shares, target, resample_count)
    report["reliability"] = reliability(shares, target)
    report["coverage_risk"] = coverage_risk(shares, target)
    report["unsure_below"] = confidence_for_accuracy(shares, target)
    return report


def judged_shares(
    probabilities: NDArray[np.floating],
    head_labels: Sequence[str],
    truth: Sequence[Label | None],
    judged: Sequence[Label],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the rows that have one of the labels: their probabilities of these, (N, labels), and the truth.

    Raises:
        ValueError: No row has one of the labels.
    """
    rows = [row for row, label in enumerate(truth) if label in judged]
    if not rows:
        raise ValueError(f"expected images labelled {', '.join(judged)}, got none among {len(truth)}")
    target = np.array([judged.index(label) for label in (truth[row] for row in rows) if label is not None])
    return restrict(probabilities, head_labels, judged)[rows], target


def _measures(shares: NDArray[np.float64], target: NDArray[np.int64], labels: list[str]) -> dict[str, Any]:
    class_count = len(labels)
    collection = MetricCollection(
        {
            "precision": MulticlassPrecision(class_count, average="none", zero_division=0),
            "recall": MulticlassRecall(class_count, average="none", zero_division=0),
            "f1": MulticlassF1Score(class_count, average="none", zero_division=0),
            "ece": MulticlassCalibrationError(class_count, n_bins=BIN_COUNT, norm="l1"),
            "confusion": MulticlassConfusionMatrix(class_count),
        }
    )
    values = collection(torch.from_numpy(shares), torch.from_numpy(target))
    counts = np.bincount(target, minlength=class_count)
    present = counts > 0
    recall, f1 = values["recall"].numpy(), values["f1"].numpy()
    likelihood = shares[np.arange(len(target)), target]
    return {
        "count": len(target),
        "accuracy": float((shares.argmax(axis=1) == target).mean()),
        "balanced_accuracy": float(recall[present].mean()),
        "macro_f1": float(f1[present].mean()),
        "nll": float(-np.log(np.maximum(likelihood, 1e-12)).mean()),
        "ece": float(values["ece"]),
        "labels": labels,
        "per_class": {
            label: {
                "precision": float(values["precision"][i]),
                "recall": float(recall[i]),
                "f1": float(f1[i]),
                "count": int(counts[i]),
            }
            for i, label in enumerate(labels)
        },
        "confusion": values["confusion"].tolist(),
    }


def _intervals(
    shares: NDArray[np.float64], target: NDArray[np.int64], resample_count: int
) -> dict[str, list[float]]:
    """Return 95 % percentile bootstrap intervals, with a fixed seed."""
    class_count = shares.shape[1]
    cells = target * class_count + shares.argmax(axis=1)
    generator = np.random.default_rng(0)
    drawn: dict[str, list[float]] = {"accuracy": [], "balanced_accuracy": [], "macro_f1": []}
    for _ in range(resample_count):
        sample = cells[generator.integers(0, len(cells), len(cells))]
        confusion = np.bincount(sample, minlength=class_count**2).reshape(class_count, class_count)
        hits, counts, guesses = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
        present = counts > 0
        drawn["accuracy"].append(float(hits.sum() / confusion.sum()))
        drawn["balanced_accuracy"].append(float((hits[present] / counts[present]).mean()))
        drawn["macro_f1"].append(float((2 * hits[present] / (counts + guesses)[present]).mean()))
    return {name: np.percentile(values, [2.5, 97.5]).tolist() for name, values in drawn.items()}


def reliability(shares: NDArray[np.float64], target: NDArray[np.int64]) -> list[dict[str, float]]:
    """Return mean confidence and accuracy of each non-empty confidence bin."""
    confidence, correct = shares.max(axis=1), shares.argmax(axis=1) == target
    bins = np.minimum((confidence * BIN_COUNT).astype(int), BIN_COUNT - 1)
    return [
        {
            "confidence": float(confidence[bins == i].mean()),
            "accuracy": float(correct[bins == i].mean()),
            "count": int((bins == i).sum()),
        }
        for i in range(BIN_COUNT)
        if (bins == i).any()
    ]


def coverage_risk(shares: NDArray[np.float64], target: NDArray[np.int64]) -> list[dict[str, float]]:
    """Return accuracy and confidence threshold at several coverages, most confident images first."""
    confidence, correct = shares.max(axis=1), shares.argmax(axis=1) == target
    order = np.argsort(-confidence, kind="stable")
    rows = []
    for coverage in COVERAGES:
        count = max(round(coverage * len(order)), 1)
        rows.append(
            {
                "coverage": coverage,
                "accuracy": float(correct[order[:count]].mean()),
                "confidence": float(confidence[order[count - 1]]),
            }
        )
    return rows


def other_limit(other: NDArray[np.floating]) -> float:
    """Return the threshold on ``other`` that at most 1 % of the faces exceed, in [0.5, 1].

    Some validation sets label images without a face, so a much smaller share would let every false
    detection pass.

    Args:
        other: Probabilities of ``other`` for images that are labelled as faces, shape (N,).
    """
    if not len(other):
        return 1.0
    return max(float(np.quantile(other, 1 - _LOST_FACES, method="higher")), 0.5)


def confidence_for_accuracy(
    shares: NDArray[np.float64], target: NDArray[np.int64], wanted: float = 0.9
) -> float:
    """Return the lowest confidence threshold that reaches an accuracy; 0 if all faces together reach it."""
    confidence, correct = shares.max(axis=1), shares.argmax(axis=1) == target
    order = np.argsort(-confidence, kind="stable")
    accuracy = np.cumsum(correct[order]) / np.arange(1, len(order) + 1)
    # A threshold cannot separate equal confidences.
    is_last_alike = np.append(np.diff(confidence[order]) != 0, True)
    good = np.flatnonzero((accuracy >= wanted) & is_last_alike)
    if not len(good):
        return 1.0
    last = int(good[-1])
    return 0.0 if last == len(order) - 1 else float(confidence[order[last]])


def confidence_for_wrong_share(
    shares: NDArray[np.float64], target: NDArray[np.int64], allowed: float
) -> float:
    """Return a threshold that at most a share of all faces reach with a wrong answer; 0 if none is needed.

    Unlike the accuracy of the confident answers, this share is bounded also where few answers are confident.
    """
    wrong = np.sort(shares.max(axis=1)[shares.argmax(axis=1) != target])[::-1]
    count = int(allowed * len(target))
    return 0.0 if len(wrong) <= count else float(np.nextafter(wrong[count], 1))
