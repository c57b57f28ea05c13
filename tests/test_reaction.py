"""The benchmark of delay and flicker: its clips change at the stated time, from which delays count."""

import numpy as np
import pytest

from benchmarks.composed_clips import Clip, StillFace, blend, compose
from benchmarks.filters import CANDIDATES, replay
from benchmarks.reaction import Answers, delays_of, thinned
from fer.emotions import SIX_EMOTIONS, Emotion
from fer.faces import Prediction

DARK = StillFace(np.full((110, 110, 3), 40, np.uint8), Emotion.SAD)
BRIGHT = StillFace(np.full((110, 110, 3), 200, np.uint8), Emotion.HAPPY)


def test_the_middle_of_a_crossfade_is_the_moment_of_the_change():
    clip = Clip("x", (DARK, BRIGHT), 1.0, 0)
    assert clip.changes == [(1.0, Emotion.HAPPY)]
    assert blend(clip, 0.9).mean() == pytest.approx(40)
    assert blend(clip, 1.0).mean() == pytest.approx(120)
    assert blend(clip, 1.1).mean() == pytest.approx(200)


def test_frames_show_the_face_in_the_room():
    frames = list(compose(Clip("x", (DARK, BRIGHT), 0.5, 0), 10.0))
    assert len(frames) == 10
    assert [image.shape for _, image in frames] == [(240, 320, 3)] * 10
    before, after = frames[2][1][100:140, 140:180].mean(), frames[8][1][100:140, 140:180].mean()
    assert before < 60 < 170 < after


@pytest.fixture
def changed() -> Answers:
    """A clear change from sad to happy after 2 s."""

    def said(emotion):
        shares = np.full(6, 0.02, np.float32)
        shares[SIX_EMOTIONS.index(emotion)] = 0.9
        return Prediction(SIX_EMOTIONS, shares, unsure_below=0.5)

    times = tuple(np.arange(0, 4, 1 / 30).tolist())
    raw = tuple(said(Emotion.SAD if time_s < 2 else Emotion.HAPPY) for time_s in times)
    return Answers("holds of 2 s", "live", ((2.0, Emotion.HAPPY),), times, raw, ())


@pytest.mark.parametrize("name", CANDIDATES)
def test_every_filter_names_a_clear_change(name, changed):
    (delay,) = delays_of(changed, replay(changed.times, changed.raw, CANDIDATES[name]), 2.0)
    assert delay is not None
    assert 0 <= delay < 1.0


def test_a_change_is_shown_with_a_third_of_the_frames(changed):
    sparse = thinned(changed, 3)
    assert sparse.times == changed.times[::3]
    assert len(sparse.shown) == len(sparse.times)
    (delay,) = delays_of(sparse, sparse.shown, 2.0)
    assert delay is not None
    assert 0 <= delay < 1.0


def test_a_label_that_never_comes_has_no_delay():
    answers = Answers("x", "live", ((0.5, Emotion.HAPPY),), (0.0, 0.5, 1.0), (None,) * 3, ())
    assert list(delays_of(answers, [None, (Emotion.SAD, False), None], 1.0)) == [None]
