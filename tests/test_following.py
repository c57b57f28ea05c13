import numpy as np
import pytest
from fakes import PatchDetector

from fer.detection.haar import LIVE, HaarDetector
from fer.streams.search import FollowingSearch
from fer.video import Frame


class CountingHaar(HaarDetector):
    """Haar that counts searches of whole frames."""

    def __init__(self) -> None:
        super().__init__(LIVE)
        self.scan_count = 0

    def detect(self, image):
        self.scan_count += 1
        return super().detect(image)


def walk(astronaut, count: int) -> list[Frame]:
    """A window that moves over the photograph: the face walks to the left."""
    return [Frame(np.ascontiguousarray(astronaut[:360, 2 * i : 2 * i + 400]), i / 30) for i in range(count)]


def find(search: FollowingSearch, frame: Frame):
    return search.find(frame.image, frame.timestamp_s, lambda _: [])


def test_a_face_is_followed_with_few_searches_of_the_whole_frame(astronaut):
    frames = walk(astronaut, 30)
    detector = CountingHaar()
    follower = FollowingSearch(detector)
    for frame, whole in zip(
        frames, [HaarDetector(LIVE).detect(frame.image) for frame in frames], strict=True
    ):
        (found,) = find(follower, frame)
        assert found.box.iou(whole[0].box) > 0.6  # Haar's boxes jump by a tenth of their side
    assert detector.scan_count == 5  # a second long


def test_the_same_video_gives_the_same_faces(astronaut):
    frames = walk(astronaut, 10)
    first, second = (FollowingSearch(HaarDetector(LIVE)) for _ in range(2))
    assert [find(first, frame) for frame in frames] == [find(second, frame) for frame in frames]


def test_somebody_lost_is_looked_for_everywhere_at_once(astronaut):
    follower = FollowingSearch(HaarDetector(LIVE))
    assert find(follower, Frame(np.ascontiguousarray(astronaut[:360, :400]), 0.0))
    moved = np.full((360, 800, 3), 110, np.uint8)
    moved[:, 400:] = astronaut[:360, :400]  # a cut: the face is somewhere else in the next frame
    (found,) = find(follower, Frame(moved, 1 / 30))
    assert found.box.left > 400


@pytest.mark.parametrize("step_s", [0.04, 10.0])
def test_an_empty_frame_forgets(astronaut, step_s):
    follower = FollowingSearch(HaarDetector(LIVE))
    find(follower, Frame(np.ascontiguousarray(astronaut[:360, :400]), 0.0))
    assert find(follower, Frame(np.zeros((360, 400, 3), np.uint8), step_s)) == []
    assert find(follower, Frame(np.zeros((360, 400, 3), np.uint8), 2 * step_s)) == []


def test_other_detectors_search_every_frame_whole():
    assert not FollowingSearch(PatchDetector()).is_following
    assert FollowingSearch(HaarDetector(LIVE)).is_following
