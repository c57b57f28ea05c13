"""Uploads of data sets, unpacked as untrusted input."""

import lzma
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Final

from dashboard.figure_row import size_text
from fer.model_shelf import is_plain_name
from training.data.datasets import DatasetError, read_table
from training.data.layout import TABLE_SUFFIXES, lay_out

MAX_FILE_COUNT: Final = 300_000
MAX_FILE_BYTES: Final = 400_000_000
MAX_TOTAL_BYTES: Final = 4_000_000_000
MAX_NAME_BYTES: Final = 255
"""Maximum length of a file name on common file systems, in bytes."""

_CHUNK_BYTES: Final = 1 << 20
_UNREADABLE: Final = (
    zipfile.BadZipFile,
    RuntimeError,  # unsupported compression or format version
    EOFError,
    ValueError,  # offsets before the start of the file
    zlib.error,
    lzma.LZMAError,
)
"""Errors other than OSError that ``zipfile`` raises for a damaged file, or one that is not a zip."""

_MOST_LIST_BYTES: Final = 64 * 1024
_NESTED_SUFFIXES: Final = frozenset({".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar"})


class ArchiveError(ValueError):
    """A rejected upload; nothing of it was kept."""


@dataclass(frozen=True, slots=True)
class Unpacked:
    """Result of unpacking an upload.

    Attributes:
        folder: The data set.
        kept_count: Number of images or tables kept.
        left_out: Sentences about skipped files, with their numbers.
    """

    folder: Path
    kept_count: int
    left_out: tuple[str, ...]


def keep_upload(
    file: IO[bytes], file_name: str, data_folder: Path, name: str, limit_bytes: int = MAX_TOTAL_BYTES
) -> Unpacked:
    """Make a data set from an uploaded zip, CSV or parquet file; accept it only if it can be read back.

    Args:
        file: The upload.
        file_name: Its name; the suffix gives its kind.
        data_folder: The folder of data sets.
        name: Name of the new data set.
        limit_bytes: Maximum size on disk.

    Raises:
        ArchiveError: The upload is rejected.
        OSError: The data set cannot be written.
    """
    if not is_plain_name(name):
        raise ArchiveError(
            f"expected a name of letters, digits, '_', '-' and '.', got {name!r}; choose another one"
        )
    target = data_folder / name
    if target.exists():
        raise ArchiveError(
            f"there is a data set named {name!r} already; choose another name or delete it first"
        )
    suffix = Path(file_name).suffix.lower()
    data_folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=data_folder, prefix=".upload-") as temporary:
        draft = Path(temporary) / name
        draft.mkdir()
        if suffix == ".zip":
            kept_count, left_out = _unzip(file, draft, limit_bytes)
        elif suffix in TABLE_SUFFIXES:
            with (draft / f"{name}{suffix}").open("wb") as out:
                shutil.copyfileobj(file, out, _CHUNK_BYTES)
            kept_count, left_out = 1, []
        else:
            raise ArchiveError(f"expected a .zip, .csv or .parquet file, got {file_name}")
        try:
            read_table(draft)
        except DatasetError as error:
            raise ArchiveError(str(error).replace(f"{draft}/", "").replace(str(draft), file_name)) from error
        draft.rename(target)
    return Unpacked(target, kept_count, tuple(left_out))


def _unzip(file: IO[bytes], folder: Path, limit_bytes: int) -> tuple[int, list[str]]:
    try:
        with zipfile.ZipFile(file) as archive:
            entries = [entry for entry in archive.infolist() if not _path_of(entry).endswith("/")]
            _check_entries(entries, limit_bytes)
            by_path = {PurePosixPath(_path_of(entry)): entry for entry in entries}
            layout = lay_out(by_path, "the zip", read=lambda path: _content(archive, by_path[path]))
            kept = [*layout.tables, *(picture.path for picture in layout.pictures)]
            if not kept:
                _refuse_nothing(list(by_path))
            _check_names(kept)
            budget = limit_bytes
            for path in [*layout.classes, *kept]:
                out = folder.joinpath(*_without(layout.wrapper, path.parts))
                out.parent.mkdir(parents=True, exist_ok=True)
                budget -= _copy(archive.open(by_path[path]), out, min(budget, MAX_FILE_BYTES), str(path))
            return len(kept), list(layout.left_out)
    except ArchiveError:
        raise
    except DatasetError as error:
        raise ArchiveError(str(error)) from error
    except _UNREADABLE as error:
        raise ArchiveError(
            f"this is no zip file that can be unpacked ({error}); zip the folder again"
        ) from error


def _check_entries(entries: list[zipfile.ZipInfo], limit_bytes: int) -> None:
    """Reject an archive with any suspicious entry."""
    if len(entries) > MAX_FILE_COUNT:
        raise ArchiveError(f"the zip has {len(entries)} files; at most {MAX_FILE_COUNT} are unpacked")
    total = sum(entry.file_size for entry in entries)
    if total > limit_bytes:
        raise ArchiveError(
            f"the zip unpacks to {size_text(total)}; at most {size_text(limit_bytes)} are unpacked, "
            "send a part of it or point at a folder"
        )
    for entry in entries:
        path = PurePosixPath(_path_of(entry))
        if path.is_absolute() or ".." in path.parts or (path.parts and path.parts[0].endswith(":")):
            raise ArchiveError(
                f"the zip contains a path outside of its folder ({entry.filename!r}); nothing was unpacked"
            )
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise ArchiveError(f"the zip contains a link ({entry.filename!r}); put the picture itself in it")
        if entry.flag_bits & 1:
            raise ArchiveError("the zip is locked with a password; zip the folder without one")
    for path, count in Counter(PurePosixPath(_path_of(entry)) for entry in entries).items():
        if count > 1:
            raise ArchiveError(f"the zip contains {count} files named {path}; give each its own name")


def _path_of(entry: zipfile.ZipInfo) -> str:
    """Return the entry's name with forward slashes; some Windows programs write backslashes."""
    return entry.filename.replace("\\", "/")


def _check_names(paths: list[PurePosixPath]) -> None:
    for path in paths:
        size = max(len(part.encode(errors="surrogateescape")) for part in path.parts)
        if size > MAX_NAME_BYTES:
            raise ArchiveError(
                f"the zip contains a name of {size} bytes, at most {MAX_NAME_BYTES} can be written "
                f"({str(path)[:40]}…); shorten it and zip the folder again"
            )


def _without(wrapper: tuple[str, ...], parts: tuple[str, ...]) -> list[str]:
    """Return the parts of a path without the wrapper folders, which may also be below a split."""
    left, rest = list(wrapper), []
    for part in parts:
        if left and part == left[0]:
            left.pop(0)
        else:
            rest.append(part)
    return rest


def _refuse_nothing(paths: list[PurePosixPath]) -> None:
    nested = [path for path in paths if path.suffix.lower() in _NESTED_SUFFIXES]
    if nested:
        raise ArchiveError(
            f"the zip contains other archives ({nested[0]}); unpack them first, then zip the pictures"
        )
    raise ArchiveError("no pictures in the zip; expected class folders such as happy/picture.jpg")


def _copy(source: IO[bytes], out: Path, limit: int, name: str) -> int:
    """Copy up to a limit, regardless of the size stated in the archive; return the number of bytes."""
    written = 0
    with source, out.open("wb") as file:
        while chunk := _read(source):
            written += len(chunk)
            if written > limit:
                raise ArchiveError(
                    f"{name} unpacks to more than {limit / 1e6:.0f} MB; leave it out of the zip"
                )
            file.write(chunk)
    return written


def _content(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """Return the content of ``classes.txt``, with a size limit."""
    with archive.open(entry) as source:
        content = source.read(_MOST_LIST_BYTES + 1)
    if len(content) > _MOST_LIST_BYTES:
        raise ArchiveError(
            f"{entry.filename} is larger than {_MOST_LIST_BYTES // 1024} kB; write one class name per line"
        )
    return content


def _read(source: IO[bytes]) -> bytes:
    """Return the next chunk; damaged bzip2 data raises OSError, which must not look like a full disk."""
    try:
        return source.read(_CHUNK_BYTES)
    except OSError as error:
        raise zipfile.BadZipFile(str(error)) from error
