"""The newest frame of a camera or network stream that may break off and come back."""

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
from fer.video.frames import Frame, rgb_from_frame

ADDRESS: Final = re.compile(r"^(rtsps?|https?|rtmps?|udp|tcp|srt|rtp)://", re.IGNORECASE)
"""What is taken for a network stream."""

_FIRST_WAIT_S: Final = 0.5
_LONGEST_WAIT_S: Final = 30.0
_OPEN_TIMEOUT_S: Final = 10.0
_READ_TIMEOUT_S: Final = 5.0
_CLOSE_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class _Picture:
    """What the decoder gave: turned into RGB only if somebody asks for it."""

    frame: Any
    timestamp_s: float

    def rgb(self) -> RgbImage:
        if isinstance(self.frame, av.VideoFrame):
            return rgb_from_frame(self.frame)
        image: RgbImage = self.frame  # a camera's, RGB already
        return image


class LiveStream:
    """Reads a camera or a network stream on a thread of its own and keeps only the newest frame.

    A stream that breaks off is opened again, after a pause that doubles up to half a minute.
    ``next_frame`` and ``close`` are called from one other thread.

    Args:
        source: A camera's number, or an address such as ``rtsp://…`` or ``http://…``.

    Raises:
        ValueError: Neither a number nor an address of a known kind.
    """

    def __init__(self, source: str) -> None:
        if not (source.isdecimal() or ADDRESS.match(source)):
            raise ValueError(
                "expected a camera's number such as 0, or an address such as rtsp://…, "
                f"got {hide_password(source)!r}"
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
        """Why nothing comes at the moment; None while frames come."""
        return self._problem

    def next_frame(self, timeout_s: float) -> Frame | None:
        """The newest frame that was not given yet; None when none came within the time."""
        with self._news:
            self._news.wait_for(lambda: self._newest is not None or self._closing.is_set(), timeout_s)
            picture, self._newest = self._newest, None
        return None if picture is None else Frame(picture.rgb(), picture.timestamp_s)

    def close(self) -> None:
        """Stop reading; a thread that waits for the network is not waited for longer than two seconds."""
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
                self._problem = str(getattr(error, "strerror", None) or error)
            self._closing.wait(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)


def hide_password(source: str) -> str:
    """The address without what stands before its @, fit to be shown and logged."""
    return re.sub(r"(?<=://)[^/@]*@", "***@", source)


def _pictures(source: str) -> Iterator[_Picture]:
    yield from _camera(int(source)) if source.isdecimal() else _network(source)


def _camera(number: int) -> Iterator[_Picture]:
    camera = cv2.VideoCapture(number)
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
            raise OSError("it holds no picture track")
        stream = container.streams.video[0]
        packets = container.demux(stream)
        for packet in packets:
            try:
                frames = packet.decode()
            except av.InvalidDataError:
                continue  # a packet was lost on the way
            for frame in frames:
                yield _Picture(frame, time.monotonic())
