from types import SimpleNamespace

import numpy as np
import pytest

from fer.analysis import load_analyzer
from fer.cropping import crop_face, reference_square
from fer.emotions import SIX_EMOTIONS, Emotion
from fer.explanation import annotate_heat, explain
from fer.faces import Prediction
from fer.model_card import Preprocessing


class LooksAtOnePlace:
    """Happy as far as the brightness at one place of a 48-pixel crop says so."""

    def __init__(self, row, column, colour="grey"):
        self.card = SimpleNamespace(preprocessing=Preprocessing(48, colour, 0.0))
        self.place = (slice(row - 2, row + 3), slice(column - 2, column + 3))

    def probabilities(self, batch):
        happy = batch[:, 0, *self.place].mean(axis=(1, 2)) / 255
        others = np.repeat((1 - happy)[:, None] / 5, 5, axis=1)
        return np.insert(others, 2, happy, axis=1).astype(np.float32)

    def predictions(self, probabilities):
        return [Prediction(SIX_EMOTIONS, row) for row in probabilities]


def dotted(row, column, side=96):
    crop = np.zeros((side, side, 3), dtype=np.uint8)
    crop[2 * row - 6 : 2 * row + 7, 2 * column - 6 : 2 * column + 7] = 255
    return crop


@pytest.mark.parametrize("colour", ["grey", "rgb"])
@pytest.mark.parametrize("place", [(12, 14), (36, 24), (5, 43)], ids=str)
def test_heat_is_where_the_network_looks(place, colour):
    explanation = explain(LooksAtOnePlace(*place, colour), dotted(*place))
    assert explanation.emotion == Emotion.HAPPY
    assert explanation.heat.shape == (48, 48)
    hottest = np.unravel_index(explanation.heat.argmax(), explanation.heat.shape)
    assert hottest == pytest.approx(place, abs=3)  # less than the hidden part's reach
    assert explanation.heat.max() == pytest.approx(1)
    assert explanation.lowest < 0.5 * explanation.confidence


def test_nothing_to_see_has_no_heat():
    explanation = explain(LooksAtOnePlace(20, 20), np.full((60, 60, 3), 200, dtype=np.uint8))
    assert not explanation.heat.any()
    assert explanation.lowest == pytest.approx(explanation.confidence)


def test_lit_where_hot_and_dim_elsewhere():
    crop = np.full((96, 96, 3), 120, dtype=np.uint8)
    heat = np.zeros((48, 48), dtype=np.float32)
    heat[10:20, 10:20] = 1
    picture = annotate_heat(crop, SimpleNamespace(heat=heat), side=192)
    assert picture.shape == (192, 192, 3)
    assert picture[60, 60].min() > 90
    assert picture[150, 150].max() < 60
    assert picture[60, 60, 0] > picture[60, 60, 2]  # the glow is warm: red before blue


@pytest.mark.golden
def test_a_smile_is_read_from_the_mouth(astronaut):
    analyzer = load_analyzer(detector="haar")
    (face,) = analyzer.analyze(astronaut)
    square = reference_square(face.detection, analyzer.detector.framing)
    crop = crop_face(astronaut, square, analyzer.classifier.card.preprocessing.margin)
    heat = explain(analyzer.classifier, crop).heat
    size = heat.shape[0]
    assert heat[size // 2 :].sum() > heat[: size // 2].sum()
