"""Decides where the frames of one stream are searched for faces."""

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
"""Tells who is expected where at a time in seconds."""

_SCAN_EVERY_S: Final = 0.2
"""Longest time for which a newcomer may go unseen, in seconds; at a cut a newcomer is shown at once."""

_FOUND_AGAIN: Final = 0.3

_MOST_SEARCHES: Final = 2
"""Around more faces the whole frame is cheaper: a search costs about a quarter of it."""


class FrameSearch(Protocol):
    """Finds the faces of one stream's frames, given in order. Belongs to one stream."""

    def find(self, frame: RgbImage, timestamp_s: float, people: People, /) -> list[Detection]:
        """The faces of the next frame; an empty list when there are none, or it was skipped.

        Args:
            frame: RGB ``uint8`` of shape (H, W, 3).
            timestamp_s: When it was taken.
            people: Asked for the people who are followed.
        """

    def forget(self) -> None:
        """Start anew: nobody is where they were."""


class WholeSearch:
    """Searches every frame as a whole: right where frames are seconds apart.

    Args:
        detector: Shared, without memory.
    """

    def __init__(self, detector: FaceDetector) -> None:
        self._detector = detector

    def find(self, frame: RgbImage, _timestamp_s: float, _people: People) -> list[Detection]:
        """The faces of the frame, largest first."""
        return list(self._detector.detect(frame))

    def forget(self) -> None:
        """Nothing is remembered."""


class FollowingSearch:
    """Searches every frame of a recorded video; the same video gives the same faces on every machine.

    The whole frame is searched every fifth of a second, whenever a face of the frame before is lost, and
    always with detectors that are as quick on the whole frame.

    Args:
        detector: Shared, without memory.
    """

    def __init__(self, detector: FaceDetector) -> None:
        self._detector = detector
        self._close_up = detector.close_up()
        self._last: list[Detection] = []
        self._scanned_s = float("-inf")

    @property
    def is_following(self) -> bool:
        """Whether a frame's answer depends on the frame before; if not, threads may share the search."""
        return self._close_up is not self._detector

    def find(self, frame: RgbImage, timestamp_s: float, _people: People) -> list[Detection]:
        """The faces of the next frame, largest first; an empty list when there are none."""
        found = self._search(frame, timestamp_s)
        if found is None:
            found = self._scan(frame, timestamp_s)
        self._last = found
        return found

    def forget(self) -> None:
        """Search the next frame as a whole: nobody is where they were."""
        self._last = []
        self._scanned_s = float("-inf")

    def _scan(self, frame: RgbImage, timestamp_s: float) -> list[Detection]:
        """In the whole frame, and around those whom that misses: a head that turned slowly is still there."""
        found = list(self._detector.detect(frame))
        is_next = 0 <= timestamp_s - self._scanned_s < 2 * _SCAN_EVERY_S
        self._scanned_s = timestamp_s
        if self.is_following and is_next:
            for before in self._last:
                if all(before.box.iou(detection.box) < _FOUND_AGAIN for detection in found):
                    detection = search_around(self._close_up, frame, before)
                    found.extend([] if detection is None else [detection])
            found = drop_doubles(found)
        return sorted(found, key=lambda face: -face.box.area)

    def _search(self, frame: RgbImage, timestamp_s: float) -> list[Detection] | None:
        """Around the last faces; None where the whole frame has to be searched."""
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


class BudgetSearch:
    """Keeps a live stream quick: around the last faces, the whole frame now and then, nothing when slow.

    Args:
        detector: Shared, without memory.
        budget: What a frame may cost.
        clock: Measures costs, in seconds.
    """

    def __init__(
        self,
        detector: FaceDetector,
        budget: SearchBudget | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.budget = budget or SearchBudget()
        self._detector = detector
        self._close_up = detector.close_up()
        self._clock = clock
        self._scan_cost, self._search_cost = _Mean(), _Mean()
        self.forget()

    def forget(self) -> None:
        """Search the next frame as a whole: nobody is where they were."""
        self._scanned_s: float | None = None
        self._searched_s: float | None = None
        self._has_lost = False

    def find(self, frame: RgbImage, timestamp_s: float, people: People) -> list[Detection]:
        """The faces of a frame: whole when that is due, else around the people who are expected."""
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
        """Around as many people as the budget allows, those unseen for longest first, and all who must be."""
        cost = self._search_cost.value or (self._scan_cost.value or 0.0) / 4  # a guess before the first one
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
        if cost <= self.budget.quick_s and self._close_up is self._detector:
            return True  # parts would save little and miss newcomers
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
        """Every frame, but every second one or fewer where the machine is slow."""
        cost = self._search_cost.value or 0.0
        if cost <= self.budget.budget_s or self._searched_s is None:
            return True
        return timestamp_s - self._searched_s >= min(2 * cost, self.budget.skip_for_s)


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
