"""The tables of a watch log."""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Final

from fer.emotions import Label
from fer.reports import face_columns

_TYPES: Final = {float: "REAL", str: "TEXT", bool: "INTEGER"}

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS runs (
    id INTEGER PRIMARY KEY, start_s REAL, end_s REAL, look_count INTEGER DEFAULT 0,
    source TEXT, weights TEXT, detector TEXT
);
CREATE TABLE IF NOT EXISTS faces (run INTEGER, time_s REAL, track_id INTEGER, {columns});
CREATE INDEX IF NOT EXISTS faces_time ON faces (time_s);
CREATE TABLE IF NOT EXISTS gaps (
    id INTEGER PRIMARY KEY, run INTEGER, start_s REAL, end_s REAL, reason TEXT
);
CREATE TABLE IF NOT EXISTS alerts (run INTEGER, time_s REAL, alert TEXT, track_id INTEGER, picture TEXT);
"""


def face_column_types(emotions: Sequence[Label]) -> dict[str, str]:
    """Return the columns of a face's record with their SQL types.

    Args:
        emotions: Labels of the head that classifies the faces.
    """
    return {name: _TYPES[kind] for name, kind in face_columns(emotions).items()}


def table_script(columns: Mapping[str, str]) -> str:
    """Return the SQL script that creates the missing tables.

    Args:
        columns: Columns of a face with their SQL types.
    """
    return _TABLES.format(columns=", ".join(f'"{name}" {kind}' for name, kind in columns.items()))


def add_columns(connection: sqlite3.Connection, columns: Mapping[str, str]) -> None:
    """Add missing columns to a log of an earlier version or another model; they are empty in old rows."""
    connection.execute("BEGIN IMMEDIATE")
    known = {row[1] for row in connection.execute("PRAGMA table_info(faces)")}
    for name, kind in columns.items():
        if name not in known:
            connection.execute(f'ALTER TABLE faces ADD COLUMN "{name}" {kind}')
    connection.execute("COMMIT")


def check_tables(connection: sqlite3.Connection) -> None:
    """Check now what would otherwise fail at the first gap or alert, perhaps after days.

    Raises:
        sqlite3.Error: A table has other columns, or the file has views or triggers.
    """
    for query in (
        "SELECT run, start_s, end_s, reason FROM gaps LIMIT 0",
        "SELECT run, time_s, alert, track_id, picture FROM alerts LIMIT 0",
    ):
        connection.execute(query)
    if connection.execute("SELECT 1 FROM sqlite_master WHERE type IN ('view', 'trigger')").fetchone():
        raise sqlite3.DatabaseError("it has views or triggers")
