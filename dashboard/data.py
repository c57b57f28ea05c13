"""The page of data sets: inspect, upload, or collect images with the camera."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from dashboard.archives import ArchiveError, keep_upload
from dashboard.data_view import LOOK, look_at, show_check
from dashboard.picture_sets import (
    PictureSetError,
    add_picture,
    delete_set,
    largest_face,
    list_classes,
    list_sets,
    pictures_of,
    set_folder,
)
from dashboard.places import Places, detector
from dashboard.spoken import st
from fer.emotions import Emotion, Label
from fer.images import UnreadableImageError, read_image
from fer.model_card import UnknownModelError, load_card
from fer.model_shelf import find_weights
from training.data.datasets import DatasetError, classes_from_words, read_classes

UPLOAD: Final = "Upload"
TAKE: Final = "Take pictures"


def show(places: Places, open_training: Callable[[], None]) -> None:
    """Draw the page.

    Args:
        places: The dashboard's folders.
        open_training: Opens the training form.
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
        except OSError as error:  # the full message would disclose paths of this machine
            st.error(f"Nothing was saved: {error.strerror or 'the folder is not writable'}")
            return
        st.success(f"{unpacked.kept_count:,} files are kept as the data set {unpacked.folder.name}.")
        if unpacked.left_out:
            st.warning(f"Skipped: {'; '.join(unpacked.left_out)}.")
        st.button("Open", icon=":material/visibility:", on_click=look_at, args=(unpacked.folder.name,))
    if upload is None:
        st.caption("Nothing is stored until you press the button.")


SHOWN_COUNT: Final = 12


def show_collecting(places: Places) -> None:
    """Draw the controls that choose a data set and a class, take a photo and keep its face."""
    st.write(
        "Take pictures of one expression after the other, or of classes of your own, ten or more of each, in "
        "different light and from slightly different sides. Only the cropped face is kept, and only when you "
        "press *Keep*."
    )
    name = st.text_input("Name of the data set", value="my-face", key="collect_name", max_chars=80).strip()
    try:
        folder = set_folder(places.data, name)
    except PictureSetError as error:
        st.error(str(error))
        return
    try:
        named = _named_classes(folder)
    except DatasetError as error:
        st.error(f"{str(error)[:1].upper()}{str(error)[1:]}")
        return
    emotions = named or _emotions()
    counts = {emotion: len(pictures_of(folder, emotion)) for emotion in emotions}
    emotion = st.segmented_control(
        "Expression",
        emotions,
        default=emotions[0],
        format_func=lambda choice: choice.display_name,
        key=f"collect_emotion {', '.join(named)}" if named else "collect_emotion",
    )
    st.caption("Kept so far: " + ", ".join(f"{name.display_name} {count}" for name, count in counts.items()))
    if emotion is None:
        st.caption("Choose the expression that you are going to show.")
        return
    left, right = st.columns([3, 2])
    with left:
        photo = st.camera_input(f"Show: {emotion.display_name}", key=f"camera {emotion}")
    with right:
        if photo is None:
            st.caption("The camera belongs to your browser; allow it to be used for this page.")
        else:
            _show_photo(photo.getvalue(), folder, emotion, named)
    _show_kept(folder, emotion)


def _named_classes(folder: Path) -> tuple[Label, ...]:
    """Draw the field for custom classes; return them, or an empty tuple for the model's expressions.

    Raises:
        DatasetError: The names are not valid classes, or the data set's ``classes.txt`` cannot be read.
    """
    text = st.text_input(
        "Classes of your own",
        value=", ".join(read_classes(folder) or ()),
        key=f"collect_classes {folder.name}",
        placeholder="bored, focused, smiling",
        help="2 to 20 names with commas between them. Leave it empty to take the model's expressions.",
    )
    return classes_from_words(text.split(","), "the classes") if text.strip(" ,") else ()


def _emotions() -> tuple[Label, ...]:
    """Return the expressions of the current model; all expressions if there is no model."""
    try:
        return load_card(find_weights()).head().emotions
    except UnknownModelError:
        return tuple(Emotion)


def _show_photo(content: bytes, folder: Path, emotion: Label, named: Sequence[Label]) -> None:
    try:
        crop = largest_face(read_image(content), detector())
    except UnreadableImageError as error:
        st.error(str(error))
        return
    if crop is None:
        st.warning("No face was found; look into the camera, with light from the front.")
        return
    st.image(crop, width=160, caption="This is kept")
    if st.button("Keep", type="primary", icon=":material/save:"):
        try:
            if named:
                list_classes(folder, named)
            add_picture(folder, emotion, crop)
        except OSError as error:
            st.error(f"The picture could not be written: {error}.")
            return
        st.rerun()


def _show_kept(folder: Path, emotion: Label) -> None:
    kept = pictures_of(folder, emotion)
    if not kept:
        return
    st.subheader(f"{emotion.display_name}: {len(kept)} kept")
    with st.container(horizontal=True, gap="small"):
        for path in kept[:SHOWN_COUNT]:
            with st.container(width=110):
                st.image(str(path), width=96)
                if st.button("Delete", key=f"delete {path}", type="tertiary"):
                    path.unlink(missing_ok=True)
                    st.rerun()
