"""The server's temporary folder, removed on exit or, after a crash, at the next start."""

import atexit
import contextlib
import os
import secrets
import shutil
import tempfile
import threading
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

PREFIX: Final = "kv-page-"
_LOCK_SUFFIX: Final = ".lock"

_guard = threading.Lock()
_folder: Path | None = None
_lock: FileLock | None = None


def server_folder() -> Path:
    """Return this process's folder; the first call creates it and removes those of dead servers.

    A lock file beside it tells a running server's folder from that of a dead one: the operating system
    releases the lock when the process ends.

    Raises:
        OSError: The system's temporary folder is not writable.
    """
    global _folder, _lock  # noqa: PLW0603 - one folder per process
    with _guard:
        if _folder is None:
            _sweep()
            folder = Path(tempfile.gettempdir()) / f"{PREFIX}{secrets.token_hex(8)}"
            _lock = _take(Path(f"{folder}{_LOCK_SUFFIX}"))
            folder.mkdir(mode=0o700)
            _folder = folder
            atexit.register(_remove)
        return _folder


def _remove() -> None:
    global _folder, _lock  # noqa: PLW0603
    folder, lock = _folder, _lock
    _folder = _lock = None
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
    if lock is not None:
        lock.release()
        Path(lock.lock_file).unlink(missing_ok=True)


def _take(path: Path) -> FileLock | None:
    """Lock a file; return None if another process holds it, or on a file system without locks."""
    lock = FileLock(path, timeout=0, mode=0o600)
    try:
        lock.acquire()
    except (Timeout, RuntimeError):  # the latter on a file system without locks
        return None
    return lock


def _sweep() -> None:
    """Remove the folders of dead servers, except those of other users."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*{_LOCK_SUFFIX}"):
        with contextlib.suppress(OSError):  # another process removed it meanwhile
            if path.is_symlink() or (hasattr(os, "getuid") and path.lstat().st_uid != os.getuid()):
                continue
            lock = _take(path)
            if lock is None:
                continue
            folder = path.with_suffix("")
            if not folder.is_symlink():
                shutil.rmtree(folder, ignore_errors=True)
            lock.release()
            path.unlink(missing_ok=True)
