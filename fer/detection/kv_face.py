"""The project's own detector: small, with five landmarks, for faces turned any way that people hold them."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer.detection.decoding import cell_grid, decode, prepare_image
from fer.faces import Box, Detection, Landmarks
from fer.images import RgbImage

Runner = Callable[[NDArray[np.uint8]], NDArray[Any]]
"""Runs the exported network: (1, 3, H, W) to (1, cells, 15)."""

_OVERLAP = 0.4


def find_faces(run: Runner, image: RgbImage, *, longest_side: int, least_score: float) -> list[Detection]:
    """All faces of a picture, largest first.

    Args:
        run: The network.
        image: RGB ``uint8`` of shape (H, W, 3).
        longest_side: Larger pictures are shrunk to this for the search.
        least_score: Less certain ones are left out.
    """
    batch, enlarge = prepare_image(image, longest_side)
    grid = cell_grid(*batch.shape[2:])
    boxes, points, scores = decode(run(batch)[0], grid, least_score=least_score, overlap=_OVERLAP)
    found = []
    for corners, five, score in zip(
        (boxes * enlarge).tolist(), points * enlarge, scores.tolist(), strict=True
    ):
        landmarks = Landmarks.from_array(five)
        found.append(Detection(Box(*corners), min(score, 1.0), landmarks, landmarks.roll))
    return sorted(found, key=lambda detection: -detection.box.area)
