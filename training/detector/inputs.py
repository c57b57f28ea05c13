"""Inputs that the trainings of detector and verifier share."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from fer.detection.yunet import YuNetDetector
from training.detector.copies import find_copies
from training.detector.evaluation import BoxedPhoto
from training.detector.scenes import Scene, read_photos

_TEACHER_SIDE: Final = 320


def open_teacher(path: str) -> YuNetDetector:
    """YuNet as the lists were written with it.

    Args:
        path: Its file; empty for the fetched one.

    Raises:
        UnknownModelError: The file is missing.
    """
    return YuNetDetector(Path(path) if path else None, longest_side=_TEACHER_SIDE)


def read_other_photos(path: Path, choosing: Sequence[BoxedPhoto]) -> tuple[list[Scene], int]:
    """Photos to learn from, without copies of those used for choosing.

    Returns:
        The photos, and how many were left out.
    """
    photos = read_photos(path)
    is_copy = find_copies([scene.image for scene in photos], [photo.image for photo in choosing])
    return [scene for scene, copied in zip(photos, is_copy, strict=True) if not copied], int(is_copy.sum())
