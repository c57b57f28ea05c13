"""Reads the frames of one stream quickly enough to feel instant, by choosing where to look."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from fer.analysis import FaceAnalyzer
from fer.faces import Detection, Face
from fer.images import RgbImage, as_rgb
from fer.streams.cuts import CutDetector
from fer.streams.local_search import drop_doubles, search_around
from fer.streams.tracking import Expectation, FaceTracker, TrackingSettings


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """Time budget of a frame, and the interval between searches of the whole frame.

    Attributes:
        budget_s: Where searching one frame takes longer, searches are skipped and faces glide on.
        quick_s: Detectors that are good for any size of face and take less search every frame as a whole.
        scan_every_s: While people are followed, the whole frame is searched this often for newcomers.
        rescan_after_s: The same after somebody was lost.
        lost_after_s: People unseen for longer are looked for in whole frames only.
        skip_for_s: Nobody glides on unseen for longer, however slow the machine: frames may come seldom, too.
    """

    budget_s: float = 0.025
    quick_s: float = 0.008
    scan_every_s: float = 0.5
    rescan_after_s: float = 0.1
    lost_after_s: float = 0.4
    skip_for_s: float = 0.15


@dataclass(frozen=True, slots=True)
class FrameCost:
    """Cost of the last frame in seconds: detection, classification and tracking."""

    detect_s: float = 0.0
    classify_s: float = 0.0
    track_s: float = 0.0


class StreamAnalyzer:
    """One stream's reader: searches around the last faces, the whole frame now and then, and skips when slow.

    Belongs to one stream and is used by one thread at a time; the analyzer may be shared and be exchanged.

    Args:
        analyzer: Shared, without memory.
        settings: What a frame may cost.
        tracking: How faces are followed.
        clock: Measures costs, in seconds.
    """

    def __init__(
        self,
        analyzer: FaceAnalyzer,
        settings: StreamSettings | None = None,
        tracking: TrackingSettings | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.settings = settings or StreamSettings()
        self.tracker = FaceTracker(tracking or TrackingSettings(confirm_count=2))
        self.unsure_below: float | None = None
        self.cost = FrameCost()
        self._clock = clock
        self._cuts = CutDetector()
        self.analyzer = analyzer
        self.change_analyzer(analyzer)

    def change_analyzer(self, analyzer: FaceAnalyzer) -> None:
        """Use another detector or classifier from the next frame on; the people stay who they are.

        Resting faces were learned with the classifier before and are forgotten with it.
        """
        if analyzer.classifier is not self.analyzer.classifier:
            self.tracker.forget_rest()
        self.analyzer = analyzer
        self._close_up = analyzer.detector.close_up()
        self._scan_cost, self._search_cost = _Mean(), _Mean()
        self._scanned_s: float | None = None
        self._searched_s: float | None = None
        self._has_lost = False

    def read(self, frame: RgbImage, timestamp_s: float) -> list[Face]:
        """The people in one frame.

        Args:
            frame: RGB ``uint8`` of shape (H, W, 3).
            timestamp_s: When it was taken, by the medium or a monotonic clock; a step back starts anew.

        Returns:
            Largest first, each with a ``track_id`` and a steady prediction.
        """
        frame = as_rgb(frame)
        is_cut = self._cuts.is_cut(frame)
        if is_cut or (self._scanned_s is not None and timestamp_s < self._scanned_s):
            self.tracker.reset()  # nobody here is who they were
            self._scanned_s = self._searched_s = None
        start = self._clock()
        detections = self._find(frame, timestamp_s)
        found = self._clock()
        faces = self.analyzer.read_faces(frame, detections)
        if self.unsure_below is not None:
            faces = [
                replace(face, prediction=replace(face.prediction, unsure_below=self.unsure_below))
                for face in faces
            ]
        read = self._clock()
        people = self.tracker.update(faces, timestamp_s)
        self.cost = FrameCost(found - start, read - found, self._clock() - read)
        return people

    def _find(self, frame: RgbImage, timestamp_s: float) -> list[Detection]:
        """Whole frame when it is due, else around the people who are expected."""
        expected = [
            person
            for person in self.tracker.predict(timestamp_s)
            if person.unseen_s <= self.settings.lost_after_s
        ]
        detections: list[Detection] = []
        if self._is_scan_due(len(expected), timestamp_s):
            start = self._clock()
            detections = list(self.analyzer.detector.detect(frame))
            self._scan_cost.add(self._clock() - start)
            self._scanned_s = self._searched_s = timestamp_s
            self._has_lost = False
        elif self._is_search_due(timestamp_s):
            self._searched_s = timestamp_s
        else:
            return []
        missing = [person for person in expected if not _is_among(person.detection, detections)]
        return drop_doubles(detections + self._search(frame, missing))

    def _search(self, frame: RgbImage, people: Sequence[Expectation]) -> list[Detection]:
        """Around as many people as the budget allows, those unseen for longest first, and all who must be."""
        cost = self._search_cost.value or (self._scan_cost.value or 0.0) / 4  # a guess before the first one
        affordable = max(1, int(self.settings.budget_s / max(cost, 1e-6)))
        found = []
        for rank, person in enumerate(sorted(people, key=lambda person: -person.unseen_s)):
            if rank >= affordable and person.unseen_s < self.settings.skip_for_s:
                break
            start = self._clock()
            detection = search_around(self._close_up, frame, person.detection)
            self._search_cost.add(self._clock() - start)
            if detection is None:
                self._has_lost = True
            else:
                found.append(detection)
        return found

    def _is_scan_due(self, expected_count: int, timestamp_s: float) -> bool:
        cost = self._scan_cost.value
        if self._scanned_s is None or cost is None:
            return True
        if cost <= self.settings.quick_s and self._close_up is self.analyzer.detector:
            return True  # parts would save little and miss newcomers
        elapsed_s = timestamp_s - self._scanned_s
        is_slow = cost > self.settings.budget_s
        if expected_count == 0:
            return elapsed_s >= (2 * cost if is_slow else 0.0)
        if self._has_lost and elapsed_s >= max(self.settings.rescan_after_s, 2 * cost if is_slow else 0.0):
            return True
        search = self._search_cost.value
        if search is not None and expected_count * search >= cost:
            return elapsed_s >= (2 * cost if is_slow else 0.0)  # the whole frame is cheaper than its parts
        return elapsed_s >= max(self.settings.scan_every_s, 10 * cost)

    def _is_search_due(self, timestamp_s: float) -> bool:
        """Every frame, but every second one or fewer where the machine is slow."""
        cost = self._search_cost.value or 0.0
        if cost <= self.settings.budget_s or self._searched_s is None:
            return True
        return timestamp_s - self._searched_s >= min(2 * cost, self.settings.skip_for_s)


class _Mean:
    """A running mean of what something costs, None before the first time, which may be warming up."""

    def __init__(self) -> None:
        self.value: float | None = None
        self._count = 0

    def add(self, seconds: float) -> None:
        self._count += 1
        if self.value is None or (self._count == 2 and seconds < self.value):
            self.value = seconds
        else:
            self.value += 0.2 * (seconds - self.value)


def _is_among(expected: Detection, detections: Sequence[Detection]) -> bool:
    return any(expected.box.iou(detection.box) > 0.3 for detection in detections)
