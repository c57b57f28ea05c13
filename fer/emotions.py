"""The vocabulary of expressions, with every data set's spelling of it."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Emotion(StrEnum):
    """One expression; the order of the members means nothing, a model card carries its own."""

    ANGRY = "angry"
    FEARFUL = "fearful"
    HAPPY = "happy"
    SAD = "sad"
    SURPRISED = "surprised"
    NEUTRAL = "neutral"
    DISGUSTED = "disgusted"
    CONTEMPTUOUS = "contemptuous"

    @property
    def display_name(self) -> str:
        """The word as it is shown to people, such as ``Happy``."""
        return label_name(self.value)


SIX_EMOTIONS: Final = (
    Emotion.ANGRY,
    Emotion.FEARFUL,
    Emotion.HAPPY,
    Emotion.SAD,
    Emotion.SURPRISED,
    Emotion.NEUTRAL,
)
"""The six expressions that are shown to people."""

OTHER: Final = "other"
"""A head's output for "none of its expressions": no face, unclear, or something else."""

SPELLINGS: Final[Mapping[Emotion, frozenset[str]]] = MappingProxyType(
    {
        Emotion.ANGRY: frozenset({"angry", "anger"}),
        Emotion.FEARFUL: frozenset({"fearful", "fear", "afraid", "scared"}),
        Emotion.HAPPY: frozenset({"happy", "happiness", "joy", "joyful"}),
        Emotion.SAD: frozenset({"sad", "sadness"}),
        Emotion.SURPRISED: frozenset({"surprised", "surprise"}),
        Emotion.NEUTRAL: frozenset({"neutral", "neutrality", "calm"}),
        Emotion.DISGUSTED: frozenset({"disgusted", "disgust"}),
        Emotion.CONTEMPTUOUS: frozenset({"contemptuous", "contempt"}),
    }
)
"""Spellings of each expression in data sets and hand-made folders, lower case."""

FER2013_CODES: Final[tuple[Emotion, ...]] = (
    Emotion.ANGRY,
    Emotion.DISGUSTED,
    Emotion.FEARFUL,
    Emotion.HAPPY,
    Emotion.SAD,
    Emotion.SURPRISED,
    Emotion.NEUTRAL,
)
"""Meaning of the numbers 0 to 6 in the ``emotion`` column of the published FER2013 CSV files."""

_BY_SPELLING: Final = MappingProxyType(
    {spelling: emotion for emotion, spellings in SPELLINGS.items() for spelling in spellings}
)


def label_name(label: str) -> str:
    """Return the word for a label as it is shown to people, such as ``Happy``; any text is a label."""
    return label.replace("_", " ").strip().capitalize()


class UnknownEmotionError(ValueError):
    """A word that names no expression."""


def emotion_from_name(name: str) -> Emotion:
    """Translate a data set's word, in any case and with any white space around it.

    Raises:
        UnknownEmotionError: The word is in no table.
    """
    emotion = _BY_SPELLING.get(name.strip().lower())
    if emotion is None:
        known = ", ".join(sorted(_BY_SPELLING))
        raise UnknownEmotionError(f"unknown expression {name!r}; known words are {known}")
    return emotion
