"""Yaw and pitch from five landmarks: synthetic heads of several shapes, and heads turned away."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from fakes import fake_analyzer, red_face

from fer.emotions import SIX_EMOTIONS
from fer.faces import Landmarks, Prediction
from fer.head_turn import HeadTurn, head_turn
from fer.streams.smoothing import ProbabilitySmoother

HEAD = np.array([[-31, -36, -22], [31, -36, -22], [0, 0, 0], [-26, 29, -28], [26, 29, -28]], dtype=float)
"""Right, down, towards the viewer: eyes, tip of the nose, corners of the mouth."""


def seen(yaw, pitch, roll=0.0, head=HEAD, distance=900.0, place=(320.0, 240.0)):
    """The landmarks of a head in front of a camera."""
    y, p, r = np.radians([yaw, pitch, roll])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    points = head @ (about_z @ about_y @ about_x).T
    return Landmarks.from_array(points[:, :2] * (distance / (distance - points[:, 2:])) + place)


@pytest.mark.parametrize("roll", [-40.0, 0.0, 170.0])
@pytest.mark.parametrize("pitch", [-20.0, 0.0, 20.0])
@pytest.mark.parametrize("yaw", [-60.0, -20.0, 0.0, 35.0, 75.0])
def test_synthetic_heads_are_read_within_a_few_degrees(yaw, pitch, roll):
    turn = head_turn(seen(yaw, pitch, roll))
    assert turn.yaw == pytest.approx(yaw, abs=6)  # the head is another one, and near
    if abs(yaw) < 45:
        assert turn.pitch == pytest.approx(pitch, abs=9)


def test_error_with_other_heads_and_landmarks_that_jitter():
    rng = np.random.default_rng(0)
    errors = []
    for _ in range(500):
        yaw, pitch, roll = rng.uniform([-60, -20, -30], [60, 20, 30])
        head = HEAD * rng.normal(1, 0.08, HEAD.shape)
        points = seen(yaw, pitch, roll, head).as_array() + rng.normal(0, 1.5, (5, 2))
        errors.append(abs(head_turn(Landmarks.from_array(points)).yaw - yaw))
    assert np.median(errors) < 5
    assert np.quantile(errors, 0.9) < 12


@pytest.mark.parametrize(
    ("yaw", "pitch", "away"), [(0, 0, False), (38, 0, False), (55, 0, True), (-60, 10, True), (0, -60, True)]
)
def test_away_is_beyond_45_degrees(yaw, pitch, away):
    assert head_turn(seen(yaw, pitch)).is_away is away


def test_landmarks_in_one_point_look_ahead():
    assert head_turn(Landmarks.from_array(np.ones((5, 2)))) == HeadTurn(0.0, 0.0)


@pytest.mark.parametrize("yaw", [0.0, 60.0])
def test_the_answer_for_a_head_turned_away_is_unsure(yaw):
    analyzer, image = fake_analyzer(), red_face(200)
    (detection,) = analyzer.detector.detect(image)
    (face,) = analyzer.read_faces(image, [replace(detection, landmarks=seen(yaw, 0.0))])
    assert face.prediction.turned_away is (yaw > 45)
    assert face.prediction.is_unsure is (yaw > 45)
    (unknown,) = analyzer.read_faces(image, [detection])  # a detector without landmarks
    assert not unknown.prediction.turned_away


def test_turning_away_does_not_flicker():
    smoother = ProbabilitySmoother()
    shares = np.array([0.9, 0.02, 0.02, 0.02, 0.02, 0.02], dtype=np.float32)
    shown = []
    for frame in range(90):
        away = frame % 7 == 0 if frame < 45 else frame % 7 != 0  # landmarks jitter around the limit
        steady = smoother.update(Prediction(SIX_EMOTIONS, shares, turned_away=away), frame / 30)
        shown.append((steady.turned_away, steady.is_unsure))
    assert shown[0] == (True, True)
    assert shown[20] == (False, False)
    assert sum(a != b for a, b in pairwise(shown)) <= 2
