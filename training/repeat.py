"""Settings of an earlier training, to repeat it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fer.model_card import UnknownModelError, file_hash
from fer.model_shelf import find_weights
from training.config import TrainConfig
from training.data.datasets import DatasetError
from training.run_files import CONFIG_FILE
from training.runs import read_run

_ELSEWHERE: Final = ("device", "thread_count", "runs", "name", "tensorboard", "compile")
"""Settings that belong to a machine, not to a training."""


@dataclass(frozen=True, slots=True)
class RepeatOptions:
    """Repeat an earlier training with its settings on this machine.

    Attributes:
        repeat: A run directory, a weights folder, or the name of weights.
        folders: Folders with the data files, which are found by name.
        teachers: Weights or run directories of the teachers; empty for those that have their earlier names.
        initial_weights: Other initial weights; empty for those that now have the name of the earlier ones.
        epochs: Another number of epochs; 0 for the same.
        runs: Parent folder of the new run directory.
        name: Name of the new run directory; empty for ``<time>_<architecture>``.
    """

    repeat: str
    folders: tuple[Path, ...]
    teachers: tuple[str, ...] = ()
    initial_weights: str = ""
    epochs: int = 0
    runs: Path = Path("runs")
    name: str = ""


def repeated_settings(options: RepeatOptions) -> tuple[TrainConfig, list[str]]:
    """Return the settings of an earlier training with the data files of this machine.

    Returns:
        The settings, and a sentence for each difference that they cannot express: other data under the same
        name, initial weights that may have been replaced.

    Raises:
        DatasetError: A data file is missing from the folders.
        UnknownModelError: There are no such weights.
        ValueError: The run cannot be read, or its teachers are missing.
    """
    folder = Path(options.repeat)
    if not (folder / CONFIG_FILE).is_file():
        folder = find_weights(options.repeat) / "run"
    run = read_run(folder)
    if run.problem:
        raise ValueError(f"{options.repeat} cannot be repeated: {run.problem}")
    digests = {Path(path).name: digest for path, digest in run.data_files.items()}
    values = {name: value for name, value in run.config.items() if name not in _ELSEWHERE}
    warnings = []
    for setting in ("data", "other_places"):
        values[setting] = [find_data(Path(path).name, options.folders) for path in values.get(setting, ())]
        warnings += [
            f"{path} differs from the {path.name} that was used then"
            for path in values[setting]
            if path.name in digests and path.is_file() and file_hash(path) != digests[path.name]
        ]
    teachers = list(options.teachers or values.get("teachers", ()))
    if missing := [teacher for teacher in teachers if not _is_teacher(teacher)]:
        raise ValueError(
            f"{options.repeat} learned from {', '.join(map(str, values['teachers']))}, and there is no "
            f"{', '.join(missing)}; name its teachers with --teachers, or repeat the trainings of a plan "
            "with python -m training.recipe"
        )
    values["teachers"] = teachers
    if options.initial_weights:
        values["initial_weights"] = options.initial_weights
    elif values.get("initial_weights"):
        warnings.append(
            f"starts from {values['initial_weights']} as it is now, which may differ from that of then; "
            "--initial-weights names other weights"
        )
    values |= {"runs": options.runs, "name": options.name}
    if options.epochs:
        values["epochs"] = options.epochs
    return TrainConfig.from_dict(values), warnings


def _is_teacher(name: str) -> bool:
    try:
        return (Path(name) / CONFIG_FILE).is_file() or find_weights(name).is_dir()
    except UnknownModelError:
        return False


def find_data(name: str, folders: Sequence[Path]) -> Path:
    """Return the path of a data set in the first folder that has it.

    Raises:
        DatasetError: No folder has it.
    """
    for folder in folders:
        if (folder / name).exists():
            return folder / name
    searched = ", ".join(map(str, folders))
    raise DatasetError(f"expected {name} in {searched}; name its folder with --folders, too")
