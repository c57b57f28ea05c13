"""Video: read timestamped frames from files, cameras and network streams, write annotated H.264 files."""

from fer.video.cameras import LiveStream
from fer.video.files import VideoFile
from fer.video.frames import Frame, UnreadableVideoError, VideoInfo, is_video_name
from fer.video.writing import UnwritableVideoError, VideoWriter

__all__ = [
    "Frame",
    "LiveStream",
    "UnreadableVideoError",
    "UnwritableVideoError",
    "VideoFile",
    "VideoInfo",
    "VideoWriter",
    "is_video_name",
]
