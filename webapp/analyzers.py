"""The analyzers that the page's visitors share."""

import threading
from pathlib import Path
from typing import Protocol

from fer.analysis import DEFAULT_DETECTOR, FaceAnalyzer
from fer.classification import EmotionClassifier
from fer.detection import FaceDetector, detector_names, load_detector
from fer.model_card import CARD_FILE, UnknownModelError
from fer.model_shelf import DEFAULT_WEIGHTS, find_weights, list_weights, selected_weights


class Analyzers(Protocol):
    """A source of analyzers for the page."""

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
        weights: What the page was started with; None for the default, which may change while the page runs.
        detector: The detector the page was started with; None for the default.
    """

    def __init__(self, weights: str | None = None, detector: str | None = None) -> None:
        self._given = Path(weights) if weights else None
        self.detectors = list(dict.fromkeys([detector or DEFAULT_DETECTOR, *detector_names()]))
        self._classifiers: dict[Path, tuple[int, EmotionClassifier]] = {}
        self._detectors: dict[tuple[str, bool], FaceDetector] = {}
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type["AnalyzerShelf"], tuple[str | None, str]]:
        """Another process builds a shelf of its own."""
        return AnalyzerShelf, (str(self._given) if self._given else None, self.detectors[0])

    @property
    def weights(self) -> list[str]:
        """Names to choose from, the page's own first; never where they lie on this machine."""
        first = self._given.name if self._given else selected_weights() or DEFAULT_WEIGHTS
        return list(dict.fromkeys([first, *list_weights()]))

    def get(
        self, weights: str | None = None, detector: str | None = None, *, live: bool = False
    ) -> FaceAnalyzer:
        """The analyzer for a choice.

        Raises:
            UnknownModelError: The choice is not among the names, or what it needs is missing.
            WeightsMismatchError: The weights do not belong to their card.
        """
        # Only names on the lists: a visitor must not reach other folders of this machine.
        for name, names in ((weights, self.weights), (detector, self.detectors)):
            if name and name not in names:
                raise UnknownModelError(f"no model named {name!r} here; expected one of {', '.join(names)}")
        with self._lock:
            return FaceAnalyzer(
                self._detector(detector or self.detectors[0], live),
                self._classifier(weights or self.weights[0]),
            )

    def _detector(self, name: str, live: bool) -> FaceDetector:
        if (name, live) not in self._detectors:
            self._detectors[name, live] = load_detector(name, live=live)
        return self._detectors[name, live]

    def _classifier(self, name: str) -> EmotionClassifier:
        is_given = self._given is not None and name == self._given.name
        folder = find_weights(self._given if is_given else name)
        written = (folder / CARD_FILE).stat().st_mtime_ns  # weights exported anew are loaded anew
        if self._classifiers.get(folder, (None,))[0] != written:
            self._classifiers[folder] = (written, EmotionClassifier(folder))
        return self._classifiers[folder][1]
