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
        return (("Accuracy", percent_text(right), "Over faces and false positives in held-out photos."),)
    boxed, web, false_boxes = (
        value if isinstance(value := row.get(name), int | float) else None
        for name in ("val_boxed_recall", "val_web_recall", "val_false_boxes")
    )
    return (
        (
            "Boxed faces found",
            percent_text(boxed),
            "Recall on photos with boxes drawn by people.",
        ),
        ("Web faces found", percent_text(web), "Recall on web photos with labelled faces."),
        (
            "False positives per photo",
            "–" if false_boxes is None else f"{false_boxes:.2f}",
            "Boxes without a face, on photos where every face is labelled.",
        ),
    )


def show_detector_report(shown: ShownRun) -> None:
    """The stored report of the kept epoch."""
    report = shown.run.report
    if not report:
        st.info("The report appears when the training has finished.")
        return
    show_figures(detector_figures(report))
    if report.get("split") == "held-out photos":
        st.caption("Measured on the detector's uncertain candidates in held-out photos.")
        return
    side = f", shrunk to {report['long_side']} pixels" if report.get("long_side") else ""
    st.caption(
        f"Measured on the photos that selected the epoch{side}; other photos may be harder. "
        "A detector names no expressions, so it has no confusion matrix."
    )
