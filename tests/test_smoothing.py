from itertools import pairwise

import numpy as np
import pytest

from fer.emotions import SIX_EMOTIONS, Emotion
from fer.faces import Prediction
from fer.streams.smoothing import ProbabilitySmoother, Steadiness, SteadyPoint

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
    smoother = ProbabilitySmoother()
    smoother.update(prediction(HAPPY), 0.0)
    for frame in range(1, frame_rate + 1):
        steady = smoother.update(prediction(SAD), frame / frame_rate)
    assert steady.emotion == SAD
    assert steady.by_emotion()[SAD] == pytest.approx(0.9, abs=0.02)  # little is left of what was before


@pytest.mark.parametrize("frame_rate", [10, 30, 60])
@pytest.mark.parametrize("before_s", [0.5, 5.0, 60.0])
def test_a_clear_change_shows_within_a_third_of_a_second(frame_rate, before_s):
    smoother = ProbabilitySmoother()
    times = np.arange(0, before_s + 1, 1 / frame_rate)
    shown = [smoother.update(prediction(HAPPY if t < before_s else SAD), t).emotion for t in times]
    changed_s = times[shown.index(SAD)] - before_s
    assert 0.1 <= changed_s <= 0.34
    assert shown[-1] == SAD


def test_a_confidence_follows_the_change_it_brings():
    """The answer starts anew at a change; it does not creep up from the mixture in between."""
    smoother = ProbabilitySmoother()
    for frame in range(90):
        steady = smoother.update(prediction(HAPPY if frame < 60 else SAD, unsure_below=0.5), frame / 30)
        if steady.emotion == SAD and frame >= 75:  # half a second after the face changed
            assert steady.confidence > 0.8
            assert not steady.is_unsure
    assert steady.emotion == SAD


@pytest.mark.parametrize("frame_rate", [10, 30])
def test_one_odd_frame_does_not_show(frame_rate):
    smoother = ProbabilitySmoother()
    for frame in range(3 * frame_rate):
        emotion = SAD if frame == 2 * frame_rate else HAPPY
        assert smoother.update(prediction(emotion, 0.99), frame / frame_rate).emotion == HAPPY


@pytest.mark.parametrize("frame_rate", [10, 30])
def test_a_doubtful_moment_does_not_show_but_a_clear_one_does(frame_rate):
    """A raised brow while speaking: seven tenths of a second of another expression that leads only a little."""
    for second_best, expected in ((0.15, 0), (0.02, 2)):
        smoother, shown = ProbabilitySmoother(), []
        for frame in range(5 * frame_rate):
            time_s = frame / frame_rate
            shares = np.full(6, 0.02, np.float32)
            shares[SIX_EMOTIONS.index(HAPPY)] = 0.9
            if 2.0 <= time_s < 2.7:
                shares[:] = (1 - 0.75 - second_best) / 4
                shares[SIX_EMOTIONS.index(SAD)], shares[SIX_EMOTIONS.index(HAPPY)] = 0.75, second_best
            raw = Prediction(SIX_EMOTIONS, shares, unsure_below=0.6)
            shown.append(smoother.update(raw, time_s))
        assert change_count(shown) == expected


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


@pytest.mark.parametrize("frame_rate", [10, 30])
def test_a_borderline_face_is_one_steady_unsure(frame_rate):
    """Two expressions lead in turn, never far: one of them stays, and is called unsure all the time."""
    smoother, rng = ProbabilitySmoother(), np.random.default_rng(4)
    shown = []
    for frame in range(20 * frame_rate):
        time_s = frame / frame_rate
        sway = 0.04 * np.sin(2.5 * time_s)
        shares = np.array([0.42 + sway, 0.42 - sway, 0.04, 0.04, 0.04, 0.04])
        shares = np.clip(shares + rng.normal(0, 0.05, 6), 0.005, None)
        raw = Prediction(SIX_EMOTIONS, (shares / shares.sum()).astype(np.float32), unsure_below=0.56)
        shown.append(smoother.update(raw, time_s))
    assert all(steady.is_unsure for steady in shown)
    assert change_count(shown) <= 1


def test_the_label_shown_is_never_far_from_the_most_probable_one():
    smoother, rng = ProbabilitySmoother(), np.random.default_rng(3)
    logarithms = np.zeros(6)
    last_best_s: dict[Emotion, float] = {}
    for frame in range(3000):
        logarithms = 0.9 * logarithms + rng.normal(0, 0.8, 6)
        shares = np.exp(logarithms) / np.exp(logarithms).sum()
        steady = smoother.update(Prediction(SIX_EMOTIONS, shares.astype(np.float32)), frame / 30)
        best = steady.labels[int(np.argmax(steady.probabilities))]
        last_best_s[best] = frame / 30
        assert steady.confidence >= steady.probabilities.max() / 2
        assert frame / 30 - last_best_s[steady.emotion] <= smoother.steadiness.hold_s + 0.04  # a frame more


@pytest.mark.parametrize("length_s", [1.0, 1.2, 2.5])
def test_a_clear_smile_shows_however_short_the_calm_before(length_s):
    smoother = ProbabilitySmoother()
    wanted = {0.0: SAD, 2.0: HAPPY, 2.0 + length_s: SAD}
    shown = {}
    for frame in range(180):
        emotion = [value for start, value in wanted.items() if start <= frame / 30][-1]
        shown[frame / 30] = smoother.update(prediction(emotion, 0.95), frame / 30).emotion
    changed_s = [after for before, after in pairwise(shown) if shown[before] != shown[after]]
    assert changed_s == [pytest.approx(2.2, abs=0.14), pytest.approx(2.2 + length_s, abs=0.14)]


def test_times_that_repeat_or_jump_change_nothing_by_themselves():
    smoother = ProbabilitySmoother()
    for time_s in (0.0, 0.5, 1.0, 1.0, 1.0, 1.0):
        steady = smoother.update(prediction(HAPPY), time_s)
    for _ in range(20):
        steady = smoother.update(prediction(SAD), 1.0)  # the same moment again and again is one look
    assert steady.emotion == HAPPY
    assert smoother.update(prediction(HAPPY), 900.0).emotion == HAPPY


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
    smoother = ProbabilitySmoother(Steadiness(time_constant_s=0))
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
    [
        {"time_constant_s": -1},
        {"evidence_per_s": 0},
        {"changes_per_s": -0.1},
        {"hold_ratio": 2.5},
        {"hold_ratio": 0.9},
        {"hold_s": -1},
        {"hold_s": float("nan")},
    ],
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
