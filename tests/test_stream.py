from functools import partial
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from fer.analysis import FaceAnalyzer
from fer.cropping import Framing
from fer.detection import load_detector
from fer.emotions import SIX_EMOTIONS
from fer.faces import Box, Detection, Landmarks, Prediction
from fer.streams.local_search import drop_doubles, search_around
from fer.streams.search import BudgetSearch, SearchBudget
from fer.streams.stream import StreamAnalyzer


class BlobDetector:
    """Finds bright blobs; counts how often it looked at whole frames and at parts."""

    name = "blob"
    framing = Framing()

    def __init__(self, clock=None, cost_s=0.0):
        self.whole_count = self.part_count = 0
        self.clock, self.cost_s = clock, cost_s

    def detect(self, image):
        is_whole = image.shape[1] >= 320
        self.whole_count += is_whole
        self.part_count += not is_whole
        if self.clock is not None:
            self.clock.now += self.cost_s * (1.0 if is_whole else 0.2)
        count, _, stats, _ = cv2.connectedComponentsWithStats((image[:, :, 0] > 128).astype(np.uint8))
        return [
            Detection(Box(x, y, x + w, y + h), 0.9)
            for x, y, w, h, area in stats[1:count].astype(float)
            if area > 20
        ]

    def close_up(self):
        return self


class FixedClassifier:
    card = SimpleNamespace(preprocessing=SimpleNamespace(margin=0.0, size=48))
    head = SimpleNamespace(other_above=1.0)

    def classify(self, crops):
        return [Prediction(SIX_EMOTIONS, np.full(6, 1 / 6, dtype=np.float32)) for _ in crops]


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def frame_with(*centres, side=60):
    # A scene behind the faces, as in any real picture: without it every movement would be another scene.
    frame = np.repeat(np.linspace(0, 90, 640).astype(np.uint8)[None, :, None], 480, axis=0).repeat(3, axis=2)
    frame[::2] //= 2
    for x, y in centres:
        frame[int(y - side / 2) : int(y + side / 2), int(x - side / 2) : int(x + side / 2)] = 255
    return frame


def reader(detector, **settings):
    clock = detector.clock or Clock()
    return StreamAnalyzer(
        FaceAnalyzer(detector, FixedClassifier()),
        partial(BudgetSearch, budget=SearchBudget(**settings), clock=clock),
        clock=clock,
    )


def test_a_moving_face_is_followed_by_looking_around_it():
    detector = BlobDetector(clock=Clock(), cost_s=0.01)
    stream = reader(detector)
    for frame in range(60):
        x = 100 + 6 * frame
        people = stream.read(frame_with((x, 240)), frame / 30)
        if frame >= 1:  # the first frame waits for its confirmation
            assert [person.track_id for person in people] == [1]
            assert people[0].detection.box.centre[0] == pytest.approx(x, abs=6)
    assert detector.whole_count <= 8  # every 0.5 s in 2 s, and the first ones
    assert detector.part_count >= 50


def test_whole_frames_are_searched_less_often_while_others_wait():
    """Searching a whole frame is quick; what it takes is left to the other visitors of a busy page."""
    clock = Clock()
    detector = BlobDetector(clock=clock, cost_s=0.003)
    others_wait = False
    stream = StreamAnalyzer(
        FaceAnalyzer(detector, FixedClassifier()),
        partial(BudgetSearch, clock=clock, is_crowded=lambda: others_wait),
        clock=clock,
    )
    counts = []
    for others_wait in (False, True):
        before = detector.whole_count
        for frame in range(30):
            number = 30 * others_wait + frame
            people = stream.read(frame_with((100 + 5 * number, 240)), number / 30)
            assert frame < 2 or len(people) == 1
        counts.append(detector.whole_count - before)
    assert counts[0] == 30
    assert 1 <= counts[1] <= 3


def test_newcomer_is_found_within_the_scan_interval():
    stream = reader(BlobDetector(clock=Clock(), cost_s=0.01))
    seen_s = None
    for frame in range(60):
        centres = [(100, 240)] + ([(450, 200)] if frame >= 15 else [])
        people = stream.read(frame_with(*centres), frame / 30)
        if len(people) == 2 and seen_s is None:
            seen_s = frame / 30
    assert seen_s is not None
    assert seen_s - 15 / 30 <= 0.5 + 3 / 30  # one scan, its confirmation, one frame of rounding


def test_a_face_that_jumps_is_found_again_quickly():
    stream = reader(BlobDetector(clock=Clock(), cost_s=0.01))
    for frame in range(30):
        stream.read(frame_with((100, 240)), frame / 30)
    for frame in range(6):
        people = stream.read(frame_with((500, 240)), 1 + frame / 30)
    assert 2 in {person.track_id for person in people}


def test_slow_machine_skips_frames_and_lets_faces_glide():
    detector = BlobDetector(clock=Clock(), cost_s=0.4)  # a part costs 0.08 s, above the budget
    stream = reader(detector, budget_s=0.025)
    shown = 0
    for frame in range(90):
        shown += bool(stream.read(frame_with((100 + 2 * frame, 240)), frame / 30))
    assert detector.part_count + detector.whole_count < 40  # of 90 frames
    assert shown > 75


def test_quick_detector_looks_at_whole_frames_only():
    detector = BlobDetector(clock=Clock(), cost_s=0.004)
    stream = reader(detector)
    for frame in range(30):
        centres = [(100 + 4 * frame, 240)] + ([(450, 200)] if frame >= 15 else [])
        people = stream.read(frame_with(*centres), frame / 30)
        if frame == 16:
            assert len(people) == 2  # the newcomer waited for nothing but its confirmation
    assert (detector.whole_count, detector.part_count) == (30, 0)


def test_warming_up_does_not_make_a_quick_detector_a_slow_one():
    detector = BlobDetector(clock=Clock(), cost_s=0.1)
    stream = reader(detector)
    for frame in range(60):
        stream.read(frame_with((100, 240)), frame / 30)
        detector.cost_s = 0.004
    assert detector.whole_count >= 25  # from the second search on, a second after the first at the latest


def tilted(astronaut, roll):
    """The photograph in a camera's frame, its head tilted by ``roll`` degrees clockwise."""
    turn = cv2.getRotationMatrix2D((225.0, 115.0), -roll, 0.9)
    turn[:, 2] += (320 - 225, 240 - 115)
    return cv2.warpAffine(astronaut, turn, (640, 480), borderMode=cv2.BORDER_REPLICATE)


def test_tilting_head_keeps_its_box_with_haar(astronaut):
    stream = StreamAnalyzer(FaceAnalyzer(load_detector("haar", live=True), FixedClassifier()))
    missed = []
    for frame in range(90):
        roll = 40 * np.sin(2 * np.pi * frame / 90)  # to one side and to the other in six seconds
        people = stream.read(tilted(astronaut, roll), frame / 15)
        if frame < 2:
            continue
        if [person.track_id for person in people] != [1]:
            missed.append((frame, [person.track_id for person in people]))
            continue
        (person,) = people
        assert person.detection.box.centre == pytest.approx((320, 240), abs=25)  # a quarter of the side
        assert person.detection.roll == pytest.approx(roll, abs=26)  # the cascade's own steps are 25 degrees
    assert missed == []


def test_seldom_frames_of_a_slow_machine_are_all_searched():
    detector = BlobDetector(clock=Clock(), cost_s=2.0)  # a part costs 0.4 s
    stream = reader(detector)
    for frame in range(12):
        people = stream.read(frame_with((100, 240), (420, 200)), 0.3 * frame)
        if frame > 1:
            assert [person.track_id for person in people] == [1, 2]


def test_empty_frames_are_scanned_seldom_by_a_slow_detector():
    detector = BlobDetector(clock=Clock(), cost_s=0.1)
    stream = reader(detector)
    for frame in range(90):
        assert stream.read(frame_with(), frame / 30) == []
    assert detector.whole_count <= 16  # every 0.2 s in 3 s


def test_many_faces_stay_within_the_budget():
    detector = BlobDetector(clock=Clock(), cost_s=0.05)  # a part costs 0.01 s: two are affordable
    stream = reader(detector, budget_s=0.025)
    centres = [(80 + 160 * column, 120 + 240 * row) for column in range(4) for row in range(2)]
    for frame in range(30):
        before = detector.part_count
        people = stream.read(frame_with(*centres, side=40), frame / 30)
        assert detector.part_count - before <= 2
        if frame > 2:
            assert len(people) == 8


def test_step_back_in_time_starts_anew():
    stream = reader(BlobDetector())
    for time_s in (5.0, 5.03):
        stream.read(frame_with((100, 240)), time_s)
    stream.read(frame_with((100, 240)), 0.0)
    (person,) = stream.read(frame_with((100, 240)), 0.03)
    assert person.track_id == 2


def test_another_scene_starts_anew():
    stream = reader(BlobDetector())
    for time_s in (0.0, 0.03):
        stream.read(frame_with((100, 240)), time_s)
    stream.read(np.ascontiguousarray(frame_with()[:, ::-1]), 0.06)
    for time_s in (0.1, 0.13):
        people = stream.read(frame_with((100, 240)), time_s)
    assert [person.track_id for person in people] == [2]


def test_threshold_reaches_the_answer():
    stream = reader(BlobDetector())
    stream.unsure_below = 0.5
    for time_s in (0.0, 0.03):
        people = stream.read(frame_with((100, 240)), time_s)
    assert people[0].prediction.is_unsure


@pytest.mark.parametrize("roll", [0.0, 30.0, -75.0, 170.0])
def test_local_search_finds_place_and_size(roll):
    frame = np.zeros((480, 640, 3), dtype=np.uint8)
    cv2.circle(frame, (330, 245), 40, (255, 255, 255), -1)
    expected = Detection(Box(280, 190, 365, 275), 0.9, roll=roll)
    found = search_around(BlobDetector(), frame, expected)
    assert found.box.centre == pytest.approx((330.5, 245.5), abs=1.5)  # half a pixel, and the shrinking
    assert found.box.width == pytest.approx(81, abs=4)
    assert found.roll == pytest.approx(roll)


def test_local_search_turns_landmarks_back():
    class Pointing(BlobDetector):
        def detect(self, image):
            (found,) = super().detect(image)
            x, y = found.box.centre
            points = np.array([[x - 10, y], [x + 10, y], [x, y], [x - 5, y + 9], [x + 5, y + 9]])
            return [Detection(found.box, 0.9, Landmarks.from_array(points), 0.0)]

    frame = np.zeros((480, 640, 3), dtype=np.uint8)
    cv2.circle(frame, (330, 245), 40, (255, 255, 255), -1)
    found = search_around(Pointing(), frame, Detection(Box(290, 205, 370, 285), 0.9, roll=30.0))
    assert found.landmarks.roll == pytest.approx(30, abs=0.1)


@pytest.mark.parametrize(
    "box", [(-200, 0, -100, 100), (700, 0, 800, 100), (600, 400, 700, 500)], ids=["left", "right", "corner"]
)
def test_local_search_beyond_the_border(box):
    assert search_around(BlobDetector(), frame_with((100, 100)), Detection(Box(*box), 0.9)) is None


def test_doubles_are_dropped_and_order_is_kept():
    boxes = [Box(0, 0, 10, 10), Box(50, 0, 60, 10), Box(1, 0, 11, 10)]
    found = [Detection(box, score) for box, score in zip(boxes, (0.5, 0.6, 0.9), strict=True)]
    assert [d.box.left for d in drop_doubles(found)] == [50, 1]
    assert drop_doubles([]) == []
