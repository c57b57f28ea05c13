"""The detector's input and output: prepared images, cells, overlapping boxes."""

import numpy as np
import pytest

from fer.detection.decoding import FACES, VERIFIED, cell_grid, prepare_image, suppress


class TestDecoding:
    @pytest.mark.parametrize(
        ("shape", "expected"),
        [((1, 1), (32, 32)), ((480, 640), (256, 320)), ((33, 31), (64, 32)), ((4000, 10), (320, 32))],
    )
    def test_prepared_pictures_fit_the_strides(self, shape, expected):
        batch, enlarge = prepare_image(np.full((*shape, 3), 9, np.uint8), 320)
        assert batch.shape == (1, 3, *expected)
        assert enlarge == pytest.approx(max(max(shape) / 320, 1.0))

    def test_red_stays_red(self):
        image = np.zeros((40, 40, 3), np.uint8)
        image[..., 0] = 255
        batch, _ = prepare_image(image, 320)
        assert batch[0, 0, :40, :40].min() == 255
        assert batch[0, 1:].max() == 0

    @pytest.mark.parametrize("shape", [(480, 640), (481, 639), (1999, 1501)], ids=str)
    def test_places_stay_where_they_are_when_pictures_are_shrunk(self, shape):
        """A slope of light is as steep in the small picture as it was, from edge to edge."""
        rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]]
        slope = (rows + 0.5) / shape[0] * 100 + (columns + 0.5) / shape[1] * 100
        image = np.repeat(slope.astype(np.uint8)[..., None], 3, axis=2)
        batch, enlarge = prepare_image(image, 352)
        height, width = (round(side / enlarge) for side in shape)
        rows, columns = np.mgrid[2 : height - 2, 2 : width - 2]  # the outermost pixels repeat
        expected = (rows + 0.5) * enlarge / shape[0] * 100 + (columns + 0.5) * enlarge / shape[1] * 100
        assert np.abs(batch[0, 0, 2 : height - 2, 2 : width - 2] - (expected - 0.5)).max() < 1.2

    def test_of_overlapping_boxes_the_surer_stays(self):
        boxes = np.array([[0, 0, 10, 10], [1, 1, 11, 11], [20, 0, 30, 10], [0, 0, 9, 10]], np.float32)
        assert suppress(boxes, FACES).tolist() == [0, 2]
        assert suppress(boxes[:0], FACES).tolist() == []

    @pytest.mark.parametrize(
        ("boxes", "kept"),
        [
            pytest.param([[0, 0, 50, 60], [54, 0, 104, 60], [27, 0, 77, 60]], [0, 1], id="between two"),
            pytest.param([[0, 0, 50, 60], [40, 0, 90, 60], [80, 0, 130, 60]], [0, 1, 2], id="a row of heads"),
            pytest.param([[0, 0, 50, 60], [27, 0, 77, 60]], [0, 1], id="half behind one"),
        ],
    )
    def test_what_two_faces_cover_together_is_no_third_one(self, boxes, kept):
        assert suppress(np.array(boxes, np.float32), FACES).tolist() == kept

    def test_verified_boxes_are_not_dropped_for_what_others_cover_together(self):
        """A face behind three others, which the verifier has told from a box between them."""
        around = [[62, 100, 112, 160], [138, 100, 188, 160], [100, 54, 150, 114]]
        boxes = np.array([*around, [100, 100, 150, 160], [104, 100, 154, 160]], np.float32)
        assert suppress(boxes, FACES).tolist() == [0, 1, 2]
        assert suppress(boxes, VERIFIED).tolist() == [0, 1, 2, 3]

    def test_the_grid_is_shared_read_only(self):
        with pytest.raises(ValueError, match="read-only"):
            cell_grid(64, 64)[0, 0] = 1
