"""Settings of an earlier training, to repeat it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fer.model_card import file_hash
from fer.model_shelf import find_weights
from training.config import TrainConfig
from training.data.datasets import DatasetError
from training.run_files import CONFIG_FILE, ENVIRONMENT_FILE, read_object

_ELSEWHERE: Final = ("device", "thread_count", "runs", "name", "tensorboard")
"""Settings that belong to a machine, not to a training."""


@dataclass(frozen=True, slots=True)
class RepeatOptions:
    """Repeat an earlier training with its settings on this machine.

    Attributes:
        repeat: A run directory, a weights folder, or the name of weights.
        folders: Folders with the data files, which are found by name.
        epochs: Another number of epochs; 0 for the same.
        runs: Parent folder of the new run directory.
        name: Name of the new run directory; empty for ``<time>_<architecture>``.
    """

    repeat: str
    folders: tuple[Path, ...]
    epochs: int = 0
    runs: Path = Path("runs")
    name: str = ""


def repeated_settings(options: RepeatOptions) -> tuple[TrainConfig, list[str]]:
    """Return the settings of an earlier training with the data files of this machine.

    Returns:
        The settings, and a sentence for each data file that differs from the one used then.

    Raises:
        DatasetError: A data file is missing from the folders.
        UnknownModelError: There are no such weights.
        ValueError: The run's files cannot be read.
        OSError: The run's files are missing.
    """
    folder = Path(options.repeat)
    if not (folder / CONFIG_FILE).is_file():
        folder = find_weights(options.repeat) / "run"
    stored = read_object(folder / CONFIG_FILE)
    digests = _digests(read_object(folder / ENVIRONMENT_FILE))
    values: dict[str, Any] = {name: value for name, value in stored.items() if name not in _ELSEWHERE}
    warnings = []
    for setting in ("data", "other_places"):
        names = [Path(name).name for name in values.get(setting, ())]
        values[setting] = [str(_find(name, options.folders)) for name in names]
        for name, path in zip(names, values[setting], strict=True):
            if name in digests and Path(path).is_file() and file_hash(Path(path)) != digests[name]:
                warnings.append(f"{path} differs from the {name} that was used then")
    values |= {"runs": options.runs, "name": options.name}
    if options.epochs:
        values["epochs"] = options.epochs
    return TrainConfig.from_dict(values), warnings


def _find(name: str, folders: Sequence[Path]) -> Path:
    for folder in folders:
        if (folder / name).exists():
            return folder / name
    searched = ", ".join(map(str, folders))
    raise DatasetError(f"expected {name} in {searched}; name its folder with --folders, too")


def _digests(environment: dict[str, Any]) -> dict[str, str]:
    data = environment.get("data")
    files = data.get("files", data) if isinstance(data, dict) else {}
    return {Path(name).name: digest for name, digest in files.items() if isinstance(digest, str)}
