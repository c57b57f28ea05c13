"""The queue of visitors' videos, each in its own temporary folder."""

import json
import logging
import pickle
import secrets
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Final, Literal

from fer.analysis import FaceAnalyzer
from fer.anonymising import Cover
from fer.translation import ENGLISH
from webapp.server_folder import server_folder
from webapp.video_reading import PageReading, hide_places
from webapp.worker import Cancelled, WorkFailedError, server_worker

MAX_BYTES: Final = 512 * 1024 * 1024
KEPT_FOR_S: Final = 3600.0
MAX_JOBS: Final = 8
"""Maximum number of videos kept at once; further visitors must wait."""

UNASKED_FOR_S: Final = 600.0
"""Time without a request after which a waiting or finished video may be dropped for a new one."""

FAILED_FOR_S: Final = 300.0
"""Time for which the reason of a failure can be queried; a failed video occupies no slot."""

_MOST_FAILED: Final = 100

_LOG: Final = logging.getLogger(__name__)

State = Literal["waiting", "running", "finished", "failed"]


class TooManyVideosError(ValueError):
    """All slots are taken."""


@dataclass(slots=True)
class VideoJob:
    """One video in the queue; used by the page's threads while another process reads the video.

    Attributes:
        folder: Folder of its files; deleted with the job.
        name: Name of the uploaded file, without its suffix.
        state: Its state.
        share: Completed share, in [0, 1]; None if the file does not give its duration.
        problem: Error message after a failure.
        answer: Results as JSON, once finished.
        expires_s: Time when its folder is deleted, on the monotonic clock.
        asked_s: Time of the last request for it, on the monotonic clock.
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
        """The uploaded video."""
        return self.folder / "video"

    @property
    def left_s(self) -> float | None:
        """Estimated remaining time; None while unknown."""
        if self.state != "running" or not self.share or self.share < 0.02:
            return None
        return (time.monotonic() - self.started_s) * (1 - self.share) / self.share

    def describe(self) -> bytes:
        """Return the progress as JSON, with the results once finished."""
        if self.answer is not None:
            return self.answer
        fields = {"state": self.state, "share": self.share, "left_s": self.left_s, "problem": self.problem}
        return json.dumps(fields).encode()


class VideoJobs:
    """A queue that reads one video at a time; may be called from several threads.

    Files stay in the server's folder until the visitor drops them, an hour has passed or the server stops.
    """

    def __init__(self) -> None:
        self._jobs: dict[str, VideoJob] = {}
        self._lock = threading.Lock()
        self._waiting: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._worker = server_worker()
        # A daemon thread: stopping the server does not wait for the end of a video.
        threading.Thread(target=self._run, name="video", daemon=True).start()

    def open(self, name: str) -> tuple[str, VideoJob]:
        """Reserve a slot for an upload.

        Raises:
            TooManyVideosError: All slots are taken.
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
        language: str = ENGLISH,
        cover: Cover | None = None,
    ) -> None:
        """Queue the video for reading.

        Args:
            job: A job from :meth:`open`, with its source written.
            load: Returns the analyzer; must be picklable, as another process calls it.
            every_s: Minimum time between two analysed frames.
            rest_s: Seconds of resting faces at the start of the video; 0 for none.
            language: Code of the language of the annotated copy.
            cover: Cover every face of the annotated copy instead of labelling it.
        """

        def reading() -> PageReading:
            return PageReading(
                job.source,
                pickle.dumps(load),
                every_s,
                rest_s,
                job.folder,
                job.name,
                cover,
                language=language,
            )

        self._waiting.put(lambda: self._work(job, reading))

    def get(self, key: str) -> VideoJob | None:
        """Return the job of a key; None if it no longer exists."""
        self._forget_old()
        job = self._jobs.get(key)
        if job is not None:
            job.asked_s = time.monotonic()
        return job

    def drop(self, key: str) -> None:
        """Cancel the job and delete its files."""
        with self._lock:
            job = self._jobs.pop(key, None)
            if job is None:
                return
            job.cancelled.set()
            is_running = job.state == "running"
            if job.state == "waiting":
                job.state = "failed"
        if not is_running:  # otherwise the thread that works on it deletes them after its last write
            shutil.rmtree(job.folder, ignore_errors=True)

    def _has_place(self) -> bool:
        """Return whether a slot is free; drop the longest-unrequested video if necessary."""
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
            except Exception:  # noqa: BLE001 - the thread must survive for later visitors
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
                    job.asked_s = time.monotonic()
            if not is_kept:
                shutil.rmtree(job.folder, ignore_errors=True)  # a job that has failed has no files any more
                with self._lock:
                    job.problem, job.state = problem, "failed"
                    job.expires_s = time.monotonic() + FAILED_FOR_S
                    job.asked_s = time.monotonic()

    def _forget_old(self) -> None:
        now = time.monotonic()
        with self._lock:
            gone = [key for key, job in self._jobs.items() if now > job.expires_s]
            failed = [key for key, job in self._jobs.items() if job.state == "failed" and key not in gone]
        for key in gone + failed[:-_MOST_FAILED]:
            self.drop(key)
