"""Types that describe a video: frame, size, length."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

from fer.images import RgbImage

VIDEO_SUFFIXES: Final = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts"}
    | {".wmv", ".flv", ".ogv", ".3gp", ".3g2", ".vob", ".mxf", ".dv", ".y4m", ".h264", ".264", ".hevc"}
    | {".h265", ".265", ".m2v", ".m1v", ".mpe", ".mpv", ".asf", ".f4v", ".ivf", ".mjpeg", ".mjpg", ".qt"}
    | {".mod", ".tod", ".divx", ".nut"}
)
"""File suffixes that count as videos on the command line."""


class UnreadableVideoError(ValueError):
    """A video that cannot be opened, has no frames, or is too large."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One image of a stream.

    Attributes:
        image: RGB, upright.
        timestamp_s: Seconds since the start of the file, or of the monotonic clock for a live stream.
    """

    image: RgbImage = field(repr=False)
    timestamp_s: float


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """Properties that a video file declares.

    Attributes:
        width: Width of the upright frame with square pixels.
        height: Height of the upright frame.
        duration_s: Length in seconds; None if not declared.
        frame_rate: Mean frames per second; None if not declared.
        codec: Codec of the video track.
    """

    width: int
    height: int
    duration_s: float | None
    frame_rate: float | None
    codec: str


def is_video_name(path: Path) -> bool:
    """Return whether a file name has a video suffix."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def rgb_from_frame(
    frame: av.VideoFrame, pixel_aspect: float = 1.0, reformatter: VideoReformatter | None = None
) -> RgbImage:
    """Convert a decoded frame to RGB, upright by the display matrix.

    Args:
        frame: Frame from the decoder.
        pixel_aspect: Width of a stored pixel divided by its height; the result has square pixels.
        reformatter: Shared by all frames of a video, since each instance starts its own threads.
    """
    width = max(round(frame.width * pixel_aspect), 1)
    reformatter = reformatter or VideoReformatter()
    converted = reformatter.reformat(frame, width=width, height=frame.height, format="rgb24")
    image: Any = converted.to_ndarray()
    return np.ascontiguousarray(_as_displayed(image, frame))


def fit_into(image: RgbImage, width: int, height: int) -> RgbImage:
    """Scale an image to fit into this size, keeping its aspect ratio, with black bars."""
    if image.shape[:2] == (height, width):
        return image
    scale = min(width / image.shape[1], height / image.shape[0])
    inner_wh = max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1)
    fitted = np.zeros((height, width, 3), np.uint8)
    left, top = (width - inner_wh[0]) // 2, (height - inner_wh[1]) // 2
    fitted[top : top + inner_wh[1], left : left + inner_wh[0]] = cv2.resize(
        image, inner_wh, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    )
    return fitted


def _as_displayed(image: RgbImage, frame: av.VideoFrame) -> RgbImage:
    """Rotate and mirror by the display matrix; ``frame.rotation`` ignores mirroring."""
    side_data: Any = frame.side_data
    matrix = next((data for data in side_data if data.type.name == "DISPLAYMATRIX"), None)
    if matrix is None:
        return image
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5]  # x' = a x + c y, y' = b x + d y
    if abs(int(b)) > abs(int(a)):
        image, right, down = image.transpose(1, 0, 2), c, b
    else:
        right, down = a, d
    return image[:: -1 if down < 0 else 1, :: -1 if right < 0 else 1]
