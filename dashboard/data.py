"""The page of pictures: look at a data set, upload one, take pictures of oneself."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import streamlit as st

from dashboard.archives import ArchiveError, keep_upload
from dashboard.collecting import show_collecting
from dashboard.data_view import LOOK, look_at, show_check
from dashboard.picture_sets import PictureSetError, delete_set, list_sets
from dashboard.places import Places

UPLOAD: Final = "Upload"
TAKE: Final = "Take pictures"


def show(places: Places, open_training: Callable[[], None]) -> None:
    """Draw the page.

    Args:
        places: Where data sets are kept.
        open_training: Goes to the form that starts a training.
    """
    st.title("Pictures")
    st.caption(
        "Everything stays on this machine: data sets that are uploaded or taken here lie in "
        f"`{places.data}` until you delete them."
    )
    st.session_state.setdefault("data_part", LOOK)
    part = st.segmented_control("Action", [LOOK, UPLOAD, TAKE], key="data_part", label_visibility="collapsed")
    if part == UPLOAD:
        _show_upload(places)
    elif part == TAKE:
        show_collecting(places)
    else:
        _show_look(places, open_training)


def _show_look(places: Places, open_training: Callable[[], None]) -> None:
    sets = list_sets(places.data)
    elsewhere = "another folder or file …"
    choices = [*sets, elsewhere]
    if st.session_state.get("data_chosen") not in choices:
        st.session_state.pop("data_chosen", None)
    chosen = st.selectbox("Data set", choices, key="data_chosen") if sets else elsewhere
    if chosen == elsewhere:
        text = st.text_input(
            "Folder or file on this machine",
            key="data_path",
            placeholder="a folder of class folders, a FER2013 CSV or a parquet file",
        )
        if not text.strip():
            st.info(
                "Point at a folder with one folder for each expression, such as `pictures/happy/…`, or with "
                "the splits above it: `pictures/train/happy/…`. Or upload a zip, or take pictures "
                "with the camera."
            )
            return
        path = Path(text.strip()).expanduser()
    else:
        path = places.data / chosen
    show_check(places, path, open_training)
    if chosen != elsewhere:
        _show_delete(places, chosen)


def _show_delete(places: Places, name: str) -> None:
    with st.expander("Delete this data set", icon=":material/delete:"):
        sure = st.checkbox(f"Yes, delete {name} with all its pictures", key=f"sure {name}")
        if st.button("Delete", disabled=not sure, key=f"delete {name}"):
            try:
                delete_set(places.data, name)
            except (PictureSetError, OSError) as error:
                st.error(str(error))
                return
            st.rerun()


def _show_upload(places: Places) -> None:
    upload = st.file_uploader(
        "A zip of class folders, a FER2013 CSV or a parquet file",
        type=["zip", "csv", "parquet"],
        key="data_upload",
    )
    suggestion = Path(upload.name).stem.replace(" ", "-") if upload else ""
    name = st.text_input(
        "Name of the data set", value=suggestion, key=f"data_name {suggestion}", max_chars=80
    )
    if st.button("Save these pictures", type="primary", disabled=upload is None) and upload is not None:
        try:
            with st.spinner("Unpacking and reading …"):
                unpacked = keep_upload(upload, upload.name, places.data, name.strip())
        except ArchiveError as error:
            st.error(f"Nothing was saved: {error}")
            return
        except OSError as error:  # its text would name folders of this machine
            st.error(f"Nothing was saved: {error.strerror or 'the folder is not writable'}")
            return
        st.success(f"{unpacked.kept_count:,} files are kept as the data set {unpacked.folder.name}.")
        if unpacked.left_out:
            st.warning(f"Left out: {'; '.join(unpacked.left_out)}.")
        st.button("Open", icon=":material/visibility:", on_click=look_at, args=(unpacked.folder.name,))
    if upload is None:
        st.caption("Nothing is stored until you press the button.")
