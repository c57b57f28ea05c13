"""Page section on a data set: counts, samples, advice before training."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import altair as alt
import numpy as np
import pandas as pd

from dashboard.data_check import DataCheck, check_data, count_table, open_picture, spread
from dashboard.figure_row import show_figures
from dashboard.picture_sets import PictureSetError, crop_set, set_folder
from dashboard.places import Places, detector, read_data
from dashboard.spoken import st
from fer.emotions import label_of
from fer.images import UnreadableImageError
from fer.palette import label_colours
from training.data.datasets import DatasetError, FaceTable

SAMPLE_COUNT: Final = 10
LOOK: Final = "Look"
"""The section that shows one data set."""


def look_at(name: str) -> None:
    """Select a data set; call this before the page is drawn again."""
    st.session_state["data_part"] = LOOK
    st.session_state["data_chosen"] = name


def show_check(places: Places, path: Path, open_training: Callable[[], None]) -> None:
    """Draw the check of a data set, or the reason why it cannot be read."""
    try:
        with st.spinner("Reading …"):
            table = read_data(path)
    except (DatasetError, OSError) as error:
        st.error(str(error))
        return
    check = _check(path, table)
    _show_counts(check)
    for text in check.advice():
        st.warning(text)
    if not check.advice():
        st.success("These pictures are ready for training.")
    with st.container(horizontal=True):
        if st.button("Train with these pictures", icon=":material/model_training:", type="primary"):
            st.session_state["train_path"] = str(path)
            open_training()
    _show_figures(check)
    if check.checked_count < len(table):
        st.checkbox(f"Decode all {len(table):,} pictures for the check", key=f"everything {path}")
    _show_samples(table)
    _show_cropping(places, path, check)


@st.cache_data(max_entries=16, show_spinner="Checking the pictures …")
def _cached_check(
    path: Path,  # noqa: ARG001 - path and stamp are the cache key
    stamp: tuple[int, int],  # noqa: ARG001
    everything: bool,
    _table: FaceTable,
) -> DataCheck:
    return check_data(_table, detector(), everything=everything)


def _check(path: Path, table: FaceTable) -> DataCheck:
    everything = bool(st.session_state.get(f"everything {path}"))
    return _cached_check(path, (len(table), path.stat().st_mtime_ns), everything, table)


def _show_counts(check: DataCheck) -> None:
    counts = check.counts()
    # Without splits the only column is already called "pictures".
    long = counts.reset_index(names="expression").melt("expression", var_name="split", value_name="count")
    labels = list(counts.index)
    colours = list(label_colours(labels).values())
    chart = (
        alt.Chart(long)
        .mark_bar(cornerRadius=2)
        .encode(
            alt.X("count:Q", title="pictures"),
            alt.Y("expression:N", sort=labels, title=None),
            alt.Color("expression:N", scale=alt.Scale(domain=labels, range=colours), legend=None),
            alt.Opacity(
                "split:N",
                legend=alt.Legend(title=None, orient="bottom", symbolFillColor="#8b8b8b")
                if len(counts.columns) > 1
                else None,
            ),
            tooltip=["expression", "split", alt.Tooltip("count", title="pictures")],
        )
        .properties(height=36 * len(labels) + 60)
    )
    left, right = st.columns([3, 2])
    left.altair_chart(chart)
    total = pd.DataFrame([counts.sum()], index=["all"])
    right.dataframe(pd.concat([counts, total]))


def _show_figures(check: DataCheck) -> None:
    checked = f"{check.checked_count:,}" + (
        "" if check.checked_count == len(check.table) else f" of {len(check.table):,}"
    )
    side = f"{int(np.median(check.sides))} px" if len(check.sides) else "–"
    share = f"{np.median(check.face_shares):.0%}" if len(check.face_shares) else "–"
    figures = (
        ("Checked", checked, "Pictures that were decoded for this page."),
        ("Unreadable", str(len(check.unreadable)), "Broken or empty files, or files that are no images."),
        (
            "Duplicates across splits",
            str(check.copies_across),
            "Training pictures that are also in the validation or test split.",
        ),
        ("Duplicates", str(check.copies_within), "Pictures with identical pixels within a split."),
        ("Median size", side, "Median of the shorter side, in pixels. Networks see 48×48 or more."),
        (
            "Face size",
            share,
            f"Median share of the picture: {len(check.face_shares)} faces, {check.framed_count} pictures.",
        ),
    )
    show_figures(figures)
    if check.unreadable:
        with st.expander("Pictures that cannot be read"):
            st.code("\n".join(check.unreadable[:200]), language=None)


def _show_samples(table: FaceTable) -> None:
    st.subheader("Samples")
    labels = [label_of(name) for name in count_table(table).index if name in table.labels]
    chosen = st.pills(
        "Expression", labels, default=labels[0] if labels else None, key="data_samples",
        format_func=lambda label: label.display_name, label_visibility="collapsed",
    )  # fmt: skip
    rows = [row for row, label in enumerate(table.labels) if label == chosen]
    with st.container(horizontal=True, gap="small"):
        for row in [rows[i] for i in spread(len(rows), SAMPLE_COUNT)] if rows else []:
            try:
                st.image(open_picture(table.pictures[row]), width=96)
            except UnreadableImageError:
                st.caption(f"{table.names[row]} cannot be read")


def _show_cropping(places: Places, path: Path, check: DataCheck) -> None:
    with st.expander("Crop the faces", icon=":material/crop_free:", expanded=check.looks_uncropped):
        st.write(
            "Create a new data set of the largest face in each picture, framed as the network expects. "
            "The original pictures do not change."
        )
        name = st.text_input("Name of the new data set", value=f"{path.stem}-faces", key=f"crop name {path}")
        if not st.button("Crop the faces", key=f"crop {path}"):
            return
        bar = st.progress(0.0, text="Looking for faces …")

        def tell(share: float) -> None:
            bar.progress(share, "Looking for faces …")

        try:
            target = set_folder(places.data, name.strip())
            target.parent.mkdir(parents=True, exist_ok=True)
            report = crop_set(check.table, target, detector(), tell)
        except (PictureSetError, OSError) as error:
            bar.empty()
            st.error(str(error))
            return
        bar.empty()
        missed = f", none found in {len(report.without_face):,} pictures" if report.without_face else ""
        st.success(f"{report.kept_count:,} faces are kept as the data set {target.name}{missed}.")
        st.button("Open", key=f"look {target}", on_click=look_at, args=(target.name,))
