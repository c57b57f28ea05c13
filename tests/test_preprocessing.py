import numpy as np
import pytest

from fer.model_card import Preprocessing
from fer.preprocessing import prepare_crops


def plain(red: int, green: int, blue: int, side: int = 48) -> np.ndarray:
    return np.full((side, side, 3), (red, green, blue), dtype=np.uint8)


@pytest.mark.parametrize(
    ("colour", "expected"),
    [
        pytest.param((255, 0, 0), 76, id="red is red: 0.299"),
        pytest.param((0, 255, 0), 150, id="green: 0.587"),
        pytest.param((0, 0, 255), 29, id="blue: 0.114"),
        pytest.param((131, 131, 131), 131, id="grey stays"),
    ],
)
def test_grey_is_the_luma_of_rgb(colour: tuple[int, int, int], expected: int) -> None:
    assert np.unique(prepare_crops([plain(*colour)], Preprocessing())).tolist() == [expected]


def test_colour_channels_keep_their_order() -> None:
    batch = prepare_crops([plain(10, 20, 30)], Preprocessing(colour="rgb"))
    assert batch.shape == (1, 3, 48, 48)
    assert batch[0, :, 0, 0].tolist() == [10, 20, 30]


@pytest.mark.parametrize("side", [1, 20, 48, 97, 256])
def test_every_size_becomes_the_networks(side: int) -> None:
    batch = prepare_crops([plain(50, 50, 50, side), plain(90, 90, 90, side)], Preprocessing())
    assert batch.shape == (2, 1, 48, 48)
    assert [np.unique(crop).tolist() for crop in batch] == [[50], [90]]


@pytest.mark.parametrize(
    ("side", "period", "least", "most"),
    [
        pytest.param(60, 4, 0.9, 1.0, id="fine stripes stay (the mean of areas keeps 0.78)"),
        pytest.param(
            500, 4, 0.0, 0.15, id="stripes finer than its pixels vanish (OpenCV's Lanczos filter: 0.98)"
        ),
    ],
)
def test_shrinking_keeps_what_the_result_can_show(side: int, period: int, least: float, most: float) -> None:
    wave = np.cos(2 * np.pi * (np.arange(side) + 0.5) / period)
    crop = np.repeat((128 + 100 * np.tile(wave, (side, 1)))[:, :, None], 3, axis=2).round().astype(np.uint8)
    shown = prepare_crops([crop], Preprocessing())[0, 0].astype(float)
    assert least <= shown[8:-8, 8:-8].std() / crop.std() <= most


def test_no_crops_are_an_empty_batch() -> None:
    assert prepare_crops([], Preprocessing()).shape == (0, 1, 48, 48)


def test_what_is_not_square_is_refused() -> None:
    with pytest.raises(ValueError, match="square RGB crop"):
        prepare_crops([np.zeros((10, 12, 3), dtype=np.uint8)], Preprocessing())
