from dataclasses import replace

import numpy as np
import pytest

from fer.annotation import FaceAnnotator, place_labels
from fer.emotions import SIX_EMOTIONS, Emotion
from fer.faces import Box, Detection, Face, Prediction
from fer.palette import EMOTION_HEX, person_colour, rgb_from_hex


def face_at(left, top, right, bottom, *, roll=0.0, confidence=0.9, unsure_below=0.0, track_id=None):
    shares = np.full(6, (1 - confidence) / 5, dtype=np.float32)
    shares[SIX_EMOTIONS.index(Emotion.HAPPY)] = confidence
    prediction = Prediction(SIX_EMOTIONS, shares, unsure_below=unsure_below)
    return Face(Detection(Box(left, top, right, bottom), 0.9, roll=roll), prediction, track_id)


def grey(height, width):
    return np.full((height, width, 3), 128, dtype=np.uint8)


def test_draws_on_a_copy():
    image = grey(240, 320)
    image.setflags(write=False)
    drawn = FaceAnnotator().annotate(image, [face_at(80, 80, 180, 180)])
    assert (image == 128).all()
    assert (drawn != 128).any()


def test_no_faces_changes_nothing():
    assert (FaceAnnotator().annotate(grey(50, 60), []) == 128).all()


def has_colour(drawn, colour):
    return (np.abs(drawn.astype(int) - colour).max(axis=2) <= 2).any()  # 2: the blend at the edges of lines


@pytest.mark.parametrize(
    ("track_id", "colour"),
    [
        pytest.param(None, rgb_from_hex(EMOTION_HEX[Emotion.HAPPY]), id="photo"),
        pytest.param(4, person_colour(4), id="stream"),
    ],
)
def test_frame_is_rgb_in_the_right_colour(track_id, colour):
    drawn = FaceAnnotator().annotate(grey(400, 400), [face_at(150, 150, 300, 300, track_id=track_id)])
    assert has_colour(drawn[290:310, 180:280], colour)


def test_large_roll_turns_the_frame():
    upright = FaceAnnotator().annotate(grey(400, 400), [face_at(150, 150, 250, 250, roll=3)])
    turned = FaceAnnotator().annotate(grey(400, 400), [face_at(150, 150, 250, 250, roll=45)])
    # Turned by 45 degrees, the lowest corner reaches 21 px below the upright frame.
    assert (upright[262:275] == 128).all()
    assert (turned[262:275, 190:210] != 128).any()


def test_positive_roll_is_clockwise():
    tall = FaceAnnotator().annotate(grey(400, 400), [face_at(180, 100, 220, 300, roll=30)])
    # A tall frame turned clockwise leans with its top to the right.
    columns = np.flatnonzero((tall[108:118] != 128).any(axis=(0, 2)))
    assert columns.mean() > 220


@pytest.mark.parametrize(
    ("confidence", "unsure_below", "text"),
    [(0.934, 0.5, "Happy 93 %"), (0.4, 0.5, "Unsure: happy 40 %"), (1.0, 0.0, "Happy 100 %")],
)
def test_text(confidence, unsure_below, text):
    assert FaceAnnotator().text(face_at(0, 0, 9, 9, confidence=confidence, unsure_below=unsure_below)) == text


@pytest.mark.parametrize(("track_id", "text"), [(None, "2 · Happy 90 %"), (7, "7 · Happy 90 %")])
def test_numbered_text(track_id, text):
    assert FaceAnnotator(numbered=True).text(face_at(0, 0, 9, 9, track_id=track_id), 2) == text


def test_a_head_turned_away_has_no_expression():
    face = face_at(0, 0, 9, 9)
    face = replace(face, prediction=replace(face.prediction, turned_away=True))
    assert FaceAnnotator(numbered=True).text(face, 2) == "2 · Turned away"


def test_text_without_confidence():
    assert FaceAnnotator(with_confidence=False).text(face_at(0, 0, 9, 9)) == "Happy"


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (40, 2000), (3000, 3000)], ids=str)
@pytest.mark.parametrize(
    "box", [(-50, -50, 40, 40), (2, 2, 12, 12), (10, 10, 5000, 5000), (100, -20, 160, 30)], ids=str
)
def test_any_size_and_boxes_over_the_border(size, box):
    drawn = FaceAnnotator().annotate(grey(*size), [face_at(*box, roll=20)])
    assert drawn.shape == (*size, 3)
    assert drawn.dtype == np.uint8


def test_label_is_as_large_as_the_picture_asks_for():
    heights = []
    for side in (300, 3000):
        drawn = FaceAnnotator().annotate(
            grey(side, side), [face_at(0.4 * side, 0.4 * side, 0.6 * side, 0.6 * side)]
        )
        above = drawn[: round(0.39 * side), round(0.42 * side)]
        heights.append((above != 128).any(axis=1).sum() / side)
    assert min(heights) > 0.025  # readable: a fortieth of the picture and more
    assert heights[0] == pytest.approx(heights[1], rel=0.5)


LABEL = (60, 16)
IMAGE = (400, 300)


def covers(place, box):
    left, top = place
    return left < box.right and box.left < left + LABEL[0] and top < box.bottom and box.top < top + LABEL[1]


def test_a_label_stands_above_its_face_where_there_is_room():
    assert place_labels([LABEL], [Box(100, 100, 180, 180)], IMAGE) == [(100, pytest.approx(100 - 16 - 3.2))]


@pytest.mark.parametrize(
    "boxes",
    [
        pytest.param([Box(100, 100, 140, 150), Box(105, 60, 135, 95)], id="a face above"),
        pytest.param(
            [Box(100, 100, 140, 150), Box(110, 155, 150, 200), Box(100, 55, 140, 97)], id="a column"
        ),
        pytest.param([Box(100, 100, 140, 150), Box(142, 105, 180, 150), Box(190, 98, 230, 150)], id="a row"),
        pytest.param([Box(2, 1, 42, 41), Box(50, 2, 90, 42)], id="at the edge"),
        pytest.param([Box(360, 255, 398, 299), Box(330, 200, 362, 245)], id="in the corner"),
    ],
)
def test_labels_cover_neither_faces_nor_each_other(boxes):
    places = place_labels([LABEL] * len(boxes), boxes, IMAGE)
    for place in places:
        assert 0 <= place[0] <= IMAGE[0] - LABEL[0]
        assert 0 <= place[1] <= IMAGE[1] - LABEL[1]
        assert not any(covers(place, box) for box in boxes)
    for index, (left, top) in enumerate(places):
        others = places[:index] + places[index + 1 :]
        assert not any(covers(place, Box(left, top, left + LABEL[0], top + LABEL[1])) for place in others)


def test_a_large_face_at_the_upper_edge_bears_its_label():
    assert place_labels([LABEL], [Box(50, 2, 350, 298)], IMAGE) == [(50, pytest.approx(2 + 3.2))]


def test_a_label_larger_than_the_picture_begins_at_its_edge():
    assert place_labels([(500, 400)], [Box(10, 10, 50, 50)], IMAGE) == [(0, 0)]


@pytest.mark.parametrize(("roll", "expected"), [(3.0, 0.0), (-8.0, -4.0), (12.0, 12.0), (40.0, 40.0)])
def test_boxes_turn_gradually_with_the_head(roll, expected):
    upright, turned = (
        FaceAnnotator(turned_above=limit).annotate(grey(200, 200), [face_at(60, 80, 140, 160, roll=angle)])
        for limit, angle in ((12.0, roll), (0.0, expected))
    )
    assert (upright == turned).all()
