"""Targets and loss of the detector."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torchvision.ops import distance_box_iou_loss

from fer.detection.decoding import cell_grid
from training.detector.scenes import Scene

_BOX_WEIGHT: Final = 2.0
_LANDMARK_WEIGHT: Final = 4.0
_EASY_POWER: Final = 1.5
"""Exponent that reduces the weight of easy background; hard negatives such as hands keep their weight."""


@dataclass(frozen=True, slots=True)
class DetectorBatch:
    """A batch of views with targets for every cell.

    Attributes:
        images: ``uint8`` RGB of shape (N, 3, H, W).
        rows: Shape (N, cells): an index into the faces below, ``BACKGROUND`` or ``LEFT_ASIDE``.
        boxes: All certain faces of the batch, shape (F, 4), pixels.
        landmarks: Shape (F, 5, 2), pixels.
    """

    images: Tensor
    rows: Tensor
    boxes: Tensor
    landmarks: Tensor


def detector_loss(cells: Tensor, batch: DetectorBatch, grid: Tensor) -> dict[str, Tensor]:
    """Compute the varifocal loss (Zhang et al. 2021) of scores, DIoU of boxes, smooth L1 of landmarks.

    Args:
        cells: The network's output, shape (N, cells, 15), scores as logits.
        batch: The targets.
        grid: The ``cell_grid`` of the views, shape (cells, 3).

    Returns:
        ``score``, ``box``, ``landmarks`` and their weighted sum ``loss``.
    """
    cells = cells.float()
    image, cell = torch.nonzero(batch.rows >= 0, as_tuple=True)
    face = batch.rows[image, cell]
    found, centre, stride = cells[image, cell], grid[cell, :2], grid[cell, 2:]

    reach = found[:, 1:5].clamp(-6, 6).exp() * stride
    boxes = torch.cat([centre - reach[:, :2], centre + reach[:, 2:]], 1)
    wanted = batch.boxes[face]
    box_loss = distance_box_iou_loss(boxes, wanted, reduction="none")

    # Better boxes get higher score targets, but every face gets at least 0.5.
    quality = torch.zeros(cells.shape[:2])
    quality[image, cell] = 0.5 + 0.5 * _overlap(boxes.detach(), wanted)
    logits = cells[:, :, 0]
    score_loss = functional.binary_cross_entropy_with_logits(logits, quality, reduction="none")
    easy = logits.detach().sigmoid() ** _EASY_POWER
    score_loss = score_loss * torch.where(batch.rows >= 0, 1.0, easy) * (batch.rows != LEFT_ASIDE)

    side = (wanted[:, 2:] - wanted[:, :2]).mean(1)[:, None, None]
    points = centre[:, None] + found[:, 5:].reshape(-1, 5, 2) * stride[:, None]
    offset = (points - batch.landmarks[face]) / side
    landmark_loss = functional.smooth_l1_loss(offset, torch.zeros_like(offset), reduction="none", beta=0.05)

    count = max(len(face), 1)
    parts = {
        "score": score_loss.sum() / count,
        "box": box_loss.sum() / count,
        "landmarks": landmark_loss.mean((1, 2)).sum() / count,
    }
    total = parts["score"] + _BOX_WEIGHT * parts["box"] + _LANDMARK_WEIGHT * parts["landmarks"]
    return {"loss": total, **parts}


def _overlap(first: Tensor, second: Tensor) -> Tensor:
    sides = torch.minimum(first[:, 2:], second[:, 2:]) - torch.maximum(first[:, :2], second[:, :2])
    shared = sides.clamp(min=0).prod(1)
    areas = (first[:, 2:] - first[:, :2]).prod(1) + (second[:, 2:] - second[:, :2]).prod(1)
    return shared / (areas - shared).clamp(min=1e-6)


BACKGROUND: Final = -1
LEFT_ASIDE: Final = -2

_SIDES: Final = {8: (0.0, 44.0), 16: (30.0, 110.0), 32: (76.0, np.inf)}  # pixels, by stride


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
    """Assign each cell a certain face of the view, ``BACKGROUND`` or ``LEFT_ASIDE``.

    A face is assigned to the cells near its centre, on the one or two levels for its size.
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
