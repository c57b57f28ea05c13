"""A comparison of two models on one photo."""

from pathlib import Path

import altair as alt
import pandas as pd

from dashboard.places import detector
from dashboard.spoken import st
from fer.analysis import FaceAnalyzer
from fer.annotation import FaceAnnotator
from fer.classification import EmotionClassifier
from fer.faces import Face
from fer.images import RgbImage, UnreadableImageError, read_image
from fer.model_card import UnknownModelError, WeightsMismatchError
from fer.model_shelf import find_weights
from fer.palette import label_colours


def show_photo_trial(names: list[str]) -> None:
    """Draw the comparison of two models on an uploaded photo, which stays in memory."""
    left, right = st.columns(2)
    first = left.selectbox("First model", names, key="trial_first")
    second = right.selectbox("Second model", names, index=min(1, len(names) - 1), key="trial_second")
    upload = st.file_uploader("A photo", key="trial_photo", type=["jpg", "jpeg", "png", "webp", "bmp"])
    if upload is None:
        st.caption("Nothing is stored.")
        return
    try:
        image = read_image(upload.getvalue())
    except UnreadableImageError as error:
        st.error(str(error))
        return
    detections = detector().detect(image)
    if not detections:
        st.image(image, width=480)
        st.warning("No face was found in this photo.")
        return
    for column, name in zip(st.columns(2), (first, second), strict=True):
        with column:
            _show_reading(name, image)


def _show_reading(name: str, image: RgbImage) -> None:
    folder = find_weights(name)
    try:
        analyzer = FaceAnalyzer(detector(), _classifier(folder, folder.stat().st_mtime_ns))
    except (UnknownModelError, WeightsMismatchError) as error:
        st.error(str(error))
        return
    faces = analyzer.analyze(image)
    st.image(FaceAnnotator().annotate(image, faces), caption=name)
    if not faces:
        st.caption("This model finds no readable face among the detections.")
    for face in faces[:3]:
        st.altair_chart(probability_chart(face), key=f"trial {name} {face.detection.box.as_tuple()}")


@st.cache_resource(max_entries=6)
def _classifier(folder: Path, stamp: int) -> EmotionClassifier:  # noqa: ARG001 - the stamp is part of the cache key
    return EmotionClassifier(folder)


def probability_chart(face: Face) -> alt.Chart:
    """Return a bar chart of one face's probabilities, in the colours of the expressions."""
    table = pd.DataFrame(
        [(emotion.value, share) for emotion, share in face.prediction.ranked()],
        columns=["expression", "probability"],
    )
    labels = list(table["expression"])
    chart: alt.Chart = (
        alt.Chart(table)
        .mark_bar(cornerRadius=2)
        .encode(
            alt.X(
                "probability:Q",
                title=None,
                scale=alt.Scale(domain=[0, 1]),
                axis=alt.Axis(format="%", tickCount=3),
            ),
            alt.Y("expression:N", sort=labels, title=None),
            alt.Color(
                "expression:N",
                scale=alt.Scale(domain=labels, range=list(label_colours(labels).values())),
                legend=None,
            ),
            tooltip=["expression", alt.Tooltip("probability", format=".1%")],
        )
        .properties(height=28 * len(labels))
    )
    return chart
