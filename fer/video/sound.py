"""Copy the sound of a video into an annotated copy."""

import errno
import io
import re
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av

from fer.video.files import CONTAINERS

_MOST_CHANNELS: Final = 6
"""More channels often have a custom layout: asking PyAV for such a layout, or just the channel count, frees
memory twice and crashes the process (PyAV 18.1)."""

_PCM: Final = re.compile(r"pcm_[suf](\d+)")

_RATES: Final = frozenset({8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000})
"""Sample rates supported by AAC; other sound is resampled."""

_TRIED_PACKETS: Final = 20

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
        problem = _problem(path, track)
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
                if len(frame.layout.channels) > _MOST_CHANNELS:
                    continue
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
        yield from self._stream.encode(None)


def _problem(path: Path, track: Any) -> str | None:
    """Return the reason why a track cannot be converted to AAC; None if it can."""
    context = track.codec_context
    if context is None or not context.name or context.codec is None:
        return "uses a codec that cannot be decoded here"
    channel_count = _pcm_channel_count(path, context)
    if channel_count is None:
        channel_count = getattr(context, "channels", 0) or 0
    if channel_count > _MOST_CHANNELS:
        return f"has {channel_count} channels, at most {_MOST_CHANNELS} are supported"
    return None if context.sample_rate else "declares no sample rate"


def _pcm_channel_count(path: Path, context: Any) -> int | None:
    """Count the channels of PCM by the size of its first packet; return None for other codecs."""
    match = _PCM.match(context.name)
    if match is None or not context.sample_rate:
        return None
    with _opened(path) as source:
        for packet in _intact(source.demux(source.streams.audio[0])):
            if packet.size and packet.duration:
                sample_count = float(packet.duration * packet.time_base) * context.sample_rate
                return int(float(packet.size) * 8 / int(match[1]) / max(sample_count, 1.0) + 0.5)
    return None


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
            rate, channels = track.codec_context.sample_rate, track.codec_context.channels
            for number, packet in enumerate(source.demux(track)):
                if number == _TRIED_PACKETS or packet.dts is None:
                    break
                frames = packet.decode()
                if any((f.sample_rate, len(f.layout.channels)) != (rate, channels) for f in frames):
                    return False
                packet.pts = packet.dts = number * 1024
                packet.stream = stream
                trial.mux(packet)
    except _SOUND_ERRORS:
        return False
    return True


def _decoded(packet: Any) -> list[Any]:
    """Decode a packet; return nothing if it is damaged."""
    try:
        return list(packet.decode())
    except av.FFmpegError:
        return []


def _intact(packets: Iterator[Any]) -> Iterator[Any]:
    """Yield the packets up to the end, which may come early in a truncated file."""
    with suppress(av.FFmpegError):
        yield from packets
