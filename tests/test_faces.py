import math
import pickle

import numpy as np
import pytest

from fer.emotions import SIX_EMOTIONS, Emotion
from fer.faces import Box, Detection, Face, Landmarks, Prediction

BOX = Box(10, 20, 30, 60)


@pytest.mark.parametrize(
    "edges",
    [
        pytest.param((5, 0, 5, 9), id="no width"),
        pytest.param((0, 9, 5, 9), id="no height"),
        pytest.param((5, 0, 4, 9), id="inside out"),
        pytest.param((0, 0, math.nan, 9), id="not a number"),
        pytest.param((0, 0, math.inf, 9), id="infinite"),
    ],
)
def test_boxes_without_area_are_refused(edges):
    with pytest.raises(ValueError, match="left < right"):
        Box(*edges)


def test_box_measures():
    assert (BOX.width, BOX.height, BOX.area, BOX.centre) == (20, 40, 800, (20, 40))
    assert BOX.as_tuple() == (10, 20, 30, 60)


@pytest.mark.parametrize(
    ("other", "iou"),
    [
        pytest.param(BOX, 1.0, id="itself"),
        pytest.param(Box(20, 20, 40, 60), 1 / 3, id="half"),
        pytest.param(Box(10, 20, 20, 60), 0.5, id="inside"),
        pytest.param(Box(30, 20, 50, 60), 0.0, id="edge to edge, as right is exclusive"),
        pytest.param(Box(100, 100, 110, 110), 0.0, id="far"),
    ],
)
def test_iou(other, iou):
    assert BOX.iou(other) == pytest.approx(iou, abs=1e-12)  # a handful of float operations
    assert other.iou(BOX) == BOX.iou(other)


@pytest.mark.parametrize(
    ("box", "clipped"),
    [
        pytest.param(BOX, BOX, id="inside"),
        pytest.param(Box(-5, -5, 10, 10), Box(0, 0, 10, 10), id="top left"),
        pytest.param(Box(90, 70, 120, 120), Box(90, 70, 100, 80), id="bottom right"),
        pytest.param(Box(-9, -9, 200, 200), Box(0, 0, 100, 80), id="all around"),
        pytest.param(Box(100, 0, 110, 10), None, id="just outside"),
        pytest.param(Box(-20, 0, 0, 10), None, id="just outside on the left"),
    ],
)
def test_clip(box, clipped):
    assert box.clip(100, 80) == clipped


def test_scale_there_and_back():
    assert BOX.scale(2) == Box(20, 40, 60, 120)
    assert BOX.scale(2).scale(0.5) == BOX


@pytest.mark.parametrize(
    ("right_eye", "left_eye", "roll"),
    [
        pytest.param((10, 10), (30, 10), 0, id="upright"),
        pytest.param((10, 10), (30, 30), 45, id="clockwise"),
        pytest.param((10, 30), (30, 10), -45, id="counter-clockwise"),
        pytest.param((20, 10), (20, 30), 90, id="lying"),
    ],
)
def test_roll_of_landmarks(right_eye, left_eye, roll):
    landmarks = Landmarks(right_eye, left_eye, (20, 20), (15, 30), (25, 30))
    assert landmarks.roll == pytest.approx(roll, abs=1e-9)  # one arctangent in double precision
    assert Landmarks.from_array(landmarks.as_array()) == landmarks


def test_landmarks_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"\(4, 2\)"):
        Landmarks.from_array(np.zeros((4, 2)))


@pytest.mark.parametrize("score", [-0.1, 1.1, math.nan])
def test_scores_outside_their_range_are_refused(score):
    with pytest.raises(ValueError, match="score in"):
        Detection(BOX, score)


def prediction(*probabilities: float, **others) -> Prediction:
    labels = SIX_EMOTIONS[: len(probabilities)]
    return Prediction(labels, np.array(probabilities, np.float32), **others)


def test_prediction_names_the_largest():
    happy = prediction(0.1, 0.2, 0.7)
    assert happy.emotion is Emotion.HAPPY
    assert happy.confidence == pytest.approx(0.7, abs=1e-7)  # stored as float32
    assert [emotion for emotion, _ in happy.ranked()] == [Emotion.HAPPY, Emotion.FEARFUL, Emotion.ANGRY]
    assert list(happy.by_emotion()) == list(SIX_EMOTIONS[:3])


def test_order_of_labels_decides_nothing_but_names():
    turned = Prediction(SIX_EMOTIONS[2::-1], np.array([0.7, 0.2, 0.1], np.float32))
    assert turned.ranked() == prediction(0.1, 0.2, 0.7).ranked()


@pytest.mark.parametrize(("threshold", "is_unsure"), [(0.0, False), (0.69, False), (0.71, True)])
def test_unsure_below_the_cards_threshold(threshold, is_unsure):
    assert prediction(0.1, 0.2, 0.7, unsure_below=threshold).is_unsure is is_unsure


def test_probabilities_must_match_the_labels():
    with pytest.raises(ValueError, match="expected 2 probabilities"):
        Prediction(SIX_EMOTIONS[:2], np.zeros(3, np.float32))


def test_faces_travel_between_processes():
    face = Face(Detection(BOX, 0.9), prediction(0.4, 0.6), track_id=3)
    copy = pickle.loads(pickle.dumps(face))
    assert (copy.detection, copy.track_id) == (face.detection, 3)
    assert copy.prediction.ranked() == face.prediction.ranked()
