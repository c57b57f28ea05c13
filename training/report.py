"""Entry point: repeats the report of a training, such as one that ran on another machine."""

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from training.command import run_command
from training.config import TrainConfig
from training.data.splits import head_truth, load_splits
from training.final_report import classifier_report
from training.hardware import set_up_processor
from training.repeat import find_data
from training.run_files import (
    BEST_FILE,
    CONFIG_FILE,
    ENVIRONMENT_FILE,
    REPORT_FILE,
    kept_epoch,
    write_json,
)
from training.runs import read_run


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions:
    """Evaluate the best epoch of a training again, with the data files of this machine.

    Attributes:
        run: The run directory.
        folders: Folders with the data files, which are found by name.
        other_places: Other files with crops without a face; empty for those of the run.
        thread_count: CPU threads of PyTorch; 0 for PyTorch's default.
    """

    run: Path
    folders: tuple[Path, ...]
    other_places: tuple[str, ...] = ()
    thread_count: int = 0


def repeat_report(options: ReportOptions) -> None:
    """Write the report; the record of the run's data becomes that of this machine.

    Raises:
        ValueError: The run cannot be read, or has no weights.
        DatasetError: A data file is missing or cannot be used.
        UnknownModelError: The weights do not match the settings.
    """
    folder = options.run
    run = read_run(folder)
    if run.problem or not (folder / BEST_FILE).is_file():
        raise ValueError(f"{folder} cannot be evaluated: {run.problem or f'it has no {BEST_FILE}'}")
    stored = TrainConfig.from_dict(run.config)
    names = options.other_places or tuple(path.name for path in stored.other_places)
    config = replace(
        stored,
        data=tuple(find_data(path.name, options.folders) for path in stored.data),
        other_places=tuple(find_data(name, options.folders) for name in names),
        initial_weights="",  # the best epoch replaces them
        teachers=(),
    )
    set_up_processor(options.thread_count)
    splits = load_splits(config, config.preprocessing)
    config = splits.settle(config)
    truth = {head: head_truth(head, splits.val.table, config) for head in config.heads}
    judged = classifier_report(config, folder, splits, torch.from_numpy(splits.val.crops), truth)
    kept = kept_epoch(run.config, run.epochs, run.report or {}, run.status) or {}
    report = {
        "best_epoch": kept.get("epoch"),
        "epochs_run": len(run.epochs),
        "stopped_early": stored.early_stopping_patience > 0 and len(run.epochs) < stored.epochs,
    }
    write_json(folder / REPORT_FILE, report | judged)
    if options.other_places:
        write_json(folder / CONFIG_FILE, dict(run.config) | {"other_places": list(options.other_places)})
    environment = dict(run.environment) | {"data": dict(splits.summary)}
    if set(run.data_files.values()) != set(splits.summary["files"].values()):
        environment["trained_on"] = run.data_files
    write_json(folder / ENVIRONMENT_FILE, environment)


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and write the report; return 1 with a sentence on an error."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    return run_command(ReportOptions, _report, "training.report", arguments)


def _report(options: ReportOptions) -> None:
    repeat_report(options)
    print(f"wrote {options.run / REPORT_FILE}")


if __name__ == "__main__":
    sys.exit(main())
