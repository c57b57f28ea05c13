"""Entry point: trains and exports both shipped networks from data: teachers, then students."""

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from training.config import Device, TrainConfig
from training.data.datasets import DatasetError
from training.export import ExportOptions, export_run
from training.run_files import LAST_FILE, RunState
from training.runs import read_run
from training.train import train

log = logging.getLogger(__name__)

_STUDENTS: Final = {"kv_fast": 40 / 48, "kv_accurate": 1.0}
"""Shipped architectures with their best side of the inner view."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeOptions:
    """Train the teachers, then distil both students from their ensemble; finished stages are skipped.

    Attributes:
        data: As for a single training.
        weights: Parent folder of ``kv_fast.<tag>`` and ``kv_accurate.<tag>``.
        runs: Parent folder of the run directories and of the teachers' weights.
        tag: Suffix of the weights' names, after the architecture.
        teacher: Architecture of the teachers.
        teacher_count: Number of teachers, each with its own seed.
        teacher_epochs: Epochs per teacher.
        student_epochs: Epochs per student.
        batch_size: Images per step.
        learning_rate: Peak learning rate.
        augment_strength: Frequency of changes of light, degradation and occlusion, in [0, 1].
        device: ``auto`` uses CUDA if there is a GPU.
        thread_count: CPU threads of PyTorch; 0 for PyTorch's default.
    """

    data: tuple[Path, ...]
    weights: Path = Path("weights")
    runs: Path = Path("runs")
    tag: str = "crowd"
    teacher: str = "kv_teacher"
    teacher_count: int = 3
    teacher_epochs: int = 100
    student_epochs: int = 250
    batch_size: int = 256
    learning_rate: float = 0.15
    augment_strength: float = 0.7
    device: Device = "auto"
    thread_count: int = 0


def follow(options: RecipeOptions) -> list[Path]:
    """Run all unfinished stages; resume an interrupted one.

    Returns:
        The weights folders of both students.
    """
    shared = TrainConfig(
        data=options.data,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        augment_strength=options.augment_strength,
        device=options.device,
        thread_count=options.thread_count,
        runs=options.runs,
        warmup_epochs=min(5, options.student_epochs, options.teacher_epochs),
        mixup=0.2,
    )
    teachers = [
        _stage(
            replace(shared, architecture=options.teacher, epochs=options.teacher_epochs, seed=seed),
            f"{options.tag}_teacher_{seed}",
            options.runs / "teachers",
        )
        for seed in range(options.teacher_count)
    ]
    return [
        _stage(
            replace(
                shared,
                architecture=architecture,
                inner_view=inner_view,
                epochs=options.student_epochs,
                teachers=tuple(str(teacher) for teacher in teachers),
            ),
            f"{options.tag}_{architecture}",
            options.weights,
            options.tag,
        )
        for architecture, inner_view in _STUDENTS.items()
    ]


def _stage(config: TrainConfig, name: str, weights: Path, tag: str = "") -> Path:
    """Train unless the run is finished, then export."""
    folder = config.runs / name
    run = read_run(folder) if folder.is_dir() else None
    if run is None or run.state is not RunState.FINISHED:
        log.info("stage %s", name)
        train(config, folder, resume=(folder / LAST_FILE).is_file())
    return export_run(ExportOptions(run=folder, tag=tag or name, weights=weights))


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and follow the recipe; return 1 with a sentence on an error."""
    import tyro  # noqa: PLC0415 - the entry point alone needs it

    options = tyro.cli(RecipeOptions, args=arguments, prog="python -m training.recipe")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        for folder in follow(options):
            print(f"wrote {folder}")
    except (ValueError, LookupError, DatasetError, OSError) as error:
        print(f"recipe stopped: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
