"""The card that travels with a detector's weights: settings, framing, provenance, figures."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from fer.cropping import Framing
from fer.detection.verifier import Verification
from fer.json_values import build, parse_json
from fer.model_card import UnknownModelError

DETECTOR_CARD_FILE: Final = "detector.json"
"""Not a classifier's ``card.json``, so that no list of classifiers shows a detector."""

_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class DetectorCard:
    """Everything needed to use a detector's weights.

    Attributes:
        name: ``architecture.tag``, the name of the folder.
        architecture: Which network it is.
        least_score: Less certain boxes are left out, in (0, 1); by the joint score where there is a verifier.
        photo_side: Longer photos are shrunk to this for the search, in pixels.
        live_side: The same for frames of a stream.
        framing: How its boxes map to the reference square.
        files: SHA-256 of each file that belongs to the card.
        description: One sentence.
        licence: Of the weights.
        data_sets: Each with name and hash.
        metrics: Measured figures, copied from the stored report.
        verification: How a closer look at each place counts; None where there is no verifier.
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
        temporary = folder / f".{DETECTOR_CARD_FILE}.tmp"
        text = json.dumps({"format": _FORMAT, **asdict(self)}, indent=2)
        temporary.write_text(text + "\n", encoding="utf-8")
        temporary.replace(folder / DETECTOR_CARD_FILE)


def load_detector_card(folder: Path) -> DetectorCard:
    """Read the card of a detector's folder, without touching the weights.

    Raises:
        UnknownModelError: There is no card, or it cannot be understood.
    """
    path = folder / DETECTOR_CARD_FILE
    try:
        data = parse_json(path.read_bytes())
        if not isinstance(data, dict) or data.pop("format", None) != _FORMAT:
            raise ValueError(f"expected format {_FORMAT}")
        return build(DetectorCard, data)
    except OSError as error:
        raise UnknownModelError(
            f"no {DETECTOR_CARD_FILE} in {folder}; restore it or run 'python -m training.detector.export'"
        ) from error
    except ValueError as error:
        raise UnknownModelError(f"{path} cannot be understood ({error}); export the run again") from error
