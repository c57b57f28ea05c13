"""Measure how often covered or damaged faces are misclassified with confidence."""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import cv2
import numpy as np

from fer.classification import EmotionClassifier
from fer.emotions import Label
from fer.images import RgbImage
from fer.model_shelf import find_weights
from training.command import run_command
from training.data.datasets import DatasetError, pixels_of, read_table, square_of
from training.data.targets import expressions_of
from training.evaluate import true_labels

AT_ONCE: Final = 256

CUT_OFF: Final = "half a face at the border"
"""A condition that is seen from the place of the face in its picture, with a threshold of its own in use."""

WANTED: Final = 0.05
"""Target: maximum share of confidently misclassified faces."""


@dataclass(frozen=True)
class Options:
    """Labelled faces, and the weights to evaluate.

    Attributes:
        data: Cropped faces; those with votes are evaluated by their majority.
        weights: A weights folder or a name under ``weights/``; None for the default.
        inset: Share to cut off on each side of data with wider framing than FER2013.
        json: Print one JSON object instead of a table.
    """

    data: tuple[Path, ...]
    weights: str | None = None
    inset: float = 0.0
    json: bool = False


def _cover(top: float, bottom: float, left: float, right: float, grey: int) -> Callable[[RgbImage], RgbImage]:
    """Return a function that paints a rectangle, given in shares of the side."""

    def change(face: RgbImage) -> RgbImage:
        side = face.shape[0]
        covered = face.copy()
        rows, columns = (slice(round(a * side), round(b * side)) for a, b in ((top, bottom), (left, right)))
        covered[rows, columns] = grey
        return covered

    return change


def _blot(face: RgbImage) -> RgbImage:
    side = face.shape[0]
    covered = np.ascontiguousarray(face)
    centre, radius = (round(side * 0.5), round(side * 0.62)), round(side * 0.3)
    return np.asarray(cv2.circle(covered.copy(), centre, radius, (140, 120, 110), -1), dtype=np.uint8)


def _blur(face: RgbImage) -> RgbImage:
    return np.asarray(cv2.GaussianBlur(face, (0, 0), face.shape[0] / 12), dtype=np.uint8)


def _small(face: RgbImage) -> RgbImage:
    return np.asarray(cv2.resize(face, (16, 16), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _half(face: RgbImage) -> RgbImage:
    """Cut a face in half, as at the border of an image: edge pixels repeat over the other half."""
    side = face.shape[0]
    kept = face[:, side // 2 :]
    return np.asarray(np.pad(kept, ((0, 0), (side - kept.shape[1], 0), (0, 0)), mode="edge"), dtype=np.uint8)


CONDITIONS: Final[Mapping[str, Callable[[RgbImage], RgbImage]]] = MappingProxyType(
    {
        "as it is": lambda face: face,
        "mask over nose and mouth": _cover(0.55, 1.0, 0.08, 0.92, 205),
        "sunglasses": _cover(0.24, 0.47, 0.06, 0.94, 25),
        "blot of a hand's size": _blot,
        "heavy blur": _blur,
        "16 pixels": _small,
        CUT_OFF: _half,
    }
)


def confident_wrong(classifier: EmotionClassifier, data: Path, inset: float) -> dict[str, dict[str, float]]:
    """Return for each condition the shares of faces that are confidently wrong, not unsure, rejected as ``other``.

    Raises:
        DatasetError: The data cannot be read.
    """
    faces, truth = labelled_faces(data, inset)
    found = {}
    for name, change in CONDITIONS.items():
        is_sure, is_wrong, is_rejected = (np.zeros(len(faces), bool) for _ in range(3))
        for start in range(0, len(faces), AT_ONCE):
            crops = [change(face) for face in faces[start : start + AT_ONCE]]
            # As in ``FaceAnalyzer.read_faces``, which sees that the border cuts off a face.
            least = classifier.head.unsure_below_hard if name == CUT_OFF else 0.0
            for at, answer in enumerate(classifier.classify(crops), start):
                is_rejected[at] = answer.other > classifier.head.other_above
                is_sure[at] = not (is_rejected[at] or answer.is_unsure or answer.confidence < least)
                is_wrong[at] = answer.emotion != truth[at]
        found[name] = {
            "confident_wrong": float((is_sure & is_wrong).mean()),
            "sure": float(is_sure.mean()),
            "rejected": float(is_rejected.mean()),
            "count": float(len(faces)),
        }
    return found


def labelled_faces(data: Path, inset: float) -> tuple[list[RgbImage], list[Label]]:
    """Return the faces with one of the six expressions, of the validation split if there is one.

    Raises:
        DatasetError: The data cannot be read, or has no such face.
    """
    table = read_table(data)
    table = table.split("val") if "val" in table.splits else table
    labels = expressions_of("six")
    found = [
        (picture, label)
        for picture, label in zip(table.pictures, true_labels(table, votes=table.has_votes), strict=True)
        if label in labels
    ]
    if not found:
        raise DatasetError(f"expected faces labelled {', '.join(labels)} in {data}, got none")
    return [square_of(pixels_of(picture), inset) for picture, _ in found], [label for _, label in found]


def main(options: Options) -> None:
    """Measure and print."""
    classifier = EmotionClassifier(find_weights(options.weights))
    report = {data.stem: confident_wrong(classifier, data, options.inset) for data in options.data}
    if options.json:
        print(json.dumps({"weights": classifier.card.name, "sets": report}))
        return
    print(f"{classifier.card.name}: confidently wrong / not unsure / rejected as no face\n")
    print(f"| | {' | '.join(report)} |")
    print("|---" * (len(report) + 1) + "|")
    for name in CONDITIONS:
        cells = [
            f"{each[name]['confident_wrong']:.3f} / {each[name]['sure']:.2f} / {each[name]['rejected']:.3f}"
            for each in report.values()
        ]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    sys.exit(run_command(Options, main, "benchmarks.unreadable", description=__doc__))
