"""The detector's network, targets and loss: dense 3×3 convolutions, three strides, one shared head."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import distance_box_iou_loss

from fer.detection.decoding import STRIDES, cell_grid
from training.detector.scenes import Scene

FIELD_COUNT: Final = 15
"""Values per cell: score, distances to left, top, right, bottom, then five landmarks as x, y."""

_CHANNELS: Final = (16, 24, 48, 96, 96)
_NECK: Final = 48

_BOX_WEIGHT: Final = 2.0
_LANDMARK_WEIGHT: Final = 4.0
_EASY_POWER: Final = 1.5
"""Exponent that reduces the weight of easy background; hard negatives such as hands keep their weight."""


class KvFaceNetwork(nn.Module):
    """Anchor-free face detector without depthwise convolutions, which are slow on a CPU.

    Takes ``uint8`` RGB of shape (N, 3, H, W), sides divisible by the largest stride; returns (N, cells, 15):
    the cells of stride 8, then 16, then 32, each row by row.
    """

    def __init__(self) -> None:
        super().__init__()
        half, quarter, eighth, sixteenth, last = _CHANNELS
        self.stem = nn.Sequential(convolution(3, half, 2), convolution(half, quarter, 2))
        self.stages = nn.ModuleList(
            nn.Sequential(convolution(before, after, 2), Residual(after))
            for before, after in ((quarter, eighth), (eighth, sixteenth), (sixteenth, last))
        )
        self.lateral = nn.ModuleList(nn.Conv2d(channels, _NECK, 1) for channels in (eighth, sixteenth, last))
        self.head = convolution(_NECK, _NECK, 1)
        self.fields = nn.ModuleList(_last_layer() for _ in STRIDES)

    def forward(self, images: Tensor) -> Tensor:
        """Return scores as logits, and boxes and landmarks as ``fer.detection.decoding`` expects them."""
        features = self.stem(images.float() / 127.5 - 1.0)
        levels = []
        for stage in self.stages:
            features = stage(features)
            levels.append(features)
        above = self.lateral[2](levels[2])
        necks = [above]
        for index in (1, 0):
            above = self.lateral[index](levels[index]) + functional.interpolate(above, scale_factor=2.0)
            necks.insert(0, above)
        fields = [layer(self.head(neck)) for layer, neck in zip(self.fields, necks, strict=True)]
        return torch.cat([field.flatten(2) for field in fields], 2).transpose(1, 2)


class ExportedDetector(nn.Module):
    """The network as exported: one image, scores as probabilities."""

    def __init__(self, network: KvFaceNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Return an array of shape (N, cells, 15)."""
        cells = self.network(images)
        return torch.cat([cells[:, :, :1].sigmoid(), cells[:, :, 1:]], 2)


class Residual(nn.Module):
    """Two convolutions, added to their input; keeps the shape (N, channels, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = convolution(channels, channels, 1)
        self.second = convolution(channels, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Return the features with the residual added."""
        added: Tensor = self.second(self.first(features))
        return features + added


def _last_layer() -> nn.Conv2d:
    layer = nn.Conv2d(_NECK, FIELD_COUNT, 1)
    nn.init.normal_(layer.weight, std=0.01)
    bias = torch.zeros(FIELD_COUNT)
    bias[0] = -4.0  # faces are rare: start with low scores
    layer.bias = nn.Parameter(bias)
    return layer


def convolution(before: int, after: int, stride: int) -> nn.Sequential:
    """Return a 3×3 convolution without bias, batch normalisation and ReLU."""
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)
    )


@dataclass(frozen=True, slots=True)
class DetectorBatch:
    """A batch of views with targets for every cell.

    Attributes:
        images: ``uint8`` RGB of shape (N, 3, H, W).
        rows: Shape (N, cells): an index into the faces below, ``BACKGROUND`` or ``LEFT_ASIDE``.
        boxes: All certain faces of the batch, shape (F, 4), pixels.
        landmarks: Shape (F, 5, 2), pixels; NaN where unknown.
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
    offset = offset[batch.landmarks[face].isfinite().all(2).all(1)]  # not every face has known landmarks
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
