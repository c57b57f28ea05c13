"""Count the detector's false positives that the classifier's ``other`` rejects, and the true faces lost this way."""

import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fer.classification import EmotionClassifier
from fer.cropping import crop_face, reference_square
from fer.detection import load_detector
from fer.model_shelf import find_weights
from training.command import run_command
from training.crop_others import known_photos

SIDES = (24, 40, 80)
"""Bounds of the groups of faces, square root of the box's area in pixels."""


@dataclass(frozen=True)
class Options:
    """Photos and thresholds to try.

    Attributes:
        photos: Parquet files with photos and the boxes of all faces.
        weights: A weights folder or a name under ``weights/``; None for the default.
        detector: Name of the detector.
        lost: Tolerated share of lost true faces.
    """

    photos: tuple[Path, ...]
    weights: str | None = None
    detector: str = "haar"
    lost: float = 0.01


def main(options: Options) -> None:
    classifier, detector = EmotionClassifier(find_weights(options.weights)), load_detector(options.detector)
    margin = classifier.card.preprocessing.margin
    true_faces, false_shares = [], []
    for path in options.photos:
        for image, known in known_photos(path):
            detections = detector.detect(image)
            crops = [crop_face(image, reference_square(d, detector.framing), margin) for d in detections]
            for detection, prediction in zip(detections, classifier.classify(crops), strict=True):
                overlap = max((detection.box.iou(box) for box in known), default=0.0)
                if overlap >= 0.3:
                    true_faces.append((prediction.other, detection.box.area**0.5))
                elif overlap < 0.1:
                    false_shares.append(prediction.other)
    others, sides = np.array(true_faces).reshape(-1, 2).T
    false = np.array(false_shares)
    print(f"{classifier.card.name}, {detector.name}: {len(others)} true, {len(false)} false boxes")
    if len(others) and len(false):
        limit = float(np.quantile(others, 1 - options.lost, method="higher"))
        print(
            f"losing at most {options.lost:.1%} of the faces: other above {limit:.3f} drops {(false > limit).mean():.1%} of the false boxes"
        )
    in_card = classifier.head.other_above
    print(f"with the card's threshold (other above {in_card:.3f}): false boxes: {dropped(false > in_card)}")
    for low, high in pairwise((0, *SIDES, np.inf)):
        chosen = (sides >= low) & (sides < high)
        print(f"  faces of {low:.0f} to {high:.0f} pixels: {dropped(others[chosen] > in_card)}")


def dropped(rows: NDArray[np.bool_]) -> str:
    return f"{rows.mean():.1%} of {len(rows)} dropped" if len(rows) else "none"


if __name__ == "__main__":
    sys.exit(run_command(Options, main, "benchmarks.false_boxes"))
