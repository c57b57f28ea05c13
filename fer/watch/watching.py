"""Watch a live stream until stopped: analyse, record, raise alerts."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from fer.analysis import FaceAnalyzer
from fer.faces import Face
from fer.streams.search import WholeSearch
from fer.streams.stream import StreamAnalyzer
from fer.streams.tracking import TrackingSettings
from fer.video import Frame
from fer.watch.alerts import Alert, AlertWatch
from fer.watch.log import WatchLog

_GAP_AFTER_S: Final = 2.0
"""A longer time without frames is a gap."""

_WAIT_S: Final = 0.25


class Stream(Protocol):
    """A source of frames, such as :class:`fer.video.LiveStream`."""

    @property
    def problem(self) -> str | None:
        """Reason why no frames arrive at the moment."""

    def next_frame(self, timeout_s: float) -> Frame | None:
        """Return the newest frame not yet returned; None if none arrives in time."""


class StreamNeverStartedError(OSError):
    """A stream without a single frame."""


class Watch:
    """A watch of one stream; used by one thread.

    Args:
        analyzer: An analyzer with a detector for live use.
        log: Receives faces, gaps and alerts.
        alerts: Conditions for alerts.
        every_s: Minimum time between two analysed frames.
        on_alert: Called at an alert with its face and frame; returns the path of a saved image or None.
        on_change: Called with a sentence when the state changes.
    """

    def __init__(
        self,
        analyzer: FaceAnalyzer,
        log: WatchLog,
        *,
        alerts: Sequence[Alert] = (),
        every_s: float = 0.5,
        on_alert: Callable[[Alert, Face, Frame], str | None] | None = None,
        on_change: Callable[[str], None] | None = None,
    ) -> None:
        self._log = log
        self._every_s = every_s
        self._alerts = [AlertWatch(alert) for alert in alerts]
        self._on_alert = on_alert
        self._on_change = on_change
        tracking = TrackingSettings(gap_s=max(1.0, 3 * every_s), hold_s=0.0)
        self._stream = StreamAnalyzer(analyzer, WholeSearch, tracking)
        self._seen_s: float | None = None
        self._has_gap = False
        self._log_problem: str | None = None
        self.faces: list[Face] = []
        self.gap_count = 0

    def run(self, stream: Stream, stop: threading.Event, give_up_s: float | None = None) -> None:
        """Watch until ``stop`` is set.

        Args:
            stream: The open stream.
            stop: Set by another thread or a signal.
            give_up_s: Time to wait for the first frame; None waits forever.

        Raises:
            StreamNeverStartedError: No frame arrived in that time.
            LogError: The log can no longer be written.
        """
        start_s = time.monotonic()
        told: str | None = None
        while not stop.is_set():
            frame = stream.next_frame(_WAIT_S)
            now_s = time.monotonic()
            if frame is not None:
                self.look(frame)
                told = None
                stop.wait(max(frame.timestamp_s + self._every_s - time.monotonic(), 0.0))
                continue
            problem = stream.problem
            if self._seen_s is None:
                if problem and problem != told:
                    self._say(f"no frames yet ({problem}); trying again")
                    told = problem
                if give_up_s is not None and now_s - start_s > give_up_s:
                    raise StreamNeverStartedError(
                        f"no frame within {give_up_s:g} s ({problem or 'no answer'}); "
                        "check that the source is running"
                    )
            else:
                self.miss(now_s, problem)

    def look(self, frame: Frame) -> None:
        """Analyse one frame; its time is by the monotonic clock."""
        wall_s = frame.timestamp_s + _wall_offset_s()
        if self._has_gap:
            self._log.end_gap(wall_s)
            self._has_gap = False
            self._say("frames are arriving again")
        elif self._seen_s is None:
            self._say("watching")
        self._seen_s = frame.timestamp_s
        self.faces = self._stream.read(frame.image, frame.timestamp_s)
        self._log.add_faces(self.faces, wall_s)
        if self._log.problem != self._log_problem:
            self._log_problem = self._log.problem
            self._say(self._log_problem or "the log can be written again")
        for alert in self._alerts:
            for face in alert.update(self.faces, frame.timestamp_s):
                self._say(f"alert {alert.alert} for person {face.track_id}")
                picture = None if self._on_alert is None else self._on_alert(alert.alert, face, frame)
                self._log.add_alert(wall_s, str(alert.alert), face.track_id, picture)

    def miss(self, now_s: float, problem: str | None) -> None:
        """Handle a missing frame; after a while record a gap."""
        if (
            self._has_gap
            or self._seen_s is None
            or now_s - self._seen_s < max(_GAP_AFTER_S, 2 * self._every_s)
        ):
            return
        self._has_gap = True
        self.gap_count += 1
        self.faces = []
        reason = problem or "no frame arrived"
        self._log.begin_gap(self._seen_s + _wall_offset_s(), reason)
        self._say(f"no frames ({reason}); trying again")

    def _say(self, text: str) -> None:
        if self._on_change is not None:
            self._on_change(text)


def _wall_offset_s() -> float:
    """Return the offset from the monotonic clock to the wall clock, which may be set during a watch."""
    return time.time() - time.monotonic()
