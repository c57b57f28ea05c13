"""Decode the cells of a detector network into faces, for training and inference."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from fer.images import RgbImage, shrink_blocks

STRIDES: Final = (8, 16, 32)
"""Pixels between neighbouring cells of each level."""

_WARPED_SIDE: Final = 32_767
"""OpenCV's warps refuse sides of this length and more."""

_MOST_CELLS: Final = 1000
"""Maximum number of cells to decode, highest scores first."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Suppression:
    """Rule of non-maximum suppression.

    Attributes:
        overlap: Intersection over union above which the lower-scoring of two boxes is dropped.
        covered: Share of a box that higher-scoring boxes may cover together, even if none of them overlaps it
            enough alone: two faces side by side produce a third box between them. 1 for any.
    """

    overlap: float
    covered: float = 1.0


FACES: Final = Suppression(0.4, 0.65)
"""One box per face, by the detector's own scores."""

CANDIDATES: Final = Suppression(0.6)
"""Candidates of a verifier: in a crowd, faces overlap, and the better box may have the lower score so far."""

VERIFIED: Final = Suppression(0.15)
"""One box per face, by scores that tell a face from a box between two faces; boxes of two scales differ."""


def prepare_image(image: RgbImage, longest_side: int) -> tuple[NDArray[np.uint8], float]:
    """Shrink an image to the search size and pad it with black to a multiple of the strides.

    Args:
        image: RGB ``uint8`` of shape (H, W, 3).
        longest_side: Larger images are shrunk to this, smaller ones keep their size.

    Returns:
        ``uint8`` of shape (1, 3, H', W'), and the scale factor back to the image's pixels.
    """
    height, width = image.shape[:2]
    shrink = min(1.0, longest_side / max(height, width))
    if shrink < 1.0:
        image = _shrink(image, (max(round(width * shrink), 1), max(round(height * shrink), 1)))
    step = STRIDES[-1]
    batch = np.zeros((1, 3, *(-(-side // step) * step for side in image.shape[:2])), dtype=np.uint8)
    batch[0, :, : image.shape[0], : image.shape[1]] = image.transpose(2, 0, 1)
    return batch, 1 / shrink


def _shrink(image: RgbImage, size_wh: tuple[int, int]) -> RgbImage:
    """Average whole blocks, then interpolate: takes a quarter of the time of exact area averaging."""
    times = max(int(min(image.shape[1] / size_wh[0], image.shape[0] / size_wh[1])), 1)
    blocks = shrink_blocks(image, times)
    if max(blocks.shape[:2]) >= _WARPED_SIDE:  # a strip has no whole blocks to average
        return np.asarray(cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    scale_x, scale_y = (
        side / wanted / times for side, wanted in zip(image.shape[1::-1], size_wh, strict=True)
    )
    to_blocks = np.array([[scale_x, 0.0, (scale_x - 1) / 2], [0.0, scale_y, (scale_y - 1) / 2]])
    method = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    small = cv2.warpAffine(blocks, to_blocks, size_wh, flags=method, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(small, dtype=np.uint8)


@lru_cache(maxsize=64)
def cell_grid(height: int, width: int) -> Floats:
    """Return centre x, y and stride of each cell of an image, shape (cells, 3), read-only."""
    levels = []
    for stride in STRIDES:
        y, x = np.mgrid[0 : height // stride, 0 : width // stride].astype(np.float32)
        level = np.stack([(x + 0.5) * stride, (y + 0.5) * stride, np.full_like(x, stride)], axis=-1)
        levels.append(level.reshape(-1, 3))
    grid = np.concatenate(levels)
    grid.setflags(write=False)
    return grid


def decode(
    cells: Floats, grid: Floats, *, least_score: float, suppression: Suppression = FACES
) -> tuple[Floats, Floats, Floats]:
    """Decode cells into boxes with landmarks.

    Args:
        cells: Network output for one image, shape (cells, 15), scores as probabilities.
        grid: The image's ``cell_grid``.
        least_score: Cells with lower scores are dropped.
        suppression: Rule for boxes that overlap.

    Returns:
        Boxes (N, 4) as left, top, right, bottom, landmarks (N, 5, 2) and scores (N,), highest scores first.
    """
    chosen = np.flatnonzero(cells[:, 0] >= least_score)
    chosen = chosen[np.argsort(-cells[chosen, 0], kind="stable")[:_MOST_CELLS]]
    found, where = cells[chosen], grid[chosen]
    centres, strides = where[:, :2], where[:, 2:]
    reach = np.exp(found[:, 1:5].clip(-6, 6)) * strides
    boxes = np.concatenate([centres - reach[:, :2], centres + reach[:, 2:]], axis=1)
    landmarks = centres[:, None] + found[:, 5:].reshape(-1, 5, 2) * strides[:, None]
    kept = suppress(boxes, suppression)
    return boxes[kept], landmarks[kept], found[kept, 0]


def suppress(boxes: Floats, rule: Suppression) -> NDArray[np.intp]:
    """Return the rows that non-maximum suppression keeps of boxes (N, 4) sorted by score, highest first."""
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    hidden = np.zeros_like(areas)
    rest, kept = np.arange(len(boxes)), []
    while len(rest):
        best, rest = rest[0], rest[1:]
        if rule.covered < 1 and hidden[best] > rule.covered * areas[best]:
            continue
        kept.append(best)
        sides = np.minimum(boxes[best, 2:], boxes[rest, 2:]) - np.maximum(boxes[best, :2], boxes[rest, :2])
        shared = sides.clip(0).prod(axis=1)
        hidden[rest] += shared
        rest = rest[shared <= rule.overlap * (areas[best] + areas[rest] - shared)]
    return np.array(kept, dtype=np.intp)
