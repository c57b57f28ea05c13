"""Resting faces: the learned adjustment, and its complete removal."""

import numpy as np
import pytest
from test_tracking import face, ids

from fer.emotions import SIX_EMOTIONS, Emotion
from fer.faces import Face, Prediction
from fer.streams.resting import RestingFaceError, learn_resting_face
from fer.streams.tracking import FaceTracker, TrackingSettings

SAD_AT_REST = [0.08, 0.04, 0.02, 0.50, 0.02, 0.34]
CALM = [0.03, 0.03, 0.03, 0.06, 0.03, 0.82]
LAUGH = [0.01, 0.01, 0.95, 0.01, 0.01, 0.01]


def prediction(shares, **more):
    return Prediction(SIX_EMOTIONS, np.array(shares, dtype=np.float32), **more)


def seen(shares, x=100.0):
    found = face(x, 100)
    return Face(found.detection, prediction(shares))


def run(tracker, faces, start_s, length_s, frame_rate=30):
    """The same faces for a while; the last answer."""
    for frame in range(round(length_s * frame_rate) + 1):
        found = tracker.update(faces, start_s + frame / frame_rate)
    return found


def test_a_face_that_looks_sad_at_rest_reads_as_neutral():
    resting = learn_resting_face([prediction(SAD_AT_REST)] * 30)
    answer = resting.apply(prediction(SAD_AT_REST, other=0.2, unsure_below=0.4))
    assert answer.emotion == Emotion.NEUTRAL
    assert answer.probabilities.sum() == pytest.approx(1, abs=1e-5)  # float32 sums
    assert (answer.other, answer.unsure_below) == (0.2, 0.4)
    sadder = resting.apply(prediction([0.02, 0.02, 0.01, 0.92, 0.01, 0.02]))
    assert sadder.emotion == Emotion.SAD  # more than at rest is still an expression


def test_a_usual_resting_face_stays_as_it_is():
    before = prediction(CALM)
    answer = learn_resting_face([before] * 30).apply(before)
    assert answer.emotion == Emotion.NEUTRAL
    np.testing.assert_allclose(answer.probabilities, before.probabilities, atol=0.08)


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        pytest.param([LAUGH] * 30, "looks happy", id="laughing"),
        pytest.param([[0.01, 0.01, 0.01, 0.01, 0.9, 0.06]] * 30, "looks surprised", id="surprised"),
        pytest.param([CALM] * 15 + [[0.9, 0.02, 0.02, 0.02, 0.02, 0.02]] * 15, "changed", id="changing"),
        pytest.param([CALM] * 2, "at least 3 frames", id="two frames"),
        pytest.param([], "at least 3 frames", id="none"),
    ],
)
def test_what_is_no_rest_is_refused_with_a_reason(frames, words):
    with pytest.raises(RestingFaceError, match=words):
        learn_resting_face([prediction(shares) for shares in frames])


def test_another_models_answers_are_refused():
    resting = learn_resting_face([prediction(CALM)] * 3)
    with pytest.raises(ValueError, match="learn the resting face again"):
        resting.apply(Prediction(SIX_EMOTIONS[:2], np.array([0.5, 0.5], dtype=np.float32)))


@pytest.mark.parametrize("frame_rate", [2, 10, 30])
def test_two_seconds_adjust_the_person_in_view(frame_rate):
    tracker = FaceTracker()
    (before,) = run(tracker, [seen(SAD_AT_REST)], 0.0, 1.0, frame_rate)
    assert before.prediction.emotion == Emotion.SAD
    tracker.learn_rest()
    assert tracker.rest.state == "learning"
    (after,) = run(tracker, [seen(SAD_AT_REST)], 1.0, 2.5, frame_rate)
    assert tracker.rest.state == "adjusted"
    assert tracker.rest.track_ids == (1,)
    assert after.prediction.emotion == Emotion.NEUTRAL
    tracker.forget_rest()
    (undone,) = run(tracker, [seen(SAD_AT_REST)], 3.6, 1.0, frame_rate)
    assert tracker.rest.state == "off"
    assert undone.prediction.emotion == Emotion.SAD


def test_it_is_gone_when_the_person_goes():
    tracker = FaceTracker()
    run(tracker, [seen(SAD_AT_REST)], 0.0, 0.1)
    tracker.learn_rest()
    run(tracker, [seen(SAD_AT_REST)], 0.1, 2.1)
    assert tracker.rest.state == "adjusted"
    run(tracker, [], 2.3, 1.5)
    (back,) = run(tracker, [seen(SAD_AT_REST)], 4.0, 0.5)
    assert tracker.rest.state == "off"
    assert back.prediction.emotion == Emotion.SAD


def test_others_are_not_adjusted():
    tracker = FaceTracker()
    run(tracker, [seen(SAD_AT_REST)], 0.0, 0.1)
    tracker.learn_rest()
    run(tracker, [seen(SAD_AT_REST)], 0.1, 2.1)
    both = run(tracker, [seen(SAD_AT_REST), seen(SAD_AT_REST, 400.0)], 2.3, 1.0)
    shown = {found.track_id: found.prediction.emotion for found in both}
    assert shown == {1: Emotion.NEUTRAL, 2: Emotion.SAD}


@pytest.mark.parametrize(
    ("faces", "words"), [([], "got none"), ([seen(CALM), seen(CALM, 400.0)], "got 2")], ids=["nobody", "two"]
)
def test_one_person_must_be_in_view(faces, words):
    tracker = FaceTracker()
    run(tracker, faces, 0.0, 0.2)
    with pytest.raises(RestingFaceError, match=words):
        tracker.learn_rest()
    assert tracker.rest.state == "failed"
    assert words in tracker.rest.problem


def test_one_of_several_people_can_be_named():
    tracker = FaceTracker()
    run(tracker, [seen(SAD_AT_REST), seen(SAD_AT_REST, 400.0)], 0.0, 0.1)
    tracker.learn_rest(2)
    run(tracker, [seen(SAD_AT_REST), seen(SAD_AT_REST, 400.0)], 0.1, 2.1)
    assert tracker.rest.track_ids == (2,)


def test_who_leaves_meanwhile_is_told_and_nothing_sticks():
    tracker = FaceTracker()
    run(tracker, [seen(SAD_AT_REST)], 0.0, 0.1)
    tracker.learn_rest()
    run(tracker, [seen(SAD_AT_REST)], 0.1, 0.5)
    run(tracker, [], 0.6, 2.0)
    assert tracker.rest.state == "failed"
    assert "left" in tracker.rest.problem
    (back,) = run(tracker, [seen(SAD_AT_REST)], 4.0, 3.0)
    assert back.prediction.emotion == Emotion.SAD


def test_a_laugh_is_refused_and_nothing_sticks():
    tracker = FaceTracker()
    run(tracker, [seen(LAUGH)], 0.0, 0.1)
    tracker.learn_rest()
    (found,) = run(tracker, [seen(LAUGH)], 0.1, 2.1)
    assert tracker.rest.state == "failed"
    assert "looks happy" in tracker.rest.problem
    assert found.prediction.emotion == Emotion.HAPPY


def test_a_step_back_in_time_interrupts_the_rest():
    tracker = FaceTracker()
    run(tracker, [seen(CALM)], 10.0, 0.5)
    tracker.learn_rest()
    run(tracker, [seen(CALM)], 0.0, 3.0)
    assert tracker.rest.state == "failed"
    assert "changed" in tracker.rest.problem


def test_a_time_that_repeats_is_one_frame():
    tracker = FaceTracker()
    run(tracker, [seen(CALM)], 0.0, 0.1)
    tracker.learn_rest()
    for time_s in (0.2, 0.2, 0.2, 0.2, 2.2):
        tracker.update([seen(CALM)], time_s)
    assert tracker.rest.state != "adjusted"


def test_a_stream_may_begin_with_rest():
    tracker = FaceTracker(TrackingSettings(rest_s=2.0))
    run(tracker, [seen(SAD_AT_REST)], 50.0, 2.5)
    both = run(tracker, [seen(SAD_AT_REST), seen(SAD_AT_REST, 400.0)], 52.6, 3.0)
    assert tracker.rest.track_ids == (1,)  # who comes later is seen as they are
    assert {found.track_id: found.prediction.emotion for found in both}[1] == Emotion.NEUTRAL
    assert ids(both) == [1, 2]
