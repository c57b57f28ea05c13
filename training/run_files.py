"""The files of a run directory: names, atomic writing, tolerant reading."""

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
"""Lock held by the training process; the operating system releases it when the process dies."""
JOB_LOCK_FILE: Final = ".job.lock"
"""Lock held by the job process, which waits in the queue and then supervises the training process."""
LOG_FILE: Final = "train.log"
MISTAKES_FILE: Final = "mistakes.npz"
HISTORY_FOLDER: Final = "history"
"""Folder with the records of earlier trainings: ``01``, ``02``, …."""

_BEFORE_FOLDER: Final = "before"
"""Folder of the earlier training in the nested layout of previous versions."""


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
    """Write a JSON file atomically; NaN becomes null."""
    replace_text(path, json.dumps(_finite(data), indent=2) + "\n")


def replace_text(path: Path, text: str) -> None:
    """Replace a file's content atomically; on an error the old content is kept."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError:  # a full disk: keep the old file, delete the partial one
        temporary.unlink(missing_ok=True)
        raise


def _finite(value: Any) -> Any:
    """Replace NaN and infinity by None, since JSON has neither."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def portable(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values with paths reduced to file names, since folders differ between machines."""

    def shorten(value: Any) -> Any:
        if isinstance(value, str) and "/" in value:
            return Path(value).name
        if isinstance(value, Mapping):
            return {shorten(key): shorten(item) for key, item in value.items()}
        return [shorten(item) for item in value] if isinstance(value, list | tuple) else value

    return {key: shorten(value) for key, value in data.items()}


def add_line(path: Path, row: Mapping[str, Any]) -> None:
    """Append one object as a line and flush it."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(_finite(row)) + "\n")
        file.flush()


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Replace a JSON Lines file."""
    replace_text(path, "".join(json.dumps(_finite(row)) + "\n" for row in rows))


def write_record(
    folder: Path,
    config: Mapping[str, Any],
    environment: Mapping[str, Any],
    report: Mapping[str, Any] | None,
    epochs: Iterable[Mapping[str, Any]],
) -> None:
    """Write the record of a training, which goes with its weights, into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / CONFIG_FILE, config)
    write_json(folder / ENVIRONMENT_FILE, environment)
    if report is not None:
        write_json(folder / REPORT_FILE, report)
    write_lines(folder / EPOCHS_FILE, epochs)


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        OSError: The file is missing or cannot be read.
        ValueError: The file contains no JSON object.
    """
    try:
        data = parse_json(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"expected JSON in {path.name} ({error})") from error
    if not isinstance(data, dict):
        raise ValueError(f"expected an object in {path.name}, got {type(data).__name__}")
    check_fields(data, path.name)
    return data


DETECTOR: Final = "kv_face"
VERIFIER: Final = "kv_face_verifier"
"""Architectures of the project's own face detector; all others are expression networks."""

PRICE_OF_FALSE_BOXES: Final = 0.01
"""Penalty for one false positive per photo, in recall."""

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
"""Fields used in calculations by the dashboard; their types are checked on reading."""


def check_fields(data: Mapping[str, Any], name: str) -> None:
    """Check the field types of a run file.

    Raises:
        ValueError: A field has a wrong type; the message names it.
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
    """Return the finished epochs; an incomplete last line is ignored, a missing file means none."""
    path = folder / EPOCHS_FILE
    if not path.is_file():
        return []
    lines = path.read_bytes().split(b"\n")[:-1]  # text after the last line break is incomplete
    rows = _parse_rows(lines)
    for row in rows:
        check_fields(row, EPOCHS_FILE)
    return rows


def _parse_rows(lines: list[bytes]) -> list[dict[str, Any]]:
    try:  # one call for all lines: opening a folder of long histories takes half the time
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
        raise ValueError(f"expected JSON in line {number} of {EPOCHS_FILE}") from error
    if not isinstance(row, dict):
        raise ValueError(f"expected an object in line {number} of {EPOCHS_FILE}")
    return row


def cut_unfinished_line(path: Path) -> None:
    """Remove an incomplete last line left by a killed process."""
    if path.is_file():
        data = path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            os.truncate(path, whole)


def state_of(folder: Path) -> RunState | None:
    """Return the state in the status file; None if it is missing or unreadable."""
    try:
        return RunState(read_object(folder / STATUS_FILE)["state"])
    except (OSError, ValueError, KeyError):
        return None


def classifier_figure(row: Mapping[str, Any], select_by: str = "accuracy") -> float | None:
    """Return the metric that selects a classifier's best epoch: higher is better, None if missing.

    Args:
        row: Metrics of an epoch.
        select_by: As in ``TrainConfig``: ``accuracy``, ``macro_f1`` or ``loss``.
    """
    value = row.get(f"val_{select_by}")
    if not isinstance(value, int | float):
        return None
    return -value if select_by == "loss" else value


def detector_figure(row: Mapping[str, Any]) -> float | None:
    """Return the metric that selects a detector's best epoch: recall minus loss and false positives.

    Returns:
        Higher is better; None for an epoch that was not evaluated on photos. Missing counts of false
        positives are treated as 0.
    """
    names = ("val_boxed_recall", "val_web_recall", "val_loss")
    values = [value for name in names if isinstance(value := row.get(name), int | float)]
    if len(values) < len(names):
        return None
    boxed, web, loss = values
    false_boxes = float(row.get("val_false_boxes") or 0.0)
    crowds = float(row.get("val_crowd_recall") or 0.0)
    return float(boxed + web + crowds - 0.01 * loss - PRICE_OF_FALSE_BOXES * false_boxes)


def kept_epoch(
    config: Mapping[str, Any],
    epochs: Sequence[Mapping[str, Any]],
    *told: Mapping[str, Any],
) -> Mapping[str, Any] | None:
    """Return the metrics of the epoch that a run keeps: its recorded one, else the one its training selects.

    Args:
        config: Settings of the run.
        epochs: Metrics of its epochs, in order.
        told: Report and status of the run, which record ``best_epoch`` except in runs of older versions.
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
    """Copy the records of trainings, without weights and paths, into ``01``, ``02``, … of a new folder.

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
            if file.name in (CONFIG_FILE, ENVIRONMENT_FILE):
                write_json(part / file.name, portable(read_object(file)))
            elif file.name != STATUS_FILE:
                shutil.copy(file, part / file.name)
