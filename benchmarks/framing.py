"""Measure the map from each detector's boxes to the reference square, FER2013's frame of a face.

Two methods that should agree. *Direct*: FER2013 images, enlarged and padded so that the frame is known, against
the box of each detection. *By landmarks*: YuNet's points inside FER2013's frame against the same points inside
each detector's boxes on photos; scale and shift align the two.
The mean of both is used as the detectors' ``framing``.
"""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fer.detection import FaceDetector, detector_names, load_detector
from fer.detection.yunet import YuNetDetector
from fer.faces import Detection
from fer.images import RgbImage, read_image
from training.command import run_command

SIDE = 160  # pixels of the enlarged frame; half as much is padded around it


@dataclass(frozen=True)
class Options:
    """Images to measure with.

    Attributes:
        data: Parquet file of FER2013's training split.
        photos: Parquet file with whole photos.
        yunet: YuNet's file.
        count: Number of FER2013 images, and three times that of photos.
    """

    data: Path = Path("../shared/data/fer2013_train.parquet")
    photos: Path = Path("../shared/photos/detector_photos.parquet")
    yunet: Path = Path("../shared/models/face_detection_yunet_2023mar.onnx")
    count: int = 1500


def main(options: Options) -> None:
    """Print one line per detector and method."""
    teacher = YuNetDetector(options.yunet)
    names = [name for name in detector_names() if name not in ("auto", "yunet")]
    detectors: list[FaceDetector] = [teacher, *(load_detector(name) for name in names)]

    frames = [padded(image) for image in sample(options.data, options.count)]
    points = np.median([points for _, points in clear_faces(teacher, frames)], axis=0)
    template = (points - SIDE) / SIDE  # the frame's middle is 0, its side 1
    print("landmarks in FER2013's frame, from its middle, in sides:", template.round(3).tolist())
    photos = list(sample(options.photos, options.count // 3))
    seen = [[face for face in teacher.detect(photo) if face.score >= 0.8] for photo in photos]
    for detector in detectors:
        scale, shift_y, count = direct(detector, frames)
        print(f"{detector.name:8} direct        scale {scale:.3f}  shift_y {shift_y:+.3f}  ({count} faces)")
        scale, shift_y, count = by_landmarks(detector, photos, seen, template)
        print(f"{detector.name:8} by landmarks  scale {scale:.3f}  shift_y {shift_y:+.3f}  ({count} faces)")
        print(f"{detector.name:8} in use        {detector.framing}")


def sample(path: Path, count: int) -> Iterable[RgbImage]:
    table = pd.read_parquet(path, columns=["image"])
    for image in table["image"].sample(min(count, len(table)), random_state=0):
        yield read_image(image["bytes"])


def padded(crop: RgbImage) -> RgbImage:
    """Enlarge a crop to ``SIDE`` pixels and pad it by half that side with repeated edge pixels."""
    crop = np.asarray(cv2.resize(crop, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
    half = SIDE // 2
    border = cv2.copyMakeBorder(crop, half, half, half, half, cv2.BORDER_REPLICATE)
    return np.asarray(border, dtype=np.uint8)


def clear_faces(
    detector: FaceDetector, frames: Iterable[RgbImage]
) -> Iterable[tuple[Detection, NDArray[np.float64]]]:
    """Yield the best detection of each frame with its landmarks, if it is certain and upright."""
    for frame in frames:
        best = max(detector.detect(frame), key=lambda face: face.score, default=None)
        if best is not None and best.landmarks is not None and best.score >= 0.75 and abs(best.roll) < 15:
            yield best, best.landmarks.as_array()


def direct(detector: FaceDetector, frames: Iterable[RgbImage]) -> tuple[float, float, int]:
    """Return scale and downward shift from boxes whose frame is known."""
    rows = []
    for frame in frames:
        best = max(detector.detect(frame), key=lambda face: face.score, default=None)
        if best is not None and abs(best.roll) < 15:
            side = (best.box.width + best.box.height) / 2
            rows.append((SIDE / side, (SIDE - best.box.centre[1]) / side))
    scale, shift_y = np.median(rows, axis=0)
    return float(scale), float(shift_y), len(rows)


def by_landmarks(
    detector: FaceDetector,
    photos: list[RgbImage],
    seen: list[list[Detection]],
    template: NDArray[np.float64],
) -> tuple[float, float, int]:
    """Return scale and downward shift that align the frame's landmarks with those in the detector's boxes."""
    rows = []
    for photo, faces in zip(photos, seen, strict=True):
        for found in detector.detect(photo):
            face = max(faces, key=lambda face: face.box.iou(found.box), default=None)
            if face is None or face.landmarks is None or face.box.iou(found.box) < 0.35:
                continue
            if face.box.height < 40:
                continue
            angle = np.radians(found.roll)
            upright = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
            side = (found.box.width + found.box.height) / 2
            rows.append((face.landmarks.as_array() - found.box.centre) @ upright / side)
    inside = np.median(rows, axis=0)
    centred = template - template.mean(0)
    scale = float((centred * (inside - inside.mean(0))).sum() / (centred**2).sum())
    return scale, float(inside.mean(0)[1] - scale * template.mean(0)[1]), len(rows)


if __name__ == "__main__":
    sys.exit(run_command(Options, main, "benchmarks.framing", description=__doc__))
