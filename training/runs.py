"""The run directory: written by a training, read by the dashboard."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from filelock import FileLock, Timeout

from training.run_files import (
    CONFIG_FILE,
    ENVIRONMENT_FILE,
    EPOCHS_FILE,
    JOB_LOCK_FILE,
    LAST_FILE,
    LOCK_FILE,
    REPORT_FILE,
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
from training.run_process import has_process, is_locked

HEARTBEAT_S: Final = 1.0
"""Minimum interval between two writes of a running training's status, in seconds."""


class RunInUseError(RuntimeError):
    """Another process is writing to this run directory."""


class StopRequestedError(Exception):
    """A stop of the training was requested; raised out of a run writer, it sets the state ``stopped``."""


def new_run_folder(runs: Path, architecture: str) -> Path:
    """Return an unused folder name: ``<time>_<architecture>``, in UTC."""
    stem = f"{datetime.now(UTC):%Y%m%d-%H%M%S}_{architecture}"
    folder, number = runs / stem, 2
    while folder.exists():
        folder, number = runs / f"{stem}-{number}", number + 1
    return folder


class RunWriter:
    """Context manager that writes one run; on exit it marks the run finished, stopped or failed.

    Holds a lock that the operating system releases with the process, so that readers can detect a killed run.

    Args:
        folder: The run directory; created if missing, continued if it exists.
        config: Settings as plain values.
        environment: Versions, device, commit, hashes of the data.
        epoch_count: Planned number of epochs.
        mirror: Also receives every finished epoch, such as a TensorBoard writer.

    Raises:
        RunInUseError: On entering, if another process holds the run.
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
        # Ignore a stop requested from an earlier process, but not one requested while this one was starting.
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
            # A full disk: the pending error reports it; without the lock the run counts as interrupted.
            if kind is None:
                raise
        finally:
            self._lock.release()
        return kind is not None and issubclass(kind, StopRequestedError)

    def progress(self, *, force: bool = False, **changes: Any) -> None:
        """Update the status file, at most once per second unless forced.

        Raises:
            StopRequestedError: The folder contains a stop file.
        """
        self._status |= changes
        now = time.monotonic()
        if not force and now - self._written_at < HEARTBEAT_S:
            return
        if not force:  # epochs shorter than a heartbeat must not delay the check for a stop file
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
        """Truncate the history to the epochs of a checkpoint, before resuming from it."""
        rows = read_epochs(self.folder)[:count]
        write_lines(self.folder / EPOCHS_FILE, rows)

    def add_report(self, report: Mapping[str, Any]) -> None:
        """Store the metrics of the finished model."""
        write_json(self.folder / REPORT_FILE, report)


@dataclass(frozen=True, slots=True)
class Run:
    """A training as recorded in its run directory.

    Attributes:
        folder: The run directory.
        state: State of the run; ``interrupted`` if its process died without recording it.
        config: Settings.
        environment: Versions, device, commit, hashes of the data.
        status: Progress and times.
        epochs: One row per epoch.
        report: Metrics of the finished model; None before.
        problem: Reason why the run cannot be read; empty otherwise.
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
    def data_files(self) -> dict[str, str]:
        """SHA-256 by path of all data files; records of early versions list them beside other entries."""
        data = self.environment.get("data")
        files = data.get("files", data) if isinstance(data, Mapping) else {}
        return {path: digest for path, digest in dict(files).items() if isinstance(digest, str)}

    @property
    def is_active(self) -> bool:
        """Whether a process is training or queued."""
        return self.state in (RunState.RUNNING, RunState.QUEUED)

    @property
    def can_resume(self) -> bool:
        """Whether the run ended early and left a checkpoint."""
        resting = self.state in (RunState.STOPPED, RunState.INTERRUPTED, RunState.FAILED)
        return resting and (self.folder / LAST_FILE).is_file()

    def request_stop(self) -> None:
        """Request a stop after the current step."""
        (self.folder / STOP_FILE).touch()


def read_run(folder: Path) -> Run:
    """Read a run directory; if it cannot be read, return a run with a problem text."""
    try:
        config = read_object(folder / CONFIG_FILE)
        status_path = folder / STATUS_FILE
        # The history shipped with weights has no status file; such runs are finished.
        status = read_object(status_path) if status_path.is_file() else {"state": RunState.FINISHED}
        environment_path, report_path = folder / ENVIRONMENT_FILE, folder / REPORT_FILE
        state = _known_state(status)
        if not has_process(folder, state, status):
            status = read_object(status_path)  # the run may have ended between the two reads
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
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: a lock that cannot be acquired
        return Run(folder=folder, state=RunState.UNREADABLE, problem=f"{folder.name} cannot be read: {error}")


def is_in_use(folder: Path) -> bool:
    """Return whether a run is training or queued, or a process still holds one of its locks.

    Raises:
        OSError: A lock cannot be tested.
    """
    locks = [folder / LOCK_FILE, folder / JOB_LOCK_FILE]
    return read_run(folder).is_active or any(path.is_file() and is_locked(path) for path in locks)


def _known_state(status: Mapping[str, Any]) -> RunState:
    try:
        return RunState(status.get("state", ""))
    except ValueError as error:
        known = ", ".join(RunState)
        raise ValueError(
            f"expected one of {known} as state in {STATUS_FILE}, got {status.get('state')!r}; "
            "another version may have written it"
        ) from error


class RunStore:
    """All runs in a folder, newest first; unchanged runs are read only once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._known: dict[Path, tuple[tuple[int, ...], Run]] = {}

    def __iter__(self) -> Iterator[Run]:
        return iter(self.runs())

    def runs(self) -> list[Run]:
        """Read the changed runs, return all runs."""
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
