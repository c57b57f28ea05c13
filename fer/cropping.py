"""From an image and a detection to the square crop that a card asks for."""

from dataclasses import dataclass

import cv2
import numpy as np

from fer.faces import Detection
from fer.images import RgbImage

MAX_CROP_SIDE = 256
"""Crops of larger faces are shrunk to this side: no network here looks closer."""


@dataclass(frozen=True, slots=True)
class Framing:
    """How a detector's upright boxes map to the reference square, FER2013's tight frame of a face.

    Attributes:
        scale: Side of the reference square as a share of the mean box side.
        shift_x: From the centre of the box to that of the square along the eyes, as a share of the mean box side.
        shift_y: The same from forehead to chin.
    """

    scale: float = 1.0
    shift_x: float = 0.0
    shift_y: float = 0.0


@dataclass(frozen=True, slots=True)
class Square:
    """A square in pixels of the original frame, turned by ``roll`` degrees (positive is clockwise as seen)."""

    centre_x: float
    centre_y: float
    side: float
    roll: float = 0.0


def reference_square(detection: Detection, framing: Framing) -> Square:
    """Where FER2013's frame lies around a detected face."""
    box = detection.box
    mean_side = (box.width + box.height) / 2
    angle = np.radians(detection.roll)
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    dx, dy = framing.shift_x * mean_side, framing.shift_y * mean_side
    x, y = box.centre
    return Square(x + cos * dx - sin * dy, y + sin * dx + cos * dy, framing.scale * mean_side, detection.roll)


def crop_face(image: RgbImage, square: Square, margin: float = 0.0) -> RgbImage:
    """Cut a square out of an image and turn it upright; edge pixels repeat beyond the border.

    Args:
        image: RGB ``uint8`` of shape (H, W, 3).
        square: What to cut.
        margin: What to add on each side, as a share of the side.

    Returns:
        RGB ``uint8`` of shape (S, S, 3), S at most ``MAX_CROP_SIDE``.
    """
    side = max(square.side * (1 + 2 * margin), 1.0)
    size = int(np.clip(round(side), 1, MAX_CROP_SIDE))
    reach = (
        side if square.roll else side / 2
    )  # a turned square needs its corners, and some pixels for bilinear
    left, top = int(np.floor(square.centre_x - reach)) - 2, int(np.floor(square.centre_y - reach)) - 2
    right, bottom = int(np.ceil(square.centre_x + reach)) + 2, int(np.ceil(square.centre_y + reach)) + 2
    height, width = image.shape[:2]
    inside = image[max(top, 0) : max(bottom, 1), max(left, 0) : max(right, 1)]
    if inside.size == 0:
        raise ValueError(f"expected a square that touches the image of {width}×{height} pixels, got {square}")
    origin_x, origin_y = max(left, 0), max(top, 0)

    shrink = min(1.0, MAX_CROP_SIDE / side)
    if shrink < 1.0:
        new_size = (max(round(inside.shape[1] * shrink), 1), max(round(inside.shape[0] * shrink), 1))
        scale_x, scale_y = new_size[0] / inside.shape[1], new_size[1] / inside.shape[0]
        inside = np.asarray(cv2.resize(inside, new_size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    else:
        scale_x = scale_y = 1.0

    # From pixel (u, v) of the crop to a point of the frame, then into the part that was cut out.
    step = side / size
    angle = np.radians(square.roll)
    cos, sin = np.cos(angle) * step, np.sin(angle) * step
    middle = (size - 1) / 2
    frame_x = square.centre_x - 0.5 - (cos - sin) * middle
    frame_y = square.centre_y - 0.5 - (sin + cos) * middle
    to_inside = np.array(
        [
            [cos * scale_x, -sin * scale_x, (frame_x - origin_x + 0.5) * scale_x - 0.5],
            [sin * scale_y, cos * scale_y, (frame_y - origin_y + 0.5) * scale_y - 0.5],
        ]
    )
    crop = cv2.warpAffine(
        inside,
        to_inside,
        (size, size),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(crop, dtype=np.uint8)
