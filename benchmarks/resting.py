"""Measure the effect of resting faces: each resting image of a person adjusts the person's other images.

    python -m benchmarks.resting ../shared/data/posed.parquet

The first part of each file name identifies the person; only people with two resting faces and other expressions count.
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from pyarrow import parquet

from fer.classification import EmotionClassifier
from fer.detection import load_detector
from fer.emotions import Emotion
from fer.faces import Prediction
from fer.model_shelf import find_weights
from fer.streams.resting import RestingFaceError, learn_resting_face
from training.command import run_command
from training.crop_faces import largest_face
from training.data.datasets import pixels_of, read_table
from training.data.targets import expressions_of


@dataclass(frozen=True)
class Options:
    """Faces to measure.

    Attributes:
        faces: A Parquet data set whose images have file names.
        weights: Name or folder of weights; None for the default.
        detector: Name of a face detector.
    """

    faces: tyro.conf.Positional[Path]
    weights: str | None = None
    detector: str = "kv_face"


@dataclass(frozen=True)
class Seen:
    """An image of a person: the label and the network's prediction."""

    label: Emotion
    prediction: Prediction


def main(options: Options) -> None:
    """Print the error rates with and without adjustment."""
    classifier = EmotionClassifier(find_weights(options.weights))
    people = read_people(options, classifier)
    without: dict[str, list[bool]] = {"resting": [], "others": []}
    adjusted: dict[str, list[bool]] = {"resting": [], "others": []}
    refused = 0
    for seen in people.values():
        rests = [each for each in seen if each.label == Emotion.NEUTRAL]
        for rest in rests:
            try:
                resting = learn_resting_face([rest.prediction] * 3)
            except RestingFaceError:
                refused += 1
                continue
            for each in seen:
                if each is rest:
                    continue
                kind = "resting" if each.label == Emotion.NEUTRAL else "others"
                without[kind].append(each.prediction.emotion == each.label)
                adjusted[kind].append(resting.apply(each.prediction).emotion == each.label)
    print(f"{classifier.card.name}: {len(people)} people, {refused} resting faces rejected")
    print("| | resting faces misclassified | other expressions correct |\n|---|---|---|")
    for name, shares in (("without", without), ("adjusted", adjusted)):
        wrong = 100 * (1 - np.mean(shares["resting"]))
        right = 100 * np.mean(shares["others"])
        print(
            f"| {name} | {wrong:.1f} % of {len(shares['resting'])} | {right:.1f} % of {len(shares['others'])} |"
        )


def read_people(options: Options, classifier: EmotionClassifier) -> dict[str, list[Seen]]:
    """Return the images of each person with at least two resting faces and one other expression."""
    table = read_table(options.faces)
    names: list[dict[str, Any]] = parquet.read_table(options.faces, columns=["image"])["image"].to_pylist()
    detector = load_detector(options.detector)
    people: dict[str, list[Seen]] = {}
    for picture, label, name in zip(table.pictures, table.labels, names, strict=True):
        if label not in expressions_of("six") or label is None:
            continue
        crop = largest_face(pixels_of(picture), detector)
        if crop is not None:
            (prediction,) = classifier.classify([crop])
            person = re.split(r"[._-]", Path(name["path"]).name)[0]
            people.setdefault(person, []).append(Seen(label, prediction))
    return {
        person: seen
        for person, seen in people.items()
        if 1 < sum(each.label == Emotion.NEUTRAL for each in seen) < len(seen)
    }


if __name__ == "__main__":
    sys.exit(run_command(Options, main, "benchmarks.resting", description=__doc__))
