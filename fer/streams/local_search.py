"""Search for a face around its expected position."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from fer.cropping import Square, crop_face
from fer.detection import FaceDetector
from fer.faces import Box, Detection, Landmarks
from fer.images import RgbImage

_REACH: Final = 2.4
"""Side of the searched square relative to the face: enough for a head's movement in a tenth of a second."""

_SIDE: Final = 120
"""Larger squares are shrunk to this, so that large and small faces take the same time."""

_SMALLEST_OVERLAP: Final = 0.15
_SIZES: Final = (0.6, 1.6)
_SAME_FACE: Final = 0.5


def search_around(detector: FaceDetector, frame: RgbImage, expected: Detection) -> Detection | None:
    """Return the face near its expected position, or None.

    The searched square is turned with the head, so that a detector of upright faces can follow a tilted one.

    Args:
        detector: Any detector; its ``close_up()`` is the fastest choice.
        frame: RGB ``uint8`` of shape (H, W, 3).
        expected: Expected box and roll of the face.
    """
    box = expected.box
    height, width = frame.shape[:2]
    if box.clip(width, height) is None:
        return None
    side = (box.width + box.height) / 2
    square = Square(*box.centre, _REACH * side, expected.roll)
    region = crop_face(frame, square, largest=_SIDE)
    best: Detection | None = None
    best_overlap = _SMALLEST_OVERLAP
    for local in detector.detect(region):
        found = _to_frame(local, square, region.shape[0])
        size = (found.box.width + found.box.height) / 2 / side
        overlap = found.box.iou(box)
        if _SIZES[0] <= size <= _SIZES[1] and overlap > best_overlap:
            best, best_overlap = found, overlap
    return best


def drop_doubles(detections: Sequence[Detection]) -> list[Detection]:
    """Remove duplicate detections of a face, keeping the highest score; the order is preserved."""
    kept: list[Detection] = []
    for detection in sorted(detections, key=lambda detection: -detection.score):
        if all(detection.box.iou(other.box) < _SAME_FACE for other in kept):
            kept.append(detection)
    return [detection for detection in detections if any(detection is other for other in kept)]


def _to_frame(local: Detection, square: Square, region_side: int) -> Detection:
    """Convert a detection from pixels of the searched square to those of the frame."""
    scale = square.side / region_side
    angle = np.radians(square.roll)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * scale
    middle = np.array([region_side, region_side]) / 2
    origin = np.array([square.centre_x, square.centre_y])
    x, y = (turn @ (np.array(local.box.centre) - middle) + origin).tolist()
    half_width, half_height = local.box.width * scale / 2, local.box.height * scale / 2
    landmarks = None
    if local.landmarks is not None:
        landmarks = Landmarks.from_array((local.landmarks.as_array() - middle) @ turn.T + origin)
    return replace(
        local,
        box=Box(x - half_width, y - half_height, x + half_width, y + half_height),
        landmarks=landmarks,
        roll=(local.roll + square.roll + 180) % 360 - 180,
    )
