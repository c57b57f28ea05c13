"""The page of all runs: a table, and a comparison of up to six runs."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import pandas as pd

from dashboard.charts import CURVES, curve_chart, legend_html
from dashboard.figure_row import duration_text, in_percent, percent_columns
from dashboard.places import Places, run_store
from dashboard.run_shelf import show_kept
from dashboard.shown_runs import ShownRun, all_runs, data_text, epoch_count, figures, setting_differences
from dashboard.spoken import st

COMPARED_COUNT: Final = 6
REDRAW_S: Final = 1.5


def show(places: Places, open_run: Callable[[str], None], open_training: Callable[[], None]) -> None:
    """Draw the page.

    Args:
        places: The dashboard's folders.
        open_run: Opens the page of a run.
        open_training: Opens the training form.
    """
    st.title("Runs")
    try:
        runs = all_runs(run_store(places.runs))
    except OSError as error:
        st.error(f"Cannot read the folder of runs: {error}. Choose another one with --runs.")
        return
    show_kept(places.runs)
    if not any(not shown.is_shipped for shown in runs):
        _show_first_visit(places, has_shipped=bool(runs), open_training=open_training)
    if not runs:
        return
    words = st.text_input(
        "Filter", placeholder="name, state, data, architecture, device", key="runs_filter", max_chars=100
    )
    readable = [shown for shown in runs if not shown.run.problem]
    _show_table(filter_runs(readable, words), open_run)
    _show_problems(runs)
    _show_comparison(places, readable)


def _show_first_visit(places: Places, *, has_shipped: bool, open_training: Callable[[], None]) -> None:
    text = f"No training has run on this machine yet (looked in `{places.runs}`)."
    if has_shipped:
        text += " Below are the histories of the shipped models."
    st.info(text)
    if st.button("Train a model", icon=":material/model_training:"):
        open_training()
    st.caption("From the shell: `python -m training.train --data FOLDER --epochs 10`")


def _show_table(runs: Sequence[ShownRun], open_run: Callable[[str], None]) -> None:
    if not runs:
        st.info("No run matches these words.")
        return
    shares = ("val accuracy", "macro F1")
    chosen = st.dataframe(
        in_percent(run_table(runs), shares),
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key="runs_table",
        height=min(38 + 35 * len(runs), 388),
        placeholder="–",
        column_config={
            "name": st.column_config.TextColumn("name", pinned=True),
            **percent_columns(shares),
            "best epoch": st.column_config.NumberColumn(format="%d"),
        },
    )
    st.caption("Select a row to open its run.")
    if rows := chosen.selection.rows:
        open_run(runs[rows[0]].name)


def _show_problems(runs: Sequence[ShownRun]) -> None:
    problems = [shown.run.problem for shown in runs if shown.run.problem]
    if problems:
        title = f"{len(problems)} run folder{'s' * (len(problems) > 1)} cannot be read"
        with st.expander(title, icon=":material/warning:"):
            for problem in problems:
                st.write(problem)


def _show_comparison(places: Places, runs: Sequence[ShownRun]) -> None:
    st.subheader("Compare runs")
    names = [shown.name for shown in runs]
    chosen = st.multiselect(
        f"Runs to compare, {COMPARED_COUNT} at most",
        names,
        default=[shown.name for shown in runs if shown.run.epochs][:3],
        max_selections=COMPARED_COUNT,
        key="runs_compared",
    )
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    smoothing = left.slider("Smoothing", 0.0, 0.95, 0.0, 0.05, key="runs_smoothing")
    is_log = right.toggle("Log scale", key="runs_log")
    is_live = any(shown.run.is_active for shown in runs if shown.name in chosen)

    @st.fragment(run_every=REDRAW_S if is_live else None)
    def charts() -> None:
        shown_runs = [shown for shown in all_runs(run_store(places.runs)) if shown.name in chosen]
        shown_runs.sort(key=lambda shown: chosen.index(shown.name))
        draw_curves(shown_runs, smoothing=smoothing, is_log=is_log)
        if is_live and not any(shown.run.is_active for shown in shown_runs):
            st.rerun()

    if not chosen:
        st.caption("Choose runs to see their curves.")
        return
    charts()
    _show_settings([shown for shown in runs if shown.name in chosen])


def draw_curves(runs: Sequence[ShownRun], *, smoothing: float = 0.0, is_log: bool = False) -> None:
    """Draw one chart per metric, two in a row if there is room."""
    if not any(shown.run.epochs for shown in runs):
        st.caption("Curves appear after the first epoch.")
        return
    st.html(legend_html(runs))
    charts = _charts(runs, smoothing, is_log)
    for start in range(0, len(charts), 2):
        for column, chart in zip(st.columns(2), charts[start : start + 2], strict=False):
            column.vega_lite_chart(chart)


def _charts(runs: Sequence[ShownRun], smoothing: float, is_log: bool) -> list[dict[str, Any]]:
    """Return the charts; cached for the visitor until a new epoch or a changed control."""
    stamp = (
        smoothing,
        is_log,
        *(
            (shown.name, shown.state_text, len(shown.run.epochs), str(shown.run.epochs[-1:]))
            for shown in runs
        ),
    )
    known = st.session_state.get("curves_drawn")
    if known is None or known[0] != stamp:
        made = [curve_chart(runs, curve, smoothing=smoothing, is_log=is_log) for curve in CURVES]
        known = (stamp, [chart for chart in made if chart is not None])
        st.session_state["curves_drawn"] = known
    charts: list[dict[str, Any]] = known[1]
    return charts


def _show_settings(runs: Sequence[ShownRun]) -> None:
    everything = st.toggle("Also show identical settings", key="runs_all_settings")
    rows = setting_differences(runs, everything=everything)
    if rows:
        st.dataframe(pd.DataFrame(rows), hide_index=True)
    elif len(runs) > 1:
        st.caption("These runs have identical settings.")


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
    """Return one row per run, in the given order; shares are in [0, 1]."""
    return pd.DataFrame([_row(shown) for shown in runs], columns=list(COLUMNS))


def filter_runs(runs: Sequence[ShownRun], words: str) -> list[ShownRun]:
    """Return the runs that contain every word in name, state, data, architecture or device."""
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
