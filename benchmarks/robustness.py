"""Measure accuracy under the framing, lighting and degradation of live cameras."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from fer.classification import EmotionClassifier
from fer.cropping import Square, crop_face
from fer.images import RgbImage
from fer.model_shelf import find_weights
from fer.preprocessing import prepare_crops
from training.command import run_command
from training.data.datasets import decode, read_table
from training.data.targets import expressions_of
from training.evaluate import classify_all, true_labels
from training.metrics import report_head


@dataclass(frozen=True)
class Options:
    """Data and weights to try.

    Attributes:
        data: Cropped faces, such as FER2013's PublicTest.
        weights: A weights folder or a name under ``weights/``; None for the default.
        head: A head of the card; None for its default.
        votes: Use the majority of the votes as the label.
        inset: Share to cut off on each side of data with wider framing than FER2013.
    """

    data: Path
    weights: str | None = None
    head: str | None = None
    votes: bool = True
    inset: float = 0.0


def reframe(shift_x: float = 0.0, shift_y: float = 0.0, scale: float = 1.0, roll: float = 0.0):
    """Cut another square out of the crop; edge pixels repeat, as at the border of a photo."""

    def change(face: RgbImage) -> RgbImage:
        side = face.shape[0]
        square = Square(side / 2 + shift_x * side, side / 2 + shift_y * side, side * scale, roll)
        return crop_face(face, square)

    return change


def relight(gamma: float) -> Callable[[RgbImage], RgbImage]:
    table = np.round(255 * (np.arange(256) / 255) ** gamma).astype(np.uint8)
    return lambda face: table[face]


def blur(face: RgbImage) -> RgbImage:
    return np.asarray(cv2.GaussianBlur(face, (0, 0), face.shape[0] / 48), dtype=np.uint8)


def compress(face: RgbImage) -> RgbImage:
    _, encoded = cv2.imencode(".jpg", face, [cv2.IMWRITE_JPEG_QUALITY, 40])
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), dtype=np.uint8)


def shrink(face: RgbImage) -> RgbImage:
    return np.asarray(cv2.resize(face, (24, 24), interpolation=cv2.INTER_AREA), dtype=np.uint8)


CHANGES: dict[str, Callable[[RgbImage], RgbImage]] = {
    "as it is": lambda face: face,
    "shift 10 % left": reframe(shift_x=-0.1),
    "shift 10 % right": reframe(shift_x=0.1),
    "shift 10 % up": reframe(shift_y=-0.1),
    "shift 10 % down": reframe(shift_y=0.1),
    "box 15 % smaller": reframe(scale=0.85),
    "box 15 % larger": reframe(scale=1.15),
    "turned 15° clockwise": reframe(roll=15),
    "turned 15° back": reframe(roll=-15),
    "gamma 0.6": relight(0.6),
    "gamma 1.6": relight(1.6),
    "blur, 1 pixel of 48": blur,
    "JPEG quality 40": compress,
    "24-pixel face": shrink,
    "mirrored": lambda face: np.ascontiguousarray(face[:, ::-1]),
}


def main(options: Options) -> None:
    classifier = EmotionClassifier(find_weights(options.weights), head=options.head)
    preprocessing = classifier.card.preprocessing
    faces = decode(read_table(options.data), preprocessing, options.inset)
    truth = true_labels(faces.table, votes=options.votes)
    labelled = [row for row, label in enumerate(truth) if label is not None]
    wanted = [truth[row] for row in labelled]
    print(f"{classifier.card.name}, head {classifier.head.name}, {options.data.name}\n")
    print("| Change | Accuracy | Loss |\n|---|---|---|")
    plain = None
    for name, change in CHANGES.items():
        changed: list[NDArray[np.uint8]] = []
        for row in labelled:
            plane = faces.crops[row].transpose(1, 2, 0)
            face = np.ascontiguousarray(np.repeat(plane, 3, axis=2) if plane.shape[2] == 1 else plane)
            changed.append(prepare_crops([change(face)], preprocessing))
        shares = classify_all(classifier, np.concatenate(changed))
        accuracy = report_head(
            shares, classifier.head.labels, wanted, labels=expressions_of("six"), resample_count=0
        )["accuracy"]
        plain = accuracy if plain is None else plain
        print(f"| {name} | {accuracy:.3f} | {plain - accuracy:+.3f} |", flush=True)


if __name__ == "__main__":
    sys.exit(run_command(Options, main, "benchmarks.robustness"))
