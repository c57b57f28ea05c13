"""Videos that are being read for the page's visitors, each in a temporary folder of its own."""

import logging
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Final, Literal

from fer.analysis import FaceAnalyzer
from fer.faces import Face
from fer.timeline import Timeline
from fer.timeline_export import WRITERS, write_timeline
from fer.video import Frame, UnreadableVideoError, VideoFile
from fer.video_analysis import analyze_video

MAX_BYTES: Final = 512 * 1024 * 1024
MAX_LENGTH_S: Final = 600.0
MAX_PIXELS: Final = 4096 * 2304
KEPT_FOR_S: Final = 3600.0
MAX_JOBS: Final = 8
"""Videos kept at once; further visitors are asked to wait."""

ANNOTATED: Final = "annotated.mp4"

_LOG: Final = logging.getLogger(__name__)

State = Literal["waiting", "running", "finished", "failed"]


class TooManyVideosError(ValueError):
    """All places are taken."""


class _Cancelled(Exception):  # noqa: N818 - a signal, not an error
    """The visitor does not want the answer any more."""


@dataclass(slots=True)
class VideoJob:
    """One video on its way; read by the page's threads while one thread works on it.

    Attributes:
        folder: Its files; gone with the job.
        name: What the visitor called it, without the ending.
        state: How far it is.
        share: Read so far, in [0, 1]; None where the file does not say how long it is.
        problem: Why it failed, as a sentence.
        timeline: What was seen, once it is finished.
        notes: What did not go as hoped, each as the end of a sentence about the video.
        expires_s: When its folder goes, by the monotonic clock.
    """

    folder: Path
    name: str
    state: State = "waiting"
    share: float | None = 0.0
    problem: str | None = None
    timeline: Timeline | None = None
    notes: tuple[str, ...] = ()
    started_s: float = 0.0
    expires_s: float = field(default_factory=lambda: time.monotonic() + KEPT_FOR_S)
    cancelled: threading.Event = field(default_factory=threading.Event)

    @property
    def source(self) -> Path:
        """The video as it was sent."""
        return self.folder / "video"

    @property
    def left_s(self) -> float | None:
        """Estimate the remaining time; None where that is not possible yet."""
        if self.state != "running" or not self.share or self.share < 0.02:
            return None
        return (time.monotonic() - self.started_s) * (1 - self.share) / self.share


class VideoJobs:
    """Reads one video at a time; may be called from several threads.

    Files lie in a temporary folder until the visitor lets go of them, an hour has passed or the server stops.
    """

    def __init__(self) -> None:
        self._jobs: dict[str, VideoJob] = {}
        self._lock = threading.Lock()
        self._waiting: SimpleQueue[Callable[[], None]] = SimpleQueue()
        # A daemon: a server that is stopped does not wait for the end of a video.
        threading.Thread(target=self._run, name="video", daemon=True).start()
        self._root: tempfile.TemporaryDirectory[str] | None = None

    def open(self, name: str) -> tuple[str, VideoJob]:
        """A place for a video that is about to come.

        Raises:
            TooManyVideosError: All places are taken.
        """
        self._forget_old()
        with self._lock:
            if len(self._jobs) >= MAX_JOBS:
                raise TooManyVideosError(
                    f"{MAX_JOBS} videos are being read or kept already; try again in a few minutes"
                )
            if self._root is None:
                self._root = tempfile.TemporaryDirectory(prefix="kv-video-", ignore_cleanup_errors=True)
            key = secrets.token_urlsafe(16)
            folder = Path(self._root.name) / key
            folder.mkdir()
            self._jobs[key] = VideoJob(folder, Path(name).stem or "video")
            return key, self._jobs[key]

    def start(self, job: VideoJob, load: Callable[[], FaceAnalyzer], rest_s: float = 0.0) -> None:
        """Read the video as soon as those before it are done.

        Args:
            job: From ``open``.
            load: Gives the analyzer.
            rest_s: The video begins with so many seconds of resting faces; 0 for a usual one.
        """
        self._waiting.put(lambda: _work(job, load, rest_s))

    def get(self, key: str) -> VideoJob | None:
        """The job of a key; None where it is gone."""
        self._forget_old()
        return self._jobs.get(key)

    def drop(self, key: str) -> None:
        """Stop working on it and delete its files."""
        with self._lock:
            job = self._jobs.pop(key, None)
        if job is not None:
            job.cancelled.set()
            if job.state in ("finished", "failed"):
                shutil.rmtree(job.folder, ignore_errors=True)

    def _run(self) -> None:
        while True:
            work = self._waiting.get()
            try:
                work()
            except Exception:  # noqa: BLE001 - the thread serves every later visitor
                _LOG.exception("a video could not be read")

    def _forget_old(self) -> None:
        now = time.monotonic()
        for key in [key for key, job in self._jobs.items() if now > job.expires_s]:
            self.drop(key)


def check_limits(video: VideoFile) -> None:
    """Refuse what would take too long.

    Raises:
        UnreadableVideoError: Too long or too large.
    """
    info = video.info
    if info.duration_s is not None and info.duration_s > MAX_LENGTH_S:
        raise UnreadableVideoError(
            f"the video is {info.duration_s / 60:.0f} minutes long; at most {MAX_LENGTH_S / 60:.0f} are read "
            "here, 'python -m fer' on the command line reads any length"
        )
    if info.width * info.height > MAX_PIXELS:
        raise UnreadableVideoError(
            f"the video has frames of {info.width}×{info.height} pixels; at most 4096×2304 are read here, "
            "scale it down first"
        )


def _work(job: VideoJob, load: Callable[[], FaceAnalyzer], rest_s: float) -> None:
    try:
        if job.cancelled.is_set():
            raise _Cancelled
        job.state, job.started_s = "running", time.monotonic()
        with VideoFile(job.source) as video:
            check_limits(video)
            length_s = video.info.duration_s

            def watch(frame: Frame, _: list[Face]) -> None:
                if job.cancelled.is_set():
                    raise _Cancelled
                job.share = min(frame.timestamp_s / length_s, 1.0) if length_s else None

            timeline = analyze_video(
                load(), video, output=job.folder / ANNOTATED, rest_s=rest_s, watcher=watch
            )
            job.notes = tuple(video.notes)
        for suffix in WRITERS:
            write_timeline(timeline, job.folder / f"timeline{suffix}")
        job.source.unlink()
        job.timeline, job.share, job.state = timeline, 1.0, "finished"
        job.expires_s = time.monotonic() + KEPT_FOR_S
    except _Cancelled:
        job.state = "failed"
    except (LookupError, ValueError, OSError, RuntimeError) as error:  # the last when the server ends
        job.problem = str(error).replace(str(job.source), "the file").replace(str(job.folder), "the server")
        job.state = "failed"
    finally:
        if job.state != "finished":
            job.state = "failed"
            job.problem = job.problem or "the video could not be read to its end"
        if job.cancelled.is_set() or job.state == "failed":
            shutil.rmtree(job.folder, ignore_errors=True)
