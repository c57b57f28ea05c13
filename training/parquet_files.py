"""Parquet files of strangers: limits before unpacking, linked pictures inside the data set's folder only."""

from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

MAX_ROW_COUNT: Final = 2_000_000
MAX_UNPACKED_BYTES: Final = 4_000_000_000
"""Most memory that a data set may take; the same limit as for an unpacked upload."""

_MAX_RATIO: Final = 100
_ALWAYS_READ_BYTES: Final = 100_000_000
"""Encoded pictures hardly shrink: what is larger than this and grows a hundredfold is no data set."""

_UNREADABLE: Final = (
    pa.ArrowException,
    OSError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    RecursionError,
    MemoryError,
)
"""Errors that pyarrow, pandas' metadata included, raises for damaged files."""


def read_parquet(path: Path) -> pa.Table:
    """Read a parquet file whose declared sizes are within the limits.

    Raises:
        ValueError: It is too large or cannot be read; the message is one sentence without the file's name.
    """
    try:
        with pq.ParquetFile(path) as file:
            _check_sizes(file.metadata, path.stat().st_size)
            table = _read_bounded(file)
            table.validate(full=True)  # text that is no UTF-8 fails here, not in the caller
            return table
    except _TooLargeError:
        raise
    except _UNREADABLE as error:
        raise ValueError(f"cannot be read as parquet ({error}); save it again") from error


class _TooLargeError(ValueError):
    """Beyond a limit."""


def _check_sizes(metadata: pq.FileMetaData, file_bytes: int) -> None:
    if metadata.num_rows > MAX_ROW_COUNT:
        raise _TooLargeError(f"has {metadata.num_rows} rows; at most {MAX_ROW_COUNT} are read, split it")
    unpacked = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
    _check_bytes(unpacked, file_bytes)


def _check_bytes(unpacked: int, file_bytes: int) -> None:
    limit = min(MAX_UNPACKED_BYTES, max(_MAX_RATIO * file_bytes, _ALWAYS_READ_BYTES))
    if unpacked > limit:
        raise _TooLargeError(
            f"unpacks to {unpacked / 1e6:.0f} MB; at most {limit / 1e6:.0f} MB are read from a file of its "
            "size, split it or save it again"
        )


def _read_bounded(file: pq.ParquetFile) -> pa.Table:
    """Read batch by batch: a dictionary repeats one large value in many rows without saying so."""
    batches, size = [], 0
    file_bytes = file.metadata.serialized_size + sum(
        file.metadata.row_group(group).column(column).total_compressed_size
        for group in range(file.metadata.num_row_groups)
        for column in range(file.metadata.num_columns)
    )
    for batch in file.iter_batches(batch_size=64):
        size += batch.nbytes
        _check_bytes(size, file_bytes)
        batches.append(batch)
    return pa.Table.from_batches(batches, file.schema_arrow)


def linked_picture(folder: Path, linked: object) -> Path | None:
    """Return the file that a row names, if it lies inside the data set's folder; None otherwise."""
    if not isinstance(linked, str) or not linked or "\0" in linked:
        return None
    try:
        path = (folder / linked).resolve()
        is_inside = path.is_relative_to(folder.resolve()) and path.is_file()
    except (OSError, ValueError, RuntimeError):
        return None
    return path if is_inside else None
