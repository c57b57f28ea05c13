"""Read the newest frame of a camera or network stream, reconnecting if it is interrupted."""

import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import av
import cv2

from fer.images import RgbImage
from fer.printable import hide_password
from fer.video.frames import Frame, rgb_from_frame

ADDRESS: Final = re.compile(r"^(rtsps?|https?|rtmps?|udp|tcp|srt|rtp)://", re.IGNORECASE)
"""Schemes of network streams."""

_FIRST_WAIT_S: Final = 0.5
_LONGEST_WAIT_S: Final = 30.0
_OPEN_TIMEOUT_S: Final = 10.0
_READ_TIMEOUT_S: Final = 5.0
_CLOSE_S: Final = 2.0

_MOST_LAG_S: Final = 1.0
"""With more lag, only key frames are decoded until the reader has caught up."""

_JUMP_S: Final = 5.0
_FORGET: Final = 1e-3
_IDLE_WINDOW_S: Final = 1.0
_IDLE_SHARE: Final = 0.1


@dataclass(frozen=True, slots=True)
class _Picture:
    """A decoded frame; converted to RGB only on request."""

    frame: Any
    timestamp_s: float

    def rgb(self) -> RgbImage:
        if isinstance(self.frame, av.VideoFrame):
            return rgb_from_frame(self.frame)
        image: RgbImage = self.frame  # from a camera, already RGB
        return image


class LiveStream:
    """A reader that reads a camera or a network stream in its own thread and keeps the newest frame only.

    An interrupted stream is reopened after a pause that doubles up to half a minute. If decoding is slower
    than the stream, frames are dropped rather than delayed.
    ``next_frame`` and ``close`` are called from one other thread.

    Args:
        source: A camera number, or an address such as ``rtsp://…`` or ``http://…``.

    Raises:
        ValueError: Neither a number nor an address with a known scheme.
    """

    def __init__(self, source: str) -> None:
        if not (source.isdecimal() or ADDRESS.match(source)):
            raise ValueError(
                "expected a camera's number such as 0, or an address such as rtsp://…, "
                f"got {hide_password(source)!r}; to analyse a recorded video, use 'python -m fer FILE'"
            )
        self.source = source
        self.name = hide_password(source)
        self._news = threading.Condition()
        self._newest: _Picture | None = None
        self._problem: str | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stream", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def problem(self) -> str | None:
        """Reason why no frames arrive at the moment; None while they do."""
        return self._problem

    def next_frame(self, timeout_s: float) -> Frame | None:
        """Return the newest frame not yet returned; None if none arrives in time."""
        with self._news:
            self._news.wait_for(lambda: self._newest is not None or self._closing.is_set(), timeout_s)
            picture, self._newest = self._newest, None
        return None if picture is None else Frame(picture.rgb(), picture.timestamp_s)

    def close(self) -> None:
        """Stop reading; wait at most two seconds for a thread that is blocked by the network."""
        self._closing.set()
        with self._news:
            self._news.notify_all()
        self._thread.join(_CLOSE_S)

    def _run(self) -> None:
        wait_s = _FIRST_WAIT_S
        while not self._closing.is_set():
            try:
                for picture in _pictures(self.source):
                    if self._closing.is_set():
                        return
                    wait_s = _FIRST_WAIT_S
                    with self._news:
                        self._newest, self._problem = picture, None
                        self._news.notify_all()
                self._problem = "the stream ended"
            except (av.FFmpegError, OSError, ValueError) as error:
                reason = str(getattr(error, "strerror", None) or error)
                self._problem = reason.replace(self.source, self.name)
            self._closing.wait(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)


def _pictures(source: str) -> Iterator[_Picture]:
    yield from _camera(int(source)) if source.isdecimal() else _network(source)


def _camera(number: int) -> Iterator[_Picture]:
    spoken = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # errors are reported once, below
    try:
        camera = cv2.VideoCapture(number)
    finally:
        cv2.utils.logging.setLogLevel(spoken)
    try:
        if not camera.isOpened():
            raise OSError(f"camera {number} cannot be opened")
        while True:
            is_read, image_bgr = camera.read()
            if not is_read:
                return
            yield _Picture(cv2.cvtColor(image_bgr, cv2.COLOR_BGR2RGB), time.monotonic())
    finally:
        camera.release()


def _network(address: str) -> Iterator[_Picture]:
    options = {"rtsp_transport": "tcp", "fflags": "nobuffer"} if address.lower().startswith("rtsp") else {}
    with av.open(address, options=options, timeout=(_OPEN_TIMEOUT_S, _READ_TIMEOUT_S)) as container:
        if not container.streams.video:
            raise OSError("it has no video track")
        stream = container.streams.video[0]
        lag = LagMeter()
        is_skipping = False
        for packet, waited_s in _timed(container.demux(stream)):
            media_s = None if packet.dts is None else float(packet.dts * packet.time_base)
            is_late = lag.update(media_s, time.monotonic(), waited_s) > _MOST_LAG_S
            if is_late or packet.is_keyframe:
                is_skipping = is_late  # other frames need an unbroken sequence
            if is_skipping and not packet.is_keyframe:
                continue
            try:
                frames = packet.decode()
            except av.InvalidDataError:
                continue  # a packet was lost in transit
            for frame in frames:
                yield _Picture(frame, time.monotonic())


def _timed(packets: Iterator[Any]) -> Iterator[tuple[Any, float]]:
    """Yield each packet with the seconds spent waiting for it."""
    asked_s = time.monotonic()
    for packet in packets:
        yield packet, time.monotonic() - asked_s
        asked_s = time.monotonic()


class LagMeter:
    """A meter of how far a reader is behind a stream, from the stream's timestamps and the clock.

    The smallest delay seen so far counts as no lag; it decays slowly, since clocks drift. A reader that
    spends time waiting has no lag: if the sender paused, or sends more slowly than its timestamps claim,
    dropping frames would not help.
    """

    def __init__(self) -> None:
        self._media_s: float | None = None
        self._played_s = 0.0
        self._clock_s = 0.0
        self._best_s: float | None = None
        self._window_start_s: float | None = None
        self._waited_s = 0.0

    def update(self, media_s: float | None, clock_s: float, waited_s: float) -> float:
        """Add a packet and return the lag in seconds.

        Args:
            media_s: Stream time; None or a jump, as between repeated files, counts as no progress.
            clock_s: Time by the monotonic clock.
            waited_s: Time the reader waited for the packet, in seconds.
        """
        if media_s is not None:
            if self._media_s is not None and 0 <= media_s - self._media_s < _JUMP_S:
                self._played_s += media_s - self._media_s
            elif self._media_s is not None:
                self._best_s = None  # times before and after a jump cannot be compared
            self._media_s = media_s
        behind_s = clock_s - self._played_s
        if self._was_idle(clock_s, waited_s) or self._best_s is None:
            self._best_s = behind_s
        else:
            self._best_s = min(self._best_s + _FORGET * (clock_s - self._clock_s), behind_s)
        self._clock_s = clock_s
        return behind_s - self._best_s

    def _was_idle(self, clock_s: float, waited_s: float) -> bool:
        """Return whether a time window ends here with a considerable share of waiting."""
        self._waited_s += waited_s
        if self._window_start_s is None:
            self._window_start_s = clock_s
        length_s = clock_s - self._window_start_s
        if length_s < _IDLE_WINDOW_S:
            return False
        is_idle = self._waited_s > _IDLE_SHARE * length_s
        self._window_start_s, self._waited_s = clock_s, 0.0
        return is_idle
