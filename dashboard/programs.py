"""Training programs that the pages run in separate processes, because they need PyTorch."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

_ROOT: Final = Path(__file__).resolve().parent.parent
EXPORT_TIMEOUT_S: Final = 300
EVALUATE_TIMEOUT_S: Final = 1800
ESTIMATE_TIMEOUT_S: Final = 180


class ProgramError(RuntimeError):
    """A program failed; the message is for the user."""


def export_run(run_folder: Path, tag: str, shelf: Path) -> None:
    """Export the weights and card of a run.

    Raises:
        ProgramError: The export failed; the message gives the reason.
    """
    arguments = ["--run", str(run_folder.absolute()), "--tag", tag, "--weights", str(shelf.absolute())]
    _run("training.export", arguments, EXPORT_TIMEOUT_S)


def evaluate(weights: Path, data: Path, split: str | None, *, votes: bool = False) -> dict[str, Any]:
    """Evaluate weights on a data set and return the report.

    Raises:
        ProgramError: The evaluation failed; the message gives the reason.
    """
    arguments = ["--weights", str(weights.absolute()), "--data", str(data.absolute()), "--json"]
    arguments += ["--split", split] if split else []
    arguments += ["--votes"] if votes else []
    return _read_object(_run("training.evaluate", arguments, EVALUATE_TIMEOUT_S))


def estimate(arguments: Sequence[str]) -> dict[str, Any]:
    """Time the first steps of a training; return ``images_per_second``, ``device`` and ``parameters``.

    Args:
        arguments: Arguments of ``python -m training.train``.

    Raises:
        ProgramError: The device is missing or too small; the message says what would fit.
    """
    return _read_object(_run("training.pace", list(arguments), ESTIMATE_TIMEOUT_S))


def _run(module: str, arguments: Sequence[str], timeout_s: int) -> str:
    command = [sys.executable, "-m", module, *arguments]
    try:
        answer = subprocess.run(
            command,
            cwd=_ROOT,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise ProgramError(f"{module} took longer than {timeout_s} s; try fewer pictures") from error
    except OSError as error:
        raise ProgramError(f"{module} could not be started: {error}") from error
    if answer.returncode:
        lines = [line for line in answer.stderr.splitlines() if line.strip()]
        last = lines[-1] if lines else f"it ended with status {answer.returncode} without a message"
        if "No module named 'torch'" in last:
            last = "PyTorch is not installed here; run 'pip install -r requirements.txt'"
        raise ProgramError(last.removeprefix("error: "))
    return answer.stdout


def _read_object(text: str) -> dict[str, Any]:
    """Return the JSON object on the last line; libraries may print other lines before it."""
    lines = text.strip().splitlines()
    try:
        data = json.loads(lines[-1])
    except (IndexError, ValueError) as error:
        raise ProgramError("the program's answer cannot be read; see the dashboard's log") from error
    if not isinstance(data, dict):
        raise ProgramError("the program's answer cannot be read; see the dashboard's log")
    return data
