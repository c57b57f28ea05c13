"""The runs that the pages show: those in the runs folder, and those shipped with weights."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from fer.detection.card import DETECTOR_CARD_FILE
from fer.model_shelf import list_shipped_weights, weights_shelf
from training.run_files import DETECTOR, VERIFIER, RunState, kept_epoch
from training.runs import Run, RunStore, read_run

DETECTOR_MODULES: Final = {DETECTOR: "train", VERIFIER: "train_verifier"}
"""Module of ``training.detector`` that trains each kind of network."""


@dataclass(frozen=True, slots=True)
class ShownRun:
    """A run with its displayed name.

    Attributes:
        name: Name of the run directory, or of the weights it belongs to.
        run: The run.
        weights: The weights folder it was shipped with; None for runs of this machine.
    """

    name: str
    run: Run
    weights: Path | None = None

    @property
    def is_shipped(self) -> bool:
        """Whether it is shipped with the software, and therefore read-only."""
        return self.weights is not None

    @property
    def is_detector(self) -> bool:
        """Whether it trains a face detector or verifier instead of a classifier."""
        return is_detector(self.run)

    @property
    def state_text(self) -> str:
        """Its state in one word, for display."""
        return "shipped" if self.is_shipped else str(self.run.state)


@dataclass(frozen=True, slots=True)
class Figures:
    """Key figures of a run; None while unknown.

    Attributes:
        best_epoch: The best epoch so far.
        val_accuracy: Validation accuracy of that epoch, in [0, 1].
        val_macro_f1: Validation macro F1 of that epoch, in [0, 1].
        seconds: Duration of the finished epochs.
    """

    best_epoch: int | None
    val_accuracy: float | None
    val_macro_f1: float | None
    seconds: float


def shipped_runs() -> list[ShownRun]:
    """List the runs of the shipped models, face detectors last."""
    shelf = weights_shelf()
    folders = [shelf / name for name in list_shipped_weights()]
    folders += shipped_detectors()
    return [
        ShownRun(folder.name, read_run(folder / "run"), folder)
        for folder in folders
        if (folder / "run").is_dir()
    ]


def shipped_detectors() -> list[Path]:
    """List the weights folders of the shipped face detectors, sorted."""
    return sorted(path.parent for path in weights_shelf().glob(f"*/{DETECTOR_CARD_FILE}"))


def is_detector(run: Run) -> bool:
    """Whether a run trains a face detector or verifier: other metrics, cannot be resumed here."""
    return run.config.get("architecture") in DETECTOR_MODULES


def all_runs(store: RunStore) -> list[ShownRun]:
    """Return the runs of this machine, newest first, then the shipped ones.

    Raises:
        OSError: The runs folder cannot be read.
    """
    return [ShownRun(run.name, run) for run in store.runs()] + shipped_runs()


def find_run(runs: Iterable[ShownRun], name: str | None) -> ShownRun | None:
    """Return the run of a name, or None."""
    return next((shown for shown in runs if shown.name == name), None)


def best_row(run: Run) -> Mapping[str, Any] | None:
    """Return the best epoch as recorded by the run, otherwise the best so far."""
    return kept_epoch(run.config, run.epochs, run.report or {}, run.status)


def figures(run: Run) -> Figures:
    """Return the current key figures of a run."""
    row = best_row(run) or {}
    seconds = sum(
        float(epoch["seconds"]) for epoch in run.epochs if isinstance(epoch.get("seconds"), int | float)
    )
    return Figures(
        row.get("epoch"), _number(row.get("val_accuracy")), _number(row.get("val_macro_f1")), seconds
    )


def epoch_count(run: Run) -> int:
    """Return the number of planned epochs, at least that of finished ones."""
    planned = run.status.get("epoch_count") or run.config.get("epochs") or 0
    return max(int(planned) if isinstance(planned, int | float) else 0, len(run.epochs))


def seconds_left(run: Run, now: datetime | None = None) -> float | None:
    """Estimate the remaining seconds from the pace of the latest epochs; None while unknown."""
    if run.state is not RunState.RUNNING:
        return None
    paces = [row["seconds"] for row in run.epochs[-5:] if isinstance(row.get("seconds"), int | float)]
    share = step_share(run)
    if paces:
        pace = float(sorted(paces)[len(paces) // 2])
    else:
        started = _time(run.status.get("started_at"))
        if started is None or share < 0.02:
            return None
        pace = ((now or datetime.now(UTC)) - started).total_seconds() / share
    return max(pace * (epoch_count(run) - len(run.epochs) - share), 0.0)


def step_share(run: Run) -> float:
    """Return the completed share of the current epoch, in [0, 1]."""
    step, step_count = run.status.get("step") or 0, run.status.get("step_count") or 0
    return min(step / step_count, 1.0) if step_count else 0.0


def setting_differences(runs: Sequence[ShownRun], *, everything: bool = False) -> list[dict[str, str]]:
    """Return settings as rows and runs as columns: only those that differ, or all."""
    names = sorted({name for shown in runs for name in shown.run.config} - {"name", "runs"})
    rows = []
    for name in names:
        values = [_setting(shown.run.config.get(name)) for shown in runs]
        if everything or len(set(values)) > 1:
            rows.append(
                {"setting": name.replace("_", " ")} | dict(zip((r.name for r in runs), values, strict=True))
            )
    return rows


def data_text(run: Run) -> str:
    """Return the names of the run's data sets, without their folders."""
    paths = run.config.get("data") or run.config.get("photos") or ()
    paths = [paths] if isinstance(paths, str) else paths
    return ", ".join(Path(str(path)).name for path in paths) if isinstance(paths, Sequence) else ""


def _setting(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value)
    return str(value)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _time(value: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
