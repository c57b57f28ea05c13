"""The square crop: full size at every border, upright for tilted faces, exact without resampling."""

import dataclasses

import cv2
import numpy as np
import pytest

from fer.cropping import (
    MAX_CROP_SIDE,
    Framing,
    Square,
    crop_face,
    crop_square,
    hidden_share,
    reference_square,
)
from fer.faces import Box, Detection
from fer.images import RgbImage


def turned(image: RgbImage, degrees: float) -> RgbImage:
    """Turned clockwise around the middle."""
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2 - 0.5, height / 2 - 0.5), -degrees, 1.0)
    return np.asarray(cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_CUBIC), dtype=np.uint8)


def test_a_square_inside_keeps_its_pixels(astronaut):
    crop = crop_face(astronaut, Square(200.0, 100.0, 80.0))
    np.testing.assert_array_equal(crop, astronaut[60:140, 160:240])
    assert crop.flags["C_CONTIGUOUS"]
    assert not np.shares_memory(crop, astronaut)


def test_margin_is_a_share_of_the_side(astronaut):
    crop = crop_face(astronaut, Square(200.0, 100.0, 80.0), margin=0.25)
    np.testing.assert_array_equal(crop, astronaut[40:160, 140:260])


def test_turning_by_next_to_nothing_changes_next_to_nothing(astronaut):
    # The two ways to cut must agree: half a grey level is what sampling may round away.
    straight = crop_face(astronaut, Square(200.0, 100.0, 80.0)).astype(float)
    sampled = crop_face(astronaut, Square(200.0, 100.0, 80.0, roll=1e-6)).astype(float)
    assert np.abs(straight - sampled).max() <= 1.0


@pytest.mark.parametrize("roll", [0.0, 30.0, -90.0])
@pytest.mark.parametrize(
    ("x", "y"),
    [
        pytest.param(0.0, 256.0, id="left"),
        pytest.param(512.0, 256.0, id="right"),
        pytest.param(256.0, 0.0, id="top"),
        pytest.param(256.0, 512.0, id="bottom"),
        pytest.param(0.0, 0.0, id="corner"),
        pytest.param(-20.0, 530.0, id="mostly outside"),
    ],
)
def test_crops_at_each_border_have_full_size(astronaut, x, y, roll):
    assert crop_face(astronaut, Square(x, y, 96.0, roll)).shape == (96, 96, 3)


def test_edge_pixels_repeat_beyond_the_border(astronaut):
    crop = crop_face(astronaut, Square(0.0, 256.0, 100.0))
    np.testing.assert_array_equal(crop[:, :49], np.repeat(crop[:, 49:50], 49, axis=1))
    np.testing.assert_array_equal(crop[:, 50:], astronaut[206:306, 0:50])


def test_red_stays_red_through_the_crop():
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 0] = 255
    for square in (Square(32, 32, 40), Square(0, 0, 40), Square(32, 32, 40, 25), Square(32, 32, 900, 25)):
        assert (crop_face(red, square).reshape(-1, 3) == (255, 0, 0)).all()


@pytest.mark.parametrize("degrees", [-90.0, -25.0, 10.0, 45.0, 170.0])
def test_a_turned_face_comes_upright(astronaut, degrees):
    square_side = 150.0
    upright = crop_face(astronaut, Square(256.0, 256.0, square_side)).astype(float)
    crop = crop_face(turned(astronaut, degrees), Square(256.0, 256.0, square_side, degrees)).astype(float)
    # Turning there and back blurs edges: the mean stays within 3 % of the range, where half a turn gives 25 %.
    assert np.abs(crop - upright).mean() < 8
    assert np.abs(crop[::-1, ::-1] - upright).mean() > 40


@pytest.mark.parametrize(
    ("x", "y", "share"),
    [
        pytest.param(50.0, 30.0, 0.0, id="inside"),
        pytest.param(0.0, 30.0, 0.5, id="half"),
        pytest.param(100.0, 60.0, 0.75, id="a quarter is seen"),
        pytest.param(-40.0, 30.0, 1.0, id="outside"),
    ],
)
def test_hidden_share(x, y, share):
    image = np.zeros((60, 100, 3), np.uint8)
    assert hidden_share(image, Square(x, y, 40.0)) == pytest.approx(share)


def fine_detail(crop: RgbImage) -> float:
    """Mean difference of the middle from its blurred copy, in grey levels."""
    grey = crop.mean(axis=2)
    return float(np.abs(grey - cv2.GaussianBlur(grey, (0, 0), 1.0))[20:-20, 20:-20].mean())


@pytest.mark.parametrize("degrees", [1.0, -8.0, 45.0])
def test_turning_does_not_blur(astronaut, degrees):
    # A blurred face is classified less well; linear interpolation keeps 0.77 of the detail.
    straight = crop_face(astronaut, Square(224.0, 110.0, 110.0))
    crop = crop_face(astronaut, Square(224.0, 110.0, 110.0, degrees))
    assert fine_detail(crop) > 0.88 * fine_detail(straight)


def test_a_pixel_lands_where_the_geometry_says():
    image = np.zeros((101, 101, 3), np.uint8)
    image[30, 50] = 255  # straight above the centre of pixel (50, 50)
    crop = crop_face(image, Square(50.5, 50.5, 81.0, roll=-90.0))
    assert np.unravel_index(crop[..., 0].argmax(), (81, 81)) == (
        40,
        60,
    )  # turned upright it lies to the right


def test_large_faces_are_shrunk_by_areas():
    stripes = np.zeros((1024, 1024, 3), np.uint8)
    stripes[:, ::2] = 255
    for square in (Square(512, 512, 1000), Square(512, 512, 1000, 1e-6), Square(0, 512, 1000)):
        crop = crop_face(stripes, square)
        assert crop.shape == (MAX_CROP_SIDE, MAX_CROP_SIDE, 3)
        assert 100 < crop[128, 140:].mean() < 156  # grey; skipping pixels would give black or white


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (2, 2)])
@pytest.mark.parametrize("roll", [0.0, 20.0])
def test_tiny_pictures(shape, roll):
    image = np.full((*shape, 3), 7, np.uint8)
    assert (crop_face(image, Square(0.5, 0.5, 500.0, roll)) == 7).all()
    assert crop_face(image, Square(0.5, 0.5, 0.2, roll)).shape == (1, 1, 3)


def test_a_square_far_outside_is_refused(astronaut):
    with pytest.raises(ValueError, match="touches the image"):
        crop_face(astronaut, Square(-500.0, 100.0, 50.0))


def test_reference_square_follows_the_framing():
    upright = Detection(Box(10, 20, 50, 80), 0.9)
    square = reference_square(upright, Framing(1.2, 0.1, -0.2))
    assert (square.centre_x, square.centre_y) == pytest.approx((35.0, 40.0))
    assert square.side == pytest.approx(60.0)
    # Turned by a quarter, "up" of the face is to the right.
    sideways = reference_square(Detection(Box(10, 20, 50, 80), 0.9, roll=90.0), Framing(1.2, 0.0, -0.2))
    assert (sideways.centre_x, sideways.centre_y) == pytest.approx((40.0, 50.0))


@pytest.mark.parametrize(
    ("size_wh", "square", "expected"),
    [
        pytest.param((200, 100), Square(60, 50, 80, 5), Square(60, 50, 80, 5), id="inside: as it is"),
        pytest.param((200, 100), Square(38, 64, 80), Square(40, 60, 80), id="moved inside"),
        pytest.param(
            (200, 100), Square(0, 50, 80), Square(8, 50, 80), id="moved by a tenth of its side at most"
        ),
        pytest.param((100, 80), Square(55, 39, 120), Square(50, 40, 100), id="a face that fills the image"),
        pytest.param((80, 100), Square(41, 44, 120), Square(40, 50, 100), id="an upright image"),
        pytest.param((200, 100), Square(90, 45, 130), Square(90, 50, 130), id="higher than the image"),
    ],
)
def test_the_square_to_cut_is_inside_the_image_as_far_as_possible(size_wh, square, expected):
    half = square.side / 2
    box = Box(*(centre - half for centre in (square.centre_x, square.centre_y)),
              *(centre + half for centre in (square.centre_x, square.centre_y)))  # fmt: skip
    image = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    found = crop_square(image, Detection(box, 0.9, roll=square.roll), Framing())
    assert dataclasses.astuple(found) == pytest.approx(dataclasses.astuple(expected))
