"""The expression labels, with their spellings in data sets."""

import unicodedata
from collections.abc import Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Final, TypeAlias


class Emotion(StrEnum):
    """One expression; the order of the members has no meaning, each model card defines its own."""

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
        """The word as shown to people, such as ``Happy``."""
        return label_name(self.value)


class OwnLabel(str):
    """A user-defined class, such as ``bored``; made by :func:`label_of`."""

    __slots__ = ()

    @property
    def value(self) -> str:
        """The name as plain text."""
        return str(self)

    @property
    def display_name(self) -> str:
        """The name as shown to people, such as ``Bored``."""
        return label_name(self)


Label: TypeAlias = Emotion | OwnLabel
"""One label of a head: a known expression or a user-defined class."""

SIX_EMOTIONS: Final = (
    Emotion.ANGRY,
    Emotion.FEARFUL,
    Emotion.HAPPY,
    Emotion.SAD,
    Emotion.SURPRISED,
    Emotion.NEUTRAL,
)
"""The six expressions shown to people."""

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
    """Return a label as shown to people, such as ``Happy``; any text is a label."""
    words = label.replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def label_of(name: str) -> Label:
    """Return the expression of exactly this name, such as ``happy``, or a user-defined label."""
    try:
        return Emotion(name)
    except ValueError:
        return OwnLabel(name)


def label_from_word(word: str) -> Label:
    """Translate a data set's word like :func:`emotion_from_name`; other words are user-defined labels."""
    return _BY_SPELLING.get(word.strip().lower()) or OwnLabel(unicodedata.normalize("NFC", word.strip()))


MOST_OWN_LABELS: Final = 20
_LONGEST_NAME: Final = 40
_NOT_IN_NAMES: Final = frozenset("<>\"'`|\\/{}[]*=")
"""Characters with a special meaning in pages, tables or paths."""

_EYES_AND_MOUTH: Final = [f"{side}_{part}" for side in ("left", "right") for part in ("eye", "mouth")]
COLUMN_WORDS: Final = frozenset(
    {
        *("path", "width", "height", "face", "error", "track_id", "timestamp_s", "time_s", "run", "frame"),
        *("frame_count", "left", "top", "right", "bottom", "score", "emotion", "confidence", "unsure", OTHER),
        *("turned_away", "roll", "yaw", "pitch"),
        *(f"{point}_{axis}" for point in (*_EYES_AND_MOUTH, "nose") for axis in ("x", "y")),
    }
)
"""Columns of face tables other than the probabilities, which are named after the labels."""


def labels_problem(names: Sequence[str], fewest: int = 2) -> str | None:
    """Return one sentence on why names cannot be the classes of one head; None if they can.

    A head has 2 to 20 names of up to 40 printable characters. Each starts with a letter or digit, differs
    from the others in more than case, and is not in ``COLUMN_WORDS``. A part of a data set may have fewer.
    """
    if not fewest <= len(names) <= MOST_OWN_LABELS:
        return f"expected {fewest} to {MOST_OWN_LABELS} class names, got {len(names)}"
    seen: dict[str, str] = {}
    for name in names:
        if not _is_plain_label(name):
            return (
                f"expected class names of up to {_LONGEST_NAME} letters, digits, spaces, '-' and '_' "
                f"that begin with a letter or digit, got {name[: 2 * _LONGEST_NAME]!r}; rename it"
            )
        if name.casefold() in COLUMN_WORDS:
            return (
                f"expected class names that are not columns of the face tables, got {name!r}; rename it, "
                f"for example to 'looks {name}'"
            )
        if name.casefold() in seen:
            return f"expected different class names, got {seen[name.casefold()]!r} and {name!r}; rename one"
        seen[name.casefold()] = name
    return None


def _is_plain_label(name: str) -> bool:
    is_short = 0 < len(name) <= _LONGEST_NAME and name == name.strip()
    return is_short and name.isprintable() and name[0].isalnum() and not _NOT_IN_NAMES & set(name)


class UnknownEmotionError(ValueError):
    """A word that is not a known expression."""


def emotion_from_name(name: str) -> Emotion:
    """Translate a data set's word, in any case and with any white space around it.

    Raises:
        UnknownEmotionError: The word is unknown.
    """
    emotion = _BY_SPELLING.get(name.strip().lower())
    if emotion is None:
        known = ", ".join(sorted(_BY_SPELLING))
        raise UnknownEmotionError(f"unknown expression {name!r}; known words are {known}")
    return emotion
