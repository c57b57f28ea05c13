"""Cut the square face crop that a model card specifies."""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from fer.faces import Detection
from fer.images import RgbImage, shrink_blocks

MAX_CROP_SIDE = 256
"""Crops of larger faces are shrunk to this side: no network here needs more."""

MOST_SHIFT: Final = 0.1
"""Largest shift of a crop towards the middle of its image, as a share of its side; much like in trainings."""


@dataclass(frozen=True, slots=True)
class Framing:
    """Map from a detector's upright boxes to the reference square, FER2013's tight frame of a face.

    Attributes:
        scale: Side of the reference square as a share of the mean box side.
        shift_x: Offset from the box's centre to the square's, along the eyes, as a share of that side.
        shift_y: The same from forehead to chin.
    """

    scale: float = 1.0
    shift_x: float = 0.0
    shift_y: float = 0.0


@dataclass(frozen=True, slots=True)
class Square:
    """A square in pixels of the original frame; ``roll`` in degrees, positive is clockwise as seen."""

    centre_x: float
    centre_y: float
    side: float
    roll: float = 0.0


def reference_square(detection: Detection, framing: Framing) -> Square:
    """Return the reference square of a detected face."""
    box = detection.box
    mean_side = (box.width + box.height) / 2
    angle = np.radians(detection.roll)
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    dx, dy = framing.shift_x * mean_side, framing.shift_y * mean_side
    x, y = box.centre
    return Square(x + cos * dx - sin * dy, y + sin * dx + cos * dy, framing.scale * mean_side, detection.roll)


def crop_square(image: RgbImage, detection: Detection, framing: Framing) -> Square:
    """Return the square to cut for a classifier: the reference square, as far as possible inside the image.

    It is no larger than the image, and moved by at most ``MOST_SHIFT`` of its side: repeated edge pixels
    around a face mislead a classifier more than a slightly tighter crop.

    Args:
        image: RGB ``uint8`` of shape (H, W, 3).
        detection: The face.
        framing: Map from the detector's boxes to the reference square.
    """
    square = reference_square(detection, framing)
    height, width = image.shape[:2]
    side = min(square.side, float(max(height, width)))
    centre_x, centre_y = (
        _moved_inside(centre, side, length)
        for centre, length in ((square.centre_x, width), (square.centre_y, height))
    )
    return Square(centre_x, centre_y, side, square.roll)


def hidden_share(image: RgbImage, square: Square) -> float:
    """Return the share of a square's area that lies outside an image, in [0, 1]; its roll is ignored.

    Args:
        image: RGB ``uint8`` of shape (H, W, 3).
        square: Such as that of a face at the border.
    """
    half = square.side / 2
    shown = 1.0
    for centre, length in ((square.centre_x, image.shape[1]), (square.centre_y, image.shape[0])):
        inside = min(centre + half, float(length)) - max(centre - half, 0.0)
        shown *= min(max(inside / square.side, 0.0), 1.0)
    return 1.0 - shown


def _moved_inside(centre: float, side: float, length: int) -> float:
    """Return the centre of an interval, moved towards the middle of [0, length] while it ends outside."""
    half = min(side, length) / 2
    wanted = min(max(centre, half), length - half)
    return centre + min(max(wanted - centre, -MOST_SHIFT * side), MOST_SHIFT * side)


def crop_face(image: RgbImage, square: Square, margin: float = 0.0, largest: int = MAX_CROP_SIDE) -> RgbImage:
    """Cut a square out of an image and turn it upright; edge pixels repeat beyond the border.

    Args:
        image: RGB ``uint8`` of shape (H, W, 3).
        square: The square to cut; an upright one inside the image is cut at whole pixels.
        margin: Margin on each side, as a share of the square's side.
        largest: Larger crops are shrunk to this side.

    Returns:
        RGB ``uint8`` of shape (S, S, 3), S at most ``largest``.

    Raises:
        ValueError: The square does not touch the image.
    """
    height, width = image.shape[:2]
    side = max(square.side * (1 + 2 * margin), 1.0)
    whole = max(round(side), 1)
    if square.roll == 0.0 and whole <= largest:
        left, top = round(square.centre_x - whole / 2), round(square.centre_y - whole / 2)
        if left >= 0 and top >= 0 and left + whole <= width and top + whole <= height:
            return image[top : top + whole, left : left + whole].copy()

    # Process only the part around the square: photos are large, faces small.
    angle = np.radians(square.roll)
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    reach = side / 2 * (abs(cos) + abs(sin)) + 3  # its corners, and two pixels to sample between
    left, right = (int(np.clip(square.centre_x + sign * reach, 0, width)) for sign in (-1, 1))
    top, bottom = (int(np.clip(square.centre_y + sign * reach, 0, height)) for sign in (-1, 1))
    part = image[top:bottom, left:right]
    if part.size == 0:
        raise ValueError(f"expected a square that touches the image of {width}×{height} pixels, got {square}")
    size = min(whole, largest)
    times = max(int(side / size), 1)
    part, scale = shrink_blocks(part, times), 1 / times

    # From pixel (u, v) of the crop to a point of the frame, then to a pixel of the part; pixels have their
    # centres at half coordinates.
    step, middle = side / size, size / 2 - 0.5
    origin_x = square.centre_x - (cos - sin) * step * middle - left
    origin_y = square.centre_y - (sin + cos) * step * middle - top
    to_part = np.array(
        [
            [cos * step * scale, -sin * step * scale, origin_x * scale - 0.5],
            [sin * step * scale, cos * step * scale, origin_y * scale - 0.5],
        ]
    )
    # Linear interpolation would blur a turned face, and a blurred face is classified less well.
    method = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    turned = cv2.warpAffine(part, to_part, (size, size), flags=method, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(turned, dtype=np.uint8)
