"""Write frames as an H.264 file that browsers can play, with the sound of another file."""

from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import av

from fer.files import replaced
from fer.video.frames import Frame
from fer.video.sound import Sound

OUTPUT_SUFFIXES: Final = frozenset({".mp4", ".m4v", ".mov", ".mkv"})

_CLOCK: Final = 90_000  # ticks per second: frames keep their own times, whatever the frame rate
_MOST_SIDE: Final = 16_384  # of an H.264 frame
_QUALITY: Final = "21"


class UnwritableVideoError(OSError):
    """A video that cannot be written."""


class VideoWriter:
    """A writer of frames with their own times; a context manager for one thread.

    The file appears under its name only if everything succeeds. Sound that cannot be copied is dropped with
    an entry in ``notes``, each worded to follow the file's name.

    Args:
        path: Ends in .mp4, .m4v, .mov or .mkv.
        frame_rate: Declared frame rate; the times of the frames are not changed.
        sound_from: A video whose sound is copied; None for no sound.

    Raises:
        UnwritableVideoError: Unknown suffix, or the file cannot be written.
    """

    def __init__(self, path: Path, frame_rate: float | None = None, sound_from: Path | None = None) -> None:
        if path.suffix.lower() not in OUTPUT_SUFFIXES:
            raise UnwritableVideoError(f"expected an output that ends in .mp4, .mov or .mkv, got {path}")
        if sound_from is not None and path.exists() and path.samefile(sound_from):
            raise UnwritableVideoError(f"{path} is the video itself; name another file to write")
        self.path = path
        self._rate = Fraction(frame_rate or 25).limit_denominator(1001)
        self._stack = ExitStack()
        self._stream: Any = None
        self._sound_from = sound_from
        self._sound: Sound | None = None
        self._last_tick = -1
        self.notes: list[str] = []
        try:
            temporary = self._stack.enter_context(replaced(path))
            temporary.touch()  # FFmpeg opens it with the first frame only
            self._container = self._stack.enter_context(
                av.open(str(temporary), "w", options={"movflags": "+faststart"})
            )
        except (av.FFmpegError, OSError, ValueError) as error:
            self._stack.__exit__(type(error), error, error.__traceback__)
            raise _unwritable(path, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish the file, or delete it after an error."""
        try:
            if error is None:
                self._finish()
        except (av.FFmpegError, OSError) as problem:
            self._stack.__exit__(type(problem), problem, problem.__traceback__)
            raise _unwritable(self.path, problem) from problem
        try:
            self._stack.__exit__(kind, error, trace)
        except (av.FFmpegError, OSError) as problem:
            if problem is error:
                raise
            raise _unwritable(self.path, problem) from problem

    def write(self, frame: Frame) -> None:
        """Add a frame; the first one sets the size, an odd last row or column is dropped.

        Raises:
            UnwritableVideoError: The disk is full, or the sizes differ.
        """
        height, width = frame.image.shape[0] & ~1, frame.image.shape[1] & ~1
        try:
            if self._stream is None:
                self._stream = self._open_stream(max(width, 2), max(height, 2))
            tick = max(round(frame.timestamp_s * _CLOCK), self._last_tick + 1)
            picture = av.VideoFrame.from_ndarray(frame.image[: self._stream.height, : self._stream.width])
            picture.pts, picture.time_base = tick, Fraction(1, _CLOCK)
            self._last_tick = tick
            if self._sound is not None:
                self._sound.write_until(frame.timestamp_s)
            self._container.mux(self._stream.encode(picture))
        except (av.FFmpegError, OSError, ValueError) as error:
            raise _unwritable(self.path, error) from error

    def _open_stream(self, width: int, height: int) -> Any:
        if max(width, height) > _MOST_SIDE:
            raise OSError(
                f"H.264 allows at most {_MOST_SIDE} pixels per side, got {width}×{height}; scale it down"
            )
        stream = self._container.add_stream("libx264", rate=self._rate)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, _CLOCK)
        stream.options = {"crf": _QUALITY, "preset": "veryfast"}
        if self._sound_from is not None:  # after the video stream: players expect it first
            self._sound = Sound(self._sound_from, self._container, self._stack, self.notes)
        return stream

    def _finish(self) -> None:
        if self._stream is None:
            raise OSError("no frame was written")
        self._container.mux(self._stream.encode(None))
        if self._sound is not None:
            self._sound.write_until(None)


def _unwritable(path: Path, error: Exception) -> UnwritableVideoError:
    reason = getattr(error, "strerror", None) or error
    return UnwritableVideoError(f"{path} cannot be written ({reason}); no partial file remains")
