"""The page that starts trainings: data sets, settings, checks, queue."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from streamlit.delta_generator import DeltaGenerator

from dashboard.checks import Problem, check_training, make_config, train_count
from dashboard.devices import Card, list_cards, processor_count
from dashboard.figure_row import duration_text, size_text
from dashboard.picture_sets import list_sets
from dashboard.places import Places, read_data, run_store
from dashboard.programs import ProgramError, estimate
from dashboard.setting_form import PRESETS, setting_controls
from dashboard.shown_runs import epoch_count
from dashboard.spoken import st, translated
from training import jobs
from training.config import TrainConfig
from training.data.datasets import DatasetError, FaceTable
from training.run_files import RunState

REDRAW_S: Final = 2.0


def show(places: Places, open_run: Callable[[str], None], open_data: Callable[[], None]) -> None:
    """Draw the page.

    Args:
        places: The dashboard's folders.
        open_run: Opens the page of a run.
        open_data: Opens the page of data sets.
    """
    st.title("Train")
    _show_queue(places, open_run)
    preset_name = st.radio(
        "Action",
        list(PRESETS),
        format_func=lambda name: PRESETS[name].title,
        captions=[preset.text for preset in PRESETS.values()],
        key="train_preset",
    )
    st.subheader("Pictures")
    path, data_slot = _choose_data(places, open_data)
    st.subheader("Settings")
    cards = _cards()
    values, slots = setting_controls(preset_name, PRESETS[preset_name])
    chosen_cards = _choose_cards(cards)
    name = st.text_input(
        "Name of the run", key="train_name", placeholder="date and time if empty", max_chars=80
    )
    slots |= {"data": data_slot, "name": st.empty()}
    if path is None:
        st.caption("Choose pictures first.")
        return
    made = make_config(values | {"data": (path,), "runs": places.runs, "name": name.strip()})
    if isinstance(made, list):
        _show_problems(made, slots)
        return
    try:
        table = read_data(path)
    except (DatasetError, OSError) as error:
        _show_problems([Problem("data", str(error))], slots)
        return
    problems = check_training(made, table, cards, chosen_cards)
    _show_problems(problems, slots)
    is_ready = not any(problem.is_fatal for problem in problems)
    _show_start(made, table, chosen_cards, is_ready=is_ready, open_run=open_run)


def _choose_data(places: Places, open_data: Callable[[], None]) -> tuple[Path | None, DeltaGenerator]:
    sets = {name: places.data / name for name in list_sets(places.data)}
    elsewhere = "another folder or file …"
    handed_over = st.session_state.pop("train_path", None)
    if handed_over is not None:
        name = next((name for name, folder in sets.items() if str(folder) == handed_over), elsewhere)
        st.session_state["train_set"] = name
        if name == elsewhere:
            st.session_state["train_folder"] = handed_over
    choices = [*sets, elsewhere]
    if st.session_state.get("train_set") not in choices:
        st.session_state.pop("train_set", None)
    chosen = st.selectbox("Data set", choices, key="train_set") if sets else elsewhere
    path: Path | None = sets.get(chosen)
    if chosen == elsewhere:
        text = st.text_input(
            "Folder or file on this machine",
            key="train_folder",
            placeholder="a folder of class folders, a FER2013 CSV or a parquet file",
        ).strip()
        path = Path(text).expanduser() if text else None
    slot = st.empty()
    if path is None and st.button("Upload or take pictures", icon=":material/photo_library:"):
        open_data()
    return path, slot


@st.cache_data(ttl=10, show_spinner=False)
def _cards() -> list[Card]:
    return list_cards()


def _choose_cards(cards: Sequence[Card]) -> list[int]:
    if not cards:
        st.caption(
            f"No GPU (CUDA) found; training uses the CPU ({processor_count()} processors). "
            "An NVIDIA GPU with its driver is far faster."
        )
        return []
    texts = {card.number: f"{card.number}: {card.name}, {size_text(card.free_bytes)} free" for card in cards}
    if len(cards) == 1:
        st.caption(f"GPU {texts[cards[0].number]}")
        return []
    return st.multiselect(
        "Cards", list(texts), format_func=texts.__getitem__, key="train_cards",
        help="Several GPUs share each batch (torchrun); none selected means the first one.",
    )  # fmt: skip


def _show_problems(problems: Sequence[Problem], slots: dict[str, DeltaGenerator]) -> None:
    """Draw each message next to its control."""
    for setting in dict.fromkeys(problem.setting for problem in problems):
        mine = [problem for problem in problems if problem.setting == setting]
        text = " ".join(translated(problem.text) for problem in mine)
        slot = slots.get(setting)
        show = (slot or st).error if any(problem.is_fatal for problem in mine) else (slot or st).warning
        show(text)
    if any(problem.is_fatal for problem in problems):
        st.caption("Fix the settings marked red to start the training.")


def _show_start(
    config: TrainConfig,
    table: FaceTable,
    cards: Sequence[int],
    *,
    is_ready: bool,
    open_run: Callable[[str], None],
) -> None:
    count = train_count(config, table)
    st.caption(
        f"{count:,} pictures to train on, {config.epochs} epochs of {-(-count // config.batch_size):,} steps."
    )
    with st.container(horizontal=True):
        wants_estimate = st.button("How long will it take?", icon=":material/timer:", disabled=not is_ready)
        wants_start = st.button(
            "Start training", type="primary", icon=":material/play_arrow:", disabled=not is_ready
        )
    if wants_estimate:
        _show_estimate(config, table, process_count=max(len(cards), 1))
    if wants_start:
        try:
            folder = jobs.start(config, cuda_devices=cards)
        except (jobs.JobError, OSError) as error:
            st.error(f"Nothing was started: {error}")
            return
        open_run(folder.name)


def _show_estimate(config: TrainConfig, table: FaceTable, process_count: int) -> None:
    try:
        with st.spinner("Timing a few steps (about 15 seconds) …"):
            pace = estimate(jobs.command_line(replace(config, name="")))
    except ProgramError as error:
        st.error(str(error))
        return
    count = train_count(config, table)
    epoch_s = count / (pace["images_per_second"] * process_count)
    epoch_s += (len(table) - count) / pace["judged_per_second"]
    st.info(
        f"About {duration_text(epoch_s)} per epoch, {duration_text(epoch_s * config.epochs)} in total, "
        f"at {pace['images_per_second']:,.0f} images per second on {pace['device_name']}"
        + (f" times {process_count}" if process_count > 1 else "")
        + ". Other programs make it slower."
    )


def _show_queue(places: Places, open_run: Callable[[str], None]) -> None:
    active = [run for run in run_store(places.runs).runs() if run.is_active]
    if not active:
        return

    @st.fragment(run_every=REDRAW_S)
    def queue() -> None:
        now = [run for run in run_store(places.runs).runs() if run.is_active]
        if len(now) != len(active):
            st.rerun()
        for run in sorted(now, key=lambda run: (run.state is not RunState.RUNNING, run.name)):
            done = f"epoch {min(len(run.epochs) + 1, epoch_count(run))} of {epoch_count(run)}"
            with st.container(horizontal=True, vertical_alignment="center"):
                st.write(
                    f"**{run.state}** · {run.name}" + (f" · {done}" if run.state is RunState.RUNNING else "")
                )
                if st.button("Open", key=f"open {run.name}", type="tertiary"):
                    st.session_state["train_open"] = run.name
                    st.rerun()
                if st.button("Stop training", key=f"stop {run.name}", type="tertiary"):
                    run.request_stop()
                    st.toast("Stopping after the current step …")

    st.subheader("Queue")
    queue()
    st.caption(
        "Trainings run one at a time; a new one joins the queue. They continue when this page is closed."
    )
    if name := st.session_state.pop("train_open", None):
        open_run(name)
