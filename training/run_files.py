"""The files of a run directory: their names, how they are written whole, how they are read half-written."""

import json
import math
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from fer.json_values import parse_json

CONFIG_FILE: Final = "config.json"
ENVIRONMENT_FILE: Final = "environment.json"
STATUS_FILE: Final = "status.json"
EPOCHS_FILE: Final = "epochs.jsonl"
REPORT_FILE: Final = "report.json"
BEST_FILE: Final = "best.safetensors"
SHOWN_FILE: Final = "shown.safetensors"
LAST_FILE: Final = "last.pt"
STOP_FILE: Final = "stop"
LOCK_FILE: Final = ".lock"
"""Held by the process that trains, and freed by the operating system when it dies."""
JOB_LOCK_FILE: Final = ".job.lock"
"""Held by the process that waits for its turn or looks after the training process."""
LOG_FILE: Final = "train.log"
MISTAKES_FILE: Final = "mistakes.npz"
HISTORY_FOLDER: Final = "history"
"""Records of the trainings before this one, in folders ``01``, ``02``, … in order."""

_BEFORE_FOLDER: Final = "before"
"""Earlier versions kept the record of the training before inside that of the next one."""


class RunState(StrEnum):
    """State of a training."""

    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    UNREADABLE = "unreadable"


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write under a temporary name, then rename, so that no reader sees half a file; NaN becomes null."""
    replace_text(path, json.dumps(_finite(data), indent=2) + "\n")


def replace_text(path: Path, text: str) -> None:
    """Replace a file's content; on an error the old content stays."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError:  # a full disk: the old file stays, the half-written one goes
        temporary.unlink(missing_ok=True)
        raise


def _finite(value: Any) -> Any:
    """JSON knows no NaN and no infinity."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def portable(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same values with the names of files alone: their folders belong to one machine."""

    def shorten(value: Any) -> Any:
        if isinstance(value, str) and "/" in value:
            return Path(value).name
        if isinstance(value, Mapping):
            return {shorten(key): shorten(item) for key, item in value.items()}
        return [shorten(item) for item in value] if isinstance(value, list | tuple) else value

    return {key: shorten(value) for key, value in data.items()}


def add_line(path: Path, row: Mapping[str, Any]) -> None:
    """Append one object as a flushed line."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(_finite(row)) + "\n")
        file.flush()


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Replace a file of lines."""
    replace_text(path, "".join(json.dumps(_finite(row)) + "\n" for row in rows))


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        OSError: There is no such file, or it may not be read.
        ValueError: It holds something else.
    """
    try:
        data = parse_json(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path.name} is no JSON ({error})") from error
    if not isinstance(data, dict):
        raise ValueError(f"expected an object in {path.name}, got {type(data).__name__}")
    check_fields(data, path.name)
    return data


DETECTOR: Final = "kv_face"
VERIFIER: Final = "kv_face_verifier"
"""The architectures of the project's own face detector; all others name expressions."""

PRICE_OF_FALSE_BOXES: Final = 0.01
"""Of one box a photo, in recall."""

_NUMBER: Final = (int, float, type(None))
_WORD: Final = (str, type(None))

FIELD_KINDS: Final[Mapping[str, Mapping[str, tuple[type, ...]]]] = {
    CONFIG_FILE: {
        "architecture": _WORD, "select_by": _WORD, "name": _WORD, "epochs": _NUMBER,
        "data": (list, str, type(None)), "photos": (list, str, type(None)),
    },
    STATUS_FILE: {
        "state": _WORD, "message": _WORD, "started_at": _WORD, "updated_at": _WORD, "device": _WORD,
        "epoch": _NUMBER, "epoch_count": _NUMBER, "step": _NUMBER, "step_count": _NUMBER,
        "best_epoch": _NUMBER,
    },
    EPOCHS_FILE: {"epoch": _NUMBER, "seconds": _NUMBER},
    REPORT_FILE: {"best_epoch": _NUMBER, "heads": (dict, type(None))},
}  # fmt: skip
"""Fields that the pages calculate with; checked where they are read, so that no page meets another type."""


def check_fields(data: Mapping[str, Any], name: str) -> None:
    """Check the fields of a file of a run.

    Raises:
        ValueError: A field has another type; the message names it.
    """
    for field, kinds in FIELD_KINDS.get(name, {}).items():
        value = data.get(field)
        if not isinstance(value, kinds) or isinstance(value, bool):
            wanted = " or ".join(dict.fromkeys(_WORDS[kind] for kind in kinds if kind in _WORDS))
            raise ValueError(f"expected {wanted} in {field} of {name}, got {type(value).__name__}")


_WORDS: Final[Mapping[type, str]] = {
    int: "a number", float: "a number", str: "text", list: "a list", dict: "an object",
}  # fmt: skip


def read_epochs(folder: Path) -> list[dict[str, Any]]:
    """The finished epochs; an unfinished last line is ignored, no file means none."""
    path = folder / EPOCHS_FILE
    if not path.is_file():
        return []
    lines = path.read_bytes().split(b"\n")[:-1]  # what follows the last line break is unfinished
    rows = _parse_rows(lines)
    for row in rows:
        check_fields(row, EPOCHS_FILE)
    return rows


def _parse_rows(lines: list[bytes]) -> list[dict[str, Any]]:
    try:  # in one go: a folder of long histories opens in half the time
        rows = parse_json(b"[" + b",".join(line for line in lines if line.strip()) + b"]")
        if all(isinstance(row, dict) for row in rows):
            return list(rows)
    except ValueError:
        pass
    return [_parse_row(line, number) for number, line in enumerate(lines, start=1) if line.strip()]


def _parse_row(line: bytes, number: int) -> dict[str, Any]:
    try:
        row = parse_json(line)
    except ValueError as error:
        raise ValueError(f"line {number} of {EPOCHS_FILE} is no JSON") from error
    if not isinstance(row, dict):
        raise ValueError(f"expected an object in line {number} of {EPOCHS_FILE}")
    return row


def cut_unfinished_line(path: Path) -> None:
    """Remove what a killed process left after the last line break, so that the next line stands alone."""
    if path.is_file():
        data = path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            os.truncate(path, whole)


def state_of(folder: Path) -> RunState | None:
    """Return the state in the status file; None where there is none, or none that can be read."""
    try:
        return RunState(read_object(folder / STATUS_FILE)["state"])
    except (OSError, ValueError, KeyError):
        return None


def classifier_figure(row: Mapping[str, Any], select_by: str = "accuracy") -> float | None:
    """Return what a classifier's training picks its epoch by: higher is better, None where it is missing.

    Args:
        row: Figures of an epoch.
        select_by: As in ``TrainConfig``: ``accuracy``, ``macro_f1`` or ``loss``.
    """
    value = row.get(f"val_{select_by}")
    if not isinstance(value, int | float):
        return None
    return -value if select_by == "loss" else value


def detector_figure(row: Mapping[str, Any]) -> float | None:
    """Return what a detector's training picks its epoch by: recall on photos, less loss and false boxes.

    Returns:
        Higher is better; None for an epoch that was not judged on photos. Missing counts of false boxes are
        taken for none.
    """
    names = ("val_boxed_recall", "val_web_recall", "val_loss")
    values = [value for name in names if isinstance(value := row.get(name), int | float)]
    if len(values) < len(names):
        return None
    boxed, web, loss = values
    false_boxes = float(row.get("val_false_boxes") or 0.0)
    return float(boxed + web - 0.01 * loss - PRICE_OF_FALSE_BOXES * false_boxes)


def kept_epoch(
    config: Mapping[str, Any],
    epochs: Sequence[Mapping[str, Any]],
    *told: Mapping[str, Any],
) -> Mapping[str, Any] | None:
    """Return the figures of the epoch that a run keeps: as it says itself, else as its training chooses.

    Args:
        config: Its settings.
        epochs: The figures of its epochs, in order.
        told: Its report and its status, which name the ``best_epoch`` in all but the runs of older versions.
    """
    said = next((number for each in told if (number := each.get("best_epoch"))), None)
    for row in epochs:
        if said and row.get("epoch") == said:
            return row
    architecture = config.get("architecture")
    if architecture == VERIFIER:
        return epochs[-1] if epochs else None  # a running average, which the last epoch completes
    found: tuple[float, Mapping[str, Any]] | None = None
    for row in epochs:
        figure = (
            detector_figure(row)
            if architecture == DETECTOR
            else classifier_figure(row, str(config.get("select_by", "accuracy")))
        )
        if figure is not None and (found is None or figure > found[0]):
            found = figure, row
    return None if found is None else found[1]


def earlier_runs(run: Path) -> list[Path]:
    """Return the folders of the trainings that led to a run, in order; an empty list when it was the first.

    Args:
        run: A run directory, or the folder ``run`` of weights, whose history lies beside it.
    """
    for history in (run / HISTORY_FOLDER, run.parent / HISTORY_FOLDER):
        if history.is_dir() and (history.parent == run or run.name == "run"):
            return sorted(part for part in history.iterdir() if part.is_dir())
    nested = []
    while (run := run / _BEFORE_FOLDER).is_dir():
        nested.append(run)
    return nested[::-1]


def copy_history(runs: Sequence[Path], folder: Path) -> None:
    """Copy the records of trainings, without weights, into ``01``, ``02``, … of a new folder.

    Args:
        runs: In order.
        folder: The history folder; nothing happens when it exists or there are no runs.
    """
    if folder.exists():
        return
    for number, run in enumerate(runs, 1):
        part = folder / f"{number:02}"
        part.mkdir(parents=True)
        for file in (*run.glob("*.json"), *run.glob("*.jsonl")):
            if file.name != STATUS_FILE:
                shutil.copy(file, part / file.name)
