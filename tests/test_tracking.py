import numpy as np
import pytest

from fer.emotions import SIX_EMOTIONS, Emotion
from fer.faces import Box, Detection, Face, Landmarks, Prediction
from fer.streams.smoothing import Steadiness
from fer.streams.tracking import FaceTracker, TrackingSettings

HAPPY, SAD = Emotion.HAPPY, Emotion.SAD


def face(x, y, side=100.0, emotion=HAPPY, confidence=0.9):
    shares = np.full(6, (1 - confidence) / 5, dtype=np.float32)
    shares[SIX_EMOTIONS.index(emotion)] = confidence
    box = Box(x - side / 2, y - side / 2, x + side / 2, y + side / 2)
    return Face(Detection(box, 0.9), Prediction(SIX_EMOTIONS, shares))


def ids(faces):
    return [found.track_id for found in faces]


def test_nobody_is_an_empty_list():
    assert FaceTracker().update([], 0.0) == []


@pytest.mark.parametrize("frame_rate", [10, 30])
def test_one_moving_face_keeps_its_number(frame_rate):
    tracker = FaceTracker()
    numbers = set()
    for frame in range(3 * frame_rate):
        time_s = frame / frame_rate
        found = tracker.update([face(100 + 150 * time_s, 200 + 60 * np.sin(4 * time_s))], time_s)
        numbers.update(ids(found))
        assert found[0].detection.box.centre[0] == pytest.approx(100 + 150 * time_s, abs=8)  # 8 % of the side
    assert numbers == {1}


@pytest.mark.parametrize("frame_rate", [10, 30])
@pytest.mark.parametrize("hidden_s", [0.0, 0.5], ids=["side by side", "one behind the other"])
def test_crossing_faces_keep_numbers_and_expressions(frame_rate, hidden_s):
    tracker = FaceTracker()
    for frame in range(4 * frame_rate):
        time_s = frame / frame_rate
        right, left = face(100 + 150 * time_s, 200, emotion=HAPPY), face(700 - 150 * time_s, 215, emotion=SAD)
        behind = abs(time_s - 2.0) < hidden_s / 2
        found = tracker.update([right] if behind else [left, right], time_s)
        by_id = {found_face.track_id: found_face for found_face in found}
        assert set(by_id) <= {1, 2}
        if not behind:
            happy, sad = by_id[2], by_id[1]
            assert happy.detection.box.centre[0] == pytest.approx(100 + 150 * time_s, abs=10)
            assert happy.prediction.by_emotion()[SAD] < 0.05  # nothing of the other person came over
            assert sad.prediction.by_emotion()[HAPPY] < 0.05


def test_a_jump_is_somebody_else():
    tracker = FaceTracker()
    tracker.update([face(100, 100)], 0.0)
    (found,) = [f for f in tracker.update([face(400, 100, emotion=SAD)], 0.033) if f.track_id == 2]
    assert found.prediction.confidence == pytest.approx(0.9, abs=1e-6)  # a fresh memory; float32


def test_short_gap_is_bridged_and_long_gap_is_not():
    tracker = FaceTracker(TrackingSettings(gap_s=1.0, hold_s=0.3))
    tracker.update([face(100, 100)], 0.0)
    assert ids(tracker.update([], 0.2)) == [1]  # held
    assert tracker.update([], 0.5) == []  # no longer shown
    assert ids(tracker.update([face(105, 100)], 0.8)) == [1]  # but remembered
    tracker.update([], 1.5)
    assert ids(tracker.update([face(105, 100)], 2.0)) == [2]  # forgotten


@pytest.mark.parametrize("times_s", [[0, 0.5, 1.0, 1.5], [0, 1.2, 2.4, 3.6], [0, 2.9, 4.0, 6.0]])
def test_a_still_face_is_shown_however_few_frames_a_slow_machine_reads(times_s):
    tracker = FaceTracker(TrackingSettings(confirm_count=2))
    shown = [ids(tracker.update([face(100, 100)], time_s)) for time_s in times_s]
    assert shown == [[], [1], [1], [1]]
    assert tracker.update([face(100, 100)], 60.0) == []  # a pause is no slow stream


def test_held_face_moves_on_without_landmarks():
    tracker = FaceTracker()
    points = Landmarks.from_array(np.ones((5, 2)))
    for frame in range(10):
        seen = face(100 + 10 * frame, 100)
        seen = Face(Detection(seen.detection.box, 0.9, points), seen.prediction)
        tracker.update([seen], frame / 30)
    (held,) = tracker.update([], 9 / 30 + 0.1)
    assert held.detection.landmarks is None
    assert held.detection.box.centre[0] == pytest.approx(190 + 30, abs=8)  # 300 px a second for 0.1 s


@pytest.mark.parametrize("roll", [0.0, 20.0, 178.0], ids=["upright", "tilted", "upside down"])
def test_turn_of_a_box_holds_still_on_a_still_head(roll):
    tracker, noise = FaceTracker(), np.random.default_rng(7).normal(0, 2, 60)
    shown = []
    for frame, error in enumerate(noise):
        seen = face(100, 100)
        turned = Detection(seen.detection.box, 0.9, roll=(roll + error + 180) % 360 - 180)
        (found,) = tracker.update([Face(turned, seen.prediction)], frame / 30)
        shown.append((found.detection.roll - roll + 180) % 360 - 180)
    settled = np.array(shown[15:])
    assert np.abs(np.diff(settled)).mean() < 0.4 * np.abs(np.diff(noise[15:])).mean()
    assert abs(settled.mean()) < 1  # two degrees of noise, a third of it left


def test_turn_of_a_box_follows_a_head_that_tilts():
    tracker = FaceTracker()
    for frame in range(30):
        seen = face(100, 100)
        turned = Detection(seen.detection.box, 0.9, roll=float(frame))
        (found,) = tracker.update([Face(turned, seen.prediction)], frame / 30)
    assert found.detection.roll == pytest.approx(29, abs=4)  # 30 degrees a second, a tenth of one behind


def test_flash_is_not_reported_before_it_is_confirmed():
    tracker = FaceTracker(TrackingSettings(confirm_count=2))
    assert tracker.update([face(100, 100)], 0.0) == []
    assert ids(tracker.update([face(100, 100)], 0.03)) == [1]


def test_memory_is_bounded():
    tracker = FaceTracker(TrackingSettings(max_count=5))
    crowd = [face(200 * i, 100) for i in range(40)]
    assert len(tracker.update(crowd, 0.0)) == 5
    assert len(tracker.predict(0.0)) == 5


def test_numbers_are_not_used_again():
    tracker = FaceTracker()
    tracker.update([face(100, 100)], 0.0)
    tracker.reset()
    assert ids(tracker.update([face(100, 100)], 0.1)) == [2]


def test_step_back_in_time_starts_anew():
    tracker = FaceTracker()
    tracker.update([face(100, 100)], 9.0)
    assert ids(tracker.update([face(100, 100)], 0.0)) == [2]


def test_steadiness_changes_for_people_followed_now():
    tracker = FaceTracker()
    tracker.update([face(100, 100)], 0.0)
    tracker.change_steadiness(Steadiness(time_constant_s=0))
    (found,) = tracker.update([face(100, 100, emotion=SAD)], 0.03)
    assert found.prediction.emotion == SAD


def test_largest_face_comes_first():
    found = FaceTracker().update([face(100, 100, 50), face(400, 100, 90)], 0.0)
    assert [round(f.detection.box.width) for f in found] == [90, 50]
