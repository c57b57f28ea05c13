"""The run directory: what a training writes down, what the dashboard reads."""

import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from filelock import FileLock, Timeout

CONFIG_FILE: Final = "config.json"
ENVIRONMENT_FILE: Final = "environment.json"
STATUS_FILE: Final = "status.json"
EPOCHS_FILE: Final = "epochs.jsonl"
REPORT_FILE: Final = "report.json"
BEST_FILE: Final = "best.safetensors"
LAST_FILE: Final = "last.pt"
STOP_FILE: Final = "stop"
LOCK_FILE: Final = ".lock"

HEARTBEAT_S: Final = 1.0
"""How often a running training rewrites its status at most."""

SILENCE_S: Final = 120.0
"""A run whose lock cannot be tried (read-only folder, another machine) counts as dead after this silence."""


class RunState(StrEnum):
    """Where a training stands."""

    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    UNREADABLE = "unreadable"


class RunInUseError(RuntimeError):
    """Another process writes into this run directory."""


class StopRequestedError(Exception):
    """Someone asked the training to stop; leaving the run writer with it gives the state ``stopped``."""


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write under a temporary name, then rename, so that no reader sees half a file; NaN becomes null."""
    _replace_text(path, json.dumps(_finite(data), indent=2) + "\n")


def _replace_text(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError:  # a full disk: the old file stays, the half-written one goes
        temporary.unlink(missing_ok=True)
        raise


def _finite(value: Any) -> Any:
    """JSON knows no NaN and no infinity."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


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

    Raises:
        RunInUseError: On entering, where another process holds the run.
    """

    def __init__(
        self,
        folder: Path,
        config: Mapping[str, Any],
        environment: Mapping[str, Any],
        epoch_count: int,
    ) -> None:
        self.folder = folder
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
        # A stop request for the process that wrote before is void; one made while this process started counts.
        if _state_of(self.folder) not in (None, RunState.QUEUED):
            (self.folder / STOP_FILE).unlink(missing_ok=True)
        _cut_unfinished_line(self.folder / EPOCHS_FILE)
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
            # A full disk: the error that is on its way says so, and without the lock the run reads as interrupted.
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
        self._written_at = now
        self._status["updated_at"] = datetime.now(UTC).isoformat(timespec="seconds")
        write_json(self.folder / STATUS_FILE, self._status)
        if not force and (self.folder / STOP_FILE).exists():
            raise StopRequestedError

    def add_epoch(self, row: Mapping[str, Any]) -> None:
        """Append one finished epoch as a line."""
        with (self.folder / EPOCHS_FILE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(_finite(row)) + "\n")
            file.flush()

    def keep_epochs(self, count: int) -> None:
        """Cut the history back to the epochs that a checkpoint contains, before a run goes on from it."""
        rows = read_epochs(self.folder)[:count]
        _replace_text(self.folder / EPOCHS_FILE, "".join(json.dumps(_finite(row)) + "\n" for row in rows))

    def add_report(self, report: Mapping[str, Any]) -> None:
        """Store the metrics of the finished model."""
        write_json(self.folder / REPORT_FILE, report)


def read_epochs(folder: Path) -> list[dict[str, Any]]:
    """The finished epochs; an unfinished last line is ignored, no file means none."""
    path = folder / EPOCHS_FILE
    if not path.is_file():
        return []
    lines = path.read_bytes().split(b"\n")[:-1]  # what follows the last line break is unfinished
    return [_parse_row(line, number) for number, line in enumerate(lines, start=1) if line.strip()]


def _parse_row(line: bytes, number: int) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ValueError(f"line {number} of {EPOCHS_FILE} is no JSON") from error
    if not isinstance(row, dict):
        raise ValueError(f"expected an object in line {number} of {EPOCHS_FILE}")
    return row


def _cut_unfinished_line(path: Path) -> None:
    """Remove what a killed process left after the last line break, so that the next line stands alone."""
    if path.is_file():
        data = path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            os.truncate(path, whole)


def _state_of(folder: Path) -> RunState | None:
    """What the status file says; None where there is none, or none that can be read."""
    try:
        return RunState(_read_object(folder / STATUS_FILE)["state"])
    except (OSError, ValueError, KeyError):
        return None


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
        config = _read_object(folder / CONFIG_FILE)
        status_path = folder / STATUS_FILE
        # The history that ships with weights has no status: it is finished.
        status = _read_object(status_path) if status_path.is_file() else {"state": RunState.FINISHED}
        environment_path, report_path = folder / ENVIRONMENT_FILE, folder / REPORT_FILE
        state = RunState(status.get("state", RunState.UNREADABLE))
        if state is RunState.RUNNING and not _is_alive(folder, status):
            state = RunState.INTERRUPTED
        return Run(
            folder=folder,
            state=state,
            config=config,
            environment=_read_object(environment_path) if environment_path.is_file() else {},
            status=status,
            epochs=tuple(read_epochs(folder)),
            report=_read_object(report_path) if report_path.is_file() else None,
        )
    except (OSError, ValueError) as error:
        return Run(folder=folder, state=RunState.UNREADABLE, problem=f"{folder.name} cannot be read: {error}")


def _read_object(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path.name} is no JSON ({error})") from error
    if not isinstance(data, dict):
        raise ValueError(f"expected an object in {path.name}")
    return data


def _is_alive(folder: Path, status: Mapping[str, Any]) -> bool:
    lock = FileLock(folder / LOCK_FILE)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:
        updated = datetime.fromisoformat(str(status.get("updated_at", "1970-01-01T00:00:00+00:00")))
        return (datetime.now(UTC) - updated).total_seconds() < SILENCE_S
    lock.release()
    return False


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
        names = (CONFIG_FILE, STATUS_FILE, EPOCHS_FILE, REPORT_FILE, LAST_FILE)
        stamp = tuple(_change_time(folder / name) for name in names)
        known = self._known.get(folder)
        # A running process can die without changing a file.
        if known is None or known[0] != stamp or known[1].state is RunState.RUNNING:
            known = (stamp, read_run(folder))
            self._known[folder] = known
        return known[1]


def _change_time(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
