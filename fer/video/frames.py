"""What is said about a video: its frames, its size, its length."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import av
import numpy as np

from fer.images import RgbImage

VIDEO_SUFFIXES: Final = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts"}
    | {".wmv", ".flv", ".ogv", ".3gp", ".vob"}
)
"""Endings that are taken for videos on the command line."""


class UnreadableVideoError(ValueError):
    """A video that cannot be opened, holds no frame, or is too large."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One image of a stream.

    Attributes:
        image: RGB, upright.
        timestamp_s: Since the start of the file, or by the monotonic clock for a live stream.
    """

    image: RgbImage = field(repr=False)
    timestamp_s: float


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a file says about itself.

    Attributes:
        width: Of the upright frame with square pixels.
        height: Of the upright frame.
        duration_s: None where the file does not say.
        frame_rate: Mean frames a second; None where the file does not say.
        codec: Of the picture track.
        has_sound: Whether there is a sound track.
    """

    width: int
    height: int
    duration_s: float | None
    frame_rate: float | None
    codec: str
    has_sound: bool


def is_video_name(path: Path) -> bool:
    """Whether the ending is a video's."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def rgb_from_frame(frame: av.VideoFrame, pixel_aspect: float = 1.0) -> RgbImage:
    """Decoded pixels as RGB, upright by the display matrix.

    Args:
        frame: As the decoder gave it.
        pixel_aspect: Width of a stored pixel over its height; the answer's pixels are square.
    """
    width = max(round(frame.width * pixel_aspect), 1)
    image = frame.to_ndarray(format="rgb24", width=width, height=frame.height)
    turns = round(frame.rotation / 90) % 4  # degrees counter-clockwise, as numpy turns
    return np.ascontiguousarray(np.rot90(image, turns))
