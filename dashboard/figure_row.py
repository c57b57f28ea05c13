"""Figures in a row that wraps where the window is narrow."""

from collections.abc import Iterable

import streamlit as st


def show_figures(figures: Iterable[tuple[str, str, str | None]]) -> None:
    """Draw a label, a value and, where there is one, a word of help for each figure."""
    with st.container(horizontal=True, gap="medium"):
        for label, value, help_text in figures:
            st.metric(label, value, help=help_text, width="content")
