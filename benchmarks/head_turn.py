"""Measure yaw and pitch from five landmarks: on synthetic heads, and between two detectors on the same faces.

    python -m benchmarks.head_turn --photos ../shared/photos/boxed_photos_dev.parquet --yunet YUNET.onnx

Synthetic heads deviate from the mean shape by 8 % per coordinate, are seen from 0.7 m, and their landmarks jitter
by 1.5 mm, a fortieth of the eye distance.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fer.detection import load_detector
from fer.detection.yunet import YuNetDetector
from fer.faces import Landmarks
from fer.head_turn import HeadTurn, head_turn
from training.command import run_command
from training.detector.evaluation import read_boxed_photos

HEAD = np.array([[-32, -34, -25], [32, -34, -25], [0, 0, 0], [-26, 30, -26], [26, 30, -26]], dtype=float)
"""Right, down, towards the viewer in millimetres: eyes, tip of the nose, corners of the mouth."""


@dataclass(frozen=True)
class Options:
    """Photos and heads to measure.

    Attributes:
        photos: Photos with faces; None skips the comparison of detectors.
        yunet: YuNet's file.
        photo_count: Number of photos to analyse.
        heads: Number of synthetic heads per range of yaw.
    """

    photos: Path | None = None
    yunet: Path | None = None
    photo_count: int = 150
    heads: int = 600


def main(options: Options) -> None:
    """Print errors in degrees, median and 90th percentile."""
    rng = np.random.default_rng(0)
    print("| Synthetic heads, yaw | error of yaw | error of pitch | called turned away |\n|---|---|---|---|")
    for low, high in ((0, 15), (15, 30), (30, 45), (45, 60), (60, 75)):
        yaw = rng.uniform(low, high, options.heads) * rng.choice([-1, 1], options.heads)
        pitch, roll = rng.uniform(-20, 20, options.heads), rng.uniform(-30, 30, options.heads)
        turns = [head_turn(seen(*each, rng)) for each in zip(yaw, pitch, roll, strict=True)]
        away = np.mean([turn.is_away for turn in turns])
        print(
            f"| {low} to {high}° | {spread([turn.yaw for turn in turns] - yaw)} "
            f"| {spread([turn.pitch for turn in turns] - pitch)} | {100 * away:.0f} % |"
        )
    if options.photos is not None:
        compare(options, options.photos)


def seen(yaw: float, pitch: float, roll: float, rng: np.random.Generator) -> Landmarks:
    """Return the landmarks of a random head."""
    y, p, r = np.radians([yaw, pitch, roll])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    points = HEAD * rng.normal(1, 0.08, HEAD.shape) @ (about_z @ about_y @ about_x).T
    flat = points[:, :2] * (700 / (700 - points[:, 2:]))
    return Landmarks.from_array(flat + rng.normal(0, 1.5, flat.shape))


def compare(options: Options, photos: Path) -> None:
    """Print the differences between head turns from the landmarks of ``kv_face`` and YuNet."""
    ours, theirs = load_detector("kv_face"), YuNetDetector(options.yunet)
    pairs: list[tuple[HeadTurn, HeadTurn]] = []
    for photo in read_boxed_photos(photos)[: options.photo_count]:
        image = photo.image
        found = theirs.detect(image)
        for one in ours.detect(image):
            for other in found:
                if one.box.iou(other.box) > 0.4 and one.box.width > 50 and one.landmarks and other.landmarks:
                    pairs.append((head_turn(one.landmarks), head_turn(other.landmarks)))
    yaw = np.array([[one.yaw, other.yaw] for one, other in pairs])
    pitch = np.array([[one.pitch, other.pitch] for one, other in pairs])
    away = np.array([[one.is_away, other.is_away] for one, other in pairs])
    print(
        f"{len(pairs)} faces in photos, kv_face against YuNet: yaw {spread(yaw[:, 0] - yaw[:, 1])} apart, "
        f"pitch {spread(pitch[:, 0] - pitch[:, 1])}; turned away {away[:, 0].sum()} and {away[:, 1].sum()}, "
        f"both {away.all(axis=1).sum()}"
    )


def spread(errors: NDArray[np.float64]) -> str:
    return f"{np.median(np.abs(errors)):.1f}° / {np.quantile(np.abs(errors), 0.9):.1f}°"


if __name__ == "__main__":
    sys.exit(run_command(Options, main, "benchmarks.head_turn", description=__doc__))
