"""Replacement of files and folders, under a temporary name first."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Provide a temporary path beside ``path``; rename it to ``path`` at the end, delete it on an error.

    Yields:
        The temporary path, with the suffix of ``path``, which some writers depend on.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
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
            shutil.rmtree(folder)
        shutil.move(draft, folder)
