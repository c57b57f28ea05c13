"""Pictures of oneself, taken with the browser's camera, one expression after the other."""

from pathlib import Path
from typing import Final

import streamlit as st

from dashboard.picture_sets import PictureSetError, add_picture, largest_face, pictures_of, set_folder
from dashboard.places import Places
from dashboard.stores import detector
from fer.emotions import Emotion
from fer.images import UnreadableImageError, read_image
from fer.model_card import UnknownModelError, load_card
from fer.model_shelf import find_weights

SHOWN_COUNT: Final = 12


def show_collecting(places: Places) -> None:
    """Choose a name and an expression, take a picture, keep its face."""
    st.write(
        "Take pictures of one expression after the other, ten or more of each, in different light and from "
        "slightly different sides. Only the cropped face is kept, and only when you press *Keep*."
    )
    name = st.text_input("Name of the data set", value="my-face", key="collect_name", max_chars=80).strip()
    try:
        folder = set_folder(places.data, name)
    except PictureSetError as error:
        st.error(str(error))
        return
    emotions = _emotions()
    counts = {emotion: len(pictures_of(folder, emotion)) for emotion in emotions}
    emotion = st.segmented_control(
        "Expression",
        emotions,
        default=emotions[0],
        format_func=lambda choice: choice.display_name,
        key="collect_emotion",
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
            _show_photo(photo.getvalue(), folder, emotion)
    _show_kept(folder, emotion)


def _emotions() -> tuple[Emotion, ...]:
    """The expressions of the model in use; all there are where none can be read."""
    try:
        return load_card(find_weights()).head().emotions
    except UnknownModelError:
        return tuple(Emotion)


def _show_photo(content: bytes, folder: Path, emotion: Emotion) -> None:
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
            add_picture(folder, emotion, crop)
        except OSError as error:
            st.error(f"The picture could not be written: {error}.")
            return
        st.rerun()


def _show_kept(folder: Path, emotion: Emotion) -> None:
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
