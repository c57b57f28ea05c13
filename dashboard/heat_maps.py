"""Heat maps of an exported network for the images that it named wrongly."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from dashboard.mistakes import Mistake
from fer.classification import EmotionClassifier
from fer.explanation import annotate_heat, explain


def heat_map_images(weights: Path, mistakes: Sequence[Mistake]) -> Iterator[NDArray[np.uint8]]:
    """The crops with what their answer rests on lit up, RGB ``uint8``, in order, made when asked for.

    Args:
        weights: A weights folder.
        mistakes: Pictures as the network saw them.
    """
    stamp = (weights / "card.json").stat().st_mtime_ns
    return (_heat_map(weights, stamp, mistake.image()) for mistake in mistakes)


@st.cache_data(max_entries=400, show_spinner=False)
def _heat_map(weights: Path, stamp: int, crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
    classifier = _classifier(weights, stamp)
    return annotate_heat(crop, explain(classifier, crop), side=224)


@st.cache_resource(max_entries=4)
def _classifier(weights: Path, stamp: int) -> EmotionClassifier:  # noqa: ARG001 - the stamp is part of the key
    return EmotionClassifier(weights)
