"""Move the rows of a watch log into a dated file beside it, safely while other programs use the log."""

import glob
import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

_PART_SUFFIX: Final = ".part"
_MOVED_TABLES: Final = ("faces", "gaps", "alerts", "runs")


def dated_path(path: Path) -> Path:
    """Return the dated file name for rows that are rotated now."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
    return path.with_name(f"{path.stem}.{stamp}{path.suffix}")


def used_bytes(connection: sqlite3.Connection) -> int:
    """Return the size of the log's content; pages freed by an earlier move do not count."""
    page_count, free_count, page_size = (
        int(connection.execute(f"PRAGMA {name}").fetchone()[0])
        for name in ("page_count", "freelist_count", "page_size")
    )
    return (page_count - free_count) * page_size


def place_of(path: Path) -> tuple[int, int] | None:
    """Return device and inode, which identify a file regardless of its name; None if it does not exist."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def move_rows(connection: sqlite3.Connection, path: Path, least_bytes: int) -> Path | None:
    """Move all rows of a log into a dated file.

    The log itself is not renamed: it would lack the newest rows, which are in a ``-wal`` file under the old
    name while any program reads the log. First the rows are copied to a temporary file and synced to disk;
    then one commit deletes them from the log, and a rename publishes the copy. If the process is killed,
    :func:`finish_moves` finds out from the rows left in the log how far it got.

    Args:
        connection: Connection to the log, in autocommit mode, without an open transaction.
        path: The log.
        least_bytes: Nothing is moved below this size; another writer may just have moved the rows.

    Returns:
        The dated file; None if nothing was moved.

    Raises:
        sqlite3.Error: The log is locked or the disk is full; the log is unchanged.
        OSError: The copy cannot be synced to disk; the log is unchanged.
    """
    target = dated_path(path)
    part = target.with_name(f".{target.name}{_PART_SUFFIX}")
    connection.execute("BEGIN IMMEDIATE")  # writers wait from here on, readers do not
    try:
        if used_bytes(connection) < least_bytes:
            connection.execute("ROLLBACK")
            return None
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("VACUUM INTO ?", (str(part),))
        with closing(sqlite3.connect(part, isolation_level=None)) as copy:
            copy.execute("PRAGMA journal_mode = DELETE")  # a single file, readable from any medium
        _make_durable(part)
        for table in _MOVED_TABLES:
            connection.execute(f"DELETE FROM {table}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        part.unlink(missing_ok=True)
        raise
    part.replace(target)
    _make_durable(target.parent)
    return target


def finish_moves(connection: sqlite3.Connection, path: Path) -> None:
    """Publish or discard the copies of processes that were killed while moving rows.

    Raises:
        sqlite3.Error: The log is locked.
        OSError: A copy can be neither renamed nor deleted.
    """
    pattern = f".{glob.escape(path.stem)}.*{glob.escape(path.suffix)}{_PART_SUFFIX}"
    if not any(path.parent.glob(pattern)):
        return
    connection.execute("BEGIN IMMEDIATE")  # nobody is moving rows while this is held
    try:
        for part in sorted(path.parent.glob(pattern)):
            if _is_only_copy(part, connection):
                part.replace(part.with_name(part.name[1 : -len(_PART_SUFFIX)]))
            else:
                part.unlink()
            part.with_name(f"{part.name}-journal").unlink(missing_ok=True)
    finally:
        connection.execute("ROLLBACK")


def delete_oldest(path: Path, keep_count: int) -> None:
    """Delete all but the newest dated files of a log."""
    name = f"{glob.escape(path.stem)}.[0-9]*T[0-9]*{glob.escape(path.suffix)}"
    kept = sorted(path.parent.glob(name))
    for old in kept[: max(len(kept) - keep_count, 0)]:
        old.unlink(missing_ok=True)


def remove_orphans(path: Path) -> None:
    """Delete SQLite's files beside a deleted log, so that a new log does not use them."""
    if not path.exists():
        for suffix in ("-wal", "-shm", "-journal"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)


def _is_only_copy(part: Path, connection: sqlite3.Connection) -> bool:
    """Return whether the rows of a copy are no longer in the log; False for an unreadable copy."""
    try:
        with closing(sqlite3.connect(f"{part.absolute().as_uri()}?mode=ro", uri=True)) as copy:
            row = copy.execute("SELECT id, start_s FROM runs ORDER BY id DESC LIMIT 1").fetchone()
            is_whole = copy.execute("PRAGMA quick_check").fetchone()[0] == "ok"
    except sqlite3.Error:
        return False
    if row is None or not is_whole:
        return False
    return connection.execute("SELECT 1 FROM runs WHERE id = ? AND start_s IS ?", row).fetchone() is None


def _make_durable(path: Path) -> None:
    if path.is_dir() and os.name == "nt":
        return  # Windows cannot open a folder
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
