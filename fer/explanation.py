"""Occlusion maps: the change of a prediction when a part of the face is hidden."""

from dataclasses import dataclass
from typing import Final, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from fer.emotions import Label
from fer.faces import Prediction
from fer.images import RgbImage
from fer.model_card import ModelCard
from fer.preprocessing import prepare_crops

_PATCH_SHARE: Final = 0.22
"""Side of the hidden patch as a share of the crop: an eye or half a mouth."""

_STEP_COUNT: Final = 13
"""Positions of the hidden patch along each side."""

_BATCH: Final = 64
_GLOW: Final = np.array([255.0, 196.0, 84.0])


class BatchClassifier(Protocol):
    """A classifier that can be explained, such as ``EmotionClassifier``."""

    @property
    def card(self) -> ModelCard:
        """Card with the network's input format."""

    def probabilities(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Calibrated probabilities of prepared crops, shape (N, outputs)."""

    def predictions(self, probabilities: NDArray[np.float32]) -> list[Prediction]:
        """Convert probabilities to predictions."""


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """The parts of a face that a prediction depends on.

    Attributes:
        emotion: The explained expression: the most probable one.
        confidence: Its probability with the whole face visible, in [0, 1].
        lowest: Its probability with the most important part hidden.
        heat: Shape (S, S), in [0, 1]: drop in probability when this place is hidden, relative to the largest.
    """

    emotion: Label
    confidence: float
    lowest: float
    heat: NDArray[np.float32]


def explain(classifier: BatchClassifier, crop: RgbImage) -> Explanation:
    """Hide one part of a face after another and measure the prediction (Zeiler and Fergus, 2014).

    Works with any engine, since it needs predictions only. Parts are hidden by blurring, which adds no edges.

    Args:
        classifier: The classifier to explain.
        crop: The classifier's input square, RGB ``uint8`` of shape (S, S, 3).
    """
    seen = prepare_crops([crop], classifier.card.preprocessing)
    size = seen.shape[-1]
    blurred = np.stack([cv2.GaussianBlur(channel, (0, 0), size / 8) for channel in seen[0]])
    masks = _masks(size)
    hidden = seen + masks[:, None] * (blurred.astype(np.float32) - seen)
    batch = np.concatenate([seen, np.round(hidden).astype(np.uint8)])
    answers = classifier.predictions(
        np.concatenate(
            [classifier.probabilities(batch[i : i + _BATCH]) for i in range(0, len(batch), _BATCH)]
        )
    )
    whole = answers[0]
    column = whole.labels.index(whole.emotion)
    left = np.array([answer.probabilities[column] for answer in answers[1:]])
    drops = np.clip(whole.confidence - left, 0, None)
    heat = np.tensordot(drops, masks, axes=1) / masks.sum(axis=0)
    heat = np.clip(heat - np.quantile(heat, 0.25), 0, None)  # remove the drop common to all patches
    highest = float(heat.max())
    return Explanation(
        emotion=whole.emotion,
        confidence=whole.confidence,
        lowest=float(min(whole.confidence, left.min())),
        heat=(heat / highest if highest > 1e-6 else np.zeros_like(heat)).astype(np.float32),
    )


def annotate_heat(crop: RgbImage, explanation: Explanation, side: int = 320) -> RgbImage:
    """Return the crop with the important parts lit and the rest dimmed; suits any colour vision.

    Args:
        crop: RGB ``uint8`` of shape (S, S, 3).
        explanation: Explanation of this crop.
        side: Side of the returned image, in pixels.
    """
    face = cv2.resize(crop, (side, side), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    heat = cv2.resize(explanation.heat, (side, side), interpolation=cv2.INTER_CUBIC).clip(0, 1)[:, :, None]
    lit = 0.72 * face + 0.28 * _GLOW
    return np.round(heat * lit + (1 - heat) * 0.38 * face).clip(0, 255).astype(np.uint8)


def _masks(size: int) -> NDArray[np.float32]:
    """Return soft round masks, shape (positions, size, size), in [0, 1], that together cover every pixel."""
    centres = np.linspace(0, size - 1, _STEP_COUNT)
    reach = _PATCH_SHARE * size / 2
    along = np.arange(size)[None] - centres[:, None]
    distance = np.hypot(along[:, None, :, None], along[None, :, None, :])
    masks: NDArray[np.float32] = (1 / (1 + np.exp((distance - reach) / (reach / 5)))).astype(np.float32)
    return masks.reshape(-1, size, size)
