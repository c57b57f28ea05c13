"""The worst mistakes of a run, with heat maps."""

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dashboard.spoken import st
from fer.classification import EmotionClassifier
from fer.explanation import annotate_heat, explain
from training.run_files import MISTAKES_FILE

_UNREADABLE: Final = (
    OSError,
    LookupError,
    ValueError,
    EOFError,
    TypeError,
    AttributeError,  # a bare .npy file instead of an .npz archive
    SyntaxError,  # numpy parses headers as Python literals
    MemoryError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)
"""Errors that numpy and ``zipfile`` raise for damaged files."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """One misclassified image.

    Attributes:
        crop: The network's input, ``uint8`` of shape (C, S, S).
        target: True class.
        predicted: Predicted class.
        confidence: Confidence of the prediction, in [0, 1].
        name: Name of the image in its data set.
    """

    crop: NDArray[np.uint8]
    target: str
    predicted: str
    confidence: float
    name: str

    def image(self) -> NDArray[np.uint8]:
        """Return the crop as RGB ``uint8`` of shape (S, S, 3)."""
        planes = self.crop if self.crop.shape[0] == 3 else np.repeat(self.crop, 3, axis=0)
        return np.ascontiguousarray(planes.transpose(1, 2, 0))


def read_mistakes(folder: Path) -> list[Mistake]:
    """Return the stored mistakes of a run, most confident first; empty if none are stored.

    Raises:
        ValueError: The file is invalid.
    """
    path = folder / MISTAKES_FILE
    if not path.is_file():
        return []
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            crops = stored["crops"]
            crops = crops[:, None] if crops.ndim == 3 else crops
            columns = (stored["target"], stored["predicted"], stored["confidence"], stored["name"])
            if crops.ndim != 4 or crops.shape[1] not in (1, 3) or crops.dtype.kind not in "uif":
                raise ValueError(f"expected crops of one or three channels, got shape {crops.shape}")
            mistakes = [
                Mistake(crop.astype(np.uint8), str(target), str(predicted), float(confidence), str(name))
                for crop, target, predicted, confidence, name in zip(crops, *columns, strict=True)
            ]
    except _UNREADABLE as error:
        raise ValueError(f"{path.name} cannot be read ({error}); train again to rewrite it") from error
    return sorted(mistakes, key=lambda mistake: -mistake.confidence)


def filter_mistakes(
    mistakes: list[Mistake], target: str | None = None, predicted: str | None = None
) -> list[Mistake]:
    """Return the mistakes of a true and a predicted class; None for any class."""
    return [
        mistake
        for mistake in mistakes
        if (target is None or mistake.target == target)
        and (predicted is None or mistake.predicted == predicted)
    ]


def heat_map_images(weights: Path, mistakes: Sequence[Mistake]) -> Iterator[NDArray[np.uint8]]:
    """Yield each crop with its heat map, RGB ``uint8``, in order.

    Args:
        weights: A weights folder.
        mistakes: The mistakes.
    """
    stamp = (weights / "card.json").stat().st_mtime_ns
    return (_heat_map(weights, stamp, mistake.image()) for mistake in mistakes)


@st.cache_data(max_entries=400, show_spinner=False)
def _heat_map(weights: Path, stamp: int, crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
    classifier = _classifier(weights, stamp)
    return annotate_heat(crop, explain(classifier, crop), side=224)


@st.cache_resource(max_entries=4)
def _classifier(weights: Path, stamp: int) -> EmotionClassifier:  # noqa: ARG001 - the stamp is part of the cache key
    return EmotionClassifier(weights)
