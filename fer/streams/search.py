"""Decide where to search the frames of a stream for faces."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from fer.detection import FaceDetector
from fer.faces import Detection
from fer.images import RgbImage
from fer.streams.local_search import drop_doubles, search_around
from fer.streams.tracking import Expectation

People = Callable[[float], Sequence[Expectation]]
"""Returns the expected people and positions at a time in seconds."""

_SCAN_EVERY_S: Final = 0.2
"""Longest time for which a new face may go undetected, in seconds; after a cut it is shown at once."""

_FOUND_AGAIN: Final = 0.3
"""Overlap from which a detection is a face that was known before."""

_MOST_SEARCHES: Final = 2
"""With more faces, searching the whole frame is cheaper: a local search takes about a quarter of it."""


class FrameSearch(Protocol):
    """A search for faces in the successive frames of one stream; one instance per stream."""

    @property
    def is_following(self) -> bool:
        """Whether a frame's result depends on the previous frame; if not, threads may share the search."""

    def find(self, frame: RgbImage, timestamp_s: float, people: People, /) -> list[Detection]:
        """Return the faces of the next frame; an empty list if there are none or the frame is skipped.

        Args:
            frame: RGB ``uint8`` of shape (H, W, 3).
            timestamp_s: Time of the frame.
            people: Returns the tracked people.
        """

    def forget(self) -> None:
        """Reset: earlier positions are no longer valid."""


class WholeSearch:
    """A search of every whole frame, for frames that are seconds apart.

    Args:
        detector: Shared and stateless.
    """

    is_following: Final = False

    def __init__(self, detector: FaceDetector) -> None:
        self._detector = detector

    def find(self, frame: RgbImage, _timestamp_s: float, _people: People) -> list[Detection]:
        """Return the faces of the frame, largest first."""
        return list(self._detector.detect(frame))

    def forget(self) -> None:
        """Do nothing: the search is stateless."""


class FollowingSearch:
    """A search of every frame of a recorded video, with the same result on every machine.

    The whole frame is searched every fifth of a second and whenever a face of the previous frame is lost;
    detectors without a faster close-up search whole frames only.

    Args:
        detector: Shared and stateless.
    """

    def __init__(self, detector: FaceDetector) -> None:
        self._detector = detector
        self._close_up = detector.close_up()
        self._last: list[Detection] = []
        self._scanned_s = float("-inf")

    @property
    def is_following(self) -> bool:
        """Whether the detector has a faster close-up, for searches around known faces."""
        return self._close_up is not self._detector

    def find(self, frame: RgbImage, timestamp_s: float, _people: People) -> list[Detection]:
        """Return the faces of the next frame, largest first; an empty list if there are none."""
        found = self._search(frame, timestamp_s)
        if found is None:
            found = self._scan(frame, timestamp_s)
        self._last = found
        return found

    def forget(self) -> None:
        """Reset: search the whole next frame."""
        self._last = []
        self._scanned_s = float("-inf")

    def _scan(self, frame: RgbImage, timestamp_s: float) -> list[Detection]:
        """Search the whole frame and around the last faces that it misses, such as turned heads."""
        found = list(self._detector.detect(frame))
        is_next = 0 <= timestamp_s - self._scanned_s < 2 * _SCAN_EVERY_S
        self._scanned_s = timestamp_s
        if self.is_following and is_next:
            for before in self._last:
                if not _is_among(before, found):
                    detection = search_around(self._close_up, frame, before)
                    found.extend([] if detection is None else [detection])
            found = drop_doubles(found)
        return sorted(found, key=lambda face: -face.box.area)

    def _search(self, frame: RgbImage, timestamp_s: float) -> list[Detection] | None:
        """Search around the last faces; return None if the whole frame has to be searched."""
        is_due = not 0 <= timestamp_s - self._scanned_s < _SCAN_EVERY_S - 1e-6
        if not self.is_following or is_due or not 0 < len(self._last) <= _MOST_SEARCHES:
            return None
        found = []
        for before in self._last:
            detection = search_around(self._close_up, frame, before)
            if detection is None:
                return None
            found.append(detection)
        kept = drop_doubles(found)
        return sorted(kept, key=lambda face: -face.box.area) if len(kept) == len(found) else None


@dataclass(frozen=True, slots=True)
class SearchBudget:
    """Time budget of a frame, and the interval between searches of the whole frame.

    Attributes:
        budget_s: If searching a frame takes longer, searches are skipped and positions are extrapolated.
        quick_s: Detectors without a close-up variant that take less search every whole frame, unless other
            streams wait.
        scan_every_s: Interval between searches of the whole frame for new faces while people are tracked.
        rescan_after_s: The same after a face was lost.
        lost_after_s: Faces lost for longer are searched in whole frames only.
        skip_for_s: Longest extrapolation without a search, however slow the machine.
    """

    budget_s: float = 0.025
    quick_s: float = 0.008
    scan_every_s: float = 0.5
    rescan_after_s: float = 0.1
    lost_after_s: float = 0.4
    skip_for_s: float = 0.15


class BudgetSearch:
    """A search for live streams within a time budget: around the last faces, at times in the whole frame.

    Args:
        detector: Shared and stateless.
        budget: Time budget of a frame.
        clock: Clock for measuring costs, in seconds.
        is_crowded: Returns whether other streams wait for this machine; whole frames are then searched less
            often, even if that is quick.
    """

    is_following: Final = True

    def __init__(
        self,
        detector: FaceDetector,
        budget: SearchBudget | None = None,
        clock: Callable[[], float] = time.perf_counter,
        is_crowded: Callable[[], bool] = lambda: False,
    ) -> None:
        self.budget = budget or SearchBudget()
        self._is_crowded = is_crowded
        self._detector = detector
        self._close_up = detector.close_up()
        self._clock = clock
        self._scan_cost, self._search_cost = _Mean(), _Mean()
        self.forget()

    def forget(self) -> None:
        """Reset: search the whole next frame."""
        self._scanned_s: float | None = None
        self._searched_s: float | None = None
        self._has_lost = False

    def find(self, frame: RgbImage, timestamp_s: float, people: People) -> list[Detection]:
        """Return the faces of a frame, searched as a whole if due, otherwise around the tracked people."""
        expected = [person for person in people(timestamp_s) if person.unseen_s <= self.budget.lost_after_s]
        detections: list[Detection] = []
        if self._is_scan_due(len(expected), timestamp_s):
            start = self._clock()
            detections = list(self._detector.detect(frame))
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
        """Search around as many people as the budget allows, longest unseen first, and around all overdue."""
        cost = (
            self._search_cost.value or (self._scan_cost.value or 0.0) / 4
        )  # an estimate before the first search
        affordable = max(1, int(self.budget.budget_s / max(cost, 1e-6)))
        found = []
        for rank, person in enumerate(sorted(people, key=lambda person: -person.unseen_s)):
            if rank >= affordable and person.unseen_s < self.budget.skip_for_s:
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
        if cost <= self.budget.quick_s and self._close_up is self._detector and not self._is_crowded():
            return True  # local searches would save little and miss new faces
        elapsed_s = timestamp_s - self._scanned_s
        is_slow = cost > self.budget.budget_s
        if expected_count == 0:
            return elapsed_s >= (2 * cost if is_slow else 0.0)
        if self._has_lost and elapsed_s >= max(self.budget.rescan_after_s, 2 * cost if is_slow else 0.0):
            return True
        search = self._search_cost.value
        if search is not None and expected_count * search >= cost:
            return elapsed_s >= (2 * cost if is_slow else 0.0)  # the whole frame is cheaper than its parts
        return elapsed_s >= max(self.budget.scan_every_s, 10 * cost)

    def _is_search_due(self, timestamp_s: float) -> bool:
        """Return True for every frame, on a slow machine for every second one or fewer."""
        cost = self._search_cost.value or 0.0
        if cost <= self.budget.budget_s or self._searched_s is None:
            return True
        return timestamp_s - self._searched_s >= min(2 * cost, self.budget.skip_for_s)


class _Mean:
    """A running mean of a cost, None before the first measurement, which may include a warm-up."""

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
    return any(expected.box.iou(detection.box) >= _FOUND_AGAIN for detection in detections)
