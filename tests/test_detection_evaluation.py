"""Recall of a detector on photos with labelled boxes."""

import numpy as np
import pytest

from fer.faces import Box, Detection
from training.data.datasets import DatasetError
from training.detector.evaluation import BoxedPhoto, match, measure_recall, parse_box


class TestEvaluation:
    def test_each_detection_counts_once(self):
        boxes = [Box(0, 0, 10, 10), Box(1, 0, 11, 10)]
        assert match(boxes, [Detection(Box(0, 0, 10, 10), 0.9)], 0.3) == [0, None]
        assert match(boxes, [], 0.3) == [None, None]
        assert match([], [Detection(Box(0, 0, 10, 10), 0.9)], 0.3) == []

    def test_false_boxes_are_counted_on_exhaustive_photos_alone(self):
        image = np.zeros((40, 40, 3), np.uint8)
        found = [Detection(Box(0, 0, 10, 10), 0.9), Detection(Box(20, 20, 30, 30), 0.9)]
        photos = [
            BoxedPhoto(image, (Box(0, 0, 10, 10),), is_exhaustive=True),
            BoxedPhoto(image, (Box(0, 20, 10, 30),)),
        ]
        recall = measure_recall(lambda _: found, photos, 0.4)
        assert (recall.found, recall.count, recall.false_boxes, recall.exhaustive_count) == (1, 2, 1, 1)


@pytest.mark.parametrize(
    "face",
    [
        [1, 2, 30, 40],
        {"box": [1, 2, 30, 40], "score": 0.9},
        {"left": 1, "top": 2, "right": 30, "bottom": 40, "label": "happy"},
    ],
    ids=["list", "with a box", "side by side"],
)
def test_boxes_are_parsed_in_every_form(face):
    assert parse_box(face) == Box(1, 2, 30, 40)


@pytest.mark.parametrize("face", [[481.2, 1.9, 481.2, 2.5], [5, 5, 4, 9], {"box": [1, 9, 2, 9]}], ids=str)
def test_boxes_without_area_are_none(face):
    assert parse_box(face) is None


@pytest.mark.parametrize("face", [[1, 2, 3], [1, 2, 3, "wide"], {"left": 1}, {"box": 7}, 5, None], ids=str)
def test_what_is_no_box_is_told(face):
    with pytest.raises(DatasetError, match="expected a box as left, top, right, bottom, got"):
        parse_box(face)
