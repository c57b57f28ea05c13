"""Checks before a training starts."""

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dashboard.data_check import class_problems, without_training
from dashboard.devices import Card, free_memory_bytes
from dashboard.figure_row import size_text
from dashboard.setting_form import ARCHITECTURE_NOTES
from fer.emotions import Label
from fer.model_card import UnknownModelError, load_card
from fer.model_shelf import find_weights, is_plain_name
from training.config import SettingsError, TrainConfig
from training.data.datasets import FaceTable

FEWEST_PICTURES: Final = 20
"""Minimum number of training images for a training to start."""

_BYTES_A_PARAMETER: Final = 20
"""Disk space per parameter: weights, averaged weights and momentum, in two files."""
_BYTES_A_PICTURE: Final = 48 * 48 * 4
_SPARE_BYTES: Final = 100_000_000


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem with one setting.

    Attributes:
        setting: Name of the setting; the message is shown next to its control.
        text: The message.
        is_fatal: Whether it prevents the training from starting.
    """

    setting: str
    text: str
    is_fatal: bool = True


def make_config(values: Mapping[str, Any]) -> TrainConfig | list[Problem]:
    """Return the config of a form, or a problem for each invalid setting."""
    try:
        return TrainConfig(**values)
    except SettingsError as error:
        return [Problem(setting, _sentence(text)) for setting, text in error.problems]


def check_training(
    config: TrainConfig, table: FaceTable, cards: Sequence[Card], chosen_cards: Sequence[int] = ()
) -> list[Problem]:
    """Return all problems that can be found before the start; an empty list if there are none."""
    return [
        *_check_pictures(config, table),
        *_check_device(config, cards, chosen_cards),
        *_check_weights(config),
        *_check_room(config, table),
        *_check_name(config),
    ]


def train_count(config: TrainConfig, table: FaceTable) -> int:
    """Return the number of training images; the rest is held out."""
    if "val" in table.splits:
        return sum(split in ("train", "") for split in table.splits)
    return round(sum(split != "test" for split in table.splits) * (1 - config.val_share))


def _check_pictures(config: TrainConfig, table: FaceTable) -> list[Problem]:
    count = train_count(config, table)
    if not count and set(table.splits) <= {"val", "test"}:
        return [Problem("data", without_training(table))]
    if count < FEWEST_PICTURES:
        return [
            Problem(
                "data",
                f"There are {count} training pictures; at least {FEWEST_PICTURES} are needed, "
                "a few hundred are better.",
            )
        ]
    labels = {
        label for label, split in zip(table.labels, table.splits, strict=True) if label and split != "test"
    }
    if len(labels) < 2:
        only = next(iter(labels), "no expression")
        return [
            Problem(
                "data", f"All pictures show {only}; a network needs at least two expressions to tell apart."
            )
        ]
    problems = [Problem("data", text, is_fatal=False) for text in class_problems(table)]
    if "val" not in table.splits:
        lonely = [name for name, found in _label_counts(table).items() if found < 2]
        if lonely:
            problems.append(
                Problem(
                    "data",
                    f"There is one picture of {', '.join(sorted(lonely))}; it is never evaluated.",
                    is_fatal=False,
                )
            )
    if config.batch_size > count:
        problems.append(
            Problem(
                "batch_size",
                f"A batch of {config.batch_size} is larger than the {count} training pictures; "
                f"choose {_power_of_two(count)} or less.",
            )
        )
    return problems


def _label_counts(table: FaceTable) -> Counter[Label]:
    return Counter(
        label for label, split in zip(table.labels, table.splits, strict=True) if label and split != "test"
    )


def _check_device(config: TrainConfig, cards: Sequence[Card], chosen: Sequence[int]) -> list[Problem]:
    if config.device == "cuda" and not cards:
        return [
            Problem(
                "device",
                "No GPU (CUDA) was found (nvidia-smi lists none); choose cpu or auto, "
                "or install NVIDIA's driver.",
            )
        ]
    if config.device == "cpu" and chosen:
        return [
            Problem("device", "GPUs are selected, but the device is cpu; choose auto or cuda to use them.")
        ]
    return []


def _check_weights(config: TrainConfig) -> list[Problem]:
    if not config.initial_weights:
        return []
    try:
        card = load_card(find_weights(config.initial_weights))
    except UnknownModelError as error:
        return [Problem("initial_weights", _sentence(str(error)))]
    problem = config.start_problem(card.architecture)
    return [] if problem is None else [Problem("initial_weights", _sentence(problem))]


def _check_room(config: TrainConfig, table: FaceTable) -> list[Problem]:
    problems = []
    note = ARCHITECTURE_NOTES.get(config.architecture)
    needed = (note.parameter_count if note else 12_000_000) * _BYTES_A_PARAMETER + _SPARE_BYTES
    free = _free_disk(config.runs)
    if free is not None and free < needed:
        problems.append(
            Problem(
                "runs",
                f"{size_text(free)} are free on the disk of {config.runs}; "
                f"a run needs about {size_text(needed)}. Delete something first.",
            )
        )
    memory, wanted = free_memory_bytes(), len(table) * _BYTES_A_PICTURE + needed + 1_500_000_000
    if memory is not None and memory < wanted:
        problems.append(
            Problem(
                "data",
                f"{size_text(memory)} of memory are free; "
                f"this training needs about {size_text(wanted)} and may be killed by the system.",
                is_fatal=False,
            )
        )
    return problems


def _free_disk(folder: Path) -> int | None:
    for place in (folder, *folder.parents):
        if place.is_dir():
            return shutil.disk_usage(place).free
    return None


def _check_name(config: TrainConfig) -> list[Problem]:
    if not config.name:
        return []
    if not is_plain_name(config.name):
        return [Problem("name", "A name has letters, digits, '_', '-' and '.', at most 80.")]
    if (config.runs / config.name).exists():
        return [Problem("name", f"There is a run named {config.name} already; choose another name.")]
    return []


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _power_of_two(count: int) -> int:
    return 1 << (count.bit_length() - 1)
