"""Report of a face detector's training: recall and false positives."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from dashboard.figure_row import show_figures
from dashboard.shown_runs import ShownRun
from dashboard.wording import percent_text


def detector_figures(row: Mapping[str, Any]) -> tuple[tuple[str, str, str | None], ...]:
    """Label, value and help of each figure in an epoch's row or a report; dashes for what is not there."""
    if isinstance(right := row.get("val_accuracy"), int | float):
        return (("Places judged right", percent_text(right), "Faces and false places in held-out photos."),)
    boxed, web, false_boxes = (
        value if isinstance(value := row.get(name), int | float) else None
        for name in ("val_boxed_recall", "val_web_recall", "val_false_boxes")
    )
    return (
        ("Boxed faces found", percent_text(boxed), "On photos where people drew a box around each face."),
        ("Web faces found", percent_text(web), "On web photos with labelled faces."),
        (
            "False boxes a photo",
            "–" if false_boxes is None else f"{false_boxes:.2f}",
            "Boxes on no face, where every face is marked.",
        ),
    )


def show_detector_report(shown: ShownRun) -> None:
    """The stored report of the kept epoch."""
    report = shown.run.report
    if not report:
        st.info("The report is written when the training is finished.")
        return
    show_figures(detector_figures(report))
    if report.get("split") == "held-out photos":
        st.caption(
            "Measured on photos that were not learned from, at places that the detector half believes."
        )
        return
    side = f", shrunk to {report['long_side']} pixels" if report.get("long_side") else ""
    st.caption(
        f"Measured on the photos that chose the epoch{side}: other photos may be harder. "
        "A detector names no expressions, so there is no table of what is taken for what."
    )
