"""The analyzers that the page's visitors share."""

import threading
from pathlib import Path
from typing import Protocol

from fer.analysis import DEFAULT_DETECTOR, DEFAULT_WEIGHTS, FaceAnalyzer, find_weights, list_weights
from fer.classification import EmotionClassifier
from fer.detection import FaceDetector, detector_names, load_detector
from fer.model_card import UnknownModelError


class Analyzers(Protocol):
    """Where the page gets its analyzers from."""

    @property
    def detectors(self) -> list[str]:
        """Names to choose from, the page's own first."""

    @property
    def weights(self) -> list[str]:
        """Names to choose from, the page's own first."""

    def get(
        self, weights: str | None = None, detector: str | None = None, *, live: bool = False
    ) -> FaceAnalyzer:
        """The analyzer for a choice; None for the page's own."""


class AnalyzerShelf:
    """Builds each detector and classifier once, when first asked for; may be called from several threads.

    Args:
        weights: What the page was started with; None for the default.
        detector: The same for the detector.
    """

    def __init__(self, weights: str | None = None, detector: str | None = None) -> None:
        first_weights, first_detector = Path(weights or DEFAULT_WEIGHTS), detector or DEFAULT_DETECTOR
        # Visitors see names, never where something lies on this machine.
        self._weights = {first_weights.name: str(first_weights)} | {
            name: name for name in list_weights() if name != first_weights.name
        }
        self.weights = list(self._weights)
        self.detectors = list(dict.fromkeys([first_detector, *detector_names()]))
        self._classifiers: dict[str, EmotionClassifier] = {}
        self._detectors: dict[tuple[str, bool], FaceDetector] = {}
        self._lock = threading.Lock()

    def get(
        self, weights: str | None = None, detector: str | None = None, *, live: bool = False
    ) -> FaceAnalyzer:
        """The analyzer for a choice.

        Raises:
            UnknownModelError: The choice is not among the names, or what it needs is missing.
            WeightsMismatchError: The weights do not belong to their card.
        """
        # Only names on the lists: a visitor must not reach other folders of this machine.
        weights, detector = weights or self.weights[0], detector or self.detectors[0]
        for name, names in ((weights, self.weights), (detector, self.detectors)):
            if name not in names:
                raise UnknownModelError(f"no model named {name!r} here; expected one of {', '.join(names)}")
        with self._lock:
            if weights not in self._classifiers:
                self._classifiers[weights] = EmotionClassifier(find_weights(self._weights[weights]))
            if (detector, live) not in self._detectors:
                self._detectors[detector, live] = load_detector(detector, live=live)
            return FaceAnalyzer(self._detectors[detector, live], self._classifiers[weights])
