"""The run directory: what a training writes down, what the dashboard reads."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from filelock import FileLock, Timeout

from training.run_files import (
    BEST_FILE,
    CONFIG_FILE,
    ENVIRONMENT_FILE,
    EPOCHS_FILE,
    JOB_LOCK_FILE,
    LAST_FILE,
    LOCK_FILE,
    LOG_FILE,
    MISTAKES_FILE,
    REPORT_FILE,
    SHOWN_FILE,
    STATUS_FILE,
    STOP_FILE,
    RunState,
    add_line,
    cut_unfinished_line,
    read_epochs,
    read_object,
    state_of,
    write_json,
    write_lines,
)

__all__ = [
    "BEST_FILE",
    "CONFIG_FILE",
    "ENVIRONMENT_FILE",
    "EPOCHS_FILE",
    "LAST_FILE",
    "LOG_FILE",
    "MISTAKES_FILE",
    "REPORT_FILE",
    "SHOWN_FILE",
    "STATUS_FILE",
    "STOP_FILE",
    "Run",
    "RunInUseError",
    "RunState",
    "RunStore",
    "RunWriter",
    "StopRequestedError",
    "new_run_folder",
    "read_epochs",
    "read_run",
    "write_json",
]

HEARTBEAT_S: Final = 1.0
"""Shortest interval at which a running training rewrites its status, in seconds."""

STARTING_S: Final = 15.0
"""Longest time from a job's request to its lock, in seconds."""

SILENCE_S: Final = 120.0
"""A run whose lock cannot be tried (read-only folder, another machine) counts as dead after this silence."""


class RunInUseError(RuntimeError):
    """Another process writes into this run directory."""


class StopRequestedError(Exception):
    """Someone asked the training to stop; leaving the run writer with it gives the state ``stopped``."""


def new_run_folder(runs: Path, architecture: str) -> Path:
    """A folder name that is not taken: ``<time>_<architecture>``, in UTC."""
    stem = f"{datetime.now(UTC):%Y%m%d-%H%M%S}_{architecture}"
    folder, number = runs / stem, 2
    while folder.exists():
        folder, number = runs / f"{stem}-{number}", number + 1
    return folder


class RunWriter:
    """Writes one run; leaving it marks the run finished, stopped or failed.

    Holds a lock that the operating system frees with the process, so that readers can tell a killed run.

    Args:
        folder: The run directory; made if missing, continued if there.
        config: The wish, as plain values.
        environment: Versions, device, commit, hashes of the data.
        epoch_count: How many epochs are planned.
        mirror: Takes every finished epoch besides, such as TensorBoard.

    Raises:
        RunInUseError: On entering, where another process holds the run.
    """

    def __init__(
        self,
        folder: Path,
        config: Mapping[str, Any],
        environment: Mapping[str, Any],
        epoch_count: int,
        mirror: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> None:
        self.folder, self._mirror = folder, mirror
        self._config, self._environment = config, environment
        self._lock = FileLock(folder / LOCK_FILE)
        self._status: dict[str, Any] = {
            "state": RunState.RUNNING,
            "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "epoch": 0,
            "epoch_count": epoch_count,
            "step": 0,
            "step_count": 0,
            "message": "",
        }
        self._written_at = 0.0

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=5)
        except Timeout as error:
            raise RunInUseError(
                f"another process is writing to {self.folder}; wait for it or stop it"
            ) from error
        try:
            self._begin()
        except BaseException:
            self._lock.release()
            raise
        return self

    def _begin(self) -> None:
        # A stop asked of the process that wrote before is void; one asked while this one started counts.
        if state_of(self.folder) not in (None, RunState.QUEUED):
            (self.folder / STOP_FILE).unlink(missing_ok=True)
        cut_unfinished_line(self.folder / EPOCHS_FILE)
        self._status["epoch"] = len(read_epochs(self.folder))
        write_json(self.folder / CONFIG_FILE, self._config)
        write_json(self.folder / ENVIRONMENT_FILE, self._environment)
        self.progress(force=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if kind is None:
            self._status["state"] = RunState.FINISHED
        elif issubclass(kind, StopRequestedError | KeyboardInterrupt):
            self._status |= {"state": RunState.STOPPED, "message": "stopped on request"}
        else:
            self._status |= {"state": RunState.FAILED, "message": f"{kind.__name__}: {error}"}
        try:
            self.progress(force=True)
            (self.folder / STOP_FILE).unlink(missing_ok=True)
        except OSError:
            # A full disk: the error on its way says so; without the lock the run reads as interrupted.
            if kind is None:
                raise
        finally:
            self._lock.release()
        return kind is not None and issubclass(kind, StopRequestedError)

    def progress(self, *, force: bool = False, **changes: Any) -> None:
        """Update the status file, at most once a second unless forced.

        Raises:
            StopRequestedError: Someone put a stop file into the folder.
        """
        self._status |= changes
        now = time.monotonic()
        if not force and now - self._written_at < HEARTBEAT_S:
            return
        if not force:  # epochs shorter than a heartbeat must not put off the look for a stop file
            self._written_at = now
        self._status["updated_at"] = datetime.now(UTC).isoformat(timespec="seconds")
        write_json(self.folder / STATUS_FILE, self._status)
        if not force and (self.folder / STOP_FILE).exists():
            raise StopRequestedError

    def add_epoch(self, row: Mapping[str, Any]) -> None:
        """Append one finished epoch as a line."""
        add_line(self.folder / EPOCHS_FILE, row)
        if self._mirror is not None:
            self._mirror(row)

    def keep_epochs(self, count: int) -> None:
        """Cut the history back to the epochs that a checkpoint contains, before a run goes on from it."""
        rows = read_epochs(self.folder)[:count]
        write_lines(self.folder / EPOCHS_FILE, rows)

    def add_report(self, report: Mapping[str, Any]) -> None:
        """Store the metrics of the finished model."""
        write_json(self.folder / REPORT_FILE, report)


@dataclass(frozen=True, slots=True)
class Run:
    """A training as its directory tells it.

    Attributes:
        folder: The run directory.
        state: Where it stands; ``interrupted`` when its process is gone without a word.
        config: The wish.
        environment: Versions, device, commit, hashes of the data.
        status: Progress and times.
        epochs: One row an epoch.
        report: Metrics of the finished model; None before.
        problem: Why it could not be read; empty when it could.
    """

    folder: Path
    state: RunState
    config: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    status: Mapping[str, Any] = field(default_factory=dict)
    epochs: tuple[Mapping[str, Any], ...] = ()
    report: Mapping[str, Any] | None = None
    problem: str = ""

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def is_active(self) -> bool:
        """Whether a process trains or waits for its turn."""
        return self.state in (RunState.RUNNING, RunState.QUEUED)

    @property
    def can_resume(self) -> bool:
        """Whether it stands still before its end and left a checkpoint."""
        resting = self.state in (RunState.STOPPED, RunState.INTERRUPTED, RunState.FAILED)
        return resting and (self.folder / LAST_FILE).is_file()

    def request_stop(self) -> None:
        """Ask the training to stop after its current step."""
        (self.folder / STOP_FILE).touch()


def read_run(folder: Path) -> Run:
    """Read a run directory; one that cannot be read becomes a run with a problem text."""
    try:
        config = read_object(folder / CONFIG_FILE)
        status_path = folder / STATUS_FILE
        # The history that ships with weights has no status: it is finished.
        status = read_object(status_path) if status_path.is_file() else {"state": RunState.FINISHED}
        environment_path, report_path = folder / ENVIRONMENT_FILE, folder / REPORT_FILE
        state = _known_state(status)
        if not _has_process(folder, state, status):
            status = read_object(status_path)  # it may have come to its end between the two looks
            state = RunState.INTERRUPTED if _known_state(status) is state else _known_state(status)
        return Run(
            folder=folder,
            state=state,
            config=config,
            environment=read_object(environment_path) if environment_path.is_file() else {},
            status=status,
            epochs=tuple(read_epochs(folder)),
            report=read_object(report_path) if report_path.is_file() else None,
        )
    except (OSError, ValueError, RuntimeError) as error:  # the last of a lock that cannot be taken
        return Run(folder=folder, state=RunState.UNREADABLE, problem=f"{folder.name} cannot be read: {error}")


def _known_state(status: Mapping[str, Any]) -> RunState:
    try:
        return RunState(status.get("state", ""))
    except ValueError as error:
        known = ", ".join(RunState)
        raise ValueError(
            f"expected a state out of {known} in {STATUS_FILE}, got {status.get('state')!r}; "
            "another version may have written it"
        ) from error


def _has_process(folder: Path, state: RunState, status: Mapping[str, Any]) -> bool:
    """Whether a state that needs a living process has one; other states need none."""
    if state is RunState.RUNNING:
        return _is_held(folder / LOCK_FILE, status)
    if state is RunState.QUEUED:
        return _silence_s(status) < STARTING_S or _is_held(folder / JOB_LOCK_FILE, status)
    return True


def _is_held(path: Path, status: Mapping[str, Any]) -> bool:
    """Whether a living process holds a lock; where that cannot be tried, whether it wrote lately."""
    if not path.is_file():
        return False
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:
        return _silence_s(status) < SILENCE_S
    lock.release()
    return False


def _silence_s(status: Mapping[str, Any]) -> float:
    updated = datetime.fromisoformat(str(status.get("updated_at", "1970-01-01T00:00:00+00:00")))
    try:
        zoned = updated if updated.tzinfo else updated.replace(tzinfo=UTC)
        return (datetime.now(UTC) - zoned).total_seconds()
    except OverflowError as error:
        raise ValueError(f"expected a time in updated_at of {STATUS_FILE}, got {updated}") from error


class RunStore:
    """All runs below a folder, newest first; files that did not change are not read again."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._known: dict[Path, tuple[tuple[int, ...], Run]] = {}

    def __iter__(self) -> Iterator[Run]:
        return iter(self.runs())

    def runs(self) -> list[Run]:
        """Read what changed, return everything."""
        if not self.root.is_dir():
            return []
        folders = [path for path in self.root.iterdir() if path.is_dir() and not path.name.startswith(".")]
        return [self._read(folder) for folder in sorted(folders, key=lambda path: path.name, reverse=True)]

    def _read(self, folder: Path) -> Run:
        names = (CONFIG_FILE, ENVIRONMENT_FILE, STATUS_FILE, EPOCHS_FILE, REPORT_FILE, LAST_FILE)
        stamp = tuple(_change_time(folder / name) for name in names)
        known = self._known.get(folder)
        # A process can die without changing a file.
        if known is None or known[0] != stamp or known[1].is_active:
            known = (stamp, read_run(folder))
            self._known[folder] = known
        return known[1]


def _change_time(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
