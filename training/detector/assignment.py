"""Assigns faces to cells of the detector network."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fer.detection.decoding import cell_grid
from training.detector.scenes import Scene

BACKGROUND: Final = -1
LEFT_ASIDE: Final = -2

_SIDES: Final = {8: (0.0, 44.0), 16: (30.0, 110.0), 32: (76.0, np.inf)}  # pixels, by stride


@dataclass(frozen=True, slots=True)
class DetectorBatch:
    """Views with what every cell should say.

    Attributes:
        images: ``uint8`` RGB of shape (N, 3, H, W).
        rows: Shape (N, cells): a row of the three below, ``BACKGROUND`` or ``LEFT_ASIDE``.
        boxes: All sure faces of the batch, shape (F, 4), pixels.
        landmarks: Shape (F, 5, 2), pixels.
    """

    images: Tensor
    rows: Tensor
    boxes: Tensor
    landmarks: Tensor


def make_batch(views: list[Scene]) -> DetectorBatch:
    """Stack views of one size."""
    rows, boxes, landmarks, count = [], [], [], 0
    for view in views:
        sure = view.take(view.is_sure)
        chosen = assign(view)
        rows.append(np.where(chosen >= 0, chosen + count, chosen))
        boxes.append(sure.boxes)
        landmarks.append(sure.landmarks)
        count += len(sure.sizes)
    images = np.stack([view.image for view in views]).transpose(0, 3, 1, 2)
    return DetectorBatch(
        torch.from_numpy(np.ascontiguousarray(images)),
        torch.from_numpy(np.stack(rows)),
        torch.from_numpy(np.concatenate(boxes)),
        torch.from_numpy(np.concatenate(landmarks)),
    )


def assign(view: Scene) -> NDArray[np.int64]:
    """For each cell the face among the view's sure ones, ``BACKGROUND`` or ``LEFT_ASIDE``.

    A face belongs to the cells near its centre, on the one or two levels that fit its size.
    """
    grid = cell_grid(*view.image.shape[:2])
    centres, strides = grid[:, :2], grid[:, 2]
    rows = np.full(len(grid), BACKGROUND, np.int64)
    for box in view.boxes[~view.is_sure]:
        inside = (centres >= box[:2] - strides[:, None] / 2).all(1) & (
            centres <= box[2:] + strides[:, None] / 2
        ).all(1)
        rows[inside] = LEFT_ASIDE
    sure = view.take(view.is_sure)
    sides = sure.sizes.mean(axis=1)
    for face in np.argsort(-sides):  # small faces last: they have fewer cells to choose from
        distance = np.abs(centres - sure.centres[face]).max(axis=1)
        for stride, (least, most) in _SIDES.items():
            if least <= sides[face] < most:
                near = max(0.75 * stride, 0.16 * float(sides[face]))
                rows[(strides == stride) & (distance <= near)] = face
    return rows
