"""Track people from frame to frame of a stream."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fer.faces import Box, Detection, Face, Prediction
from fer.streams.resting import RestingFace, RestingFaceError, RestLesson, RestStatus
from fer.streams.smoothing import ProbabilitySmoother, Steadiness, SteadyPoint, SteadyPrediction

_VELOCITY_TIME_S: Final = 0.15
"""Time constant of the measured velocity: two to five frames."""

_GLIDE_TIME_S: Final = 1.0
"""Time constant with which an unseen face slows down, in seconds."""

_REACH: Final = 0.6
_REACH_PER_S: Final = 0.8
"""Largest distance of a face from its expected position, in face sides, plus a share per second unseen."""


_MOST_APART_S: Final = 3.0
"""Longest time from one frame to the next for which everybody is kept: otherwise a machine that reads less
than one frame per second would show a new person in every frame, or nobody."""


@dataclass(frozen=True, slots=True)
class TrackingSettings:
    """Settings of the tracker.

    Attributes:
        steadiness: Smoothing of expressions over time.
        gap_s: A face unseen for longer is dropped; if it returns, it gets a new track. Streams with less than
            one frame in this time keep it until their next frame, for up to three seconds.
        hold_s: Time for which a missed face is still reported, at its extrapolated position.
        confirm_count: Frames in which a face must be detected before it is reported; suppresses brief false
            positives.
        max_count: Maximum number of tracks; those unseen for longest are dropped first.
        rest_s: Seconds at the start in which everybody shows a resting face; 0 for none. People present from
            the start are adjusted to their resting faces.
    """

    steadiness: Steadiness = field(default_factory=Steadiness)
    gap_s: float = 1.0
    hold_s: float = 0.3
    confirm_count: int = 1
    max_count: int = 64
    rest_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Expectation:
    """Expected position of a person, and the time since the last detection."""

    track_id: int
    detection: Detection
    unseen_s: float


class FaceTracker:
    """A tracker that assigns each face a ``track_id`` and a smoothed prediction.

    One instance per stream, used by one thread at a time; limited to ``max_count`` people.
    """

    def __init__(self, settings: TrackingSettings | None = None) -> None:
        self.settings = settings or TrackingSettings()
        self._tracks: list[_Track] = []
        self._time_s: float | None = None
        self._next_id = 1
        self._start_s: float | None = None
        self._problem = ""

    def update(self, faces: Sequence[Face], timestamp_s: float) -> list[Face]:
        """Add the faces of one frame.

        Args:
            faces: The detected faces; an empty list if there are none.
            timestamp_s: Time of the frame, by the medium or a monotonic clock; a step back resets the tracks.

        Returns:
            The people detected, and those missed for up to ``hold_s``, largest first, with ``track_id``.
        """
        if self._time_s is not None and timestamp_s < self._time_s:
            self.reset()
        before_s, self._time_s = self._time_s, timestamp_s
        if self._start_s is None:
            self._start_s = timestamp_s
        tracks = [
            track
            for track in self._tracks
            if timestamp_s - track.time_s
            <= (max(self.settings.gap_s, _MOST_APART_S) if track.time_s == before_s else self.settings.gap_s)
        ]
        matched = _match(
            [track.predict(timestamp_s) for track in tracks],
            [timestamp_s - track.time_s for track in tracks],
            faces,
        )
        for index, face in enumerate(faces):
            if index in matched:
                tracks[matched[index]].see(face, timestamp_s)
            else:
                tracks.append(_Track(self._next_id, face, timestamp_s, self.settings.steadiness))
                self._next_id += 1
                if 0 <= timestamp_s - self._start_s < self.settings.rest_s / 2:
                    tracks[-1].lesson = RestLesson(
                        timestamp_s, self._start_s + self.settings.rest_s - timestamp_s
                    )
        self._check_lessons(tracks, timestamp_s)
        tracks.sort(key=lambda track: -track.time_s)
        self._tracks = tracks[: self.settings.max_count]
        shown = [track.face(timestamp_s) for track in self._tracks if self._is_shown(track, timestamp_s)]
        return sorted(shown, key=lambda face: -face.detection.box.area)

    def predict(self, timestamp_s: float) -> list[Expectation]:
        """Return the expected positions of all tracked people at this time, last seen first."""
        return [
            Expectation(track.track_id, track.predict(timestamp_s), timestamp_s - track.time_s)
            for track in self._tracks
        ]

    def reset(self) -> None:
        """Drop all tracks; their numbers are not reused."""
        if any(track.lesson is not None for track in self._tracks):
            self._problem = "the scene changed before two seconds were over; hold still and try again"
        self._tracks = []
        self._time_s = None

    def change_steadiness(self, steadiness: Steadiness) -> None:
        """Change the smoothing, including that of current tracks."""
        self.settings = replace(self.settings, steadiness=steadiness)
        for track in self._tracks:
            track.smoother.steadiness = steadiness

    @property
    def rest(self) -> RestStatus:
        """The people adjusted to a resting face, and the outcome of the last try."""
        adjusted = tuple(sorted(track.track_id for track in self._tracks if track.resting is not None))
        if any(track.lesson is not None for track in self._tracks):
            return RestStatus("learning", adjusted)
        if adjusted:
            return RestStatus("adjusted", adjusted, self._problem)
        return RestStatus("failed" if self._problem else "off", problem=self._problem)

    def learn_rest(self, track_id: int | None = None) -> None:
        """Learn a person's resting face from the next two seconds, and adjust predictions while they stay.

        Args:
            track_id: The person; None for the only person in view.

        Raises:
            RestingFaceError: Nobody or more than one person is in view.
        """
        self._problem = ""
        time_s = 0.0 if self._time_s is None else self._time_s
        there = [track for track in self._tracks if self._is_shown(track, time_s)]
        people = [track for track in there if track_id in (None, track.track_id)]
        if len(people) != 1:
            self._problem = (
                f"expected one person in view, got {len(people)}; let the others step aside and try again"
                if people
                else "expected a face in view, got none; come in front of the camera and try again"
            )
            raise RestingFaceError(self._problem)
        for track in self._tracks:
            track.lesson = None
        people[0].lesson = RestLesson(time_s)
        people[0].problem = ""

    def forget_rest(self) -> None:
        """Remove all adjustments: predictions are the network's own again."""
        self._problem = ""
        for track in self._tracks:
            track.lesson = None
            track.problem = ""
            if track.resting is not None:
                track.adjust(None)

    def _check_lessons(self, tracks: list["_Track"], timestamp_s: float) -> None:
        """Report why learning a resting face failed; all data of a person who left is dropped."""
        for track in {*self._tracks, *tracks}:
            is_gone = track not in tracks
            if track.lesson is not None and (is_gone or track.lesson.is_over(timestamp_s)):
                track.lesson = None
                track.problem = "the person left before two seconds were over; stay in view and try again"
            if track.problem:
                self._problem, track.problem = track.problem, ""

    def _is_shown(self, track: "_Track", timestamp_s: float) -> bool:
        is_confirmed = track.seen_count >= self.settings.confirm_count
        return is_confirmed and timestamp_s - track.time_s <= self.settings.hold_s


class _Track:
    """The track of one person: position, velocity and expression."""

    def __init__(self, track_id: int, face: Face, timestamp_s: float, steadiness: Steadiness) -> None:
        self.track_id = track_id
        self.smoother = ProbabilitySmoother(steadiness)
        self.seen_count = 1
        self.time_s = timestamp_s
        self.lesson: RestLesson | None = None
        self.resting: RestingFace | None = None
        self.problem = ""
        self._velocity = np.zeros(2)
        self._measured = face.detection
        self._point = SteadyPoint()
        self._turn = SteadyPoint(1.0, 3.0)  # calmer: landmarks jitter by degrees, heads turn slowly
        self._take(face, 0.0)

    def see(self, face: Face, timestamp_s: float) -> None:
        """Update the track with a new detection."""
        elapsed_s = timestamp_s - self.time_s
        if elapsed_s > 0:
            moved = np.subtract(face.detection.box.centre, self._measured.box.centre) / elapsed_s
            share = 1 - np.exp(-elapsed_s / _VELOCITY_TIME_S)
            self._velocity = self._velocity + share * (moved - self._velocity)
        self.seen_count += 1
        self.time_s = timestamp_s
        self._take(face, elapsed_s)

    def predict(self, timestamp_s: float) -> Detection:
        """Return the expected position of the face: it keeps moving and slows down."""
        return _glide(self._measured, self._velocity, timestamp_s - self.time_s)

    def face(self, timestamp_s: float) -> Face:
        """Return the face to report for this time."""
        detection = _glide(self._shown, self._velocity, timestamp_s - self.time_s)
        return Face(detection, self._prediction, self.track_id)

    def adjust(self, resting: RestingFace | None) -> None:
        """Use another resting face from the next frame on and reset the smoothing."""
        self.resting = resting
        self.smoother = ProbabilitySmoother(self.smoother.steadiness)

    def _learn(self, lesson: RestLesson, prediction: Prediction) -> None:
        try:
            resting = lesson.add(prediction, self.time_s)
        except RestingFaceError as error:
            self.problem, self.lesson = str(error), None
            return
        if resting is not None:
            self.lesson = None
            self.adjust(resting)

    def _take(self, face: Face, elapsed_s: float) -> None:
        self._measured = face.detection
        if self.lesson is not None:
            self._learn(self.lesson, face.prediction)
        prediction = face.prediction if self.resting is None else self.resting.apply(face.prediction)
        self._prediction: SteadyPrediction = self.smoother.update(prediction, self.time_s)
        box = face.detection.box
        values = np.array([*box.centre, box.width, box.height])
        centre_x, centre_y, width, height = self._point.update(values, elapsed_s, _side(box))
        steadied = Box(
            centre_x - width / 2, centre_y - height / 2, centre_x + width / 2, centre_y + height / 2
        )
        angle = np.radians(face.detection.roll)
        cos, sin = self._turn.update(np.array([np.cos(angle), np.sin(angle)]), elapsed_s)
        roll = float(np.degrees(np.arctan2(sin, cos)))
        self._shown = replace(face.detection, box=steadied, roll=roll)


def _glide(detection: Detection, velocity: NDArray[np.float64], elapsed_s: float) -> Detection:
    """Return the extrapolated detection, without landmarks, which were not measured."""
    if elapsed_s <= 0:
        return detection
    dx, dy = velocity * _GLIDE_TIME_S * (1 - np.exp(-elapsed_s / _GLIDE_TIME_S))
    box = detection.box
    moved = Box(box.left + dx, box.top + dy, box.right + dx, box.bottom + dy)
    return replace(detection, box=moved, landmarks=None)


def _match(
    predicted: Sequence[Detection], unseen_s: Sequence[float], faces: Sequence[Face]
) -> dict[int, int]:
    """Match faces to tracks greedily by overlap and distance: ``{face index: track index}``."""
    pairs = []
    for track_index, expected in enumerate(predicted):
        for face_index, face in enumerate(faces):
            likeness = _likeness(expected.box, face.detection.box, unseen_s[track_index])
            if likeness is not None:
                pairs.append((likeness, face_index, track_index))
    matched: dict[int, int] = {}
    taken: set[int] = set()
    for _, face_index, track_index in sorted(pairs, reverse=True):
        if face_index not in matched and track_index not in taken:
            matched[face_index] = track_index
            taken.add(track_index)
    return matched


def _likeness(expected: Box, found: Box, unseen_s: float) -> float | None:
    """Score the match of a box with the expected one; None if it cannot be the same person."""
    size_ratio = _side(found) / _side(expected)
    distance = float(np.hypot(*np.subtract(found.centre, expected.centre))) / _side(expected)
    reach = _REACH + _REACH_PER_S * unseen_s
    if not 0.5 <= size_ratio <= 2.0 or distance > reach:
        return None
    return expected.iou(found) - distance - abs(float(np.log2(size_ratio)))


def _side(box: Box) -> float:
    return (box.width + box.height) / 2
