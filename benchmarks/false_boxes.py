"""Count the detector's false positives that the classifier's ``other`` rejects, and the true faces lost this way."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fer.analysis import limit_of_other
from fer.classification import EmotionClassifier
from fer.cropping import crop_square
from fer.detection import load_detector
from fer.faces import Box
from fer.images import RgbImage
from fer.model_shelf import find_weights
from fer.preprocessing import cut_for_network
from training.command import run_command
from training.crop_others import known_photos
from training.detector.evaluation import read_boxed_photos

SIDES = (24, 40, 80)
"""Bounds of the groups of faces, square root of the box's area in pixels."""

RULES = ("by the classifier alone", "with the detector's evidence, as in use")


@dataclass(frozen=True)
class Options:
    """Photos and thresholds to try.

    Attributes:
        photos: Parquet files with photos and the boxes of all faces.
        weights: A weights folder or a name under ``weights/``; None for the default.
        detector: Name of the detector.
        held_out: Use only the photos that no detector was trained on.
    """

    photos: tuple[Path, ...]
    weights: str | None = None
    detector: str = "haar"
    held_out: bool = False


def main(options: Options) -> None:
    classifier, detector = EmotionClassifier(find_weights(options.weights)), load_detector(options.detector)
    preprocessing, above = classifier.card.preprocessing, classifier.head.other_above
    faces, false = [], []
    for path in options.photos:
        for image, known in photos_of(path, held_out=options.held_out):
            detections = detector.detect(image)
            squares = [crop_square(image, each, detector.framing) for each in detections]
            crops = [cut_for_network(image, square, preprocessing) for square in squares]
            for detection, prediction in zip(detections, classifier.classify(crops), strict=True):
                drops = (prediction.other > above, prediction.other > limit_of_other(above, detection))
                overlap = max((detection.box.iou(box) for box in known), default=0.0)
                if overlap >= 0.3:
                    faces.append((detection.box.area**0.5, *drops))
                elif overlap < 0.1:
                    false.append(drops)
    sides, *face_drops = np.array(faces, float).reshape(-1, 3).T
    false_drops = np.array(false, float).reshape(-1, 2).T
    print(f"{classifier.card.name}, {detector.name}: {len(faces)} true, {len(false)} false boxes")
    for rule, of_faces, of_false in zip(RULES, face_drops, false_drops, strict=True):
        print(f"{rule}: false boxes: {dropped(of_false)}")
        for low, high in pairwise((0, *SIDES, np.inf)):
            print(
                f"  faces of {low:.0f} to {high:.0f} pixels: {dropped(of_faces[(sides >= low) & (sides < high)])}"
            )


def photos_of(path: Path, *, held_out: bool) -> Iterator[tuple[RgbImage, Sequence[Box]]]:
    """Yield photos with the boxes of all their faces."""
    if held_out:
        yield from ((photo.image, photo.boxes) for photo in read_boxed_photos(path, held_out=True))
    else:
        yield from known_photos(path)


def dropped(rows: NDArray[np.float64]) -> str:
    return f"{rows.mean():.1%} of {len(rows)} dropped" if len(rows) else "none"


if __name__ == "__main__":
    sys.exit(run_command(Options, main, "benchmarks.false_boxes"))
