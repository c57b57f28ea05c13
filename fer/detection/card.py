"""The card of a detector's weights: settings, framing, provenance, figures."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from fer.cropping import Framing
from fer.detection.verifier import Verification
from fer.model_card import read_card, write_card

DETECTOR_CARD_FILE: Final = "detector.json"
"""Differs from a classifier's ``card.json``, so that lists of classifiers skip detectors."""


@dataclass(frozen=True, slots=True)
class DetectorCard:
    """Everything needed to use a detector's weights.

    Attributes:
        name: ``architecture.tag``, the name of the folder.
        architecture: Name of the network.
        least_score: Boxes with lower scores are dropped, in (0, 1); with a verifier, the joint score counts.
        photo_side: Larger photos are shrunk to this long side for detection, in pixels.
        live_side: The same for live frames.
        framing: Map from its boxes to the reference square.
        files: SHA-256 of each file that belongs to the card.
        description: One sentence.
        licence: Licence of the weights.
        data_sets: Name and hash of each data set.
        metrics: Measured figures, copied from the stored report.
        verification: Rule for the verifier's scores; None without a verifier.
    """

    name: str
    architecture: str
    least_score: float
    photo_side: int
    live_side: int
    framing: Framing
    files: Mapping[str, str] = field(default_factory=dict)
    description: str = ""
    licence: str = "MIT"
    data_sets: tuple[Mapping[str, str], ...] = ()
    metrics: Mapping[str, Any] = field(default_factory=dict)
    verification: Verification | None = None

    def __post_init__(self) -> None:
        if not 0.0 < self.least_score < 1.0:
            raise ValueError(f"expected least_score in (0, 1), got {self.least_score}")
        if min(self.photo_side, self.live_side) < 32:
            raise ValueError(f"expected sides of at least 32, got {self.photo_side} and {self.live_side}")

    def save(self, folder: Path) -> None:
        """Write the card as JSON into a folder, under a temporary name first."""
        write_card(folder / DETECTOR_CARD_FILE, self)


def load_detector_card(folder: Path) -> DetectorCard:
    """Read the card of a detector's folder, without touching the weights.

    Raises:
        UnknownModelError: The card is missing or invalid.
    """
    missing = f"no {DETECTOR_CARD_FILE} in {folder}; restore it or run 'python -m training.detector.export'"
    return read_card(DetectorCard, folder / DETECTOR_CARD_FILE, missing)
