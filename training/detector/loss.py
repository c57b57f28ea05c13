"""Loss of the detector: the distance of its cells from their targets."""

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import distance_box_iou_loss

from training.detector.assignment import LEFT_ASIDE, DetectorBatch

_BOX_WEIGHT: Final = 2.0
_LANDMARK_WEIGHT: Final = 4.0
_EASY_POWER: Final = 1.5
"""Background that is told from faces counts less; hands and balls that look like faces count in full."""


def detector_loss(cells: Tensor, batch: DetectorBatch, grid: Tensor) -> dict[str, Tensor]:
    """Varifocal loss on the score (Zhang et al. 2021), distance-IoU on the box, smooth L1 on the landmarks.

    Args:
        cells: The network's output, shape (N, cells, 15), scores as logits.
        batch: What it should have been.
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

    # Good boxes should score higher than bad ones, but every face should score.
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
