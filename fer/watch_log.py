"""The record of a watched camera: a small SQLite file of faces, gaps and alerts, never of pictures."""

import sqlite3
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from fer.emotions import Emotion
from fer.faces import Face

_NUMBERS: Final = ("confidence", "left", "top", "right", "bottom", "score", "other")

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS runs (
    id INTEGER PRIMARY KEY, start_s REAL, end_s REAL, look_count INTEGER DEFAULT 0,
    source TEXT, weights TEXT, detector TEXT
);
CREATE TABLE IF NOT EXISTS faces (run INTEGER, time_s REAL, track_id INTEGER, emotion TEXT, {numbers});
CREATE INDEX IF NOT EXISTS faces_time ON faces (time_s);
CREATE TABLE IF NOT EXISTS gaps (
    id INTEGER PRIMARY KEY, run INTEGER, start_s REAL, end_s REAL, reason TEXT
);
CREATE TABLE IF NOT EXISTS alerts (run INTEGER, time_s REAL, alert TEXT, track_id INTEGER, picture TEXT);
"""

_COMMIT_EVERY_S: Final = 1.0
_CHECK_SIZE_EVERY_S: Final = 10.0


class LogError(ValueError):
    """A log that cannot be opened or written."""


class WatchLog:
    """Rows of what was seen; a context manager for one thread. All times are seconds since 1970, UTC.

    Tables: ``runs`` (when somebody watched, through which models), ``faces`` (one row a face and look),
    ``gaps`` (when nothing came, and why), ``alerts``. Written once a second: a power cut loses that much.

    Args:
        path: The file; a larger one than ``rotate_bytes`` is put aside with the time in its name.
        emotions: The probability columns.
        origin: What is watched, through which models.
        rotate_bytes: From which size a new file is begun.
        keep_count: How many files are put aside; older ones are deleted.

    Raises:
        LogError: The place cannot be written, or holds something else.
    """

    def __init__(
        self,
        path: Path,
        emotions: Sequence[Emotion],
        origin: Mapping[str, str],
        *,
        rotate_bytes: int = 100_000_000,
        keep_count: int = 10,
    ) -> None:
        self.path = path
        self.row_count = 0
        self._emotions = tuple(emotions)
        self._origin = dict(origin)
        self._rotate_bytes = rotate_bytes
        self._keep_count = keep_count
        self._gap: int | None = None
        self._committed_s = self._checked_s = time.monotonic()
        self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add_faces(self, faces: Sequence[Face], time_s: float) -> None:
        """One look; an empty list says that nobody was there."""
        self._execute(
            "UPDATE runs SET end_s = ?, look_count = look_count + 1 WHERE id = ?", time_s, self._run
        )
        for face in faces:
            by_emotion = face.prediction.by_emotion()
            self._execute(
                self._insert,
                *(
                    self._run,
                    time_s,
                    face.track_id,
                    face.prediction.emotion.value,
                    face.prediction.confidence,
                ),
                *face.detection.box.as_tuple(),
                *(face.detection.score, face.prediction.other),
                *(by_emotion.get(emotion) for emotion in self._emotions),
            )
        self.row_count += len(faces)
        self._commit_now_and_then()

    def begin_gap(self, time_s: float, reason: str) -> None:
        """Nothing comes from here on."""
        cursor = self._execute(
            "INSERT INTO gaps (run, start_s, reason) VALUES (?, ?, ?)", self._run, time_s, reason
        )
        self._gap = cursor.lastrowid
        self._commit()

    def end_gap(self, time_s: float) -> None:
        """Frames come again."""
        self._execute("UPDATE gaps SET end_s = ? WHERE id = ?", time_s, self._gap)
        self._gap = None
        self._commit()

    def add_alert(self, time_s: float, name: str, track_id: int | None, picture: str | None) -> None:
        """An alert went off."""
        values = (self._run, time_s, name, track_id, picture)
        self._execute(
            "INSERT INTO alerts (run, time_s, alert, track_id, picture) VALUES (?, ?, ?, ?, ?)", *values
        )
        self._commit()

    def close(self) -> None:
        """Write what is left."""
        self._commit()
        self._connection.close()

    def _open(self) -> None:
        words = [emotion.value for emotion in self._emotions]
        columns = ", ".join(["run", "time_s", "track_id", "emotion", *_NUMBERS, *words])
        self._insert = f"INSERT INTO faces ({columns}) VALUES ({', '.join('?' * (columns.count(',') + 1))})"
        now = time.time()
        values = (now, now, *(self._origin[key] for key in ("source", "weights", "detector")))
        try:
            self._connection = sqlite3.connect(self.path)
            self._connection.execute(
                "PRAGMA journal_mode = WAL"
            )  # readers do not wait, a kill breaks nothing
            numbers = ", ".join(f"{name} REAL" for name in (*_NUMBERS, *words))
            self._connection.executescript(_TABLES.format(numbers=numbers))
            self._run = self._connection.execute(
                "INSERT INTO runs (start_s, end_s, source, weights, detector) VALUES (?, ?, ?, ?, ?)", values
            ).lastrowid
            self._connection.commit()
        except sqlite3.Error as error:
            raise LogError(f"{self.path} cannot be used as a log ({error}); name another file") from error

    def _execute(self, statement: str, *values: object) -> sqlite3.Cursor:
        try:
            return self._connection.execute(statement, values)
        except sqlite3.Error as error:
            raise self._unwritable(error) from error

    def _commit_now_and_then(self) -> None:
        now = time.monotonic()
        if now - self._committed_s >= _COMMIT_EVERY_S:
            self._commit()
            self._committed_s = now
        if now - self._checked_s >= _CHECK_SIZE_EVERY_S:
            self._checked_s = now
            if self.path.stat().st_size >= self._rotate_bytes:
                self.rotate()

    def _commit(self) -> None:
        try:
            self._connection.commit()
        except sqlite3.Error as error:
            raise self._unwritable(error) from error

    def rotate(self) -> None:
        """Put the file aside under a name with the time, begin a new one, delete the oldest ones."""
        self.close()
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        self.path.replace(self.path.with_name(f"{self.path.stem}.{stamp}{self.path.suffix}"))
        kept = sorted(self.path.parent.glob(f"{self.path.stem}.[0-9]*T[0-9]*{self.path.suffix}"))
        for old in kept[: max(len(kept) - self._keep_count, 0)]:
            old.unlink()
        gap = self._gap
        self._open()
        if gap is not None:
            self.begin_gap(time.time(), "goes on from the file before")

    def _unwritable(self, error: sqlite3.Error) -> LogError:
        return LogError(
            f"{self.path} cannot be written ({error}); what was written before is safe, "
            "make room or name another file, then start again"
        )
