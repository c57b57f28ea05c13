"""Copy the sound of a video into an annotated copy."""

import ctypes
import errno
import io
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av

from fer.video.files import CONTAINERS

_RATES: Final = frozenset({8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000})
"""Sample rates supported by AAC; other sound is resampled."""

_TRIED_PACKETS: Final = 20

_CUSTOM_ORDER: Final = 2
"""FFmpeg's ``AV_CHANNEL_ORDER_CUSTOM``."""

_LAYOUT_BYTES: Final = 24
"""Of FFmpeg's ``AVChannelLayout``; it begins with the order, and PyAV keeps it behind the object's head."""

_SOUND_ERRORS: Final = (av.FFmpegError, OSError, ValueError, TypeError, LookupError, AttributeError)


class Sound:
    """The sound of a copy: AAC is copied, other codecs are converted to AAC, the rest is dropped with a note.

    Args:
        path: The video with the sound.
        output: The output container, opened for writing.
        stack: Closes the video.
        notes: Receives a sentence about dropped sound.
    """

    def __init__(self, path: Path, output: Any, stack: ExitStack, notes: list[str]) -> None:
        self._output = output
        self._notes = notes
        self._waiting: Any = None
        self._packets: Iterator[Any] = iter(())
        source: Any = stack.enter_context(_opened(path))
        self._start_s = (source.start_time or 0) / av.time_base
        if not source.streams.audio:
            return
        track = source.streams.audio[0]
        problem = _problem(track)
        if problem is not None:
            self._leave_out(problem)
            return
        if track.codec_context.name == "aac" and _can_be_copied(path, output.format.name):
            self._stream = output.add_stream_from_template(track)
            self._packets = self._copied(source, track)
        else:
            rate = track.rate if track.rate in _RATES else 48_000
            self._stream = output.add_stream("aac", rate=rate, layout="stereo")
            self._packets = self._encoded(source, track)

    def write_until(self, time_s: float | None) -> None:
        """Write the sound up to a time; None for all the rest.

        Raises:
            OSError: The disk is full.
        """
        try:
            self._write_until(time_s)
        except _SOUND_ERRORS as error:
            if getattr(error, "errno", None) in {errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO}:
                raise
            self._packets, self._waiting = iter(()), None
            at = "" if time_s is None else f" from {time_s:.1f} s on"
            self._leave_out(f"cannot be kept{at}")

    def _write_until(self, time_s: float | None) -> None:
        while True:
            packet = self._waiting or next(self._packets, None)
            self._waiting = packet
            if packet is None or (time_s is not None and float(packet.pts * packet.time_base) > time_s):
                return
            self._output.mux(packet)
            self._waiting = None

    def _leave_out(self, reason: str) -> None:
        self._notes.append(f"has sound that {reason}; the copy is written without it")

    def _copied(self, source: Any, track: Any) -> Iterator[Any]:
        shift = round(self._start_s / track.time_base)
        next_ticks = 0
        for packet in _intact(source.demux(track)):
            if packet.pts is None or packet.dts is None:
                continue
            if packet.dts - shift < next_ticks:  # joined files restart their times: continue without a gap
                shift = packet.dts - next_ticks
            packet.pts -= shift
            packet.dts -= shift
            next_ticks = packet.dts + max(packet.duration or 1, 1)
            packet.stream = self._stream
            yield packet

    def _encoded(self, source: Any, track: Any) -> Iterator[Any]:
        resampler = av.AudioResampler("fltp", "stereo", self._stream.rate)
        form: tuple[Any, ...] | None = None
        next_sample: int | None = None
        for packet in _intact(source.demux(track)):
            for frame in _decoded(packet):
                found = (frame.format.name, frame.layout.name, frame.sample_rate)
                if form is not None and found != form:  # joined files: the format changes
                    resampler = av.AudioResampler("fltp", "stereo", self._stream.rate)
                form = found
                time_s = None if frame.time is None else max(frame.time - self._start_s, 0.0)
                for piece in resampler.resample(frame):
                    wanted = None if time_s is None else round(time_s * self._stream.rate)
                    if next_sample is None or (
                        wanted is not None and wanted > next_sample + self._stream.rate // 5
                    ):
                        next_sample = wanted or 0  # keep a gap in the sound
                    piece.pts, piece.time_base = next_sample, 1 / Fraction(self._stream.rate)
                    next_sample += piece.samples
                    yield from self._stream.encode(piece)
        if next_sample is None:
            self._leave_out("cannot be decoded")
        yield from self._stream.encode(None)


def _problem(track: Any) -> str | None:
    """Return the reason why a track cannot be converted to AAC; None if it can."""
    context = track.codec_context
    if context is None or not context.name or context.codec is None:
        return "uses a codec that cannot be decoded here"
    return None if context.sample_rate else "declares no sample rate"


def _keep_custom(layout: Any) -> None:
    """Never free a channel layout in an order of the file's own.

    Such an order has a list. PyAV 18.1 copies the layout of a frame or codec context without it: copy and
    original free the same list, which ends the process.
    """
    is_known = type(layout).__basicsize__ == object.__basicsize__ + _LAYOUT_BYTES
    if not is_known or ctypes.c_int.from_address(id(layout) + object.__basicsize__).value == _CUSTOM_ORDER:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(layout))


def _opened(path: Path) -> Any:
    return av.open(
        str(path),
        metadata_errors="replace",
        options={"format_whitelist": CONTAINERS, "protocol_whitelist": "file"},
    )


def _can_be_copied(path: Path, format_name: str) -> bool:
    """Return whether a container accepts the sound unchanged, by trying its beginning in memory."""
    name = format_name.partition(",")[0]
    try:
        with _opened(path) as source, av.open(io.BytesIO(), "w", format=name) as trial:
            track = source.streams.audio[0]
            stream = trial.add_stream_from_template(track)
            layout = track.codec_context.layout
            _keep_custom(layout)
            form = (track.codec_context.sample_rate, layout.name)
            for number, packet in enumerate(source.demux(track)):
                if number == _TRIED_PACKETS or packet.dts is None:
                    break
                frames = _frames(packet)
                if any((frame.sample_rate, frame.layout.name) != form for frame in frames):
                    return False
                packet.pts = packet.dts = number * 1024
                packet.stream = stream
                trial.mux(packet)
    except _SOUND_ERRORS:
        return False
    return True


def _frames(packet: Any) -> list[Any]:
    """Decode a packet's sound.

    Raises:
        av.FFmpegError: It is damaged.
    """
    frames = list(packet.decode())
    for frame in frames:
        _keep_custom(frame.layout)
    return frames


def _decoded(packet: Any) -> list[Any]:
    """Decode a packet; return nothing if it is damaged."""
    try:
        return _frames(packet)
    except av.FFmpegError:
        return []


def _intact(packets: Iterator[Any]) -> Iterator[Any]:
    """Yield the packets up to the end, which may come early in a truncated file."""
    with suppress(av.FFmpegError):
        yield from packets
