"""The page of models: cards, comparisons on a data set and on a photo, and the webcam page's model."""

from pathlib import Path
from typing import Any, Final

import pandas as pd

from dashboard.figure_row import percent_text, show_table
from dashboard.model_trial import show_photo_trial
from dashboard.picture_sets import list_sets
from dashboard.places import Places, read_data
from dashboard.programs import ProgramError, evaluate
from dashboard.report_charts import confusion_chart
from dashboard.shown_runs import shipped_detectors
from dashboard.spoken import st
from fer.detection.card import DetectorCard, load_detector_card
from fer.model_card import CARD_FILE, ModelCard, UnknownModelError, load_card
from fer.model_shelf import (
    DEFAULT_WEIGHTS,
    find_weights,
    list_shipped_weights,
    list_user_weights,
    list_weights,
    select_weights,
    selected_weights,
    user_shelf,
)
from fer.printable import plain_markdown
from training.data.datasets import DatasetError

WHOLE: Final = "everything"


def show(places: Places) -> None:
    """Draw the page."""
    st.title("Models")
    names = list_weights()
    if not names:
        st.info(
            "There is no model yet: none is shipped, and no run was exported. Train one, then export it from "
            "the downloads of its run."
        )
        st.caption("From the shell: `python -m training.export --run RUN_FOLDER --tag mine`")
        show_detector_cards()
        return
    used = selected_weights() or DEFAULT_WEIGHTS
    st.write(
        f"The webcam page uses **{used}**"
        + (", which is shipped." if used in list_shipped_weights() else ".")
    )
    if selected_weights() is not None and st.button(
        f"Back to the shipped one ({DEFAULT_WEIGHTS})", icon=":material/undo:"
    ):
        select_weights(None)
        st.rerun()
    cards, side_by_side, photo = st.tabs(["Cards", "Side by side", "Try a photo"])
    with cards:
        for name in names:
            _show_model(name, used)
        show_detector_cards()
    with side_by_side:
        _show_side_by_side(places, names)
    with photo:
        show_photo_trial(names)


def _show_model(name: str, used: str) -> None:
    with st.container(border=True):
        folder = find_weights(name)
        try:
            card = load_card(folder)
        except UnknownModelError as error:
            st.error(str(error))
            return
        with st.container(horizontal=True, vertical_alignment="center"):
            st.subheader(name)
            if name == used:
                st.badge("in use", icon=":material/check:", color="green")
            if name in list_shipped_weights():
                st.badge("Shipped", color="violet")
        is_shipped = name in list_shipped_weights()
        if text := card.description or ("" if is_shipped else "Trained on this machine."):
            st.write(text)
        _show_card(card)
        with st.container(horizontal=True):
            if name != used and st.button(
                "Use this model in the webcam page",
                key=f"use {name}",
                icon=":material/videocam:",
                type="primary",
            ):
                _choose(name)
            if name not in list_shipped_weights():
                _show_removal(name, used)
        if (folder / "README.md").is_file():
            with st.expander("Full card"):
                st.markdown(plain_markdown((folder / "README.md").read_text("utf-8", "replace")))


def _show_card(card: ModelCard) -> None:
    heads = "; ".join(f"{head.name}: {', '.join(head.labels)}" for head in card.heads)
    st.caption(
        f"{card.architecture} · looks at {card.preprocessing.size}×{card.preprocessing.size} pixels in "
        f"{card.preprocessing.colour_word} · outputs {heads} · licence {card.licence}"
    )
    rows = [
        {"output": name, "accuracy": figures.get("accuracy"), "macro F1": figures.get("macro_f1"),
         "calibration error": figures.get("ece"), "pictures": figures.get("count")}
        for name, figures in card.metrics.items() if isinstance(figures, dict)
    ]  # fmt: skip
    if rows:
        show_table(pd.DataFrame(rows), ("accuracy", "macro F1", "calibration error"))


def _choose(name: str) -> None:
    try:
        select_weights(None if name == DEFAULT_WEIGHTS else name)
    except (UnknownModelError, OSError) as error:
        st.error(str(error))
        return
    st.toast(f"The webcam page uses {name} from its next picture on.")
    st.rerun()


def _show_removal(name: str, used: str) -> None:
    with st.popover(
        "Delete", disabled=name == used, help="Not while the webcam page uses it." if name == used else None
    ):
        st.write(f"Delete the exported model {name}? Its run is kept.")
        if st.button("Delete", key=f"remove {name}"):
            _remove(user_shelf() / name)
            st.rerun()


def _remove(folder: Path) -> None:
    """Delete an exported model; the card first, so that no incomplete model is loaded."""
    if folder.name not in list_user_weights():
        return
    (folder / CARD_FILE).unlink()
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()


def _show_side_by_side(places: Places, names: list[str]) -> None:
    chosen = st.multiselect("Models", names, default=names[:2], max_selections=4, key="models_compared")
    path = _choose_data(places)
    if path is None or not chosen:
        st.caption("Choose models and cropped pictures of faces to compare the models on the same pictures.")
        return
    try:
        table = read_data(path)
    except (DatasetError, OSError) as error:
        st.error(str(error))
        return
    splits = [split for split in ("val", "test", "train") if split in table.splits]
    split = st.selectbox("Split", [*splits, WHOLE], key=f"models_split {path}")
    votes = table.has_votes and st.checkbox("Use the crowd's majority as the label", key="models_votes")
    if split in ("train", WHOLE) and "train" in splits:
        st.caption("Models trained on these pictures look better here than they are.")
    if st.button("Evaluate", type="primary", icon=":material/balance:"):
        st.session_state["models_reports"] = _judge(
            chosen, path, None if split == WHOLE else split, votes=bool(votes)
        )
    _show_reports(st.session_state.get("models_reports", {}))


def _choose_data(places: Places) -> Path | None:
    sets = list_sets(places.data)
    elsewhere = "another folder or file …"
    chosen = st.selectbox("Pictures", [*sets, elsewhere], key="models_set") if sets else elsewhere
    if chosen != elsewhere:
        return places.data / chosen
    text = st.text_input("Folder or file on this machine", key="models_path").strip()
    return Path(text).expanduser() if text else None


def _judge(names: list[str], path: Path, split: str | None, *, votes: bool) -> dict[str, dict[str, Any]]:
    reports = {}
    for name in names:
        try:
            with st.spinner(f"Evaluating {name} …"):
                reports[name] = evaluate(find_weights(name), path, split, votes=votes)
        except (ProgramError, UnknownModelError) as error:
            st.error(f"{name}: {error}")
    return reports


def _show_reports(reports: dict[str, dict[str, Any]]) -> None:
    if not reports:
        return
    rows = [
        {
            "model": name,
            "accuracy": percent_text(report["accuracy"]),
            "95 %": " – ".join(
                percent_text(value) for value in (report.get("intervals_95") or {}).get("accuracy", [])
            ),
            "balanced": percent_text(report["balanced_accuracy"]),
            "macro F1": percent_text(report["macro_f1"]),
            "calibration error": percent_text(report["ece"]),
            "pictures": report["count"],
            "skipped": report["skipped"],
        }
        for name, report in reports.items()
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True)
    recall = {
        name: {label: row["recall"] for label, row in r["per_class"].items()} for name, r in reports.items()
    }
    st.subheader("Recall of each expression")
    show_table(pd.DataFrame(recall), list(recall), hide_index=False)
    for start in range(0, len(reports), 2):
        for column, name in zip(st.columns(2), list(reports)[start : start + 2], strict=False):
            column.caption(name)
            column.altair_chart(confusion_chart(reports[name]), key=f"confusion {name}")


def show_detector_cards() -> None:
    """Draw the cards of the shipped detectors, if there are any."""
    folders = shipped_detectors()
    if not folders:
        return
    st.subheader("Face detectors")
    st.caption(
        "They find the faces for the models above. Choose one on the webcam page, or in the shell with "
        "`--detector`."
    )
    for folder in folders:
        with st.container(border=True):
            _show_detector(folder)


def _show_detector(folder: Path) -> None:
    try:
        card = load_detector_card(folder)
    except UnknownModelError as error:
        st.error(str(error))
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(card.name)
        st.badge("Shipped", color="violet")
    if card.description:
        st.write(card.description)
    st.caption(
        f"{card.architecture} · searches photos at {card.photo_side} pixels, live video at "
        f"{card.live_side} · keeps boxes from a score of {card.least_score:g} · licence {card.licence}"
    )
    figures = figure_table(card)
    if not figures.empty:
        st.dataframe(figures, placeholder="–")
    if (folder / "README.md").is_file():
        with st.expander("Full card"):
            st.markdown(plain_markdown((folder / "README.md").read_text("utf-8", "replace")))


def figure_table(card: DetectorCard) -> pd.DataFrame:
    """Return a table with metrics as rows and the compared detectors as columns."""
    return pd.DataFrame({name: row for name, row in card.metrics.items() if isinstance(row, dict)})
