from itertools import pairwise

import numpy as np
import pytest

from fer.emotions import SIX_EMOTIONS, Emotion
from fer.faces import Prediction
from fer.smoothing import ProbabilitySmoother, Steadiness, SteadyPoint

HAPPY, SAD = Emotion.HAPPY, Emotion.SAD


def prediction(emotion, confidence=0.9, *, unsure_below=0.0, labels=SIX_EMOTIONS):
    shares = np.full(len(labels), (1 - confidence) / (len(labels) - 1), dtype=np.float32)
    shares[labels.index(emotion)] = confidence
    return Prediction(labels, shares, unsure_below=unsure_below)


def test_first_answer_is_what_was_seen():
    steady = ProbabilitySmoother().update(prediction(SAD, 0.7), 5.0)
    assert steady.emotion == SAD
    assert steady.confidence == pytest.approx(0.7, abs=1e-6)  # float32


@pytest.mark.parametrize("frame_rate", [5, 10, 30, 120])
def test_same_answer_at_every_frame_rate(frame_rate):
    smoother = ProbabilitySmoother(Steadiness(time_constant_s=0.4))
    smoother.update(prediction(HAPPY), 0.0)
    for frame in range(1, frame_rate + 1):
        steady = smoother.update(prediction(SAD), frame / frame_rate)
    # One second of sadness after happiness: 0.9 - 0.88 * exp(-1 / 0.4).
    assert steady.by_emotion()[SAD] == pytest.approx(0.9 - 0.88 * np.exp(-2.5), abs=1e-4)
    assert steady.emotion == SAD


@pytest.mark.parametrize("frame_rate", [10, 30])
def test_change_shows_after_the_same_time(frame_rate):
    smoother = ProbabilitySmoother()
    times = np.arange(0, 3, 1 / frame_rate)
    shown = [smoother.update(prediction(HAPPY if t < 1 else SAD), t).emotion for t in times]
    changed_s = times[shown.index(SAD)] - 1
    assert 0.5 <= changed_s <= 0.65  # a lead of 0.25 after 0.51 s, one frame more


def change_count(predictions):
    return sum(before.emotion != after.emotion for before, after in pairwise(predictions))


def test_flicker_does_not_show():
    smoother = ProbabilitySmoother()
    rng = np.random.default_rng(0)
    raw, shown = [], []
    for frame in range(300):
        shares = np.array([0.05, 0.05, 0.33, 0.32, 0.05, 0.2]) + rng.normal(0, 0.04, 6)
        shares = np.clip(shares, 0.001, None)
        raw.append(Prediction(SIX_EMOTIONS, (shares / shares.sum()).astype(np.float32)))
        shown.append(smoother.update(raw[-1], frame / 30))
    assert change_count(shown) <= 3
    assert change_count(raw) > 100


def test_a_face_between_two_expressions_does_not_bounce():
    """Each of them leads for a second in turn, far enough to be shown at first."""
    shown = []
    smoother = ProbabilitySmoother()
    for frame in range(270):
        shares = np.array(
            [0.1, 0.1, 0.6, 0.1, 0.05, 0.05] if frame // 30 % 2 else [0.1, 0.1, 0.1, 0.6, 0.05, 0.05]
        )
        shown.append(smoother.update(Prediction(SIX_EMOTIONS, shares.astype(np.float32)), frame / 30))
    changed_s = [number / 30 for number, (a, b) in enumerate(pairwise(shown)) if a.emotion != b.emotion]
    assert changed_s
    assert all(after - before >= 3 for before, after in pairwise(changed_s))


@pytest.mark.parametrize("length_s", [1.2, 2.5])
def test_a_clear_smile_shows_however_short_the_calm_before(length_s):
    smoother = ProbabilitySmoother()
    wanted = {0.0: SAD, 2.0: HAPPY, 2.0 + length_s: SAD}
    shown = {}
    for frame in range(180):
        emotion = [value for start, value in wanted.items() if start <= frame / 30][-1]
        shown[frame / 30] = smoother.update(prediction(emotion, 0.95), frame / 30).emotion
    changed_s = [after for before, after in pairwise(shown) if shown[before] != shown[after]]
    assert changed_s == [pytest.approx(2.55, abs=0.1), pytest.approx(2.0 + length_s + 0.9, abs=0.15)]


def test_probabilities_stay_probabilities():
    smoother = ProbabilitySmoother()
    rng = np.random.default_rng(1)
    for frame in range(50):
        shares = rng.dirichlet(np.ones(6)).astype(np.float32)
        steady = smoother.update(Prediction(SIX_EMOTIONS, shares, other=0.5), frame / 10)
        assert steady.probabilities.sum() == pytest.approx(1, abs=1e-5)  # float32 sums
        assert steady.confidence == steady.by_emotion()[steady.emotion]
        assert steady.other == 0.5


def test_no_smoothing_shows_every_frame():
    smoother = ProbabilitySmoother(Steadiness(time_constant_s=0, switch_lead=0, switch_after_s=0))
    smoother.update(prediction(HAPPY), 0.0)
    assert smoother.update(prediction(SAD), 0.01).emotion == SAD


def test_unsure_has_hysteresis():
    smoother = ProbabilitySmoother(Steadiness(time_constant_s=0))
    answers = [
        smoother.update(prediction(HAPPY, confidence, unsure_below=0.5), time_s).is_unsure
        for time_s, confidence in enumerate([0.6, 0.48, 0.44, 0.52, 0.56])
    ]
    assert answers == [False, False, True, True, False]


def test_step_back_in_time_starts_anew():
    smoother = ProbabilitySmoother()
    smoother.update(prediction(HAPPY), 10.0)
    assert smoother.update(prediction(SAD), 1.0).confidence == pytest.approx(0.9, abs=1e-6)  # float32


def test_other_labels_start_anew():
    smoother = ProbabilitySmoother()
    smoother.update(prediction(HAPPY), 0.0)
    turned = tuple(reversed(SIX_EMOTIONS))
    assert smoother.update(prediction(SAD, labels=turned), 0.1).emotion == SAD


@pytest.mark.parametrize(
    "wrong",
    [{"time_constant_s": -1}, {"switch_lead": 2}, {"switch_after_s": -0.1}, {"settle_s": -1}],
    ids=str,
)
def test_wrong_steadiness_is_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        Steadiness(**wrong)


def test_point_at_rest_is_calmed_and_in_motion_follows():
    rng = np.random.default_rng(2)
    still, moving = SteadyPoint(), SteadyPoint()
    noise = rng.normal(0, 0.01, 90)
    calmed = [still.update(np.array([n]), 1 / 30 if i else 0.0)[0] for i, n in enumerate(noise)]
    assert np.std(calmed[30:]) < 0.6 * np.std(noise[30:])
    for frame in range(90):
        followed = moving.update(np.array([frame / 30]), 1 / 30 if frame else 0.0)
    assert followed[0] == pytest.approx(89 / 30, abs=0.05)  # one side a second: at most a twentieth behind
