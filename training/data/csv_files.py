"""Reader of FER2013's CSV files, as published or as saved by spreadsheets."""

import codecs
import csv
from collections import Counter
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from fer.emotions import Label
from fer.images import RgbImage, as_rgb
from training.data.words import (
    DatasetError,
    are_own_classes,
    emotion_of_code,
    split_column,
    split_from_name,
    splits_from_column,
)

_BYTE_ORDER_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark is a prefix of this one
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_HEAD_BYTES: Final = 4096
_MOST_COLUMNS: Final = 10_000


@dataclass(frozen=True, slots=True)
class CsvFaces:
    """Rows of a CSV file.

    Attributes:
        lines: Number of each row's first line in the file, from 1.
        splits: ``train``, ``val``, ``test``, or empty if the data names none.
        labels: The expressions, or custom classes.
        pictures: Decoded pixels; sizes may differ between rows.
        blank_count: Number of rows without any value, which are skipped.
    """

    lines: tuple[int, ...]
    splits: tuple[str, ...]
    labels: tuple[Label, ...]
    pictures: tuple[RgbImage, ...]
    blank_count: int


def read_csv(path: Path, *, own: bool = False) -> CsvFaces:
    """Read ``emotion``, ``pixels`` (2304 numbers) and ``Usage``, in any order, encoding and separator.

    Args:
        path: The file.
        own: Accept any class names; they are also accepted if none of them is an expression.

    Raises:
        DatasetError: The file has another format, or a row is invalid; the message names its line.
    """
    frame, first_line = _read_rows(path)
    is_blank = (frame == "").all(axis=1).to_numpy()
    breaks = frame.apply(lambda column: column.str.count("\n")).sum(axis=1)
    starts = accumulate((1 + int(count) for count in breaks), initial=first_line + 1)
    lines = [line for line, blank in zip(starts, is_blank, strict=False) if not blank]
    frame = frame[~is_blank]
    places = [f"{path}, line {line}" for line in lines]
    own = own or are_own_classes(frame["emotion"])
    labels = [
        emotion_of_code(code, place, own=own) for code, place in zip(frame["emotion"], places, strict=True)
    ]
    pictures = [_pixels(text, place) for text, place in zip(frame["pixels"], places, strict=True)]
    column = split_column(
        {name: list(frame[name]) for name in frame.columns.difference(["emotion", "pixels"])}
    )
    splits = splits_from_column(list(frame[column]), places) if column else None
    if splits is None:
        splits = [split_from_name(path.name)] * len(frame)
    return CsvFaces(tuple(lines), tuple(splits), tuple(labels), tuple(pictures), int(is_blank.sum()))


def _names(header: str, separator: str, place: str) -> Counter[str]:
    """Return the names of the columns with their number."""
    if header.count(separator) >= _MOST_COLUMNS:
        raise DatasetError(f"{place}: expected at most {_MOST_COLUMNS} columns, got more")
    try:
        words = next(csv.reader([header], delimiter=separator), [])
    except csv.Error as error:
        raise DatasetError(f"{place}: expected the names of columns, got others ({error})") from error
    return Counter(word.strip().lower() for word in words)


def _read_rows(path: Path) -> tuple[pd.DataFrame, int]:
    """Return all values as text, and the line of the header."""
    try:
        with path.open("rb") as file:
            encoding = _encoding(file.read(_HEAD_BYTES))
        with path.open(encoding=encoding, errors="replace", newline=None) as file:
            header_line, header = next(
                ((number, line) for number, line in enumerate(file, start=1) if line.strip(" \t\r\n,;")),
                (1, ""),
            )
        separator = max(",;\t|", key=header.count)
        names = _names(header, separator, f"{path}, line {header_line}")
        frame = pd.read_csv(
            path,
            sep=separator,
            header=header_line - 1,
            dtype=str,
            keep_default_na=False,
            skip_blank_lines=False,
            skipinitialspace=True,
            encoding=encoding,
            encoding_errors="replace",
        ).fillna("")
    except DatasetError:
        raise
    except (ValueError, OSError) as error:
        raise DatasetError(f"{path} cannot be read as CSV ({error}); expected FER2013's columns") from error
    if not isinstance(frame.index, pd.RangeIndex):
        raise DatasetError(
            f"{path}, line {header_line + 1}: expected as many values as the header has columns, got more; "
            "put the pixels of a row into one value, with spaces between them"
        )
    twice = next((name for name, count in names.items() if name and count > 1), None)
    if twice is not None:
        raise DatasetError(
            f"{path}, line {header_line}: {names[twice]} columns are named {twice[:40]!r}; "
            "rename or remove one"
        )
    frame.columns = frame.columns.str.strip().str.lower()
    missing = {"emotion", "pixels"} - set(frame.columns)
    if missing:
        raise DatasetError(
            f"{path} has no column {' and '.join(sorted(missing))}; expected FER2013's emotion, pixels, Usage"
        )
    if frame.empty:
        raise DatasetError(f"{path} has no row below its header; expected one face per row")
    return frame.apply(lambda column: column.str.strip()), header_line


def _encoding(head: bytes) -> str:
    """Detect the encoding by byte order mark or zero bytes; default UTF-8."""
    for mark, encoding in _BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return encoding
    if head[1:2] == b"\0":
        return "utf-16-le"
    return "utf-16-be" if head[:1] == b"\0" else "utf-8"


def _pixels(text: str, place: str) -> RgbImage:
    try:
        values = np.array(text.translate(_AS_SPACES).split(), dtype=np.float64)
    except ValueError as error:
        raise DatasetError(f"{place}: expected numbers in 'pixels'") from error
    side = int(np.sqrt(values.size))
    if side * side != values.size or side == 0:
        raise DatasetError(f"{place}: expected 2304 pixels in 0 to 255, got {values.size} values")
    if not (values.min() >= 0 and values.max() <= 255 and (values == np.floor(values)).all()):
        raise DatasetError(
            f"{place}: expected whole-number pixels from 0 to 255, got {values.min():g} to {values.max():g}"
        )
    return as_rgb(values.reshape(side, side).astype(np.uint8))


_AS_SPACES: Final = str.maketrans("[],;", "    ")
"""Translation of printed lists of numbers to plain numbers with spaces."""
