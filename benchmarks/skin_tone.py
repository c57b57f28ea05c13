"""Measure accuracy by skin tone, as far as the image shows it.

    python -m benchmarks.skin_tone --data ../shared/data/rafdb.parquet affectnet_found.parquet

Skin tone is the individual typology angle of the cheeks (Chardon et al. 1991), which dermatologists measure under a fixed
lamp. In photos it includes light and camera: of the darkest faces, about half are light skin in shadow. The table therefore shows
dark faces, for whatever reason, not people. Grey images are left out. Intervals are Wilson's, 95 %.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import cv2
import numpy as np

from benchmarks.unreadable import AT_ONCE, Options, labelled_faces
from fer.classification import EmotionClassifier
from fer.emotions import Emotion, Label
from fer.faces import Prediction
from fer.images import RgbImage
from fer.model_shelf import find_weights
from training.command import run_command

TONES: Final[Mapping[str, float]] = MappingProxyType(
    {"dark": -90.0, "brown": -30.0, "tan": 10.0, "intermediate": 28.0, "light": 41.0, "very light": 55.0}
)
"""Names of skin tones with their smallest angle in degrees (Del Bino and Bernerd 2013)."""

LEAST_CHROMA: Final = 4.0
"""Smallest chroma in CIELAB of skin in an image that has colours."""


def typology_angle(face: RgbImage) -> float | None:
    """Return the individual typology angle of the cheeks in degrees, in [-90, 90]; None for a grey image.

    Args:
        face: RGB, ``uint8`` of shape (S, S, 3), cropped as the classifier gets it.
    """
    side = face.shape[0]
    rows = slice(round(0.50 * side), round(0.68 * side))
    cheeks = np.concatenate(
        [face[rows, round(a * side) : round(b * side)] for a, b in ((0.18, 0.36), (0.64, 0.82))], axis=1
    )
    lab = cv2.cvtColor(cheeks.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    lightness, green_red, blue_yellow = np.median(lab.reshape(-1, 3), axis=0)
    if np.hypot(green_red, blue_yellow) < LEAST_CHROMA:
        return None
    return float(np.degrees(np.arctan2(lightness - 50, max(blue_yellow, 1e-6))))


def by_tone(classifier: EmotionClassifier, data: Path, inset: float) -> dict[str, dict[str, Any]]:
    """Return the figures of each skin tone, and the number of grey images.

    Raises:
        DatasetError: The data cannot be read.
    """
    faces, truth = labelled_faces(data, inset)
    angles = [typology_angle(face) for face in faces]
    answers = [
        answer
        for start in range(0, len(faces), AT_ONCE)
        for answer in classifier.classify(faces[start : start + AT_ONCE])
    ]
    found: dict[str, dict[str, Any]] = {"grey": {"count": angles.count(None)}}
    for (name, least), (_, most) in pairwise([*TONES.items(), ("", np.inf)]):
        rows = [row for row, angle in enumerate(angles) if angle is not None and least <= angle < most]
        found[name] = figures([answers[row] for row in rows], [truth[row] for row in rows])
    return found


def figures(answers: Sequence[Prediction], truth: Sequence[Label]) -> dict[str, Any]:
    """Return accuracy, and the share of resting faces that get another expression with confidence."""
    right = [answer.emotion == label for answer, label in zip(answers, truth, strict=True)]
    resting = [
        answer.emotion != label and not answer.is_unsure
        for answer, label in zip(answers, truth, strict=True)
        if label == Emotion.NEUTRAL
    ]
    return {
        "count": len(right),
        "accuracy": share(right),
        "resting_count": len(resting),
        "resting_misnamed": share(resting),
    }


def share(flags: Sequence[bool]) -> dict[str, float] | None:
    """Return a share with its Wilson interval, which has a width where a bootstrap's has none; None without flags."""
    if not flags:
        return None
    count, mean, z = len(flags), sum(flags) / len(flags), 1.96
    middle = (mean + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * np.sqrt(mean * (1 - mean) / count + z * z / (4 * count * count))
    return {"share": mean, "low": max(float(middle - half), 0.0), "high": min(float(middle + half), 1.0)}


def cell(found: Mapping[str, float] | None) -> str:
    return "–" if found is None else f"{found['share']:.3f} ({found['low']:.2f}–{found['high']:.2f})"


def main(options: Options) -> None:
    """Measure and print."""
    classifier = EmotionClassifier(find_weights(options.weights))
    report = {data.stem: by_tone(classifier, data, options.inset) for data in options.data}
    if options.json:
        print(json.dumps({"weights": classifier.card.name, "sets": report}))
        return
    print(f"{classifier.card.name}\n")
    print("| Set | Skin tone | Faces | Accuracy | Resting faces | Named otherwise with confidence |")
    print("|---|---|---|---|---|---|")
    for name, tones in report.items():
        for tone in TONES:
            row = tones[tone]
            print(
                f"| {name} | {tone} | {row['count']} | {cell(row['accuracy'])} | {row['resting_count']} "
                f"| {cell(row['resting_misnamed'])} |"
            )
        print(f"| {name} | grey image | {tones['grey']['count']} | | | |")


if __name__ == "__main__":
    sys.exit(run_command(Options, main, "benchmarks.skin_tone", description=__doc__))
