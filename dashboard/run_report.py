"""Errors of a run's model: confusion matrix, metrics per class, calibration, worst mistakes."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dashboard.figure_row import percent_text, show_figures, show_table
from dashboard.mistakes import Mistake, filter_mistakes, heat_map_images, read_mistakes
from dashboard.report_charts import (
    class_chart,
    class_table,
    confusion_chart,
    coverage_chart,
    reliability_chart,
)
from dashboard.shown_runs import ShownRun
from dashboard.spoken import st
from fer.model_card import CARD_FILE
from fer.model_shelf import user_shelf
from training.run_files import MISTAKES_FILE

SHOWN_COUNT: Final = 24
ANY: Final = "any"

_HEAD_NAMES: Final = {"crowd": "crowd: what people see", "fer2013": "fer2013: that data set's labels"}


def show_errors(shown: ShownRun) -> None:
    """Draw the stored report of one head."""
    heads: Mapping[str, Any] = (shown.run.report or {}).get("heads") or {}
    if not heads:
        st.info("The report appears when the training has finished.")
        return
    names = list(heads)
    head = names[0]
    if len(names) > 1:
        head = st.radio(
            "Head",
            names,
            format_func=lambda name: _HEAD_NAMES.get(name, name),
            horizontal=True,
            key="run_head",
        )
    shift = shown.run.config.get("prior_shift")
    if isinstance(shift, int | float) and shift and head == names[0]:
        st.caption(
            "The curves show the network as it was trained; this report removes "
            f"{shift:.0%} of its bias towards frequent expressions, so its figures differ a little."
        )
    draw_report(heads[head], key=f"{shown.name}/{head}")


def draw_report(report: Mapping[str, Any], key: str) -> None:
    """Draw all charts of one evaluation, except for parts that the stored report lacks."""
    show_figures(
        (
            ("Accuracy", percent_text(report.get("accuracy")), None),
            (
                "Balanced accuracy",
                percent_text(report.get("balanced_accuracy")),
                "Mean of all recalls.",
            ),
            ("Macro F1", percent_text(report.get("macro_f1")), None),
            (
                "Calibration error",
                percent_text(report.get("ece")),
                "Expected calibration error (ECE): mean distance between confidence and accuracy.",
            ),
            ("Pictures", f"{report.get('count', 0):,}", None),
        )
    )
    if interval := (report.get("intervals_95") or {}).get("accuracy"):
        low, high = (percent_text(value) for value in interval)
        st.caption(f"95 % confidence interval of the accuracy: {low} to {high}.")
    left, right = st.columns(2)
    with left:
        st.subheader("Confusion matrix")
        is_share = st.segmented_control(
            "Cells show",
            ["shares", "counts"],
            default="shares",
            key=f"cells {key}",
            label_visibility="collapsed",
        )
        st.altair_chart(confusion_chart(report, is_share=is_share != "counts"))
    with right:
        st.subheader("Precision, recall and F1")
        st.altair_chart(class_chart(report))
        show_table(class_table(report), ("precision", "recall", "F1"))
    left, right = st.columns(2)
    if report.get("reliability"):
        with left:
            st.subheader("Calibration")
            st.altair_chart(reliability_chart(report))
            st.caption(
                "Below the dashed line the model is overconfident. The mean distance is the expected "
                f"calibration error: {percent_text(report.get('ece'))}."
            )
    if report.get("coverage_risk"):
        with right:
            st.subheader("Accuracy against coverage")
            st.altair_chart(coverage_chart(report))
            st.caption("Skipping the least certain faces lowers the error rate.")


def show_mistakes(shown: ShownRun) -> None:
    """Draw a gallery of the most confident mistakes, filtered by class."""
    try:
        mistakes = read_mistakes(shown.run.folder)
    except ValueError as error:
        st.error(str(error))
        return
    if not mistakes:
        st.info(_why_none(shown))
        return
    first, second, third = st.columns([2, 2, 2], vertical_alignment="bottom")
    targets = [ANY, *sorted({mistake.target for mistake in mistakes})]
    guesses = [ANY, *sorted({mistake.predicted for mistake in mistakes})]
    target = first.selectbox("Label", targets, key="mistakes_target")
    guess = second.selectbox("Predicted", guesses, key="mistakes_predicted")
    chosen = filter_mistakes(mistakes, None if target == ANY else target, None if guess == ANY else guess)
    weights = _weights_of(shown)
    with_heat = third.toggle(
        "Show heat maps", key="mistakes_heat", disabled=weights is None,
        help=None if weights else "Export this run first (Downloads): it needs the exported network.",
    )  # fmt: skip
    if not chosen:
        st.info("None of the worst mistakes is of this kind.")
        return
    first_ones = f"; the first {SHOWN_COUNT} are shown" if len(chosen) > SHOWN_COUNT else ""
    st.caption(
        f"{len(chosen)} of the {len(mistakes)} most confident mistakes on the validation pictures{first_ones}"
    )
    chosen = chosen[:SHOWN_COUNT]
    if with_heat and weights is not None:
        with st.spinner("Computing heat maps …"):
            _show_gallery(chosen, heat_map_images(weights, chosen))
    else:
        _show_gallery(chosen, (mistake.image() for mistake in chosen))


def _why_none(shown: ShownRun) -> str:
    """Return the reason why there are no mistakes to show."""
    if shown.is_shipped:
        return (
            "The images behind these figures stay on the machine that trained the model; "
            "shipped models have none."
        )
    if (shown.run.folder / MISTAKES_FILE).is_file():
        return "Every validation face was classified correctly."
    return "The worst mistakes appear when the training has finished."


def _show_gallery(mistakes: list[Mistake], images: Iterable[NDArray[np.uint8]]) -> None:
    """Draw each image as soon as it is computed."""
    with st.container(horizontal=True, gap="small"):
        for mistake, image in zip(mistakes, images, strict=True):
            with st.container(width=124, gap="small"):
                st.image(image, width=112)
                st.caption(
                    f"**{mistake.target}** taken for **{mistake.predicted}**, {mistake.confidence:.0%}",
                    help=mistake.name.replace("_", "\\_"),
                )


def _weights_of(shown: ShownRun) -> Any:
    """Return the weights folder of a run, shipped or exported by the user; None without one."""
    if shown.weights is not None:
        return shown.weights
    folder = user_shelf() / exported_name(shown)
    return folder if (folder / CARD_FILE).is_file() else None


def exported_name(shown: ShownRun) -> str:
    """Return the name of a run's exported weights: ``<architecture>.<run>``."""
    return f"{shown.run.config.get('architecture', 'model')}.{export_tag(shown)}"


def export_tag(shown: ShownRun) -> str:
    """Return the run's name as a tag, with other characters replaced."""
    name = shown.name.removesuffix(f"_{shown.run.config.get('architecture', '')}")
    return "".join(sign if sign.isalnum() or sign in "_-" else "-" for sign in name)[:60]


def detector_figures(row: Mapping[str, Any]) -> tuple[tuple[str, str, str | None], ...]:
    """Return label, value and help text of each metric of an epoch or report; a dash for missing ones."""
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
    """Draw the stored report of the best epoch."""
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
