"""A separate process for native code that reads untrusted files, with limits on memory and time."""

import atexit
import contextlib
import gc
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final, Protocol

from fer.folders.records import end_with_parent

MAX_MEMORY_BYTES: Final = 3 * 1024**3
"""Memory limit of a task, on top of the process's initial memory; at most half of the machine's."""

MAX_FILE_BYTES: Final = 4 * 1024**3
MAX_WORK_S: Final = 3600.0
MAX_SILENCE_S: Final = 300.0
"""Time without progress after which a task is aborted."""

_CANCEL_WITHIN_S: Final = 2.0
_ASK_EVERY_S: Final = 0.05
_TELL_EVERY_S: Final = 0.1

_LOG: Final = logging.getLogger(__name__)


class Tell(Protocol):
    """Takes the completed share of a task, in [0, 1] or None if unknown; raises ``Cancelled``."""

    def __call__(self, share: float | None, /) -> None:
        """Report the progress."""


Work = Callable[[Tell], bytes]
"""A picklable task that returns its answer as bytes."""


class WorkFailedError(ValueError):
    """A failed task; the message is for the visitor."""


class Cancelled(Exception):  # noqa: N818 - a signal, not an error
    """The visitor cancelled the task."""


@cache
def server_worker() -> "Worker":
    """Return the process that reads all untrusted videos of this server, one after the other."""
    worker = Worker()
    atexit.register(worker.close)
    return worker


class Worker:
    """A process that runs one task after the other; replaced when it dies.

    It starts with the first task and keeps running. May be called from several threads, which wait for each
    other.

    Args:
        memory_bytes: Memory limit of a task; enforced on Linux only, where used memory can be limited.
        work_s: Maximum time for one task.
        silence_s: Maximum time without progress.
    """

    def __init__(
        self,
        memory_bytes: int = MAX_MEMORY_BYTES,
        work_s: float = MAX_WORK_S,
        silence_s: float = MAX_SILENCE_S,
    ) -> None:
        self._memory_bytes = memory_bytes
        self._work_s = work_s
        self._silence_s = silence_s
        self._lock = threading.Lock()
        self._process: BaseProcess | None = None
        self._line: Connection | None = None

    @property
    def pid(self) -> int | None:
        """Process ID; None before the first task and after the process died."""
        return None if self._process is None else self._process.pid

    def run(
        self,
        work: Work,
        is_cancelled: Callable[[], bool] = lambda: False,
        watch: Callable[[float | None], None] = lambda _: None,
    ) -> bytes:
        """Run a task in the process.

        Args:
            work: The task; it is pickled.
            is_cancelled: Polled while the task runs.
            watch: Called with the progress.

        Raises:
            WorkFailedError: The task failed, took too long, or crashed the process.
            Cancelled: The task was cancelled.
        """
        while not self._lock.acquire(timeout=_ASK_EVERY_S):
            if is_cancelled():
                raise Cancelled
        with ExitStack() as held:
            held.callback(self._lock.release)
            if is_cancelled():
                raise Cancelled
            try:
                self._ready_line().send(work)
            except OSError:  # the process died while idle
                self._stop()
                self._ready_line().send(work)
            try:
                kind, value, is_spent = self._wait(is_cancelled, watch)
            except BaseException:
                self._stop()
                raise
            if is_spent:
                self._stop()
            if kind == "cancelled":
                raise Cancelled
            if kind == "failed":
                raise WorkFailedError(value)
            return bytes(value)

    def close(self) -> None:
        """Kill the process, even during a task."""
        self._stop()

    def _ready_line(self) -> Connection:
        if self._process is not None and not self._process.is_alive():
            self._stop()
        if self._line is None:
            context = multiprocessing.get_context("spawn")
            self._line, other = context.Pipe()
            self._process = context.Process(
                target=_serve, args=(other, self._memory_bytes), name="kv-video", daemon=True
            )
            self._process.start()
            other.close()
        return self._line

    def _wait(
        self, is_cancelled: Callable[[], bool], watch: Callable[[float | None], None]
    ) -> tuple[str, Any, bool]:
        line = self._ready_line()
        start_s = heard_s = time.monotonic()
        cancelled_s: float | None = None
        while True:
            is_heard = line.poll(_ASK_EVERY_S)
            now_s = time.monotonic()
            if is_heard:
                heard_s = now_s
                try:
                    kind, value, is_spent = line.recv()
                except (EOFError, OSError) as error:
                    raise WorkFailedError(self._epitaph()) from error
                if kind != "progress":
                    return kind, value, is_spent
                watch(value)
            if cancelled_s is None and is_cancelled():
                cancelled_s = now_s
                with contextlib.suppress(OSError):
                    line.send(None)
            if cancelled_s is not None and now_s - cancelled_s > _CANCEL_WITHIN_S:
                raise Cancelled
            if now_s - heard_s > self._silence_s or now_s - start_s > self._work_s:
                raise WorkFailedError("the file takes too long to read; cut it into shorter pieces")

    def _epitaph(self) -> str:
        """Return an error message about the end of the process."""
        code = None
        if self._process is not None:
            self._process.join(1)
            code = self._process.exitcode
        cause = f"code {code}"
        if code is not None and code < 0:
            with contextlib.suppress(ValueError):
                cause = signal.Signals(-code).name
        _LOG.warning("the process that reads videos ended (%s) and is replaced", cause)
        return (
            f"the file ended the process that read it ({cause}); it is damaged or needs too much memory: "
            "convert it to H.264 in MP4 and retry"
        )

    def _stop(self) -> None:
        line, self._line = self._line, None
        process, self._process = self._process, None
        if line is not None:
            line.close()
        if process is not None:
            process.kill()
            process.join(5)


def _serve(line: Connection, memory_bytes: int) -> None:
    """Run the tasks received over the connection until it is closed; called in the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which ends this process
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # Arrow's other pools reserve a gigabyte
    threading.Thread(target=end_with_parent, daemon=True).start()
    most_bytes = _limit_resources(memory_bytes)
    while True:
        try:
            work = line.recv()
        except EOFError:
            return
        if work is None:  # cancelled after it had finished
            continue
        kind, value, is_spent = _answer(work, _teller(line))
        gc.collect()  # decoder buffers are in reference cycles
        held_bytes = _held_bytes()
        if most_bytes is not None and held_bytes is not None:
            is_spent |= held_bytes > most_bytes - 0.75 * memory_bytes
        line.send((kind, value, is_spent))


def _answer(work: Work, tell: Tell) -> tuple[str, Any, bool]:
    """Return the outcome, the answer or an error message, and whether the process should be replaced."""
    try:
        return "done", work(tell), False
    except Cancelled:
        return "cancelled", None, False
    except MemoryError:
        return "failed", "the file needs more memory than is given to one; scale it down and retry", True
    except (LookupError, ValueError, OSError) as error:
        return "failed", str(error.args[0] if isinstance(error, KeyError) and error.args else error), False
    except Exception as error:  # noqa: BLE001 - the process must survive for later visitors
        _LOG.exception("a file could not be read")
        sentence = f"the file cannot be read ({type(error).__name__}); convert it to H.264 in MP4 and retry"
        return "failed", sentence, True


def _teller(line: Connection) -> Tell:
    told_s = 0.0

    def tell(share: float | None, /) -> None:
        nonlocal told_s
        if line.poll() and line.recv() is None:
            raise Cancelled
        if time.monotonic() - told_s > _TELL_EVERY_S:
            told_s = time.monotonic()
            line.send(("progress", share, False))

    return tell


def _held_bytes() -> int | None:
    """Return the private memory of this process; None if the system does not report it."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError, AttributeError):
        return None


def _limit_resources(memory_bytes: int) -> int | None:
    """Limit memory and file sizes if the system can; disable core dumps, which would contain videos.

    Returns:
        The limit of private memory; None without one.
    """
    try:
        import resource  # noqa: PLC0415 - Windows has none
    except ImportError:
        return None
    limits = [("RLIMIT_CORE", 0), ("RLIMIT_FSIZE", MAX_FILE_BYTES)]
    held_bytes = _held_bytes()
    most_bytes = None
    if held_bytes is not None:
        physical_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        most_bytes = held_bytes + min(memory_bytes, physical_bytes // 2)
        limits.append(("RLIMIT_DATA", most_bytes))
    for name, wanted in limits:
        number = getattr(resource, name)
        hard = resource.getrlimit(number)[1]
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(number, (limit, hard))
    return most_bytes
