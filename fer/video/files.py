"""Read the frames of a recorded video with their presentation times."""

import math
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import av
import cv2
from av.video.reformatter import VideoReformatter

from fer.files import odd_kind
from fer.images import MAX_PIXELS, RgbImage, decoding_bytes
from fer.video.frames import Frame, UnreadableVideoError, VideoInfo, fit_into, rgb_from_frame

CONTAINERS: Final = (
    "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,h264,hevc,m4v,mp3,wav,flac,aac,"
    "mxf,dv,yuv4mpegpipe,ivf,obu,mjpeg,gif,apng,gxf,nut"
)
"""Self-contained formats: a playlist could refer to other local files or to addresses."""


_WITHOUT_SHOWN_TIMES: Final = frozenset({"avi", "h264", "hevc", "m4v", "mpegvideo", "mjpeg"})
"""Formats that store frames in decoding order without presentation times."""


_ASPECTS: Final = (1 / 16, 16.0)
"""Plausible pixel aspect ratios; beyond these, the file is damaged or forged."""

_MOST_SIZES: Final = 3
"""Frame sizes that are named in the notes."""

_CONVERSION_ERRORS: Final = (
    av.FFmpegError,
    cv2.error,
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    TypeError,
    ValueError,
)
"""Errors that PyAV raises for inconsistent files; found by fuzzing."""


class VideoFile:
    """A recorded video that is read once, frame by frame; a context manager for one thread.

    Damaged packets are skipped; ``skipped_count`` is their number. Frames of a different size than the first
    are scaled to fit into its size. ``notes`` list other losses, each worded to follow the file's name.

    Args:
        path: The file; its content decides, not its suffix.
        max_pixels: A larger frame anywhere in the file raises an error.
        max_length_s: So does a later frame, whatever length the file declares.
        max_frames: So does a further frame; forged files hold millions of them in a second.

    Raises:
        UnreadableVideoError: The file is missing, not a video, has only sound, no frame or an unknown codec,
            or is too large.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        max_pixels: int = MAX_PIXELS,
        max_length_s: float = math.inf,
        max_frames: float = math.inf,
    ) -> None:
        self.path = Path(path)
        self._max_pixels = max_pixels
        self._max_length_s = max_length_s
        self._max_frames = max_frames
        self._sizes: set[tuple[int, int]] = set()
        self.skipped_count = 0
        self.notes: list[str] = []
        self._reformatter = VideoReformatter()
        self._container = _open(self.path)
        try:
            self._stream = _picture_track(self._container, self.path)
            self._has_times = self._container.format.name not in _WITHOUT_SHOWN_TIMES
            self._start_s = (self._container.start_time or 0) / av.time_base
            self._rate = float(self._stream.average_rate or self._stream.guessed_rate or 25)
            self._pixel_aspect = self._believed_aspect()
            self._decoded = self._decode()
            self._first = next(self._decoded, None)
            if self._first is None:
                raise UnreadableVideoError(f"{self.path} has no frame that can be decoded; record it again")
            self.info = self._describe(self._first)
        except UnreadableVideoError:
            self._container.close()
            raise
        except _CONVERSION_ERRORS as error:
            self._container.close()
            raise self._contradiction(error) from error
        except BaseException:
            self._container.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._container.close()

    def frames(self) -> Iterator[Frame]:
        """Yield every frame, upright, with strictly increasing times; can be iterated once.

        Raises:
            UnreadableVideoError: A frame is too large, too late, or cannot be converted.
        """
        last_s: float | None = None
        first_dts: int | None = None
        count = 0
        frame, self._first = self._first, None
        while frame is not None:
            count += 1
            if count > self._max_frames:
                raise UnreadableVideoError(
                    f"{self.path} has more than {self._max_frames} frames, the maximum here; cut it into "
                    "shorter pieces"
                )
            timestamp_s: float | None
            if self._has_times:
                timestamp_s = None if frame.time is None else max(0.0, frame.time - self._start_s)
            else:
                first_dts = frame.dts if first_dts is None else first_dts
                timestamp_s = _time_since(first_dts, frame)
            if timestamp_s is None or (last_s is not None and timestamp_s <= last_s):
                # No time, or a step back: the file is faulty, the frame is kept nevertheless.
                timestamp_s = 0.0 if last_s is None else last_s + 1 / self._rate
            last_s = timestamp_s
            if timestamp_s > self._max_length_s:
                raise UnreadableVideoError(
                    f"{self.path} is longer than {self._max_length_s / 60:g} minutes, the "
                    "maximum here; cut it into shorter pieces"
                )
            image = self._convert(frame)
            if image.shape[:2] != (self.info.height, self.info.width):
                self._note_size(image.shape[1], image.shape[0])
                image = fit_into(image, self.info.width, self.info.height)
            yield Frame(image, timestamp_s)
            frame = next(self._decoded, None)

    def _believed_aspect(self) -> float:
        declared = self._stream.sample_aspect_ratio
        aspect = float(declared or 1) or 1.0
        if _ASPECTS[0] <= aspect <= _ASPECTS[1]:
            return aspect
        self.notes.append(f"declares pixels {declared} times as wide as high; they were read as square")
        return 1.0

    def _convert(self, frame: av.VideoFrame) -> RgbImage:
        width, height = round(frame.width * self._pixel_aspect), frame.height
        if width * height > self._max_pixels:
            raise UnreadableVideoError(
                f"{self.path} has a frame of {width}×{height} pixels; at most "
                f"{self._max_pixels / 1e6:.1f} megapixels are read, scale it down first"
            )
        try:
            return rgb_from_frame(frame, self._pixel_aspect, self._reformatter)
        except _CONVERSION_ERRORS as error:
            raise self._contradiction(error) from error

    def _contradiction(self, error: BaseException) -> UnreadableVideoError:
        return UnreadableVideoError(
            f"{self.path} is damaged and cannot be read ({type(error).__name__}); convert it to H.264"
        )

    def _note_size(self, width: int, height: int) -> None:
        if (width, height) in self._sizes or len(self._sizes) > _MOST_SIZES:
            return
        self._sizes.add((width, height))
        if len(self._sizes) <= _MOST_SIZES:
            self.notes.append(
                f"changes its size to {width}×{height}; such frames are scaled to the first size"
            )
        else:
            self.notes.append("changes its size again and again; such frames are scaled to the first size")

    def _decode(self) -> Iterator[av.VideoFrame]:
        packets = self._container.demux(self._stream)
        while (packet := _next_packet(packets)) is not None:
            try:
                frames = packet.decode()
            except av.EOFError:
                return
            except (av.FFmpegError, ArithmeticError, ValueError, TypeError):
                self.skipped_count += 1
                continue
            yield from frames

    def _describe(self, first: av.VideoFrame) -> VideoInfo:
        image = self._convert(first)
        duration = self._container.duration
        return VideoInfo(
            width=image.shape[1],
            height=image.shape[0],
            duration_s=None if duration is None or duration <= 0 else duration / av.time_base,
            frame_rate=None if self._stream.average_rate is None else float(self._stream.average_rate),
            codec=self._stream.codec_context.name,
        )


def _time_since(first_dts: int | None, frame: av.VideoFrame) -> float | None:
    """Return the time by decoding order, which is regular in formats without presentation times."""
    if first_dts is None or frame.dts is None or frame.time_base is None:
        return None
    return float((frame.dts - first_dts) * frame.time_base)


def _next_packet(packets: Iterator[Any]) -> Any:
    """Return the next packet; None at the end, which may come early in a truncated file."""
    try:
        return next(packets, None)
    except av.FFmpegError:
        return None


def _open(path: Path) -> Any:
    if (kind := odd_kind(path)) is not None:
        raise UnreadableVideoError(f"{path} {kind}")
    if not path.exists():
        raise UnreadableVideoError(f"{path} does not exist")
    if path.is_dir():
        raise UnreadableVideoError(f"{path} is a folder, not a video")
    if path.is_file() and path.stat().st_size == 0:
        raise UnreadableVideoError(f"{path} is empty; copy or record it again")
    try:
        return av.open(
            str(path),
            metadata_errors="replace",
            options={"format_whitelist": CONTAINERS, "protocol_whitelist": "file"},
        )
    except PermissionError as error:
        raise UnreadableVideoError(f"{path} cannot be read by this user (permission denied)") from error
    except (av.FFmpegError, OSError, ValueError) as error:
        if decoding_bytes(path):
            raise UnreadableVideoError(
                f"{path} is an image, not a video; give it an image's suffix, such as .jpg or .png"
            ) from error
        raise UnreadableVideoError(
            f"{path} is not a readable video, or its recording was cut off; "
            "expected MP4, MOV, MKV, WebM or AVI"
        ) from error


def _picture_track(container: Any, path: Path) -> Any:
    """Return the default video track, else the first; the cover image of a song does not count."""
    cover = av.stream.Disposition.attached_pic
    tracks = [stream for stream in container.streams.video if not stream.disposition & cover]
    if not tracks:
        raise UnreadableVideoError(f"{path} has sound or data, but no video track")
    stream = next((track for track in tracks if track.disposition & av.stream.Disposition.default), tracks[0])
    context = stream.codec_context
    if context is None or not context.name or context.codec is None:
        raise UnreadableVideoError(f"{path} uses a codec that cannot be decoded here; convert it to H.264")
    if context.width * context.height > MAX_PIXELS:
        raise UnreadableVideoError(
            f"{path} has frames of {context.width}×{context.height} pixels; "
            f"at most {MAX_PIXELS / 1e6:.0f} megapixels are read, scale it down first"
        )
    stream.thread_type = "AUTO"
    return stream
