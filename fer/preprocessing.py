"""Convert crops to the network's input tensor, in training and in inference."""

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fer.cropping import Square, crop_face
from fer.images import RgbImage
from fer.model_card import Preprocessing

LUMA: Final = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in a grey crop (ITU-R BT.601)."""

_GAP: Final = 2.0
"""Side from which blocks are averaged before the filter, relative to the result's: fast for large crops."""


_MOST_PIXELS: Final = 2
"""Side of a crop relative to the network's input above which more pixels only take time."""


def cut_for_network(image: RgbImage, square: Square, preprocessing: Preprocessing) -> RgbImage:
    """Cut a square with the margin of a network, and with no more pixels than it can use.

    Args:
        image: RGB ``uint8`` of shape (H, W, 3).
        square: From ``crop_square``.
        preprocessing: From the model's card.

    Returns:
        RGB ``uint8`` of shape (S, S, 3), for ``prepare_crops``.

    Raises:
        ValueError: The square does not touch the image.
    """
    return crop_face(image, square, preprocessing.margin, largest=_MOST_PIXELS * preprocessing.size)


def prepare_crops(crops: Sequence[RgbImage], preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Resize square crops and convert their colour.

    Shrinking keeps fine detail (Lanczos), enlarging is bilinear; a crop of the right size keeps its pixels.

    Args:
        crops: RGB ``uint8`` squares of any size.
        preprocessing: From the model's card.

    Returns:
        ``uint8`` of shape (N, C, size, size); standardisation is the network's first layer.
    """
    size = preprocessing.size
    batch = np.empty((len(crops), preprocessing.channel_count, size, size), dtype=np.uint8)
    for slot, crop in zip(batch, crops, strict=True):
        if crop.ndim != 3 or crop.shape[0] != crop.shape[1] or crop.shape[2] != 3:
            raise ValueError(f"expected a square RGB crop of shape (S, S, 3), got shape {crop.shape}")
        if preprocessing.colour == "grey":
            slot[0] = _resize(np.asarray(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), dtype=np.uint8), size)
        else:
            slot[:] = _resize(crop, size).transpose(2, 0, 1)
    return batch


def _resize(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    side = image.shape[0]
    if side == size:
        return image
    if side < size:
        return np.asarray(cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
    # The mean of the areas would blur a crop that is hardly larger; OpenCV's Lanczos filter skips pixels.
    picture = Image.fromarray(image).resize((size, size), Image.Resampling.LANCZOS, reducing_gap=_GAP)
    return np.asarray(picture, dtype=np.uint8)
