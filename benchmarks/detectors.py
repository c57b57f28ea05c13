"""Measure every detector on the same photos in one run: recall, turned faces, false positives, landmarks, time.

Each detector runs with its settings for photos; further lines give those for live use and thorough searches. One
CPU thread. Faces of crowds count by the square root of their box's area, in pixels of the photo.
"""

import json
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from skimage.data import astronaut

from fer import __version__
from fer.analysis import FaceAnalyzer
from fer.classification import EmotionClassifier
from fer.detection import FaceDetector, detector_names, load_detector
from fer.detection.yunet import LIVE_SIDE, PHOTO_SIDE, THOROUGH_SIDE, YuNetDetector
from fer.emotions import emotion_from_name
from fer.faces import Box, Detection
from fer.images import RgbImage
from fer.model_shelf import find_weights
from training.command import run_command
from training.data.datasets import pixels_of, read_table
from training.data.targets import expressions_of
from training.detector.evaluation import (
    BOXED_IOU,
    WEB_IOU,
    BoxedPhoto,
    match,
    measure_recall,
    read_boxed_photos,
)

DEGREES = (0, 10, 20, 30, 45, 60, 90)
CUTS = (1.0, 0.8)
MOST_CLOSE_UPS = 1000
CROP = 160
BESIDE_IOU = 0.15
CROWD_SIDES = (16, 24, 40, 80)
TIMED_SIZES_WH = ((640, 480), (1280, 720))


@dataclass(frozen=True)
class Options:
    """Photos and detectors to measure.

    Attributes:
        photos: Folder with boxed_photos_dev.parquet and expw_photos_dev.parquet; crowd_photos.parquet and
            photos_without_faces.parquet are used if they exist.
        crowd_step: Use every n-th of the photos of crowds and of those without a face that no detector was
            trained on.
        yunet: YuNet's file; YuNet is skipped if it does not exist.
        turned_count: Number of single faces to turn.
        crop_count: Number of face-free crops.
        repeats: Number of timed runs per frame.
        weights: Weights of the classifier; None for the default, "none" to skip classification.
        detectors: Detectors to measure; empty for all.
        close_ups: Parquet files of single faces that fill their pictures; of those with a ``split``, ``val`` is
            used. At most a thousand of each.
        json: File to which the figures are also written.
    """

    photos: Path = Path("../shared/photos")
    yunet: Path = Path("../shared/models/face_detection_yunet_2023mar.onnx")
    crowd_step: int = 1
    turned_count: int = 150
    crop_count: int = 400
    repeats: int = 40
    weights: str | None = None
    detectors: tuple[str, ...] = ()
    close_ups: tuple[Path, ...] = ()
    json: Path | None = None


def main(options: Options) -> None:
    """Measure and print a table."""
    cv2.setNumThreads(1)
    boxed = read_boxed_photos(options.photos / "boxed_photos_dev.parquet")
    web = read_boxed_photos(options.photos / "expw_photos_dev.parquet")
    teacher = YuNetDetector(options.yunet) if options.yunet.is_file() else None
    single = [photo for photo in boxed if len(photo.boxes) == 1 and 40 <= photo.boxes[0].width <= 200]
    single = single[:: max(len(single) // options.turned_count, 1)][: options.turned_count]
    crops = face_free_crops([*boxed, *web], teacher, options.crop_count)
    close_ups = {path.stem: read_close_ups(path) for path in options.close_ups}
    crowds, faceless = (
        read_boxed_photos(path, held_out=True)[:: options.crowd_step]
        if (path := options.photos / name).is_file()
        else []
        for name in ("crowd_photos.parquet", "photos_without_faces.parquet")
    )
    classifier = None if options.weights == "none" else EmotionClassifier(find_weights(options.weights))
    print(f"{platform.processor() or platform.machine()}, OpenCV {cv2.__version__}, "
          f"ONNX Runtime {onnxruntime.__version__}, version {__version__}, one thread; "
          f"{len(single)} turned faces, {len(crops)} face-free crops of {CROP}×{CROP}")  # fmt: skip

    table: dict[str, dict[str, float]] = {}
    for name, detector in load_all(options):
        row = {
            "boxed recall": measure_recall(detector.detect, boxed, BOXED_IOU).share,
            "web recall": measure_recall(detector.detect, web, WEB_IOU).share,
        }
        row |= crowd_recall(detector, crowds) | faceless_boxes(detector, faceless)
        row |= turned_faces(detector, single) | cut_faces(detector, single)
        row |= {
            f"found in {file}": float(np.mean([bool(detector.detect(picture)) for picture in pictures]))
            for file, pictures in close_ups.items()
        }
        row |= false_boxes(detector, [photo for photo in boxed if photo.is_exhaustive], crops)
        if teacher is not None:
            row["landmarks"] = landmark_distance(detector, teacher, single)
        row |= times(detector, options.repeats)
        if classifier is not None:
            row["named right"] = named_right(FaceAnalyzer(detector, classifier), web)
        table[name] = {key: round(value, 4) for key, value in row.items() if not np.isnan(value)}
        print(name, json.dumps(table[name]), flush=True)
    print(markdown(table))
    if options.json is not None:
        options.json.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")


def load_all(options: Options) -> Sequence[tuple[str, FaceDetector]]:
    found: list[tuple[str, FaceDetector]] = []
    for name in options.detectors or [name for name in detector_names() if name != "auto"]:
        for use in ("", " live", " thorough"):
            title, live, thorough = f"{name}{use}", use == " live", use == " thorough"
            if name == "yunet":
                if options.yunet.is_file():
                    side = LIVE_SIDE if live else THOROUGH_SIDE if thorough else PHOTO_SIDE
                    found.append((title, YuNetDetector(options.yunet, longest_side=side)))
            else:
                found.append((title, load_detector(name, live=live, thorough=thorough)))
    return found


def crowd_recall(detector: FaceDetector, photos: Sequence[BoxedPhoto]) -> dict[str, float]:
    """Share of the faces of each size and larger that are found, and boxes beside all of them, in 100 photos."""
    found, counts, false = dict.fromkeys(CROWD_SIDES, 0), dict.fromkeys(CROWD_SIDES, 0), 0
    for photo in photos:
        detections = detector.detect(photo.image)
        for box, column in zip(photo.boxes, match(photo.boxes, detections, BOXED_IOU), strict=True):
            for side in CROWD_SIDES:
                counts[side] += box.area**0.5 >= side
                found[side] += box.area**0.5 >= side and column is not None
        false += sum(all(face.box.iou(box) <= BESIDE_IOU for box in photo.boxes) for face in detections)
    if not photos:
        return {}
    row = {f"crowds from {side} px": found[side] / max(counts[side], 1) for side in CROWD_SIDES}
    return row | {"beside faces in 100 crowds": 100 * false / len(photos)}


def faceless_boxes(detector: FaceDetector, photos: Sequence[BoxedPhoto]) -> dict[str, float]:
    """Boxes in a hundred photos without a face."""
    count = sum(len(detector.detect(photo.image)) for photo in photos)
    return {"boxes in 100 photos without a face": 100 * count / len(photos)} if photos else {}


def turned(image: RgbImage, centre: tuple[float, float], degrees: float) -> RgbImage:
    """Turn an image clockwise around a point; edge pixels repeat."""
    matrix = cv2.getRotationMatrix2D((centre[0] - 0.5, centre[1] - 0.5), -degrees, 1.0)
    size_wh = image.shape[1], image.shape[0]
    return np.asarray(cv2.warpAffine(image, matrix, size_wh, borderMode=cv2.BORDER_REPLICATE), dtype=np.uint8)


def turned_faces(detector: FaceDetector, photos: Sequence[BoxedPhoto]) -> dict[str, float]:
    """Measure recall on single faces by turn angle, half of them in each direction, and the error of the roll."""
    found = dict.fromkeys(DEGREES, 0)
    errors: list[float] = []
    for number, photo in enumerate(photos):
        [box] = photo.boxes
        upright = 0.0
        for degrees in DEGREES:
            signed = degrees if number % 2 else -degrees
            detections = detector.detect(turned(photo.image, box.centre, signed))
            [column] = match([box], detections, BOXED_IOU)
            if column is not None:
                found[degrees] += 1
                roll = detections[column].roll
                if degrees == 0:
                    upright = roll
                if degrees == 30:
                    errors.append(abs((roll - upright - signed + 180) % 360 - 180))
    row = {f"turned {degrees}°": count / len(photos) for degrees, count in found.items()}
    return row | {"roll error at 30°": float(np.median(errors)) if errors else float("nan")}


def read_close_ups(path: Path) -> list[RgbImage]:
    """Read some pictures that no detector was trained on."""
    table = read_table(path)
    pictures = (table.split("val") if "val" in table.splits else table).pictures
    return [pixels_of(picture) for picture in pictures[:: -(-len(pictures) // MOST_CLOSE_UPS)]]


def cut_faces(detector: FaceDetector, photos: Sequence[BoxedPhoto]) -> dict[str, float]:
    """Measure recall on single faces that fill a picture, as it is and between two black bars.

    The picture is the part of the photo inside the face's box, enlarged or reduced around its centre.
    """
    row = {}
    for scale in CUTS:
        found = found_between = 0
        for photo in photos:
            [box] = photo.boxes
            x, y = box.centre
            left, right = (max(round(x + sign * scale * box.width / 2), 0) for sign in (-1, 1))
            top, bottom = (max(round(y + sign * scale * box.height / 2), 0) for sign in (-1, 1))
            part = np.ascontiguousarray(photo.image[top:bottom, left:right])
            found += bool(detector.detect(part))
            bar = part.shape[1] // 2
            found_between += bool(detector.detect(np.pad(part, ((0, 0), (bar, bar), (0, 0)))))
        row[f"cut to {scale:g} of the box"] = found / len(photos)
        row[f"cut to {scale:g}, between bars"] = found_between / len(photos)
    return row


def face_free_crops(photos: Sequence[BoxedPhoto], teacher: FaceDetector | None, count: int) -> list[RgbImage]:
    """Cut squares that stay clear of all marked and detected faces, each enlarged twofold."""
    rng = np.random.default_rng(0)
    crops: list[RgbImage] = []
    for index in rng.permutation(len(photos) * 4):
        photo = photos[index % len(photos)]
        height, width = photo.image.shape[:2]
        if len(crops) == count:
            break
        if min(height, width) < CROP:
            continue
        left, top = int(rng.integers(width - CROP + 1)), int(rng.integers(height - CROP + 1))
        area = Box(left, top, left + CROP, top + CROP)
        faces = [*photo.boxes, *(face.box for face in (teacher.detect(photo.image) if teacher else []))]
        if all(area.intersection(enlarged(box)) == 0 for box in faces):
            crops.append(np.ascontiguousarray(photo.image[top : top + CROP, left : left + CROP]))
    return crops


def enlarged(box: Box) -> Box:
    x, y = box.centre
    return Box(x - box.width, y - box.height, x + box.width, y + box.height)


def false_boxes(
    detector: FaceDetector, exhaustive: Sequence[BoxedPhoto], crops: Sequence[RgbImage]
) -> dict[str, float]:
    """Count false positives per hundred images."""
    false = 0
    for photo in exhaustive:
        detections = detector.detect(photo.image)
        false += len(detections) - sum(c is not None for c in match(photo.boxes, detections, WEB_IOU))
    on_crops = sum(len(detector.detect(crop)) for crop in crops)
    return {
        "false in 100 photos": 100 * false / max(len(exhaustive), 1),
        "false in 100 crops": 100 * on_crops / max(len(crops), 1),
    }


def landmark_distance(detector: FaceDetector, teacher: FaceDetector, photos: Sequence[BoxedPhoto]) -> float:
    """Return the median distance to the teacher's landmarks on upright faces, as a share of the eye distance."""
    distances = []
    for photo in photos:
        [mine], [theirs] = (
            [best(photo.boxes[0], found)]
            for found in (detector.detect(photo.image), teacher.detect(photo.image))
        )
        if mine is None or theirs is None or mine.landmarks is None or theirs.landmarks is None:
            continue
        points = theirs.landmarks.as_array()
        eyes = float(np.hypot(*(points[1] - points[0])))
        distances.append(float(np.hypot(*(mine.landmarks.as_array() - points).T).mean()) / max(eyes, 1.0))
    return float(np.median(distances)) if distances else float("nan")


def best(box: Box, detections: list[Detection]) -> Detection | None:
    [column] = match([box], detections, BOXED_IOU)
    return None if column is None else detections[column]


def times(detector: FaceDetector, repeats: int) -> dict[str, float]:
    """Return the median milliseconds for a frame with one face."""
    row = {}
    for width, height in TIMED_SIZES_WH:
        frame = np.full((height, width, 3), 110, np.uint8)
        side = height * 9 // 10
        face = cv2.resize(astronaut(), (side, side), interpolation=cv2.INTER_AREA)
        frame[:side, width // 4 : width // 4 + side] = face
        spent = []
        for _ in range(repeats + 3):
            started = time.perf_counter()
            detector.detect(frame)
            spent.append((time.perf_counter() - started) * 1e3)
        row[f"ms {width}×{height}"] = float(np.median(spent[3:]))
    return row


def named_right(analyzer: FaceAnalyzer, photos: Sequence[BoxedPhoto]) -> float:
    """Return the share of labelled faces (the six expressions) that are detected and correctly classified."""
    right, count, six = 0, 0, expressions_of("six")
    for photo in photos:
        faces = analyzer.analyze(photo.image)
        matched = match(photo.boxes, [face.detection for face in faces], WEB_IOU)
        for label, column in zip(photo.labels, matched, strict=True):
            emotion = emotion_from_name(label)
            if emotion in six:
                count += 1
                right += column is not None and faces[column].prediction.emotion == emotion
    return right / max(count, 1)


def markdown(table: dict[str, dict[str, float]]) -> str:
    names = list(table)
    rows = [f"| | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for key in dict.fromkeys(key for row in table.values() for key in row):
        cells = [table[name].get(key, float("nan")) for name in names]
        rows.append(f"| {key} | {' | '.join('–' if np.isnan(c) else f'{c:.4g}' for c in cells)} |")
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(run_command(Options, main, "benchmarks.detectors", description=__doc__))
