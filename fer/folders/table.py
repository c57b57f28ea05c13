"""The table of a folder's faces: a journal while it grows, one renamed file when it is complete."""

import errno
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from fer.emotions import Label
from fer.files import replaced
from fer.folders.records import Record
from fer.printable import plain_cell
from fer.reports import face_columns, record_rows

_ORIGIN_KEY: Final = b"fer"
_BATCH: Final = 4096
_ARROW_TYPES: Final = {float: pa.float64(), str: pa.string(), bool: pa.bool_()}


class TableError(ValueError):
    """A table that cannot be read, written or continued."""


def table_schema(emotions: Sequence[Label]) -> pa.Schema:
    """Return the columns of a folder's table, as docs/api.md lists them.

    One row per face; an image without faces has one row of empty cells, an unreadable image has ``error``.
    """
    return pa.schema(
        [("path", pa.string()), ("width", pa.int32()), ("height", pa.int32()), ("face", pa.int32())]
        + [(name, _ARROW_TYPES[kind]) for name, kind in face_columns(emotions).items()]
        + [("error", pa.string())]
    )


class PictureJournal:
    """A journal that writes every record to disk immediately; a context manager.

    The journal is stored beside the table as ``<table>.partial.jsonl``: a first line with the origin of the
    numbers, then one ``--json`` line per image. An incomplete last line is dropped on the next start, so an
    interrupted run resumes where it stopped.

    Args:
        tables: The files to write at the end, by kind: ``csv``, ``parquet``.
        origin: The models that produce the numbers; a table is never continued with different ones.
        emotions: The probability columns.

    Raises:
        TableError: The file cannot be written, or contains a table of another origin.
    """

    def __init__(
        self, tables: Mapping[str, Path], origin: Mapping[str, str], emotions: Sequence[Label]
    ) -> None:
        self._tables = dict(tables)
        self._origin = json.dumps(dict(origin), sort_keys=True)
        self._schema = table_schema(emotions)
        first = self._tables.get("parquet") or next(iter(self._tables.values()))
        self.path = first.with_name(first.name + ".partial.jsonl")
        self._earlier = self._read_table(self._tables.get("parquet"))
        self.done: set[str] = set()
        if self._earlier is not None:
            self.done.update(_finished_paths(self._earlier))
        try:
            self._resume()
            # Unbuffered, so that closing the file on a full disk has nothing left to write.
            self._file = self.path.open("ab", buffering=0)
            if self._file.tell() == 0:
                self._write_line(self._origin)
        except OSError as error:
            advice = (
                "make room" if error.errno == errno.ENOSPC else "name a file in a folder you can write to"
            )
            raise TableError(f"{first} cannot be written ({error.strerror}); {advice}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, record: Record) -> None:
        """Append one record.

        Raises:
            TableError: The disk is full; earlier records are safe.
        """
        try:
            self._write_line(json.dumps(record))
        except OSError as error:
            raise TableError(
                f"{self.path} cannot grow ({error.strerror}); its contents are safe, "
                "free some space and run the same command again"
            ) from error
        if "error" not in record:
            self.done.add(record["path"])

    def finish(self) -> None:
        """Write the tables from the journal, then delete the journal.

        Raises:
            TableError: The disk is full; the journal is kept.
        """
        self._file.close()
        table = self._whole_table()
        try:
            for kind, path in self._tables.items():
                # Arrow itself accepts file names in UTF-8 only.
                with replaced(path) as temporary, temporary.open("wb") as file:
                    if kind == "csv":
                        pyarrow.csv.write_csv(_for_spreadsheets(table), file)
                    else:
                        pyarrow.parquet.write_table(table, file)
        except OSError as error:
            raise TableError(
                f"{path} cannot be written ({error.strerror or error}); {self.path} holds all results, "
                "free some space and run the same command again"
            ) from error
        self.path.unlink()

    def _write_line(self, line: str) -> None:
        rest = (line + "\n").encode()
        while rest:  # a nearly full disk may write only a part
            rest = rest[self._file.write(rest) :]

    def _resume(self) -> None:
        """Resume the journal of an interrupted run."""
        if not self.path.is_file():
            return
        with self.path.open("rb+") as file:
            origin = file.readline()
            if origin.endswith(b"\n") and origin.decode(errors="replace").strip() != self._origin:
                raise TableError(
                    f"{self.path} was started with other models ({origin.decode(errors='replace').strip()}); "
                    "name another table or delete that file"
                )
            whole = len(origin) if origin.endswith(b"\n") else 0
            for line in file:
                if not line.endswith(b"\n"):
                    break
                record = json.loads(line)
                if "error" not in record:
                    self.done.add(record["path"])
                whole += len(line)
            file.truncate(whole)

    def _read_table(self, path: Path | None) -> pa.Table | None:
        if path is None or not path.exists():
            return None
        try:
            with path.open("rb") as file:
                table = pyarrow.parquet.read_table(file)
        except (OSError, pa.ArrowInvalid) as error:
            raise TableError(f"{path} exists but is not a Parquet table; name another file") from error
        found = (table.schema.metadata or {}).get(_ORIGIN_KEY, b"").decode()
        if found != self._origin or not _is_part(table.schema, self._schema):
            raise TableError(
                f"{path} holds the results of other models ({found or 'not written by this program'}); "
                "name another file or delete that one"
            )
        return _widened(table, self._schema)

    def _records(self) -> Iterator[Record]:
        with self.path.open(encoding="utf-8") as file:
            file.readline()
            for line in file:
                yield json.loads(line)

    def _whole_table(self) -> pa.Table:
        """Merge earlier table and journal; later records replace earlier ones; sorted by path and face."""
        latest = {record["path"]: number for number, record in enumerate(self._records())}
        tables = [] if self._earlier is None else [_without(self._earlier, set(latest))]
        rows: list[dict[str, Any]] = []
        for number, record in enumerate(self._records()):
            if latest[record["path"]] == number:
                rows.extend(record_rows(record))
            if len(rows) >= _BATCH:
                tables.append(pa.Table.from_pylist(rows, self._schema))
                rows = []
        tables.append(pa.Table.from_pylist(rows, self._schema))
        whole = pa.concat_tables(tables).sort_by([("path", "ascending"), ("face", "ascending")])
        return whole.replace_schema_metadata({_ORIGIN_KEY: self._origin})


def _is_part(found: pa.Schema, schema: pa.Schema) -> bool:
    """Return whether all columns found are in the schema; earlier versions wrote fewer."""
    names = set(schema.names)
    return all(field.name in names and field.type == schema.field(field.name).type for field in found)


def _widened(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return the table with all columns of a schema; those missing from an earlier version are empty."""
    columns = [
        table[field.name] if field.name in table.column_names else pa.nulls(len(table), field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema.with_metadata(table.schema.metadata))


def _finished_paths(table: pa.Table) -> list[str]:
    return [
        path
        for path, error in zip(table["path"].to_pylist(), table["error"].to_pylist(), strict=True)
        if error is None
    ]


def _without(table: pa.Table, paths: set[str]) -> pa.Table:
    return table.filter(pa.array([path not in paths for path in table["path"].to_pylist()], pa.bool_()))


def _for_spreadsheets(table: pyarrow.Table) -> pyarrow.Table:
    for row, field in enumerate(table.schema):
        if pyarrow.types.is_string(field.type):
            cells = [plain_cell(cell) for cell in table.column(row).to_pylist()]
            table = table.set_column(row, field, pyarrow.array(cells, field.type))
    return table
