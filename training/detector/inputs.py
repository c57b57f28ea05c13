"""Inputs shared by the trainings of detector and verifier."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from fer.detection.yunet import YuNetDetector
from fer.images import RgbImage
from training.detector.evaluation import BoxedPhoto
from training.detector.scenes import Scene, read_photos

_TEACHER_SIDE: Final = 320


def open_teacher(path: str) -> YuNetDetector:
    """Open YuNet with the settings used for labelling.

    Args:
        path: YuNet's file; empty for the fetched one.

    Raises:
        UnknownModelError: The file is missing.
    """
    return YuNetDetector(Path(path) if path else None, longest_side=_TEACHER_SIDE)


def read_other_photos(path: Path, choosing: Sequence[BoxedPhoto]) -> tuple[list[Scene], int]:
    """Read training photos, without copies of the evaluation photos.

    Returns:
        The photos, and the number of skipped copies.
    """
    photos = read_photos(path)
    is_copy = find_copies([scene.image for scene in photos], [photo.image for photo in choosing])
    return [scene for scene, copied in zip(photos, is_copy, strict=True) if not copied], int(is_copy.sum())


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
