"""A recorded video's way to its timeline, with an annotated copy where one is asked for."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from fer.analysis import FaceAnalyzer
from fer.annotation import FaceAnnotator
from fer.faces import Face
from fer.smoothing import Steadiness
from fer.timeline import Timeline
from fer.tracking import FaceTracker, TrackingSettings
from fer.video import Frame, VideoFile, VideoWriter

_DRAWN_FOR_S: Final = 0.3
"""So long a box stays in the annotated copy after its face was missed; the timeline holds no such rows."""

Watcher = Callable[[Frame, list[Face]], None]
"""Told of each frame and its faces, in order; may raise to stop."""


def analyze_video(
    analyzer: FaceAnalyzer,
    video: VideoFile,
    *,
    output: Path | None = None,
    every_s: float = 0.0,
    steadiness: Steadiness | None = None,
    thread_count: int = 2,
    watcher: Watcher | None = None,
) -> Timeline:
    """Look at a whole video.

    Args:
        analyzer: Shared by the threads; one with a detector for live use is fastest.
        video: Just opened.
        output: Where to write an annotated copy with the sound of the video; None for none.
        every_s: Shortest time between two frames that are looked at; 0 for every frame.
        steadiness: How slowly a face's expression may change; None for the tracker's default.
        thread_count: Frames looked at side by side; reading and writing run beside them.
        watcher: Told of every frame that was looked at.

    Returns:
        One row for each face in each frame that was looked at.

    Raises:
        UnwritableVideoError: The copy cannot be written; nothing is left behind.
    """
    steadiness = steadiness or Steadiness()
    tracker = FaceTracker(TrackingSettings(steadiness=steadiness, hold_s=0.0))
    painter = _Painter(steadiness, max(_DRAWN_FOR_S, every_s + 0.1))
    timeline = Timeline(analyzer.classifier.head.emotions)
    with ExitStack() as stack:
        writer = None
        if output is not None:
            writer = stack.enter_context(VideoWriter(output, video.info.frame_rate, video.path))
        pool = stack.enter_context(ThreadPoolExecutor(thread_count, "analyze"))
        stack.callback(pool.shutdown, cancel_futures=True)
        for frame, found in _look(analyzer, video, pool, every_s, thread_count):
            if found is not None:
                faces = tracker.update(found, frame.timestamp_s)
                timeline.add(faces, frame.timestamp_s)
                if watcher is not None:
                    watcher(frame, faces)
            if writer is not None:
                writer.write(painter.paint(frame, found))
    return timeline


class _Painter:
    """Draws the faces, those missed for a moment too."""

    def __init__(self, steadiness: Steadiness, hold_s: float) -> None:
        self._tracker = FaceTracker(TrackingSettings(steadiness=steadiness, hold_s=hold_s))
        self._annotator = FaceAnnotator()
        self._faces: list[Face] = []

    def paint(self, frame: Frame, found: list[Face] | None) -> Frame:
        if found is not None:
            self._faces = self._tracker.update(found, frame.timestamp_s)
        return Frame(self._annotator.annotate(frame.image, self._faces), frame.timestamp_s)


def _look(
    analyzer: FaceAnalyzer, video: VideoFile, pool: ThreadPoolExecutor, every_s: float, thread_count: int
) -> Iterator[tuple[Frame, list[Face] | None]]:
    """Each frame with its faces, in order; None for frames that are passed over.

    A few frames are read ahead, so memory does not grow with the length of the video.
    """
    waiting: deque[tuple[Frame, Future[list[Face]] | None]] = deque()
    next_s = float("-inf")
    for frame in video.frames():
        future = None
        if frame.timestamp_s >= next_s - 1e-6:
            next_s = frame.timestamp_s + every_s
            future = pool.submit(analyzer.analyze, frame.image)
        waiting.append((frame, future))
        if len(waiting) > 2 * thread_count:
            yield _answer(*waiting.popleft())
    while waiting:
        yield _answer(*waiting.popleft())


def _answer(frame: Frame, future: "Future[list[Face]] | None") -> tuple[Frame, list[Face] | None]:
    return frame, None if future is None else future.result()
