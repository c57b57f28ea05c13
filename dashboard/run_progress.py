"""Progress of a run, and the buttons that stop and resume it."""

from dashboard.shown_runs import DETECTOR_MODULES, ShownRun, epoch_count, seconds_left, step_share
from dashboard.spoken import st
from dashboard.wording import duration_text
from training import jobs
from training.runs import Run, RunState


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
