"""The table of runs, with its filter."""

from collections.abc import Sequence

import pandas as pd

from dashboard.shown_runs import ShownRun, data_text, epoch_count, figures
from dashboard.wording import duration_text

COLUMNS = (
    "name",
    "state",
    "val accuracy",
    "macro F1",
    "epochs",
    "best epoch",
    "time",
    "architecture",
    "device",
    "data",
)


def run_table(runs: Sequence[ShownRun]) -> pd.DataFrame:
    """One row a run, in the order given; shares stay in [0, 1]."""
    return pd.DataFrame([_row(shown) for shown in runs], columns=list(COLUMNS))


def filter_runs(runs: Sequence[ShownRun], words: str) -> list[ShownRun]:
    """Those that contain every word somewhere in name, state, data, architecture or device."""
    wanted = words.lower().split()
    return [shown for shown in runs if all(word in _searched(shown) for word in wanted)]


def _row(shown: ShownRun) -> tuple[object, ...]:
    run = shown.run
    told = figures(run)
    return (
        shown.name,
        shown.state_text,
        told.val_accuracy,
        told.val_macro_f1,
        f"{len(run.epochs)} / {epoch_count(run)}",
        told.best_epoch,
        duration_text(told.seconds) if run.epochs else "",
        run.config.get("architecture", ""),
        run.environment.get("device", run.config.get("device", "")),
        data_text(run),
    )


def _searched(shown: ShownRun) -> str:
    run = shown.run
    device = run.environment.get("device", run.config.get("device", ""))
    parts = (shown.name, shown.state_text, data_text(run), run.config.get("architecture", ""), device)
    return " ".join(str(part) for part in parts).lower()
