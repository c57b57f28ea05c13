"""Cards of the shipped face detectors."""

from pathlib import Path

import pandas as pd
import streamlit as st

from dashboard.shown_runs import shipped_detectors
from fer.detection.card import DetectorCard, load_detector_card
from fer.model_card import UnknownModelError
from fer.plain_markdown import plain_markdown


def show_detector_cards() -> None:
    """Draw them all, or nothing where none is shipped."""
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
    """Measures as rows, detectors that were measured beside it as columns; other figures are left out."""
    return pd.DataFrame({name: row for name, row in card.metrics.items() if isinstance(row, dict)})
