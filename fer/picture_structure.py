"""Bound the work and memory that the structure of an image file can cost.

A file can be small in bytes and pixels and still be costly: millions of empty parts, thousands of passes over
the whole image, metadata whose entries all refer to the same bytes.
"""

import re
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

import numpy as np

_FREE_READS: Final = 100_000
_BYTES_PER_READ: Final = 64
"""Files of ordinary encoders have parts of at least 255 bytes, each read in two or three steps."""

_FREE_BYTES: Final = 256_000_000
_MOST_TIMES_READ: Final = 4

_SCANS: Final = (25, 100)
_SCANNED_PIXELS: Final = 2_000_000_000
"""Pixels of all scans of a progressive JPEG, two seconds of decoding; encoders write about ten scans."""

_MOST_METADATA_BYTES: Final = 64_000_000
_MOST_HEADERS: Final = 1000
_HEADERS: Final = (b"II*\0", b"MM\0*")
_MARKER: Final = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])")
_FRAME_MARKERS: Final = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_START_OF_SCAN: Final = 0xDA
_END: Final = 0xD9
_WITHOUT_LENGTH: Final = frozenset({0x01, 0xD8})

_ENTRY_BYTES: Final = 12
_ENTRY_FIELDS: Final = (("tag", "u2"), ("kind", "u2"), ("count", "u4"), ("value", "u4"))
_REFERENCES: Final = (0x8769, 0x8825, 0xA005)
"""Tags that refer to the directories of EXIF, GPS and interoperability."""

_VALUE_BYTES: Final = np.array([0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0], np.int64)
"""Bytes per value of each TIFF type; the last stands for undefined types."""


class CostlyFileError(OSError):
    """An image file that would cost far more to read than files of its size do."""


class MeteredFile:
    """A file for Pillow that refuses further reads after too many.

    Args:
        file: An open file or bytes.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        place = file.tell()
        size = file.seek(0, 2)
        file.seek(place)
        self._reads_left = _FREE_READS + size // _BYTES_PER_READ
        self._bytes_left = _FREE_BYTES + _MOST_TIMES_READ * size

    def read(self, size: int | None = -1, /) -> bytes:
        """Read up to ``size`` bytes, or all.

        Raises:
            CostlyFileError: The file was read too often.
        """
        content = self._file.read(-1 if size is None else size)
        self._reads_left -= 1
        self._bytes_left -= len(content)
        if self._reads_left < 0 or self._bytes_left < 0:
            raise CostlyFileError("it has far too many parts")
        return content

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def check_jpeg(content: bytes) -> None:
    """Check a JPEG: each scan is a pass over the whole image, also if it holds two bytes.

    Args:
        content: The bytes of a file.

    Raises:
        CostlyFileError: It has too many scans, or its metadata cannot be trusted.
    """
    check_metadata(content)
    if content.count(bytes((0xFF, _START_OF_SCAN))) <= _SCANS[0]:
        return
    pixels, scans, place = 1, 0, 0
    while (marker := _MARKER.search(content, place)) is not None:
        code, place = marker[1][0], marker.end()
        if code == _END:
            return
        if code in _WITHOUT_LENGTH:
            continue
        if code in _FRAME_MARKERS:
            height, width = (int.from_bytes(content[place + at : place + at + 2]) for at in (3, 5))
            pixels = max(pixels, height * width)
        scans += code == _START_OF_SCAN
        if scans > min(max(_SCANNED_PIXELS // pixels, _SCANS[0]), _SCANS[1]):
            raise CostlyFileError("it has far too many scans")
        place += int.from_bytes(content[place : place + 2])


def check_metadata(content: bytes) -> None:
    """Check all metadata in TIFF's format, such as EXIF: entries may share bytes, and each gets a copy.

    Raises:
        CostlyFileError: The values of a directory take far more memory than the file has bytes.
    """
    for count, start in enumerate(_header_places(content), 1):
        if count > _MOST_HEADERS or not _is_sane(content, start):
            raise CostlyFileError("its metadata is far too large")


def _header_places(content: bytes) -> Iterator[int]:
    """Yield the offsets of TIFF headers; searching for each word is six times faster than one expression."""
    for word in _HEADERS:
        place = content.find(word)
        while place >= 0:
            yield place
            place = content.find(word, place + len(word))


def _is_sane(content: bytes, start: int) -> bool:
    """Return whether the directories of one TIFF structure, and those they refer to, are of sensible size."""
    is_little = content[start : start + 1] == b"I"
    order = "little" if is_little else "big"
    entry = np.dtype([(name, f"{'<' if is_little else '>'}{kind}") for name, kind in _ENTRY_FIELDS])
    waiting = [int.from_bytes(content[start + 4 : start + 8], order)]  # type: ignore[arg-type]
    seen: set[int] = set()
    held_bytes = 0
    while waiting:
        place = waiting.pop()
        if place in seen or not 0 < place < len(content) - start:
            continue
        seen.add(place)
        at = start + place
        count = int.from_bytes(content[at : at + 2], order)  # type: ignore[arg-type]
        count = min(count, (len(content) - at - 2) // _ENTRY_BYTES)
        if count <= 0:
            continue
        entries = np.frombuffer(content, entry, count, at + 2)
        sizes = (
            entries["count"].astype(np.int64)
            * _VALUE_BYTES[np.minimum(entries["kind"], len(_VALUE_BYTES) - 1)]
        )
        is_inside = entries["value"].astype(np.int64) + sizes <= len(content) - start
        held_bytes += int(sizes[is_inside & (sizes > 4)].sum())
        if held_bytes > _MOST_METADATA_BYTES + len(content):
            return False
        is_reference = np.isin(entries["tag"], _REFERENCES)
        waiting += [int(value) for value in entries["value"][is_reference][:8]]
    return True
