"""``kv-fer page`` and ``kv-fer dashboard``: start the web page or the dashboard."""

import runpy
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from fer.commands import CommandError

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
