"""Analyse the frames of one stream, live, recorded or watched: search, classify, track, smooth."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fer.analysis import FaceAnalyzer
from fer.detection import FaceDetector
from fer.faces import Detection, Face
from fer.images import RgbImage, as_rgb
from fer.streams.search import BudgetSearch, FrameSearch
from fer.streams.tracking import Expectation, FaceTracker, TrackingSettings

_SKETCH_POINTS: Final = 32
"""Sample points along each side: enough to identify a scene, too few to react to a moving hand."""

_SAME_SCENE: Final = 0.35
"""Correlation below which two frames show different scenes: a person who moves stays above 0.9."""

_BLANK_DEVIATION: Final = 3.0
"""A frame with a lower standard deviation (of 255) is a covered lens or a fade and is ignored."""


@dataclass(frozen=True, slots=True)
class FrameCost:
    """Cost of the last frame in seconds: detection, classification and tracking."""

    detect_s: float = 0.0
    classify_s: float = 0.0
    track_s: float = 0.0


@dataclass(frozen=True, slots=True)
class NoticedFrame:
    """A frame that was compared with the previous one.

    Attributes:
        image: RGB ``uint8`` of shape (H, W, 3).
        timestamp_s: Time of the frame.
        is_anew: Whether it shows another scene or an earlier time, so that all tracks are reset.
    """

    image: RgbImage
    timestamp_s: float
    is_anew: bool


class StreamAnalyzer:
    """An analyzer of one stream, with a configurable search strategy.

    One instance per stream, used by one thread at a time; the face analyzer may be shared and replaced.
    ``read`` does everything; programs that read ahead call its steps, each for all frames in order.

    Args:
        analyzer: Shared and stateless.
        search: Builds the search for the analyzer's detector; by default one with a time budget for live use.
        tracking: Settings of the tracker.
        clock: Clock for measuring costs, in seconds.
    """

    def __init__(
        self,
        analyzer: FaceAnalyzer,
        search: Callable[[FaceDetector], FrameSearch] = BudgetSearch,
        tracking: TrackingSettings | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.tracker = FaceTracker(tracking or TrackingSettings(confirm_count=2))
        self.unsure_below: float | None = None
        self.cost = FrameCost()
        self._make_search = search
        self._clock = clock
        self._cuts = CutDetector()
        self._time_s: float | None = None
        self.analyzer = analyzer
        self.search = search(analyzer.detector)

    def change_analyzer(self, analyzer: FaceAnalyzer) -> None:
        """Use another detector or classifier from the next frame on; tracks are kept.

        A new classifier discards resting faces, which were learned with the old one.
        """
        if analyzer.classifier is not self.analyzer.classifier:
            self.tracker.forget_rest()
        self.analyzer = analyzer
        self.search = self._make_search(analyzer.detector)

    def read(self, frame: RgbImage, timestamp_s: float) -> list[Face]:
        """Return the people in one frame.

        Args:
            frame: RGB ``uint8`` of shape (H, W, 3).
            timestamp_s: Time of the frame, by the medium or a monotonic clock; a step back resets the tracks.

        Returns:
            Faces, largest first, each with a ``track_id`` and a smoothed prediction.
        """
        noticed = self.notice(frame, timestamp_s)
        start = self._clock()
        detections = self.find(noticed)
        found = self._clock()
        faces = self.name(noticed, detections)
        read = self._clock()
        people = self.follow(noticed, faces)
        self.cost = FrameCost(found - start, read - found, self._clock() - read)
        return people

    def notice(self, frame: RgbImage, timestamp_s: float) -> NoticedFrame:
        """First step: compare a frame with the previous one."""
        image = as_rgb(frame)
        is_back = self._time_s is not None and timestamp_s < self._time_s
        self._time_s = timestamp_s
        return NoticedFrame(image, timestamp_s, self._cuts.is_cut(image) or is_back)

    def find(self, frame: NoticedFrame) -> list[Detection]:
        """Second step: search for faces."""
        if frame.is_anew:
            self.search.forget()
        people = _nobody if frame.is_anew else self.tracker.predict
        return self.search.find(frame.image, frame.timestamp_s, people)

    def name(self, frame: NoticedFrame, detections: list[Detection]) -> list[Face]:
        """Third step: classify the expressions, without smoothing."""
        faces = self.analyzer.read_faces(frame.image, detections)
        if self.unsure_below is None:
            return faces
        return [
            replace(face, prediction=replace(face.prediction, unsure_below=self.unsure_below))
            for face in faces
        ]

    def follow(self, frame: NoticedFrame, faces: list[Face]) -> list[Face]:
        """Last step: track the faces and smooth their predictions."""
        if frame.is_anew:
            self.tracker.reset()
        return self.tracker.update(faces, frame.timestamp_s)


def _nobody(_timestamp_s: float) -> list[Expectation]:
    return []


class CutDetector:
    """A detector that compares each frame with the previous one; one instance per stream."""

    def __init__(self) -> None:
        self._before: NDArray[np.float32] | None = None

    def is_cut(self, frame: RgbImage) -> bool:
        """Return whether this frame shows another scene than the previous one.

        Args:
            frame: RGB ``uint8`` of shape (H, W, 3); a change of size counts as a cut.
        """
        before, now = self._before, _sketch(frame)
        if now is None:
            return False
        self._before = now
        if before is None:
            return False
        return before.shape != now.shape or float((before * now).mean()) < _SAME_SCENE


def _sketch(frame: RgbImage) -> NDArray[np.float32] | None:
    """Return samples of the green channel with mean 0 and deviation 1; None for a blank frame."""
    rows, columns = (max(side // _SKETCH_POINTS, 1) for side in frame.shape[:2])
    samples = frame[rows // 2 :: rows, columns // 2 :: columns, 1].astype(np.float32)
    deviation = float(samples.std())
    return None if deviation < _BLANK_DEVIATION else (samples - samples.mean()) / deviation
