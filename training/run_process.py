"""Detection of live run processes, from their locks and the age of their status."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from filelock import FileLock, Timeout

from training.run_files import JOB_LOCK_FILE, LOCK_FILE, STATUS_FILE, RunState

STARTING_S: Final = 15.0
"""Maximum time from queueing a job to its lock, in seconds."""

SILENCE_S: Final = 120.0
"""Time without a status update, in seconds, after which a run is considered dead.

Used where its lock cannot be tested, such as on a read-only folder or another machine.
"""


def has_process(folder: Path, state: RunState, status: Mapping[str, Any]) -> bool:
    """Return whether the run's process is alive, for states that need one."""
    if state is RunState.RUNNING:
        return is_held(folder / LOCK_FILE, status)
    if state is RunState.QUEUED:
        return _silence_s(status) < STARTING_S or is_held(folder / JOB_LOCK_FILE, status)
    return True


def is_held(path: Path, status: Mapping[str, Any]) -> bool:
    """Return whether a process holds a lock or, if that cannot be tested, the status is recent."""
    try:
        return path.is_file() and is_locked(path)
    except OSError:
        return _silence_s(status) < SILENCE_S


def is_locked(path: Path) -> bool:
    """Return whether a process holds a lock.

    Raises:
        OSError: It cannot be tested, such as on a read-only folder.
    """
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True


def _silence_s(status: Mapping[str, Any]) -> float:
    updated = datetime.fromisoformat(str(status.get("updated_at", "1970-01-01T00:00:00+00:00")))
    try:
        zoned = updated if updated.tzinfo else updated.replace(tzinfo=UTC)
        return (datetime.now(UTC) - zoned).total_seconds()
    except OverflowError as error:
        raise ValueError(f"expected a time in updated_at of {STATUS_FILE}, got {updated}") from error
