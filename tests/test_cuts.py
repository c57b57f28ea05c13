import numpy as np
import pytest

from fer.streams.stream import CutDetector


def scene(seed, height=240, width=320):
    coarse = np.random.default_rng(seed).integers(0, 255, (8, 8), dtype=np.uint8)
    return np.repeat(
        np.kron(coarse, np.ones((height // 8, width // 8), dtype=np.uint8))[:, :, None], 3, axis=2
    )


@pytest.mark.parametrize(
    ("frames", "cuts"),
    [
        pytest.param([scene(1)] * 3, [False] * 3, id="still"),
        pytest.param([scene(1), scene(2), scene(2)], [False, True, False], id="cut"),
        pytest.param([scene(1), np.roll(scene(1), 8, axis=1)], [False, False], id="slow pan"),
        pytest.param([scene(1), scene(1) // 2], [False, False], id="light goes down"),
        pytest.param(
            [scene(1), np.zeros_like(scene(1)), scene(1)], [False] * 3, id="lens covered for a moment"
        ),
        pytest.param([scene(1), scene(1, 120, 160)[:80]], [False, True], id="other size"),
        pytest.param([np.zeros((1, 1, 3), dtype=np.uint8)] * 2, [False] * 2, id="one pixel"),
    ],
)
def test_cuts(frames, cuts):
    detector = CutDetector()
    assert [detector.is_cut(frame) for frame in frames] == cuts


def test_a_moving_head_is_no_cut(astronaut):
    detector = CutDetector()
    for step in range(10):
        assert not detector.is_cut(astronaut[:, 4 * step : 4 * step + 400])
