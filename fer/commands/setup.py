"""``python -m fer fetch``, ``password``, ``page`` and ``dashboard``: commands that read no image."""

import getpass
import runpy
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import tyro

from fer.commands import CommandError
from fer.detection import DETECTORS
from fer.detection.fetch import cache_folder
from fer.passwords import PasswordFileError, add_user

_PACKAGE: Final = Path(__file__).resolve().parents[1]


def run_page(name: str, words: list[str]) -> int:
    """Run a page until it is stopped.

    Args:
        name: ``page`` for the web page, ``dashboard`` for the training dashboard.
        words: Options of ``app.py``; for the dashboard those of ``streamlit run`` and, after ``--``,
            those of ``streamlit_app.py``.

    Returns:
        The exit status.

    Raises:
        CommandError: The page, or Streamlit for the dashboard, is not installed.
    """
    if name == "dashboard":
        return _run_streamlit(page_script("streamlit_app.py"), words)
    script = page_script("app.py")
    sys.argv = ["kv-fer page", *words]
    runpy.run_path(str(script), run_name="__main__")
    return 0


def page_script(name: str) -> Path:
    """Return the path of a page's script.

    Raises:
        CommandError: There is no such script.
    """
    for folder in (_PACKAGE / "pages", _PACKAGE.parent):
        if (folder / name).is_file():
            return folder / name
    raise CommandError(
        f"expected {name} in {_PACKAGE / 'pages'}, found none; "
        f"reinstall kv-facerecognition, or run {name} from a checkout"
    )


def _run_streamlit(script: Path, words: list[str]) -> int:
    if find_spec("streamlit") is None:
        raise CommandError(
            "the dashboard needs Streamlit, which is not installed; run pip install "
            "'kv-facerecognition[dashboard]', or [train] instead of [dashboard] to train as well"
        )
    command = [sys.executable, "-m", "streamlit", "run", str(script), *words]
    with subprocess.Popen(command) as server:
        while True:
            try:
                return server.wait()
            except KeyboardInterrupt:  # Streamlit received the same signal and exits by itself
                continue


@dataclass(frozen=True)
class PasswordOptions:
    """Add a user to a password file or change a password, read from a prompt or standard input.

    Attributes:
        file: Password file for --auth of the pages; created if missing.
        user: Name of the user.
    """

    file: tyro.conf.Positional[Path]
    user: str = "visitor"


def run_password(words: Sequence[str]) -> int:
    """Ask for the password and write its hash."""
    options = tyro.cli(PasswordOptions, prog="python -m fer password", args=words)
    if sys.stdin.isatty():
        password = getpass.getpass(f"Password of {options.user}: ")
        if getpass.getpass("Once more: ") != password:
            raise CommandError("expected the same password twice; nothing was written")
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    try:
        add_user(options.file, options.user, password)
    except (PasswordFileError, OSError) as error:
        raise CommandError(str(error)) from error
    print(f"{options.file} knows {options.user}; start a page with --auth {options.file}")
    return 0


@dataclass(frozen=True)
class FetchOptions:
    """Download a face detector into the user's cache folder.

    Attributes:
        name: yunet: OpenCV's small neural detector (0.2 MB, MIT licence).
    """

    name: tyro.conf.Positional[str]


def run_fetch(words: Sequence[str]) -> int:
    """Download the named detector and print its path."""
    name = tyro.cli(FetchOptions, prog="python -m fer fetch", args=words).name
    downloads = {kind.name: kind.download for kind in DETECTORS if kind.download is not None}
    if name not in downloads:
        raise CommandError(f"expected a detector that can be fetched ({', '.join(downloads)}), got {name!r}")
    try:
        path = downloads[name].fetch(cache_folder())
    except (OSError, ValueError) as error:
        raise CommandError(f"{name} was not fetched: {error}") from error
    print(f"{name} is now in {path}; use it with --detector {name}")
    return 0
