"""Photos with labelled faces for the training of the detector."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fer.detection.yunet import YuNetDetector
from fer.images import RgbImage, read_image
from training.detector.evaluation import BoxedPhoto, match, read_boxed_photos

SURE_SCORE: Final = 0.7
"""Minimum teacher score; faces with lower scores count neither as positives nor as negatives."""

_MIRRORED: Final = [1, 0, 2, 4, 3]

_TEACHER_SIDE: Final = 320
CROWD_SIDE: Final = 640
"""Side of the search in photos of crowds, in pixels."""

_SAME_IOU: Final = 0.5


@dataclass(frozen=True, slots=True)
class Scene:
    """An image with the teacher's labels.

    Attributes:
        image: RGB ``uint8`` of shape (H, W, 3).
        sizes: Width and height of each face when upright, shape (N, 2), pixels.
        centres: Shape (N, 2), pixels.
        landmarks: Shape (N, 5, 2), pixels, in the order of ``fer.faces.Landmarks``; NaN where unknown.
        rolls: Rotation of each face since it was labelled, shape (N,), radians, clockwise.
        is_sure: Whether the teacher is certain of a face, shape (N,); other faces are ignored in training.
    """

    image: RgbImage
    sizes: NDArray[np.float32]
    centres: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    rolls: NDArray[np.float32]
    is_sure: NDArray[np.bool_]

    @property
    def boxes(self) -> NDArray[np.float32]:
        """Left, top, right, bottom of the ellipse inside each upright box, rotated by its roll."""
        cos, sin = np.cos(self.rolls), np.sin(self.rolls)
        width, height = self.sizes[:, 0] / 2, self.sizes[:, 1] / 2
        reach = np.stack([np.hypot(width * cos, height * sin), np.hypot(width * sin, height * cos)], axis=1)
        return np.concatenate([self.centres - reach, self.centres + reach], axis=1).astype(np.float32)

    def take(self, rows: NDArray[np.bool_]) -> "Scene":
        """Return the same image with some of the faces."""
        return Scene(
            self.image,
            self.sizes[rows],
            self.centres[rows],
            self.landmarks[rows],
            self.rolls[rows],
            self.is_sure[rows],
        )


def make_scene(
    image: RgbImage, boxes: NDArray[np.float32], landmarks: NDArray[np.float32], scores: NDArray[np.float32]
) -> Scene:
    """Make a scene from a teacher's boxes (N, 4), landmarks (N, 5, 2) and scores (N,)."""
    boxes = boxes.reshape(-1, 4).astype(np.float32)
    return Scene(
        image,
        boxes[:, 2:] - boxes[:, :2],
        ((boxes[:, :2] + boxes[:, 2:]) / 2).astype(np.float32),
        landmarks.reshape(-1, 5, 2).astype(np.float32),
        np.zeros(len(boxes), np.float32),
        scores.reshape(-1) >= SURE_SCORE,
    )


def move_scene(
    image: RgbImage, scene: Scene, matrix: NDArray[np.float64], turn: float, mirrored: bool
) -> Scene:
    """Transform the labels of a scene by an affine map.

    Args:
        image: The transformed image.
        scene: The original scene.
        matrix: Map from old to new pixels, shape (2, 3).
        turn: Clockwise rotation in the matrix, radians.
        mirrored: Whether the matrix mirrors left and right before the rotation.
    """
    scale = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    points = (
        np.concatenate([scene.centres[:, None], scene.landmarks], axis=1) @ matrix[:, :2].T + matrix[:, 2]
    )
    landmarks = points[:, 1:]
    if mirrored:
        landmarks = landmarks[:, _MIRRORED]
    rolls = (-scene.rolls if mirrored else scene.rolls) + turn
    return Scene(
        image,
        (scene.sizes * scale).astype(np.float32),
        points[:, 0].astype(np.float32),
        landmarks.astype(np.float32),
        rolls.astype(np.float32),
        scene.is_sure,
    )


def join_scenes(image: RgbImage, scenes: Iterable[Scene]) -> Scene:
    """Join several scenes into one image; their labels must already be in its pixel coordinates."""
    parts = list(scenes)
    return Scene(
        image,
        np.concatenate([part.sizes for part in parts]),
        np.concatenate([part.centres for part in parts]),
        np.concatenate([part.landmarks for part in parts]),
        np.concatenate([part.rolls for part in parts]),
        np.concatenate([part.is_sure for part in parts]),
    )


def read_photos(path: Path) -> list[Scene]:
    """Read photos from parquet: ``image``, and ``faces`` as a JSON list of box, landmarks and score."""
    table = pd.read_parquet(path, columns=["image", "faces"])
    scenes = []
    for image, text in zip(table["image"], table["faces"], strict=True):
        faces = json.loads(text)
        scenes.append(
            make_scene(
                read_image(image["bytes"]),
                np.array([face["box"] for face in faces], np.float32),
                np.array([face["landmarks"] for face in faces], np.float32),
                np.array([face["score"] for face in faces], np.float32),
            )
        )
    return scenes


def read_face_crops(
    path: Path, teacher: YuNetDetector, *, left_out: frozenset[str] = frozenset()
) -> Iterator[Scene]:
    """Read pictures of single faces from parquet and label them by the teacher; uncertain ones are skipped.

    Args:
        path: Parquet file with ``image`` and, optionally, the name of each crop's photo in ``name``, and its
            ``split``; only those in ``train`` are read.
        teacher: Detector of box and landmarks.
        left_out: Names of photos whose crops are skipped.
    """
    table = pd.read_parquet(path)
    if "split" in table:
        table = table[table["split"] == "train"]
    names = table["name"] if "name" in table else [""] * len(table)
    for image, name in zip(table["image"], names, strict=True):
        if name in left_out:
            continue
        crop = read_image(image["bytes"])
        detections = teacher.detect(crop)
        if len(detections) == 1 and detections[0].landmarks and detections[0].score >= SURE_SCORE:
            yield make_scene(
                crop,
                np.array(detections[0].box.as_tuple(), np.float32),
                detections[0].landmarks.as_array().astype(np.float32),
                np.array([detections[0].score], np.float32),
            )


def read_crowds(paths: Sequence[Path], teacher_path: str) -> list[Scene]:
    """Read the training rows of photos with hand-labelled boxes of all faces, or without any face.

    Boxes are the labels; the teacher adds the landmarks of those faces that it finds, too.

    Args:
        paths: Parquet files with ``image`` and a JSON list of boxes in ``boxes``; may be none.
        teacher_path: YuNet's file; empty for the fetched one.

    Raises:
        UnknownModelError: YuNet's file is missing.
    """
    if not paths:
        return []
    teacher, scenes = open_teacher(teacher_path, CROWD_SIDE), []
    for photo in (photo for path in paths for photo in read_boxed_photos(path, held_out=False)):
        landmarks = np.full((len(photo.boxes), 5, 2), np.nan, np.float32)
        detections = teacher.detect(photo.image) if photo.boxes else []
        for face, column in enumerate(match(photo.boxes, detections, _SAME_IOU)):
            if column is not None and (points := detections[column].landmarks) is not None:
                landmarks[face] = points.as_array()
        boxes = np.array([box.as_tuple() for box in photo.boxes], np.float32)
        scenes.append(make_scene(photo.image, boxes, landmarks, np.ones(len(boxes), np.float32)))
    return scenes


def open_teacher(path: str, longest_side: int = _TEACHER_SIDE) -> YuNetDetector:
    """Open YuNet with the settings used for labelling.

    Args:
        path: YuNet's file; empty for the fetched one.
        longest_side: Side of the search in pixels; crowds need ``CROWD_SIDE``.

    Raises:
        UnknownModelError: The file is missing.
    """
    return YuNetDetector(Path(path) if path else None, longest_side=longest_side)


def drop_copies(scenes: Sequence[Scene], choosing: Sequence[BoxedPhoto]) -> list[Scene]:
    """Return training photos without the copies of evaluation photos."""
    is_copy = find_copies([scene.image for scene in scenes], [photo.image for photo in choosing])
    return [scene for scene, copied in zip(scenes, is_copy, strict=True) if not copied]


_SKETCH_SIDE: Final = 16
_LEAST_CORRELATION: Final = 0.93
"""Correlation threshold: sketches of a resized photo correlate above 0.99, frames of one clip above 0.95."""


def find_copies(images: Sequence[RgbImage], others: Sequence[RgbImage]) -> NDArray[np.bool_]:
    """Find images with a copy among the others: identical, mirrored, or a frame of the same clip.

    Returns:
        Shape (images,).
    """
    if not images or not others:
        return np.zeros(len(images), dtype=bool)
    theirs = _sketches(others)
    mirrored = theirs.reshape(-1, _SKETCH_SIDE, _SKETCH_SIDE)[:, :, ::-1].reshape(theirs.shape)
    mine = _sketches(images)
    likeness = np.maximum(mine @ theirs.T, mine @ mirrored.T).max(axis=1)
    return np.asarray(likeness > _LEAST_CORRELATION)


def _sketches(images: Sequence[RgbImage]) -> NDArray[np.float32]:
    """Return grey thumbnails as vectors of mean 0 and length 1; dot products are correlations."""
    rows = []
    for image in images:
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        small = cv2.resize(grey, (_SKETCH_SIDE, _SKETCH_SIDE), interpolation=cv2.INTER_AREA)
        row = small.astype(np.float32).ravel()
        row -= row.mean()
        rows.append(row / max(float(np.linalg.norm(row)), 1e-6))
    return np.stack(rows)
