"""Atomic replacement of files and folders; kinds of paths that cannot be read like files."""

import errno
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_MOST_STEM_CHARACTERS: Final = 40


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Provide a temporary path beside ``path``; rename it to ``path`` at the end, delete it on an error.

    Yields:
        The temporary path, with the suffix of ``path``, which some writers depend on.
    """
    stem = path.stem[:_MOST_STEM_CHARACTERS]  # the whole name may be as long as names may be
    temporary = path.with_name(f".{stem}.{secrets.token_hex(4)}.tmp{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """Provide an empty draft of a folder; it takes the folder's place at the end, and is deleted on an error.

    Yields:
        The draft, on the same disk and of the same name.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".draft-") as temporary:
        draft = Path(temporary) / folder.name
        draft.mkdir()
        yield draft
        if folder.exists():
            folder.rename(draft.with_name(f"{folder.name}.old"))  # deleted with the temporary folder
        draft.rename(folder)


def is_folder(path: str | Path) -> bool:
    """Return whether a path is a folder; False for names that no file system accepts."""
    return os.path.isdir(path)  # noqa: PTH112 - Path.is_dir raises for a name that is too long


def odd_kind(path: str | Path) -> str | None:
    """Return why a path cannot be read like a file, worded to follow its name.

    Reading a pipe waits for its writer, perhaps for ever, and a device may never end.

    Returns:
        None for files and folders, and for paths that do not exist or may not be looked at.
    """
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - accepts text, too
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return "does not exist; its name is longer than names of files can be"
        return None
    except ValueError:  # a zero byte in the name
        return None
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return None
    return "is a pipe or device, not a file; save its content to a file first"
