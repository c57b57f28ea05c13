"""The analyzers shared by all visitors of the page."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from fer.analysis import DEFAULT_DETECTOR, FaceAnalyzer
from fer.anonymising import load_eager_detector
from fer.classification import EmotionClassifier
from fer.detection import FaceDetector, detector_names, load_detector
from fer.model_card import CARD_FILE, Head, ModelCard, UnknownModelError, load_card
from fer.model_shelf import DEFAULT_WEIGHTS, find_weights, list_weights, selected_weights


class Analyzers(Protocol):
    """A source of analyzers for the page."""

    @property
    def detectors(self) -> list[str]:
        """Names of the available detectors, the default first."""

    @property
    def weights(self) -> list[str]:
        """Names of the available weights, the default first."""

    def heads(self, weights: str) -> Sequence[Head]:
        """Return the available heads, the default first; empty if the weights cannot be read."""

    def get(
        self,
        weights: str | None = None,
        detector: str | None = None,
        *,
        head: str | None = None,
        live: bool = False,
        thorough: bool = False,
    ) -> FaceAnalyzer:
        """Return the analyzer for these names; None selects the page's default."""

    def finder(self, detector: str | None = None, *, thorough: bool = False) -> FaceDetector:
        """Return the detector for covering faces, which misses as few as possible."""


class AnalyzerShelf:
    """Builds each detector and classifier once, on first use; may be called from several threads.

    Args:
        weights: Path of the page's own weights; None for the default, which may change while the page runs.
        detector: Name of the page's own detector; None for the default.
        head: Default head of the page's own weights, if they have it.
    """

    def __init__(
        self, weights: str | None = None, detector: str | None = None, head: str | None = None
    ) -> None:
        self._given = Path(weights) if weights else None
        self._head = head
        self.detectors = list(dict.fromkeys([detector or DEFAULT_DETECTOR, *detector_names()]))
        self._classifiers: dict[Path, tuple[int, dict[str, EmotionClassifier]]] = {}
        self._detectors: dict[tuple[str, bool, bool], FaceDetector] = {}
        self._finders: dict[tuple[str, bool], FaceDetector] = {}
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type["AnalyzerShelf"], tuple[str | None, str, str | None]]:
        """Pickle the arguments only; another process builds its own models."""
        given = str(self._given) if self._given else None
        return AnalyzerShelf, (given, self.detectors[0], self._head)

    @property
    def weights(self) -> list[str]:
        """Names of the available weights, the default first; never their paths on this machine."""
        first = self._given.name if self._given else selected_weights() or DEFAULT_WEIGHTS
        return list(dict.fromkeys([first, *list_weights()]))

    def heads(self, weights: str) -> tuple[Head, ...]:
        """Return the available heads, the default first; empty if the weights cannot be read."""
        try:
            card = load_card(self._folder(weights))
        except UnknownModelError:
            return ()
        first = card.head(self._own_head(weights, card))
        return (first, *(head for head in card.choices if head.name != first.name))

    def get(
        self,
        weights: str | None = None,
        detector: str | None = None,
        *,
        head: str | None = None,
        live: bool = False,
        thorough: bool = False,
    ) -> FaceAnalyzer:
        """Return the analyzer for these names; None selects the page's default.

        Args:
            weights: One of ``weights``.
            detector: One of ``detectors``.
            head: A head of the weights.
            live: Use the detector settings for live frames.
            thorough: Search photos for small faces at every scale, which is slower.

        Raises:
            UnknownModelError: A name is not in the list, the weights have no such head, or a file is missing.
            WeightsMismatchError: The weights do not match their card.
        """
        _check_choice(weights, self.weights)
        _check_choice(detector, self.detectors)
        with self._lock:
            return FaceAnalyzer(
                self._detector(detector or self.detectors[0], live, thorough),
                self._classifier(weights or self.weights[0], head),
            )

    def finder(self, detector: str | None = None, *, thorough: bool = False) -> FaceDetector:
        """Return the detector for covering faces, which misses as few as possible.

        Args:
            detector: One of ``detectors``; None for the default.
            thorough: Look for small faces in large photos, too.

        Raises:
            UnknownModelError: The name is not in the list, or a file is missing.
        """
        _check_choice(detector, self.detectors)
        name = detector or self.detectors[0]
        with self._lock:
            if (name, thorough) not in self._finders:
                self._finders[name, thorough] = load_eager_detector(name, thorough=thorough)
            return self._finders[name, thorough]

    def _detector(self, name: str, live: bool, thorough: bool) -> FaceDetector:
        key = name, live, thorough
        if key not in self._detectors:
            self._detectors[key] = load_detector(name, live=live, thorough=thorough)
        return self._detectors[key]

    def _classifier(self, name: str, head: str | None) -> EmotionClassifier:
        folder = self._folder(name)
        written = (folder / CARD_FILE).stat().st_mtime_ns  # reload weights that were exported again
        if self._classifiers.get(folder, (None,))[0] != written:
            first = EmotionClassifier(folder)
            self._classifiers[folder] = (written, {first.head.name: first})
        by_head = self._classifiers[folder][1]
        first = next(iter(by_head.values()))
        wanted = head or self._own_head(name, first.card) or first.card.default_head
        if wanted not in by_head:
            by_head[wanted] = first.for_head(wanted)
        return by_head[wanted]

    def _folder(self, name: str) -> Path:
        is_given = self._given is not None and name == self._given.name
        return find_weights(self._given if is_given else name)

    def _own_head(self, name: str, card: ModelCard) -> str | None:
        """Return the page's default head; None for other weights, and for newer ones without that head."""
        has_it = name == self.weights[0] and any(head.name == self._head for head in card.heads)
        return self._head if has_it else None


def _check_choice(name: str | None, names: Sequence[str]) -> None:
    """Reject names outside the list: a visitor must not reach other folders of this machine."""
    if name and name not in names:
        raise UnknownModelError(f"no model named {name!r} here; expected one of {', '.join(names)}")
