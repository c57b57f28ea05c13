"""Entry point: trains the networks of a plan: teachers first, then students, which are exported."""

import logging
import multiprocessing
import sys
import tomllib
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from training.command import run_command
from training.config import Device, TrainConfig
from training.export import ExportOptions, export_run
from training.repeat import find_data
from training.report import ReportOptions, repeat_report
from training.run_files import LAST_FILE, RunState
from training.runs import read_run
from training.train import train

SHIPPED_PLAN: Final = Path(__file__).parent / "plans" / "crowd.toml"
"""Plan of the shipped networks."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeOptions:
    """Train and export the networks of a plan; finished stages are skipped, interrupted ones resumed.

    Attributes:
        folders: Folders with the data files, which are found by name.
        plan: TOML file with the table ``settings``, which all stages share, and one table per stage; None for
            the plan of the shipped networks.
        weights: Parent folder of the exported weights.
        runs: Parent folder of the run directories.
        stages: The stages to train; empty for all.
        processes: Number of stages to train at the same time, for GPUs that one small network leaves idle.
        report: Whether to evaluate and export the stages that the plan marks with ``tag``; without it,
            ``training.report`` and ``training.export`` can do so on another machine.
        device: ``auto`` uses CUDA if there is a GPU.
        thread_count: CPU threads of PyTorch; 0 for PyTorch's default.
        epochs: Another number of epochs for every stage; 0 for those of the plan.
    """

    folders: tuple[Path, ...]
    plan: Path | None = None
    weights: Path = Path("weights")
    runs: Path = Path("runs")
    stages: tuple[str, ...] = ()
    processes: int = 1
    report: bool = True
    device: Device = "auto"
    thread_count: int = 0
    epochs: int = 0


@dataclass(frozen=True, slots=True)
class Stage:
    """One training of a plan.

    Attributes:
        config: Its settings.
        tag: Suffix of the exported weights' name, after the architecture; empty for teachers.
        after: Stages that must be finished before it.
    """

    config: TrainConfig
    tag: str = ""
    after: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of its run directory."""
        return self.config.name

    @property
    def folder(self) -> Path:
        """Its run directory."""
        return self.config.runs / self.config.name


def read_plan(options: RecipeOptions) -> list[Stage]:
    """Read the stages of a plan.

    Raises:
        ValueError: The file is no plan, a setting is invalid, or a stage needs one that does not precede it.
        DatasetError: A data file is missing from the folders.
    """
    path = options.plan or SHIPPED_PLAN
    try:
        plan = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"expected a plan at {path} ({error.strerror}); name one with --plan") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no TOML file ({error})") from error
    shared, tables = plan.get("settings", {}), plan.get("stages", [])
    if not isinstance(shared, Mapping) or not isinstance(tables, list) or not tables:
        raise ValueError(f"{path}: expected a table 'settings' and tables 'stages'")
    if not all(isinstance(table, Mapping) for table in tables):
        raise ValueError(f"{path}: expected every stage to be a table [[stages]]")
    stages: list[Stage] = []
    for table in tables:
        stages.append(_stage(shared | table, [stage.name for stage in stages], options))
    unknown = set(options.stages) - {stage.name for stage in stages}
    if unknown:
        raise ValueError(
            f"expected stages of {path} ({', '.join(stage.name for stage in stages)}), "
            f"got {', '.join(sorted(unknown))}"
        )
    return stages


def _stage(table: Mapping[str, Any], earlier: Sequence[str], options: RecipeOptions) -> Stage:
    values = dict(table)
    for setting in ("data", "other_places", "teachers"):
        listed = values.setdefault(setting, [])
        if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
            raise ValueError(f"expected {setting} of a plan to be a list of names, got {listed!r}")
    name, tag = str(values.pop("name", "")), str(values.pop("tag", ""))
    if not name or name in earlier:
        raise ValueError(f"expected a name of its own for every stage of a plan, got {name!r}")
    if not options.report:
        values["other_places"] = []  # only the report needs them
    for setting in ("data", "other_places"):
        values[setting] = [find_data(file, options.folders) for file in values[setting]]
    start = str(values.get("initial_weights", ""))
    after = tuple(each for each in dict.fromkeys((start, *values["teachers"])) if each in earlier)
    values["initial_weights"], *values["teachers"] = (
        str(options.runs / each) if each in after else each for each in (start, *values["teachers"])
    )
    values |= {
        "runs": options.runs,
        "name": name,
        "device": options.device,
        "thread_count": options.thread_count,
    }
    config = TrainConfig.from_dict(values)
    if options.epochs:
        warmup = min(config.warmup_epochs, options.epochs)
        config = replace(config, epochs=options.epochs, warmup_epochs=warmup)
    return Stage(config, tag, after)


def follow(options: RecipeOptions) -> list[Path]:
    """Train all unfinished stages, each as soon as its teachers and its initial weights are finished.

    Returns:
        The exported weights folders.
    """
    stages = read_plan(options)
    wanted = [stage for stage in stages if not options.stages or stage.name in options.stages]
    if options.processes > 1:
        _train_side_by_side(wanted, options)
    else:
        for stage in wanted:
            _train_stage(stage, options)
    shipped = [stage for stage in wanted if stage.tag and options.report]
    for stage in shipped:
        if read_run(stage.folder).report is None:  # trained before without a report
            others = tuple(path.name for path in stage.config.other_places)
            repeat_report(ReportOptions(run=stage.folder, folders=options.folders, other_places=others))
    return [
        export_run(ExportOptions(run=stage.folder, tag=stage.tag, weights=options.weights))
        for stage in shipped
    ]


def _train_side_by_side(stages: Sequence[Stage], options: RecipeOptions) -> None:
    waiting, running = list(stages), dict[Future[None], str]()
    # CUDA cannot be used in forked processes.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.processes, spawn, initializer=_log_by_process) as pool:
        while waiting or running:
            open_names = {stage.name for stage in waiting} | set(running.values())
            for stage in [stage for stage in waiting if not open_names & set(stage.after)]:
                running[pool.submit(_train_in_process, stage, options)] = stage.name
                waiting.remove(stage)
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                del running[done]
                done.result()


def _log_by_process() -> None:
    logging.basicConfig(level=logging.INFO, format="%(processName)s: %(message)s")


def _train_in_process(stage: Stage, options: RecipeOptions) -> None:
    multiprocessing.current_process().name = stage.name  # tells the messages of two stages apart
    _train_stage(stage, options)


def _train_stage(stage: Stage, options: RecipeOptions) -> None:
    """Train unless the run is finished; only exported networks are evaluated after their last epoch."""
    folder = stage.folder
    run = read_run(folder) if folder.is_dir() else None
    if run is None or run.state is not RunState.FINISHED:
        log.info("stage %s", stage.name)
        is_interrupted = (folder / LAST_FILE).is_file()
        with_report = bool(stage.tag) and options.report
        train(stage.config, folder, resume=is_interrupted, with_report=with_report)
        if read_run(folder).state is not RunState.FINISHED:
            raise ValueError(f"the stage {stage.name} was stopped; follow the plan again to resume it")


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and follow the plan; return 1 with a sentence on an error."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    return run_command(RecipeOptions, _follow, "training.recipe", arguments)


def _follow(options: RecipeOptions) -> None:
    for folder in follow(options):
        print(f"wrote {folder}")


if __name__ == "__main__":
    sys.exit(main())
