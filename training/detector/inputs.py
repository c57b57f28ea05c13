"""Inputs that the trainings of detector and verifier share."""

import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch

from fer.detection.yunet import YuNetDetector
from fer.model_card import file_hash
from fer.version import VERSION
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


def describe_environment(files: Sequence[Path], thread_count: int) -> dict[str, Any]:
    """Versions, threads and hashes of the data, as stored in a run directory."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "version": VERSION,
        "device": "cpu",
        "threads": thread_count,
        "data": {path.name: file_hash(path) for path in files},
    }
