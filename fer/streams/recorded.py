"""Analyse a recorded video into a timeline, with an optional annotated copy."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from fer.analysis import FaceAnalyzer
from fer.annotation import FaceAnnotator
from fer.faces import Detection, Face
from fer.streams.resting import RestStatus
from fer.streams.search import FollowingSearch
from fer.streams.smoothing import Steadiness
from fer.streams.stream import NoticedFrame, StreamAnalyzer
from fer.streams.tracking import FaceTracker, TrackingSettings
from fer.timeline.table import Timeline
from fer.translation import ENGLISH
from fer.video import Frame, VideoFile, VideoWriter

_DRAWN_FOR_S: Final = 0.3
"""Seconds that a box stays in the annotated copy after its face is lost; the timeline has no such rows."""

_READ_AHEAD: Final = 6

Watcher = Callable[[Frame, list[Face]], None]
"""Called with each frame and its faces, in order; may raise to stop."""


def analyze_video(
    analyzer: FaceAnalyzer,
    video: VideoFile,
    *,
    output: Path | None = None,
    every_s: float = 0.0,
    steadiness: Steadiness | None = None,
    rest_s: float = 0.0,
    thread_count: int = 2,
    watcher: Watcher | None = None,
    language: str = ENGLISH,
) -> Timeline:
    """Analyse a whole video.

    Args:
        analyzer: Shared by the threads; one with a detector for live use is fastest.
        video: A newly opened video.
        output: Path of an annotated copy with the video's sound; None for no copy.
        every_s: Minimum time between two analysed frames; 0 for every frame.
        steadiness: Smoothing over time; None for the tracker's default.
        rest_s: Seconds at the start in which everybody shows a resting face; 0 for none. ``video.notes``
            list faces that did not rest.
        thread_count: Frames searched in parallel, with detectors that do not follow faces from frame to
            frame; everything else runs concurrently.
        watcher: Called with every analysed frame.
        language: Code of the language of the labels in the annotated copy.

    Returns:
        One row for each face in each analysed frame.

    Raises:
        UnwritableVideoError: The copy cannot be written; no partial file remains. Sound that cannot be copied
            is not an error but gives an entry in ``video.notes``.
    """
    steadiness = steadiness or Steadiness()
    tracking = TrackingSettings(steadiness=steadiness, hold_s=0.0, rest_s=rest_s)
    stream = StreamAnalyzer(analyzer, FollowingSearch, tracking)
    painter = _Painter(steadiness, max(_DRAWN_FOR_S, every_s + 0.1), rest_s, language)
    timeline = Timeline(analyzer.classifier.head.emotions)
    rest = _RestNotes()
    with ExitStack() as stack:
        writer = None
        if output is not None:
            writer = stack.enter_context(VideoWriter(output, video.info.frame_rate, video.path))
        # One thread keeps the order if each search depends on the previous frame.
        pool = stack.enter_context(
            ThreadPoolExecutor(1 if stream.search.is_following else thread_count, "detect")
        )
        stack.callback(pool.shutdown, cancel_futures=True)
        for frame, look in _detect(stream, video, pool, every_s):
            if look is not None:
                noticed, detections = look
                found = stream.name(noticed, detections)
                faces = stream.follow(noticed, found)
                if rest_s > 0:
                    rest.note(stream.tracker.rest)
                timeline.add(faces, frame.timestamp_s)
                if watcher is not None:
                    watcher(frame, faces)
                if writer is not None:
                    painter.take(noticed, found)
            if writer is not None:
                writer.write(painter.paint(frame))
    if writer is not None:
        video.notes.extend(writer.notes)
    if rest_s > 0:
        video.notes.extend(rest.sentences(rest_s))
    return timeline


class _RestNotes:
    """A record of who in a video was adjusted to a resting face and who was not."""

    def __init__(self) -> None:
        self._adjusted: set[int] = set()
        self._problems: dict[str, None] = {}

    def note(self, status: RestStatus) -> None:
        self._adjusted.update(status.track_ids)
        if status.problem:
            self._problems[status.problem] = None

    def sentences(self, rest_s: float) -> list[str]:
        if not self._adjusted and not self._problems:
            return [f"shows no face for its first {rest_s:g} seconds; nobody was adjusted to a resting face"]
        return [f"begins without a resting face: {problem}" for problem in self._problems]


class _Painter:
    """A painter of tracked faces, including those missed for a moment."""

    def __init__(self, steadiness: Steadiness, hold_s: float, rest_s: float, language: str) -> None:
        self._tracker = FaceTracker(TrackingSettings(steadiness=steadiness, hold_s=hold_s, rest_s=rest_s))
        self._annotator = FaceAnnotator(language=language)
        self._faces: list[Face] = []

    def take(self, frame: NoticedFrame, found: list[Face]) -> None:
        if frame.is_anew:
            self._tracker.reset()
        self._faces = self._tracker.update(found, frame.timestamp_s)

    def paint(self, frame: Frame) -> Frame:
        return Frame(self._annotator.annotate(frame.image, self._faces), frame.timestamp_s)


_Look = tuple[NoticedFrame, list[Detection]]


def _detect(
    stream: StreamAnalyzer, video: VideoFile, pool: ThreadPoolExecutor, every_s: float
) -> Iterator[tuple[Frame, _Look | None]]:
    """Yield each frame with its detections, in order; None for skipped frames.

    Only a few frames are read ahead, so memory does not grow with the length of the video.
    """
    waiting: deque[tuple[Frame, Future[_Look] | None]] = deque()

    def find(noticed: NoticedFrame) -> _Look:
        return noticed, stream.find(noticed)

    next_s = float("-inf")
    for frame in video.frames():
        future = None
        if frame.timestamp_s >= next_s - 1e-6:
            next_s = frame.timestamp_s + every_s
            future = pool.submit(find, stream.notice(frame.image, frame.timestamp_s))
        waiting.append((frame, future))
        if len(waiting) > _READ_AHEAD:
            yield _answer(*waiting.popleft())
    while waiting:
        yield _answer(*waiting.popleft())


def _answer(frame: Frame, future: "Future[_Look] | None") -> tuple[Frame, _Look | None]:
    return frame, None if future is None else future.result()
