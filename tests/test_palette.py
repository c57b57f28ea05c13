import numpy as np
import pytest

from fer.emotions import SIX_EMOTIONS, Emotion
from fer.palette import (
    EMOTION_HEX,
    PERSON_HEX,
    contrast,
    label_colours,
    person_colour,
    rgb_from_hex,
    text_colour,
)

# How eyes without one kind of cone see linear RGB (Machado, Oliveira and Fernandes 2009, severity 1).
VISIONS = {
    "normal": np.eye(3),
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def oklab(linear):
    to_cones = [
        [0.41222147, 0.53633254, 0.05144599],
        [0.21190350, 0.68069955, 0.10739696],
        [0.08830246, 0.28171884, 0.62997870],
    ]
    to_lab = [
        [0.21045426, 0.79361779, -0.00407205],
        [1.97799850, -2.42859221, 0.45059371],
        [0.02590404, 0.78277177, -0.80867577],
    ]
    return np.cbrt(linear @ np.array(to_cones).T) @ np.array(to_lab).T


@pytest.mark.parametrize("vision", VISIONS)
def test_any_two_of_the_six_colours_stay_apart(vision):
    colours = np.array([rgb_from_hex(EMOTION_HEX[emotion]) for emotion in SIX_EMOTIONS]) / 255
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    seen = oklab(np.clip(linear @ np.array(VISIONS[vision]).T, 0, 1))
    distances = np.linalg.norm(seen[:, None] - seen[None], axis=-1)
    nearest = distances[~np.eye(len(seen), dtype=bool)].min()
    assert nearest > 0.11  # five times what side-by-side patches need to be told apart (0.02)


@pytest.mark.parametrize("emotion", Emotion)
@pytest.mark.parametrize("ground", ["#ffffff", "#10141a"], ids=["light", "dark"])
def test_every_expression_has_a_colour_that_reads_on(emotion, ground):
    assert (
        contrast(rgb_from_hex(EMOTION_HEX[emotion]), rgb_from_hex(ground)) >= 2.9
    )  # WCAG asks 3 for graphics; 3 % for rounding


@pytest.mark.parametrize("emotion", Emotion)
def test_text_reads_on_every_colour(emotion):
    colour = rgb_from_hex(EMOTION_HEX[emotion])
    assert contrast(text_colour(colour), colour) >= 4.5  # WCAG AA for text


LABELS = [*Emotion, *(f"class {number}" for number in range(12))]


def test_twenty_labels_get_twenty_safe_colours():
    colours = label_colours([*LABELS, "other"])
    assert list(colours) == [*LABELS, "other"]
    assert {emotion: colours[emotion] for emotion in Emotion} == dict(EMOTION_HEX)
    assert len({colours[label] for label in LABELS}) == len(LABELS)
    for label in LABELS:
        for ground in ("#ffffff", "#10141a"):
            assert contrast(rgb_from_hex(colours[label]), rgb_from_hex(ground)) >= 2.9, label


def test_a_label_keeps_its_colour_in_any_company():
    assert label_colours(["bored", "happy"])["happy"] == label_colours(["happy", "sad"])["happy"]
    assert label_colours(f"class {number}" for number in range(40))["class 39"].startswith("#")


def test_contrast_of_black_and_white_is_the_largest():
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21, abs=1e-9)
    assert contrast((9, 9, 9), (9, 9, 9)) == 1


def test_colours_differ_and_people_repeat():
    assert len(set(EMOTION_HEX.values())) == len(Emotion)
    assert person_colour(0) != person_colour(1)
    assert person_colour(len(PERSON_HEX)) == person_colour(0)
