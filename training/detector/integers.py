"""The exported detector in eight-bit integers, kept where it finds the same faces."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from fer.detection.decoding import prepare_image
from fer.detection.kv_face import find_faces, onnx_runner
from fer.images import RgbImage
from training.detector.evaluation import match
from training.quantisation import quantise_network

LEAST_SHARE: Final = 0.97
"""Part of the boxes of either network that the other has to find, too, for the integers to be kept."""

_RANGE_COUNT: Final = 100
_IOU: Final = 0.6


def quantise_detector(source: Path, target: Path, images: Sequence[RgbImage], longest_side: int) -> None:
    """Write the network in eight-bit integers; the range of every layer is measured on pictures.

    Args:
        source: The network in single precision.
        target: The file to write.
        images: RGB ``uint8`` of shape (H, W, 3), what it usually sees; a hundred of them are used.
        longest_side: Larger pictures are shrunk to this, as in use.
    """
    chosen = images[:: max(len(images) // _RANGE_COUNT, 1)][:_RANGE_COUNT]
    inputs = [{"images": prepare_image(image, longest_side)[0]} for image in chosen]
    quantise_network(source, target, inputs, "MinMax")


def share_alike(first: Path, second: Path, images: Sequence[RgbImage], **settings: Any) -> float:
    """Part of the boxes of two exported networks that both find, in [0, 1]; 1 where there is no box.

    Args:
        first: An exported network.
        second: Another one.
        images: RGB ``uint8`` of shape (H, W, 3).
        settings: For ``find_faces``.
    """
    runners = [onnx_runner(path) for path in (first, second)]
    alike = count = 0
    for image in images:
        one, other = (find_faces(run, image, **settings) for run in runners)
        alike += 2 * sum(column is not None for column in match([face.box for face in one], other, _IOU))
        count += len(one) + len(other)
    return alike / count if count else 1.0
