"""Analyse the frames of one stream, live, recorded or watched: search, classify, track, smooth."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from fer.analysis import FaceAnalyzer
from fer.detection import FaceDetector
from fer.faces import Detection, Face
from fer.images import RgbImage, as_rgb
from fer.streams.cuts import CutDetector
from fer.streams.search import BudgetSearch, FrameSearch
from fer.streams.tracking import Expectation, FaceTracker, TrackingSettings


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
