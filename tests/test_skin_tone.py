import numpy as np
import pytest

from benchmarks.skin_tone import TONES, figures, share, typology_angle
from fer.emotions import SIX_EMOTIONS, Emotion
from fer.faces import Prediction


def tone_of(angle: float) -> str:
    return [name for name, least in TONES.items() if angle >= least][-1]


@pytest.mark.parametrize(
    ("colour", "expected"),
    [
        ((70, 45, 35), "dark"),
        ((140, 95, 70), "brown"),
        ((205, 160, 135), "light"),
        ((240, 215, 200), "very light"),
    ],
)
def test_the_cheeks_give_the_tone(colour: tuple[int, int, int], expected: str) -> None:
    face = np.zeros((64, 64, 3), np.uint8)
    face[28:48] = colour  # nothing but the rows with the cheeks
    angle = typology_angle(face)
    assert angle is not None
    assert tone_of(angle) == expected


def test_a_grey_image_has_no_tone() -> None:
    assert typology_angle(np.full((64, 64, 3), 128, np.uint8)) is None


def test_only_confident_answers_misname_a_resting_face() -> None:
    def answer(emotion: Emotion, confidence: float) -> Prediction:
        shares = np.full(6, (1 - confidence) / 5, np.float32)
        shares[SIX_EMOTIONS.index(emotion)] = confidence
        return Prediction(SIX_EMOTIONS, shares, unsure_below=0.5)

    answers = [answer(Emotion.ANGRY, 0.9), answer(Emotion.ANGRY, 0.4), answer(Emotion.HAPPY, 0.9)]
    found = figures(answers, [Emotion.NEUTRAL, Emotion.NEUTRAL, Emotion.HAPPY])
    assert found["accuracy"]["share"] == pytest.approx(1 / 3)
    assert found["resting_misnamed"]["share"] == pytest.approx(0.5)
    assert found["resting_count"] == 2


def test_intervals_contain_the_share_and_narrow_with_the_count() -> None:
    few, many = share([True] * 9 + [False]), share([True] * 900 + [False] * 100)
    assert few is not None
    assert many is not None
    assert few["low"] == pytest.approx(0.596, abs=0.001)  # Wilson 1927
    assert few["high"] == pytest.approx(0.982, abs=0.001)
    assert many["high"] - many["low"] < few["high"] - few["low"]
    assert share([]) is None
