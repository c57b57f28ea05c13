"""The log of a watched camera: a small SQLite file of faces, gaps and alerts, without images."""

import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from fer.emotions import Label
from fer.faces import Face
from fer.reports import face_to_dict, flat_face
from fer.watch.log_rotation import (
    dated_path,
    delete_oldest,
    finish_moves,
    move_rows,
    place_of,
    remove_orphans,
    used_bytes,
)
from fer.watch.log_tables import add_columns, check_tables, face_column_types, table_script

_COMMIT_EVERY_S: Final = 1.0
_CHECK_SIZE_EVERY_S: Final = 10.0
_RETRY_MOVE_S: Final = 60.0

_OPEN_WAIT_S: Final = 30.0
"""Longest wait of the first and last write for locks of other programs, in seconds."""

_WRITE_WAIT_S: Final = 0.2
"""Longest wait of other writes, in seconds; rows that cannot be written yet are kept in memory."""

_MOST_UNWRITTEN: Final = 100_000
"""Statements kept in memory, about 50 MB; above this they are written to a dated file beside the log."""

_PASSING_ERRORS: Final = (
    "SQLITE_BUSY",
    "SQLITE_CANTOPEN",
    "SQLITE_FULL",
    "SQLITE_IOERR",
    "SQLITE_LOCKED",
    "SQLITE_PROTOCOL",
)
"""Prefixes of the names of transient SQLite errors: locks of other programs, a full disk."""


class LogError(ValueError):
    """A log that cannot be opened or written."""


class WatchLog:
    """The log of a watch; a context manager for one thread. All times are seconds since 1970, UTC.

    Tables: ``runs`` (times and models of each watch), ``faces`` (the record of each face in each analysed
    frame), ``gaps`` (times without frames, and the reason), ``alerts``. Written once per second, so a power
    cut loses one second. While another program locks the file or the disk is full, rows are kept in memory;
    a log that was deleted or renamed is created again. Several watches may share a log.

    Args:
        path: The file; above ``rotate_bytes`` its rows are moved to a file with the time in its name.
        emotions: The probability columns.
        origin: The source and the models.
        rotate_bytes: Size at which the log is rotated.
        keep_count: Number of rotated files to keep; older ones are deleted.

    Attributes:
        problem: Reason why rows are kept in memory or not rotated, as a sentence; None if there is none.

    Raises:
        LogError: The file cannot be written, or is not a log.
    """

    def __init__(
        self,
        path: Path,
        emotions: Sequence[Label],
        origin: Mapping[str, str],
        *,
        rotate_bytes: int = 100_000_000,
        keep_count: int = 10,
    ) -> None:
        self.path = path
        self.row_count = 0
        self.problem: str | None = None
        self._origin = tuple(origin[key] for key in ("source", "weights", "detector"))
        self._rotate_bytes = rotate_bytes
        self._keep_count = keep_count
        self._gap: tuple[float, str] | None = None
        self._unwritten: list[tuple[str, tuple[object, ...]]] = []
        self._committed_s = time.monotonic()
        self._check_size_s = self._committed_s + _CHECK_SIZE_EVERY_S
        self._columns = face_column_types(emotions)
        names = ["run", "time_s", "track_id", *(f'"{name}"' for name in self._columns)]
        self._insert = f"INSERT INTO faces ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
        self._tables = table_script(self._columns)
        try:
            self._open()
        except (sqlite3.Error, OSError) as error:
            raise LogError(f"{path} cannot be used as a log ({error}); name another file") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add_faces(self, faces: Sequence[Face], time_s: float) -> None:
        """Add one analysed frame; an empty list means that there was no face."""
        self._add(
            "WITH look (run, time_s) AS (VALUES (?, ?)) "
            "UPDATE runs SET end_s = (SELECT time_s FROM look), look_count = look_count + 1 "
            "WHERE id = (SELECT run FROM look)",
            time_s,
        )
        for face in faces:
            cells = flat_face(face_to_dict(face))
            self._add(self._insert, time_s, face.track_id, *(cells.get(name) for name in self._columns))
        self.row_count += len(faces)
        self._write_now_and_then()

    def begin_gap(self, time_s: float, reason: str) -> None:
        """Record the start of a gap without frames."""
        self._gap = (time_s, reason)
        self._add("INSERT INTO gaps (run, start_s, reason) VALUES (?, ?, ?)", *self._gap)
        self._write()

    def end_gap(self, time_s: float) -> None:
        """Record the end of the gap."""
        if self._gap is None:
            return
        # The row may have been rotated in the meantime.
        self._add(
            "WITH gap (run, start_s, reason) AS (VALUES (?, ?, ?)) "
            "INSERT INTO gaps (run, start_s, reason) SELECT run, start_s, reason FROM gap "
            "WHERE NOT EXISTS (SELECT 1 FROM gaps WHERE run = gap.run AND start_s = gap.start_s)",
            *self._gap,
        )
        self._add(
            "WITH gap (run, start_s, end_s) AS (VALUES (?, ?, ?)) "
            "UPDATE gaps SET end_s = (SELECT end_s FROM gap) "
            "WHERE (run, start_s) = (SELECT run, start_s FROM gap)",
            *(self._gap[0], time_s),
        )
        self._gap = None
        self._write()

    def add_alert(self, time_s: float, name: str, track_id: int | None, picture: str | None) -> None:
        """Record an alert."""
        self._add(
            "INSERT INTO alerts (run, time_s, alert, track_id, picture) VALUES (?, ?, ?, ?, ?)",
            *(time_s, name, track_id, picture),
        )
        self._write()

    def close(self) -> None:
        """Write the remaining rows, to a file beside the log if the log stays locked.

        Raises:
            LogError: The remaining rows cannot be written anywhere.
        """
        try:
            with suppress(sqlite3.Error):
                self._wait_for_others(_OPEN_WAIT_S)
            self._write()
            if self._unwritten:
                self._write_beside()
        finally:
            self._connection.close()

    def rotate(self, least_bytes: int = 0) -> None:
        """Move the rows into a file with the time in its name and delete the oldest such files.

        If another program locks the log or the disk is full, nothing is moved and ``problem`` gives the
        reason.

        Args:
            least_bytes: Nothing is moved below this size.
        """
        self._write()
        try:
            if move_rows(self._connection, self.path, least_bytes):
                delete_oldest(self.path, self._keep_count)
                self._shrink()
        except (sqlite3.Error, OSError) as error:
            self.problem = f"{self.path} cannot be rotated yet ({error}); it keeps growing"
            self._check_size_s = time.monotonic() + _RETRY_MOVE_S

    def _open(self) -> None:
        remove_orphans(self.path)
        self._connection = sqlite3.connect(self.path, timeout=_OPEN_WAIT_S, isolation_level=None)
        try:
            self._connection.execute(
                "PRAGMA journal_mode = WAL"
            )  # readers do not block, and a kill does not corrupt the log
            self._connection.executescript(f"BEGIN IMMEDIATE; {self._tables} COMMIT")
            add_columns(self._connection, self._columns)
            check_tables(self._connection)
            finish_moves(self._connection, self.path)
            self._begin_run(self._connection)
        except BaseException:
            self._connection.close()
            raise
        self._place = place_of(self.path)
        self._wait_for_others(_WRITE_WAIT_S)

    def _begin_run(self, connection: sqlite3.Connection) -> None:
        self._start_s = time.time()
        self._run = connection.execute(
            "INSERT INTO runs (start_s, end_s, source, weights, detector) VALUES (?, ?, ?, ?, ?)",
            (self._start_s, self._start_s, *self._origin),
        ).lastrowid

    def _open_anew(self) -> None:
        """Create the log again after it was deleted or renamed."""
        with suppress(sqlite3.Error):
            # The renamed log should contain all rows, but the -wal file keeps the old name.
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._connection.close()
        self._place = None
        self._open()

    def _has_run(self) -> bool:
        """Return whether the log still has this run; another watch may have rotated its rows."""
        row = (self._run, self._start_s)
        found = self._connection.execute("SELECT 1 FROM runs WHERE id = ? AND start_s = ?", row).fetchone()
        return found is not None

    def _wait_for_others(self, time_s: float) -> None:
        self._connection.execute(f"PRAGMA busy_timeout = {round(time_s * 1000)}")

    def _add(self, statement: str, *values: object) -> None:
        """Queue a statement whose first parameter is the run.

        Its parameters are plain question marks: early releases of Python 3.12 warn of numbered ones.
        """
        self._unwritten.append((statement, values))

    def _write_now_and_then(self) -> None:
        now = time.monotonic()
        if now - self._committed_s >= _COMMIT_EVERY_S:
            self._write()
            self._committed_s = time.monotonic()
        if now >= self._check_size_s and self._place is not None:
            self._check_size_s = now + _CHECK_SIZE_EVERY_S
            with suppress(sqlite3.Error):  # the next write reports the error
                if used_bytes(self._connection) >= self._rotate_bytes:
                    self.rotate(self._rotate_bytes)

    def _write(self) -> None:
        """Write the queued statements in one transaction, or keep them if that is not possible now.

        Raises:
            LogError: The log is damaged, or the queue is too long and cannot be written anywhere.
        """
        if not self._unwritten:
            return
        try:
            if self._place is None or place_of(self.path) != self._place:
                self._open_anew()
            self._connection.execute("BEGIN IMMEDIATE")
            if not self._has_run():
                self._begin_run(self._connection)
            self._execute_all(self._connection)
        except (sqlite3.Error, OSError) as error:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            name = getattr(error, "sqlite_errorname", "SQLITE_CANTOPEN")
            if not name.startswith(_PASSING_ERRORS):
                beside = self._write_beside()
                raise LogError(
                    f"{self.path} cannot be written ({error}); the last rows are in {beside.name}; "
                    "name another file and start again"
                ) from error
            self.problem = f"{self.path} cannot be written ({error}); rows are kept in memory for now"
            if len(self._unwritten) > _MOST_UNWRITTEN:
                self._write_beside()
        else:
            self.problem = None

    def _execute_all(self, connection: sqlite3.Connection) -> None:
        for statement, values in self._unwritten:
            connection.execute(statement, (self._run, *values))
        connection.execute("COMMIT")
        self._unwritten.clear()

    def _write_beside(self) -> Path:
        """Write the queued statements to a dated file.

        Raises:
            LogError: The dated file cannot be written either.
        """
        beside = dated_path(self.path)
        try:
            with closing(sqlite3.connect(beside, isolation_level=None)) as connection:
                connection.executescript(f"BEGIN; {self._tables}")
                self._begin_run(connection)
                self._execute_all(connection)
        except sqlite3.Error as error:
            raise LogError(
                f"{self.path} cannot be written, nor can {beside.name} ({error}); earlier entries are safe, "
                f"the last {len(self._unwritten)} entries are lost; free some space and start again"
            ) from error
        return beside

    def _shrink(self) -> None:
        """Return freed pages to the system; if the log is in use, later rows reuse them instead."""
        with suppress(sqlite3.Error):
            self._connection.execute("VACUUM")
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
