"""The page of one run: progress, curves, errors, files."""

from collections.abc import Callable
from typing import Final, Literal

from dashboard.figure_row import duration_text, percent_text, show_figures
from dashboard.places import Places, run_store
from dashboard.run_files import show_downloads, show_environment, show_log, show_settings
from dashboard.run_report import detector_figures, show_detector_report, show_errors, show_mistakes
from dashboard.run_shelf import show_shelf, show_undo
from dashboard.runs import draw_curves
from dashboard.shown_runs import (
    DETECTOR_MODULES,
    ShownRun,
    all_runs,
    best_row,
    epoch_count,
    figures,
    find_run,
    seconds_left,
    step_share,
)
from dashboard.spoken import st
from training import jobs
from training.run_files import RunState
from training.runs import Run

REDRAW_S: Final = 1.0
"""Interval at which state and progress of a running training are drawn, in seconds."""

CURVES_S: Final = 3.0
"""The same for its curves and its log: on a slow machine a browser needs a second to draw the curves."""

Colour = Literal["gray", "blue", "green", "orange", "red", "violet"]

_BADGES: Final[dict[RunState, tuple[str, str, Colour]]] = {
    RunState.QUEUED: ("queued", ":material/hourglass_empty:", "gray"),
    RunState.RUNNING: ("running", ":material/play_circle:", "blue"),
    RunState.FINISHED: ("finished", ":material/check_circle:", "green"),
    RunState.STOPPED: ("stopped", ":material/stop_circle:", "orange"),
    RunState.FAILED: ("failed", ":material/error:", "red"),
    RunState.INTERRUPTED: ("interrupted", ":material/power_off:", "orange"),
}


def show(places: Places, open_models: Callable[[], None]) -> None:
    """Draw the page of the run in the URL, or of the newest run."""
    st.title("Run")
    try:
        runs = all_runs(run_store(places.runs))
    except OSError as error:
        st.error(f"Cannot read the folder of runs: {error}. Choose another one with --runs.")
        return
    show_undo(places.runs)
    if not runs:
        st.info("No runs yet. Start one on the *Train* page.")
        st.caption("From the shell: `python -m training.train --data FOLDER --epochs 10`")
        return
    name = _choose(runs)
    shown = find_run(runs, name)
    if shown is None:
        st.warning(f"The run {name!r} no longer exists; choose another one.")
        return
    if shown.run.problem:
        st.error(shown.run.problem)
        show_shelf(shown)
        return
    _show_run(places, shown, open_models)


def _choose(runs: list[ShownRun]) -> str:
    """Draw the choice of a run and return its name; the URL keeps it for reloads and copied links."""
    names = [shown.name for shown in runs]
    wanted = st.query_params.get("run", names[0])
    if wanted not in names:
        names.insert(0, wanted)
    chosen = st.selectbox("Run", names, index=names.index(wanted))
    st.query_params["run"] = chosen
    return chosen


def _show_run(places: Places, shown: ShownRun, open_models: Callable[[], None]) -> None:
    is_live = shown.run.is_active

    @st.fragment(run_every=REDRAW_S if is_live else None)
    def head() -> None:
        now = find_run(all_runs(run_store(places.runs)), shown.name) or shown
        if is_live and not now.run.is_active:
            st.rerun()  # the report and the buttons are outside this fragment
        _show_head(now)

    head()
    with st.container():  # present in every state, so that the tabs below keep their position
        show_controls(shown)
        show_shelf(shown)
    judged = ["Report"] if shown.is_detector else ["Errors", "Worst mistakes"]
    curves, *reports, settings, log, downloads = st.tabs(
        ["Curves", *judged, "Settings", "Log", "Downloads"], key=f"run_tabs {'-'.join(judged)}"
    )
    with curves:
        _show_curves(places, shown, is_live=is_live)
    for place, show_report in zip(
        reports,
        (show_detector_report,) if shown.is_detector else (show_errors, show_mistakes),
        strict=True,
    ):
        with place:
            show_report(shown)
    with settings:
        show_settings(shown)
        show_environment(shown)
    with log:
        show_log(shown, run_every=CURVES_S if is_live else None)
    with downloads:
        show_downloads(shown, open_models)


def _show_head(shown: ShownRun) -> None:
    text, icon, colour = _BADGES[shown.run.state]
    if shown.is_shipped:
        text, icon, colour = "Shipped", ":material/inventory_2:", "violet"
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge(text, icon=icon, color=colour)
        if message := shown.run.status.get("message"):
            st.markdown(f":gray[{_plain(str(message))}]")
    show_progress(shown.run)
    told = figures(shown.run)
    row = best_row(shown.run) or {}
    loss = row.get("val_loss")
    judged = (
        detector_figures(row)
        if shown.is_detector
        else (
            ("Validation accuracy", percent_text(told.val_accuracy), None),
            (
                "Macro F1",
                percent_text(told.val_macro_f1),
                "Mean F1 over the expressions; rare ones count as much.",
            ),
        )
    )
    show_figures(
        (
            ("Best epoch", "–" if told.best_epoch is None else str(told.best_epoch), None),
            *judged,
            ("Validation loss", f"{loss:.3f}" if isinstance(loss, int | float) else "–", None),
            ("Time", duration_text(told.seconds) if shown.run.epochs else "–", None),
        )
    )


def _plain(text: str) -> str:
    """Return a message with Markdown characters escaped."""
    return "".join(f"\\{sign}" if sign in "\\`*_{}[]()#+!|$~<>:" else sign for sign in text[:500])


def _show_curves(places: Places, shown: ShownRun, *, is_live: bool) -> None:
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    smoothing = left.slider("Smoothing", 0.0, 0.95, 0.0, 0.05, key="run_smoothing")
    is_log = right.toggle("Log scale", key="run_log")

    @st.fragment(run_every=CURVES_S if is_live else None)
    def charts() -> None:
        now = find_run(all_runs(run_store(places.runs)), shown.name) or shown
        draw_curves([now], smoothing=smoothing, is_log=is_log)

    charts()


def show_progress(run: Run) -> None:
    """Draw a progress bar over all epochs, with the remaining time while the run is active."""
    if run.state is RunState.RUNNING:
        planned = max(epoch_count(run), 1)
        done = len(run.epochs) + step_share(run)
        left = seconds_left(run)
        steps = (
            f", step {run.status.get('step')} of {run.status.get('step_count')}"
            if run.status.get("step")
            else ""
        )
        time_left = f" · about {duration_text(left)} left" if left is not None else " · measuring the pace"
        text = f"epoch {min(len(run.epochs) + 1, planned)} of {planned}{steps}{time_left}"
        st.progress(min(done / planned, 1.0), text=text)
    elif run.state in (RunState.STOPPED, RunState.INTERRUPTED, RunState.FAILED) and epoch_count(run):
        st.progress(
            len(run.epochs) / epoch_count(run), text=f"{len(run.epochs)} of {epoch_count(run)} epochs"
        )


def show_controls(shown: ShownRun) -> None:
    """Draw the buttons that stop and resume a run, or kill an unresponsive process."""
    run = shown.run
    if shown.is_shipped or run.state is RunState.FINISHED:
        return
    with st.container(horizontal=True):
        if run.is_active and st.button(
            "Stop training",
            icon=":material/stop_circle:",
            help="Stops after the current step and keeps everything.",
        ):
            _try(shown, "stop")
        if run.is_active and st.button(
            "Kill process",
            type="tertiary",
            help="For a training that does not respond; resume continues from its last epoch.",
        ):
            _try(shown, "end")
        if not run.is_active and not shown.is_detector:
            from_start = "" if run.can_resume else " from the start"
            if st.button(f"Resume{from_start}", icon=":material/play_arrow:", type="primary"):
                _try(shown, "resume")
    if shown.is_detector and not run.is_active:
        st.caption(
            "A detector's training continues from the shell: start "
            f"`python -m training.detector.{DETECTOR_MODULES[str(run.config['architecture'])]}` "
            f"as before, with `--name {shown.name}`."
        )
    if run.state is RunState.FAILED:
        st.error(f"Training failed: {run.status.get('message') or 'see its log'}")


def _try(shown: ShownRun, what: str) -> None:
    action = {"stop": jobs.stop, "end": jobs.end, "resume": jobs.resume}[what]
    try:
        action(shown.run.folder)
    except (jobs.JobError, OSError) as error:
        st.error(str(error))
        return
    if what == "stop":
        st.toast("Stopping after the current step …")
    else:
        st.rerun()
