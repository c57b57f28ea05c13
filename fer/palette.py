"""One colour-blind-safe colour per expression, for drawings and charts."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, TypeAlias

from fer.emotions import OTHER, Emotion, label_name, label_of

Rgb: TypeAlias = tuple[int, int, int]
"""Red, green, blue, each in [0, 255]."""

EMOTION_HEX: Final[Mapping[Emotion, str]] = MappingProxyType(
    {
        Emotion.ANGRY: "#c5030a",
        Emotion.FEARFUL: "#912fc1",
        Emotion.HAPPY: "#c9861a",
        Emotion.SAD: "#3297fe",
        Emotion.SURPRISED: "#00706b",
        Emotion.NEUTRAL: "#8b8b8b",
        Emotion.DISGUSTED: "#5d7e5c",
        Emotion.CONTEMPTUOUS: "#b1479b",
    }
)
"""Found by search: each has a contrast of 3 or more on white and on near-black; any two of the first six stay
0.11 apart in OKLab for normal vision, deuteranopia, protanopia and tritanopia."""

_FURTHER_HEX: Final = (
    "#fe34d7",
    "#811aff",
    "#e52736",
    "#4c89ca",
    "#ac9066",
    "#c659b1",
    "#de5cf8",
    "#a345d9",
    "#be0f7a",
    "#496d18",
    "#9d50fb",
    "#af18a4",
)
"""Colours for user-defined labels: each the farthest from all before it by the same measure, with the same
contrast; the first three stay 0.07 apart, all of them 0.049."""

GREY_HEX: Final = "#8b8b8b"

PERSON_HEX: Final = ("#56b4e9", "#e69f00", "#1fb58f", "#e08fc0", "#f0e442", "#ff7f50")
"""Outlines that distinguish people in a stream: Okabe and Ito's colours, brightened for use on photos."""

_LIGHT: Final[Rgb] = (255, 255, 255)
_DARK: Final[Rgb] = (16, 20, 26)


def rgb_from_hex(colour: str) -> Rgb:
    """Convert ``#rrggbb`` to three numbers."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def label_colours(labels: Iterable[str]) -> dict[str, str]:
    """Return the colour of each label as ``#rrggbb``, in the order of the labels.

    An expression always has the same colour; ``other`` is grey; further labels take colours from a list that
    repeats after twelve.
    """
    colours: dict[str, str] = {}
    further = 0
    for label in labels:
        known = label_of(label)
        if isinstance(known, Emotion):
            colours[label] = EMOTION_HEX[known]
        elif label == OTHER:
            colours[label] = GREY_HEX
        elif label not in colours:
            colours[label] = _FURTHER_HEX[further % len(_FURTHER_HEX)]
            further += 1
    return colours


def label_styles(labels: Sequence[str]) -> list[dict[str, str]]:
    """Return ``id``, ``name`` and ``colour`` of each label, in order."""
    colours = label_colours(labels)
    return [{"id": str(label), "name": label_name(label), "colour": colours[label]} for label in labels]


def person_colour(track_id: int) -> Rgb:
    """Return the colour of a person in a stream; colours repeat after ``len(PERSON_HEX)`` people."""
    return rgb_from_hex(PERSON_HEX[track_id % len(PERSON_HEX)])


def text_colour(ground: Rgb) -> Rgb:
    """Return white or near-black, whichever is more legible on this colour."""
    return max((_LIGHT, _DARK), key=lambda ink: contrast(ink, ground))


def contrast(first: Rgb, second: Rgb) -> float:
    """Return the contrast ratio as defined by WCAG 2, in [1, 21]."""
    low, high = sorted((_luminance(first), _luminance(second)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: Rgb) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
