"""Eight-bit versions of a detector's networks, kept only if they decide like those in single precision."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fer.detection.card import DetectorCard
from fer.detection.decoding import CANDIDATES, prepare_image
from fer.detection.kv_face import find_faces, onnx_runner
from fer.detection.verifier import VERIFIER_FILE, VERIFIER_INT8_FILE, FaceVerifier, Verification
from fer.images import RgbImage
from fer.model_card import INT8_FILE, ONNX_FILE, file_hash
from training.detector.evaluation import match
from training.quantisation import quantise_network

log = logging.getLogger(__name__)

LEAST_SHARE: Final = 0.97
"""Minimum share of equal decisions at which an eight-bit network is kept."""

_RANGE_COUNT: Final = 100
_COMPARED_COUNT: Final = 300
_COMPARED_SCORE: Final = 0.5
_CROPS_AT_ONCE: Final = 64
_IOU: Final = 0.6


def add_integers(folder: Path, card: DetectorCard, images: Sequence[RgbImage]) -> DetectorCard:
    """Quantise the networks of a weights folder to eight-bit integers.

    Args:
        folder: The weights folder, with the networks in single precision.
        card: Its card.
        images: Typical images, RGB ``uint8`` of shape (H, W, 3): every second one for the value ranges, the
            others for the comparison.

    Returns:
        The card, with the eight-bit networks that decide alike; the others are not left in the folder.
    """
    ranges, compared = images[::2], images[1::2]
    quantise_detector(folder / ONNX_FILE, folder / INT8_FILE, ranges, card.photo_side)
    shares = {
        INT8_FILE: share_alike(
            folder / ONNX_FILE,
            folder / INT8_FILE,
            compared[:_COMPARED_COUNT],
            longest_side=card.photo_side,
            least_score=_COMPARED_SCORE,
        )
    }
    if card.verification is not None:
        crops, others = (
            _candidate_crops(folder, card, card.verification, part) for part in (ranges, compared)
        )
        if len(crops) and len(others):
            shares[VERIFIER_INT8_FILE] = _quantise_verifier(folder, card, card.verification, crops, others)
    files = dict(card.files)
    for name, share in shares.items():
        log.info("%s decides alike on %.1f %%", name, 100 * share)
        if share < LEAST_SHARE:
            (folder / name).unlink()
        else:
            files[name] = file_hash(folder / name)
    return replace(card, files=files)


def quantise_detector(source: Path, target: Path, images: Sequence[RgbImage], longest_side: int) -> None:
    """Quantise the network to eight-bit integers, with ranges calibrated on images.

    Args:
        source: The network in single precision.
        target: The file to write.
        images: Typical images, RGB ``uint8`` of shape (H, W, 3); a hundred of them are used.
        longest_side: Maximum side; larger images are downscaled, as in use.
    """
    inputs = [{"images": prepare_image(image, longest_side)[0]} for image in _some(images)]
    quantise_network(source, target, inputs, "MinMax")


def _some(images: Sequence[RgbImage]) -> Sequence[RgbImage]:
    return images[:: max(len(images) // _RANGE_COUNT, 1)][:_RANGE_COUNT]


def _quantise_verifier(
    folder: Path,
    card: DetectorCard,
    verification: Verification,
    crops: NDArray[np.uint8],
    others: NDArray[np.uint8],
) -> float:
    """Quantise the verifier; return the share of the other crops on which both networks decide alike."""
    parts = np.array_split(crops.transpose(0, 3, 1, 2), -(-len(crops) // _CROPS_AT_ONCE))
    inputs = [{"crops": np.ascontiguousarray(part)} for part in parts]
    quantise_network(folder / VERIFIER_FILE, folder / VERIFIER_INT8_FILE, inputs, "MinMax")
    one, other = (
        FaceVerifier(folder / name, verification, card.framing).logits(others)
        for name in (VERIFIER_FILE, VERIFIER_INT8_FILE)
    )
    return float(((one > 0) == (other > 0)).mean())


def _candidate_crops(
    folder: Path, card: DetectorCard, verification: Verification, images: Sequence[RgbImage]
) -> NDArray[np.uint8]:
    """Return the verifier's input for the candidates in some of the images, shape (N, side, side, 3)."""
    run = onnx_runner(folder / ONNX_FILE)
    verifier = FaceVerifier(folder / VERIFIER_FILE, verification, card.framing)
    crops = [np.zeros((0, verification.side, verification.side, 3), np.uint8)]
    for image in _some(images):
        places = find_faces(
            run,
            image,
            longest_side=card.photo_side,
            least_score=verification.candidate_score,
            suppression=CANDIDATES,
        )
        height, width = image.shape[:2]
        if inside := [place for place in places if place.box.clip(width, height) is not None]:
            crops += [verifier.crops(image, inside, mirrored=mirrored) for mirrored in (False, True)]
    return np.concatenate(crops)


def share_alike(first: Path, second: Path, images: Sequence[RgbImage], **settings: Any) -> float:
    """Return the share of boxes that two exported networks have in common, in [0, 1]; 1 without any box.

    Args:
        first: An exported network.
        second: Another one.
        images: RGB ``uint8`` of shape (H, W, 3).
        settings: Arguments of ``find_faces``.
    """
    runners = [onnx_runner(path) for path in (first, second)]
    alike = count = 0
    for image in images:
        one, other = (find_faces(run, image, **settings) for run in runners)
        alike += 2 * sum(column is not None for column in match([face.box for face in one], other, _IOU))
        count += len(one) + len(other)
    return alike / count if count else 1.0
