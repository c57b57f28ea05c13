"""Duplicate images in a data set."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.datasets import DecodedFaces

NEAR_MEAN_DIFFERENCE = 6.0
"""Maximum mean pixel difference between duplicates, which may be mirrored or recompressed."""

_SKETCH_SIDE = 8
_CANDIDATE_CORRELATION = 0.97


@dataclass(frozen=True, slots=True)
class DuplicateReport:
    """Counts of dropped duplicates.

    Attributes:
        across_splits: Training images dropped as duplicates of images in ``val`` or ``test``.
        within_train: Training images dropped as exact copies of earlier images in ``train``.
        conflicting: Training images whose copies have other labels; they lose their label, but keep votes.
    """

    across_splits: int
    within_train: int
    conflicting: int


def drop_duplicates(faces: DecodedFaces) -> tuple[DecodedFaces, DuplicateReport]:
    """Keep one copy of every image, by dropping copies from ``train`` only."""
    table, pixels = faces.table, _grey(faces.crops)
    in_train = np.array([split == "train" for split in table.splits])
    train_rows, held_rows = np.flatnonzero(in_train), np.flatnonzero(~in_train)
    copies = near_copies(pixels[train_rows], pixels[held_rows])

    first: dict[bytes, int] = {}
    labels = list(table.labels)
    conflicting: set[int] = set()
    within: set[int] = set()
    for row in train_rows.tolist():
        key = pixels[row].tobytes()
        original = first.setdefault(key, row)
        if original != row:
            within.add(row)
            if labels[original] != labels[row]:
                conflicting.add(original)
    for row in conflicting:
        labels[row] = None

    dropped = set(train_rows[copies].tolist()) | within
    kept = [row for row in range(len(table)) if row not in dropped]
    report = DuplicateReport(
        int(copies.sum()), len(within - set(train_rows[copies].tolist())), len(conflicting)
    )
    return DecodedFaces(table.with_labels(labels).take(kept), faces.crops[kept], faces.problems), report


def _grey(crops: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return crops without colour, since one collection may have lost the colour of another's photos."""
    if crops.shape[1] == 1:
        return crops
    return np.stack([cv2.cvtColor(crop.transpose(1, 2, 0), cv2.COLOR_RGB2GRAY)[None] for crop in crops])


def near_copies(crops: NDArray[np.uint8], others: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Find crops with a copy among the others: identical, mirrored, or nearly so.

    Candidates are selected by the correlation of small sketches, then compared pixel by pixel.

    Args:
        crops: ``uint8`` of shape (N, C, S, S).
        others: ``uint8`` of shape (M, C, S, S).

    Returns:
        Shape (N,).
    """
    found = np.zeros(len(crops), dtype=bool)
    if not len(crops) or not len(others):
        return found
    sketches = sketch(crops)
    for compared in (others, others[..., ::-1]):
        theirs = sketch(compared)
        for start in range(0, len(crops), 4096):
            likeness = sketches[start : start + 4096] @ theirs.T
            for row, column in zip(*np.nonzero(likeness > _CANDIDATE_CORRELATION), strict=True):
                mine = crops[start + row].astype(np.int16)
                found[start + row] |= bool(np.abs(mine - compared[column]).mean() <= NEAR_MEAN_DIFFERENCE)
    return found


def sketch(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return a thumbnail of each crop as a unit vector; dot products are correlations.

    Args:
        crops: ``uint8`` of shape (N, C, S, S).

    Returns:
        Shape (N, 64).
    """
    count, channels, side, _ = crops.shape
    cell = side // _SKETCH_SIDE
    used = crops[:, :, : cell * _SKETCH_SIDE, : cell * _SKETCH_SIDE]
    cells = used.reshape(count, channels, _SKETCH_SIDE, cell, _SKETCH_SIDE, cell)
    small = cells.mean(axis=(1, 3, 5), dtype=np.float32).reshape(count, -1)
    small -= small.mean(axis=1, keepdims=True)
    return np.asarray(small / np.maximum(np.linalg.norm(small, axis=1, keepdims=True), 1e-6))
