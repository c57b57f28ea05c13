"""Reader of parquet files in Hugging Face's layout, with optional ``split`` and ``votes_<word>`` columns."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fer.emotions import Label
from fer.files import replaced
from fer.json_values import parse_json
from training.data.targets import VOTE_WORDS
from training.data.words import (
    SPLIT_COLUMNS,
    DatasetError,
    are_own_classes,
    label_of_class,
    split_column,
    split_from_name,
    splits_from_column,
)


@dataclass(frozen=True, slots=True)
class ParquetFaces:
    """Rows of a parquet file.

    Attributes:
        splits: ``train``, ``val``, ``test``, or empty if the data names none.
        labels: The expressions, or custom classes, None for rows without a label.
        votes: Counts of shape (N, 10) in the order of ``VOTE_WORDS``; None without such columns.
        pictures: Encoded bytes, or paths inside the file's folder.
    """

    splits: tuple[str, ...]
    labels: tuple[Label | None, ...]
    votes: NDArray[np.int16] | None
    pictures: tuple[bytes | Path, ...]


def read_parquet_faces(path: Path, *, own: bool = False) -> ParquetFaces:
    """Read ``image`` = struct of bytes and path, ``label`` and the optional columns.

    Args:
        path: The file.
        own: Accept any class names; they are also accepted if none of them is an expression.

    Raises:
        DatasetError: The file has another format, or a row is invalid.
    """
    try:
        parquet = read_parquet(path)
    except ValueError as error:
        raise DatasetError(f"{path} {error}") from error
    renamed = parquet.rename_columns(_plain_names(parquet.column_names))
    parquet = renamed.replace_schema_metadata(parquet.schema.metadata)  # which renaming drops
    missing = {"image", "label"} - set(parquet.column_names)
    if missing:
        raise DatasetError(
            f"{path} has no column {' and '.join(sorted(missing))}; it has {parquet.column_names}"
        )
    pictures = tuple(
        _picture(image, path, row) for row, image in enumerate(parquet.column("image").to_pylist())
    )
    splits = _parquet_splits(parquet, path) or (split_from_name(path.name),) * len(pictures)
    return ParquetFaces(
        splits, tuple(_parquet_labels(parquet, path, own=own)), _parquet_votes(parquet), pictures
    )


def write_parquet_faces(
    path: Path,
    pictures: Sequence[bytes],
    labels: Sequence[Label | None],
    words: Sequence[str],
    *,
    splits: Sequence[str] = (),
    votes: NDArray[np.integer] | None = None,
) -> None:
    """Write a file that ``read_parquet_faces`` reads, atomically.

    Args:
        path: The file.
        pictures: Encoded images.
        labels: The label of each image; None for images without one.
        words: Names of all classes, in the order of their numbers.
        splits: The split of each image; empty for a file without splits.
        votes: Counts of shape (N, 10) in the order of ``VOTE_WORDS``; None for a file without votes.
    """
    numbers = [None if label is None else words.index(str(label)) for label in labels]
    images = [{"bytes": picture, "path": None} for picture in pictures]
    columns = {"image": pa.array(images, _IMAGE), "label": pa.array(numbers, pa.int64())}
    if splits:
        columns["split"] = pa.array(splits)
    if votes is not None:
        columns |= {
            f"votes_{word}": pa.array(counts) for word, counts in zip(VOTE_WORDS, votes.T, strict=True)
        }
    info = {"info": {"features": {"label": {"_type": "ClassLabel", "names": list(words)}}}}
    table = pa.table(columns).replace_schema_metadata({"huggingface": json.dumps(info)})
    with replaced(path) as temporary:
        pq.write_table(table, temporary)


_IMAGE: Final = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def _plain_names(names: list[str]) -> list[str]:
    """Return the column names with ``image`` and ``label`` in lower case, unless that makes two alike."""
    plain = [name.strip().lower() for name in names]
    return [
        short if short in {"image", "label"} and plain.count(short) == 1 else name
        for name, short in zip(names, plain, strict=True)
    ]


def _picture(image: object, path: Path, row: int) -> bytes | Path:
    content = image.get("bytes") if isinstance(image, dict) else image
    if content and isinstance(content, bytes):
        return content
    linked = (
        linked_picture(path.parent, image.get("path")) if isinstance(image, dict) and not content else None
    )
    if linked is None:
        found = type(content).__name__ if content else "none"
        raise DatasetError(f"{path}, row {row}: expected an encoded image in 'image', got {found}")
    return linked


def _parquet_splits(parquet: pa.Table, path: Path) -> tuple[str, ...] | None:
    """Return the translated split column; None without one."""
    columns = {
        name.lower(): parquet.column(number).to_pylist()
        for number, name in enumerate(parquet.column_names)
        if pa.types.is_string(kind := parquet.schema.types[number])
        or pa.types.is_large_string(kind)
        or pa.types.is_dictionary(kind)
        or name.lower() in SPLIT_COLUMNS
    }
    columns.pop("label", None)
    texts = {name: ["" if word is None else str(word) for word in words] for name, words in columns.items()}
    column = split_column(texts)
    if column is None:
        return None
    words = texts[column]
    splits = splits_from_column(words, [f"{path}, row {row}" for row in range(len(words))])
    return None if splits is None else tuple(splits)


def _parquet_labels(parquet: pa.Table, path: Path, *, own: bool) -> list[Label | None]:
    column = parquet.column("label")
    values = column.to_pylist()
    if pa.types.is_floating(column.type):  # pandas stores integers with missing values as floats
        values = [None if value is None or np.isnan(value) else _whole(value, path) for value in values]
    elif not pa.types.is_integer(column.type):
        own = own or are_own_classes(str(value) for value in values if value is not None)
        return [None if value is None else label_of_class(str(value), str(path), own=own) for value in values]
    try:
        metadata = parse_json((parquet.schema.metadata or {})[b"huggingface"])
        words = list(metadata["info"]["features"]["label"]["names"])
    except (KeyError, ValueError, TypeError) as error:
        raise DatasetError(
            f"{path} has numbers in 'label' without names; expected ClassLabel names in the schema's metadata"
        ) from error
    own = own or are_own_classes(map(str, words))
    emotions = [label_of_class(str(word), str(path), own=own) for word in words]
    if any(value is not None and not 0 <= value < len(emotions) for value in values):
        raise DatasetError(f"{path}: expected labels from 0 to {len(emotions) - 1}")
    return [None if value is None else emotions[value] for value in values]


def _whole(value: float, path: Path) -> int:
    if not float(value).is_integer():
        raise DatasetError(f"{path}: expected whole numbers in 'label', got {value}")
    return int(value)


def _parquet_votes(parquet: pa.Table) -> NDArray[np.int16] | None:
    """Return the vote counts; rows without counts, images without a clear face, are all zero.

    Shares in [0, 1] are converted to counts out of 100.
    """
    columns = [f"votes_{word}" for word in VOTE_WORDS]
    if not set(columns) <= set(parquet.column_names):
        return None
    kinds = [parquet.column(column).type for column in columns]
    if not all(pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in kinds):
        raise DatasetError("expected numbers in the columns votes_…; write the number of votes")
    numbers = [parquet.column(column).to_pandas().fillna(0).to_numpy(dtype=np.float64) for column in columns]
    counts = np.nan_to_num(np.stack(numbers, axis=1)).clip(-1, 32767)
    if (counts != counts.round()).any() and counts.max() <= 1:
        counts = counts * 100
    return np.asarray(counts.round(), dtype=np.int16)


MAX_ROW_COUNT: Final = 2_000_000
MAX_UNPACKED_BYTES: Final = 4_000_000_000
"""Maximum memory of a data set; the same limit as for an unpacked upload."""

_MAX_RATIO: Final = 100
_ALWAYS_READ_BYTES: Final = 100_000_000
"""Size above which a compression ratio of a hundred is rejected, since encoded images hardly compress."""

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
"""Errors that pyarrow raises for damaged files, including those from pandas metadata."""


def read_parquet(path: Path) -> pa.Table:
    """Read a parquet file, after checking its declared sizes against the limits.

    Raises:
        ValueError: The file is too large or cannot be read; the message does not contain its name.
    """
    try:
        with pq.ParquetFile(path) as file:
            _check_sizes(file.metadata, path.stat().st_size)
            table = _read_bounded(file)
            table.validate(full=True)  # detect invalid UTF-8 here, not in the caller
            return table
    except _TooLargeError:
        raise
    except _UNREADABLE as error:
        raise ValueError(f"cannot be read as parquet ({error}); save it again") from error


class _TooLargeError(ValueError):
    """The file exceeds a limit."""


def _check_sizes(metadata: pq.FileMetaData, file_bytes: int) -> None:
    if metadata.num_rows > MAX_ROW_COUNT:
        raise _TooLargeError(f"has {metadata.num_rows} rows; at most {MAX_ROW_COUNT} are read, split it")
    unpacked = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
    _check_bytes(unpacked, file_bytes)


def _check_bytes(unpacked: int, file_bytes: int) -> None:
    limit = min(MAX_UNPACKED_BYTES, max(_MAX_RATIO * file_bytes, _ALWAYS_READ_BYTES))
    if unpacked > limit:
        raise _TooLargeError(
            f"unpacks to {unpacked / 1e6:.0f} MB; at most {limit / 1e6:.0f} MB are read from a file of this "
            "size, split it or save it again"
        )


def _read_bounded(file: pq.ParquetFile) -> pa.Table:
    """Read in batches and check sizes, since a dictionary can repeat one large value in many rows."""
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
    """Return the path of a linked image if it is inside the data set's folder; None otherwise."""
    if not isinstance(linked, str) or not linked or "\0" in linked:
        return None
    try:
        path = (folder / linked).resolve()
        is_inside = path.is_relative_to(folder.resolve()) and path.is_file()
    except (OSError, ValueError, RuntimeError):
        return None
    return path if is_inside else None
