"""Finds the faces of a recorded video's frames by looking around those of the frame before."""

from typing import Final

from fer.detection import FaceDetector
from fer.faces import Detection
from fer.local_search import drop_doubles, search_around
from fer.video import Frame

_SCAN_EVERY_S: Final = 0.2
"""Longest time for which a newcomer may go unseen, in seconds; at a cut a newcomer is shown at once."""

_SAME_FACE: Final = 0.3

_MOST_SEARCHES: Final = 2
"""Around more faces the whole frame is cheaper: a search costs about a quarter of it."""


class FaceFollower:
    """One video's finder; the same video gives the same faces on every machine.

    The whole frame is searched every fifth of a second, whenever a face of the frame before is lost, and
    always with detectors that are as quick on the whole frame. Belongs to one stream and one thread.

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
        """Whether a frame's answer depends on the frame before."""
        return self._close_up is not self._detector

    def find(self, frame: Frame) -> list[Detection]:
        """The faces of the next frame, largest first; an empty list when there are none."""
        found = self._search(frame)
        if found is None:
            found = self._scan(frame)
        self._last = found
        return found

    def _scan(self, frame: Frame) -> list[Detection]:
        """In the whole frame, and around those whom that misses: a head that turned slowly is still there."""
        found = list(self._detector.detect(frame.image))
        is_next = 0 <= frame.timestamp_s - self._scanned_s < 2 * _SCAN_EVERY_S
        self._scanned_s = frame.timestamp_s
        if self.is_following and is_next:
            for before in self._last:
                if all(before.box.iou(detection.box) < _SAME_FACE for detection in found):
                    detection = search_around(self._close_up, frame.image, before)
                    found.extend([] if detection is None else [detection])
            found = drop_doubles(found)
        return sorted(found, key=lambda face: -face.box.area)

    def _search(self, frame: Frame) -> list[Detection] | None:
        """Around the last faces; None where the whole frame has to be searched."""
        is_due = not 0 <= frame.timestamp_s - self._scanned_s < _SCAN_EVERY_S - 1e-6
        if not self.is_following or is_due or not 0 < len(self._last) <= _MOST_SEARCHES:
            return None
        found = []
        for before in self._last:
            detection = search_around(self._close_up, frame.image, before)
            if detection is None:
                return None
            found.append(detection)
        kept = drop_doubles(found)
        return sorted(kept, key=lambda face: -face.box.area) if len(kept) == len(found) else None
