"""Videos that are being read for the page's visitors, each in a temporary folder of its own."""

import json
import logging
import pickle
import secrets
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final, Literal

from fer.analysis import FaceAnalyzer
from fer.anonymising import Cover, CoverPlan, copy_covered, load_eager_detector
from fer.faces import Face
from fer.palette import label_styles
from fer.streams.recorded import Watcher, analyze_video
from fer.timeline.chart import PLOT_LEFT, PLOT_WIDTH, timeline_chart
from fer.timeline.export import WRITERS, summary_to_dict, timeline_to_dict, write_timeline
from fer.timeline.table import Timeline
from fer.video import Frame, UnreadableVideoError, VideoFile
from webapp.server_folder import server_folder
from webapp.worker import Cancelled, Tell, Worker, WorkFailedError, server_worker

MAX_BYTES: Final = 512 * 1024 * 1024
MAX_LENGTH_S: Final = 600.0
MAX_PIXELS: Final = 4096 * 2304
KEPT_FOR_S: Final = 3600.0
MAX_JOBS: Final = 8
"""Videos kept at once; further visitors are asked to wait."""

UNASKED_FOR_S: Final = 600.0
"""A waiting or finished video that nobody asked for gives its place to a newcomer after so long."""

FAILED_FOR_S: Final = 300.0
"""So long it can be asked why a video failed; that takes no place."""

_MOST_FAILED: Final = 100

ANNOTATED: Final = "annotated.mp4"

_SEARCHED_SHARE: Final = 0.7
"""Share of the progress that a covered copy's search takes, before it is written."""

_LOG: Final = logging.getLogger(__name__)

State = Literal["waiting", "running", "finished", "failed"]


class TooManyVideosError(ValueError):
    """All places are taken."""


@dataclass(slots=True)
class VideoJob:
    """One video on its way; read by the page's threads while a process works on it.

    Attributes:
        folder: Its files; gone with the job.
        name: What the visitor called it, without the ending.
        state: How far it is.
        share: Read so far, in [0, 1]; None where the file does not say how long it is.
        problem: Why it failed, as a sentence.
        answer: The results as JSON, once it is finished.
        expires_s: When its folder goes, by the monotonic clock.
        asked_s: When somebody last asked for it.
    """

    folder: Path
    name: str
    state: State = "waiting"
    share: float | None = 0.0
    problem: str | None = None
    answer: bytes | None = None
    started_s: float = 0.0
    expires_s: float = field(default_factory=lambda: time.monotonic() + KEPT_FOR_S)
    asked_s: float = field(default_factory=time.monotonic)
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

    def describe(self) -> bytes:
        """Return the progress as JSON; the results once it is finished."""
        if self.answer is not None:
            return self.answer
        fields = {"state": self.state, "share": self.share, "left_s": self.left_s, "problem": self.problem}
        return json.dumps(fields).encode()


class VideoJobs:
    """Has one video read at a time; may be called from several threads.

    Files lie in the server's folder until the visitor lets go of them, an hour has passed or the server
    stops.

    Args:
        worker: Does the reading; None for the one of this server.
    """

    def __init__(self, worker: Worker | None = None) -> None:
        self._jobs: dict[str, VideoJob] = {}
        self._lock = threading.Lock()
        self._waiting: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._worker = worker or server_worker()
        # A daemon: a server that is stopped does not wait for the end of a video.
        threading.Thread(target=self._run, name="video", daemon=True).start()

    def open(self, name: str) -> tuple[str, VideoJob]:
        """A place for a video that is about to come.

        Raises:
            TooManyVideosError: All places are taken.
        """
        self._forget_old()
        folder = server_folder()
        with self._lock:
            if not self._has_place():
                raise TooManyVideosError(
                    f"{MAX_JOBS} videos are being read or kept already; try again in a few minutes"
                )
            key = secrets.token_urlsafe(16)
            (folder / key).mkdir()
            self._jobs[key] = VideoJob(folder / key, Path(name).stem or "video")
            return key, self._jobs[key]

    def start(
        self,
        job: VideoJob,
        load: Callable[[], FaceAnalyzer],
        *,
        every_s: float = 0.0,
        rest_s: float = 0.0,
        cover: Cover | None = None,
    ) -> None:
        """Read the video as soon as those before it are done.

        Args:
            job: From :meth:`open`, its source written.
            load: Gives the analyzer; pickled, for another process calls it.
            every_s: Shortest time between two frames that are looked at.
            rest_s: The video begins with so many seconds of resting faces; 0 for a usual one.
            cover: Cover every face of the annotated copy instead of labelling it.
        """

        def reading() -> PageReading:
            return PageReading(job.source, pickle.dumps(load), every_s, rest_s, job.folder, job.name, cover)

        self._waiting.put(lambda: self._work(job, reading))

    def get(self, key: str) -> VideoJob | None:
        """The job of a key; None where it is gone."""
        self._forget_old()
        job = self._jobs.get(key)
        if job is not None:
            job.asked_s = time.monotonic()
        return job

    def drop(self, key: str) -> None:
        """Stop working on it and delete its files."""
        with self._lock:
            job = self._jobs.pop(key, None)
            if job is None:
                return
            job.cancelled.set()
            is_running = job.state == "running"
            if job.state == "waiting":
                job.state = "failed"
        if not is_running:  # else the thread that works on it deletes them, after its last write
            shutil.rmtree(job.folder, ignore_errors=True)

    def _has_place(self) -> bool:
        """Make sure that a place is free, if need be that of a video which nobody asked for lately."""
        kept = {key: job for key, job in self._jobs.items() if job.state != "failed"}
        if len(kept) < MAX_JOBS:
            return True
        idle = [key for key, job in kept.items() if job.state in ("waiting", "finished")]
        oldest = min(idle, key=lambda key: kept[key].asked_s, default=None)
        if oldest is None or time.monotonic() - kept[oldest].asked_s < UNASKED_FOR_S:
            return False
        job = self._jobs.pop(oldest)
        job.cancelled.set()
        shutil.rmtree(job.folder, ignore_errors=True)
        return True

    def _run(self) -> None:
        while True:
            work = self._waiting.get()
            try:
                work()
            except Exception:  # noqa: BLE001 - the thread serves every later visitor
                _LOG.exception("a video could not be read")

    def _work(self, job: VideoJob, reading: "Callable[[], PageReading]") -> None:
        problem = "the video could not be read to its end"
        answer = None
        with self._lock:
            if job.cancelled.is_set():
                return
            job.state, job.started_s = "running", time.monotonic()
        try:

            def watch(share: float | None) -> None:
                job.share = share

            answer = self._worker.run(reading(), job.cancelled.is_set, watch)
            job.source.unlink(missing_ok=True)
        except Cancelled:
            pass
        except WorkFailedError as error:
            problem = hide_places(str(error), job.source, job.folder)
        finally:
            with self._lock:
                is_kept = answer is not None and not job.cancelled.is_set()
                if is_kept:
                    job.answer, job.share, job.state = answer, 1.0, "finished"
                    job.expires_s = time.monotonic() + KEPT_FOR_S
                else:
                    job.problem, job.state = problem, "failed"
                    job.expires_s = time.monotonic() + FAILED_FOR_S
                job.asked_s = time.monotonic()
            if not is_kept:
                shutil.rmtree(job.folder, ignore_errors=True)

    def _forget_old(self) -> None:
        now = time.monotonic()
        with self._lock:
            gone = [key for key, job in self._jobs.items() if now > job.expires_s]
            failed = [key for key, job in self._jobs.items() if job.state == "failed" and key not in gone]
        for key in gone + failed[:-_MOST_FAILED]:
            self.drop(key)


@dataclass(frozen=True, slots=True)
class TimelineReading:
    """Work for the process: a video in, its timeline as JSON out.

    Attributes:
        source: The video.
        load: Pickle of what gives the analyzer: unpickled once, so that its models stay loaded.
        every_s: Shortest time between two frames that are looked at.
        rest_s: The video begins with so many seconds of resting faces.
    """

    source: Path
    load: bytes
    every_s: float
    rest_s: float

    def __call__(self, tell: Tell) -> bytes:
        """Read the video."""
        return json.dumps(timeline_to_dict(self.read(tell)[0])).encode()

    def read(
        self, tell: Tell, output: Path | None = None, watcher: Watcher | None = None
    ) -> tuple[Timeline, list[str]]:
        """Read the video, tell of the progress; gives notes on what did not go as hoped, too."""
        with VideoFile(self.source, max_pixels=MAX_PIXELS, max_length_s=MAX_LENGTH_S) as video:
            check_limits(video)
            length_s = video.info.duration_s

            def watch(frame: Frame, faces: list[Face]) -> None:
                tell(min(frame.timestamp_s / length_s, 1.0) if length_s else None)
                if watcher is not None:
                    watcher(frame, faces)

            timeline = analyze_video(
                _loader(self.load)(),
                video,
                output=output,
                every_s=self.every_s,
                rest_s=self.rest_s,
                watcher=watch,
            )
            return timeline, list(video.notes)


@dataclass(frozen=True, slots=True)
class PageReading(TimelineReading):
    """Work for the process: a video in, files into its folder and what the page shows out.

    Attributes:
        folder: Where the annotated video and the timelines go.
        name: What the visitor called it.
        cover: Cover every face of the copy instead of labelling it.
    """

    folder: Path
    name: str
    cover: Cover | None = None

    def __call__(self, tell: Tell) -> bytes:
        """Read the video and write the files."""
        if self.cover is None:
            timeline, notes = self.read(tell, self.folder / ANNOTATED)
        else:
            timeline, notes = self._read_covered(tell, self.cover)
        for suffix in WRITERS:
            tell(1.0)
            write_timeline(timeline, self.folder / f"timeline{suffix}")
        return json.dumps(_shown(timeline, notes, self.name)).encode()

    def _read_covered(self, tell: Tell, cover: Cover) -> tuple[Timeline, list[str]]:
        """Read the video, look for every face besides, then write the covered copy."""
        finder = load_eager_detector(_loader(self.load)().detector.name)
        plan = CoverPlan()
        timeline, notes = self.read(
            lambda share: tell(share and share * _SEARCHED_SHARE),
            watcher=lambda frame, _: plan.add(frame.timestamp_s, finder.detect(frame.image)),
        )
        end_s = max(timeline.end_s, 1e-3)

        def watch(frame: Frame) -> None:
            written = min(frame.timestamp_s / end_s, 1.0)
            tell(_SEARCHED_SHARE + (1 - _SEARCHED_SHARE) * written)

        return timeline, notes + copy_covered(self.source, self.folder / ANNOTATED, plan, cover, watch)


def _shown(timeline: Timeline, notes: list[str], name: str) -> dict[str, Any]:
    """Describe a finished video to the page."""
    return {
        "state": "finished",
        "share": 1.0,
        "left_s": None,
        "problem": None,
        "name": name,
        "frame_count": timeline.frame_count,
        "row_count": len(timeline),
        "notes": notes,
        "labels": label_styles(timeline.emotions),
        "summary": [summary_to_dict(summary) for summary in timeline.summaries()],
        "chart": {"svg": timeline_chart(timeline), "left": PLOT_LEFT, "width": PLOT_WIDTH},
    }


@lru_cache(maxsize=4)
def _loader(pickled: bytes) -> Callable[[], FaceAnalyzer]:
    load: Callable[[], FaceAnalyzer] = pickle.loads(pickled)  # written by the server itself
    return load


def hide_places(sentence: str, source: Path, folder: Path | None = None) -> str:
    """Return a message without the places of this machine."""
    sentence = sentence.replace(str(source), "the file")
    return (
        sentence
        if folder is None
        else sentence.replace(f"{folder}/{ANNOTATED}", "the annotated copy").replace(
            str(folder), "the server"
        )
    )


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
