"""Labelled photos for the detector: their moves, augmentation, false positives and copies."""

import cv2
import numpy as np
import pytest
import torch
from toy_scenes import POINTS, toy_scene

from fer.faces import Box, Detection, Landmarks
from training.data.parquet_files import write_parquet_faces
from training.detector import augmentation
from training.detector.augmentation import SceneAugmentation
from training.detector.false_places import FalsePlace, SecondLook, cut_place, find_false_places
from training.detector.network import (
    BACKGROUND,
    KvFaceNetwork,
    assign,
)
from training.detector.scenes import Scene, find_copies, join_scenes, make_scene, move_scene, read_face_crops


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """For tensors this small, threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class TestScenes:
    def test_doubtful_faces_are_left_aside(self):
        assert toy_scene(score=0.71).is_sure.tolist() == [True]
        assert toy_scene(score=0.69).is_sure.tolist() == [False]

    @pytest.mark.parametrize(("splits", "sides"), [(("train", "val", "train"), [8, 24]), ((), [8, 16, 24])])
    def test_of_single_faces_only_those_for_training_are_read(self, tmp_path, splits, sides):
        pictures = [
            cv2.imencode(".png", np.zeros((side, side, 3), np.uint8))[1].tobytes() for side in (8, 16, 24)
        ]
        write_parquet_faces(tmp_path / "faces.parquet", pictures, [None] * 3, ["happy"], splits=splits)

        class Teacher:
            def detect(self, image):
                return [Detection(Box(0, 0, 8, 8), 0.9, Landmarks.from_array(POINTS))]

        assert [len(each.image) for each in read_face_crops(tmp_path / "faces.parquet", Teacher())] == sides

    def test_a_scene_without_faces(self):
        empty = make_scene(np.zeros((8, 8, 3), np.uint8), *(np.zeros(0, np.float32),) * 3)
        assert empty.boxes.shape == (0, 4)
        assert assign(empty).tolist() == [BACKGROUND]
        assert join_scenes(empty.image, [empty, toy_scene()]).boxes.shape == (1, 4)

    @pytest.mark.parametrize(
        ("degrees", "size_wh"), [(0, (40, 60)), (90, (60, 40)), (-90, (60, 40)), (180, (40, 60))]
    )
    def test_a_turned_box_is_that_of_the_turned_face(self, degrees, size_wh):
        image = np.zeros((100, 100, 3), np.uint8)
        tall = make_scene(image, np.array([20, 10, 60, 70.0]), POINTS, np.array([0.9]))
        angle = np.radians(degrees)
        matrix = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0]])
        [box] = move_scene(image, tall, matrix, angle, False).boxes
        assert (box[2] - box[0], box[3] - box[1]) == pytest.approx(size_wh, abs=1e-3)

    def test_mirroring_exchanges_left_and_right(self):
        matrix = np.array([[-1.0, 0, 96], [0, 1.0, 0]])
        mirrored = move_scene(np.zeros((96, 96, 3), np.uint8), toy_scene(), matrix, 0.0, True)
        right_eye, left_eye = mirrored.landmarks[0, :2]
        assert right_eye[0] < left_eye[0]  # the subject's right is still on the left of the picture
        np.testing.assert_allclose(right_eye, [96 - 50, 40])


class TestAugmentation:
    def test_labels_follow_the_pixels(self):
        """Wherever a sure face is drawn, its eyes' colours lie under its eyes' landmarks."""
        draw = SceneAugmentation([toy_scene()], [], 128)
        rng = np.random.default_rng(1)
        hits = count = 0
        for _ in range(60):
            view = draw.draw(0, rng)
            for points, size, sure in zip(view.landmarks, view.sizes, view.is_sure, strict=True):
                eyes = points[:2].round().astype(int)
                if not sure or size.mean() < 25 or (eyes < 0).any() or (eyes > 127).any():
                    continue
                first, second = (view.image[y, x].astype(int) for x, y in eyes)
                # Mirrored pictures exchange which eye is the right one; grey ones tell nothing.
                if abs(first - second).max() > 60:
                    count += 1
                    hits += int((first[0] > first[2]) != (second[0] > second[2]))
        assert count > 15
        assert (
            hits >= 0.9 * count
        )  # a face at the edge of a mosaic's part may have an eye behind the next part

    def test_the_same_seed_draws_the_same(self):
        draw = SceneAugmentation([toy_scene()] * 3, [toy_scene()], 128)
        first, second = (draw.draw(1, np.random.default_rng(5)) for _ in range(2))
        np.testing.assert_array_equal(first.image, second.image)
        np.testing.assert_array_equal(first.boxes, second.boxes)


class TestFalsePlaces:
    """A network whose every cell says "face" errs everywhere, so what is kept is what the rules keep."""

    def places(self, photo: Scene, second_look: SecondLook | None = None) -> list[FalsePlace]:
        network = KvFaceNetwork()
        with torch.no_grad():
            for layer in network.fields:
                layer.bias[0], layer.bias[1:5] = 4.0, 0.3
        return find_false_places(network, [photo], second_look)

    def test_they_keep_clear_of_known_faces_doubtful_ones_included(self):
        photo = join_scenes(toy_scene(image_side=256).image, [toy_scene(), toy_scene(score=0.1)])
        found = self.places(photo)
        assert len(found) > 10
        for place in found:
            part = cut_place(photo, place)
            assert not (part.image == 200).all(axis=2).any()
            assert len(part.sizes) == 0
            assert place.side <= place.reach <= 2 * place.side

    def test_a_photo_full_of_face_has_none(self):
        assert self.places(toy_scene(96.0, image_side=96)) == []

    @pytest.mark.parametrize(("score", "kept"), [(0.95, False), (0.6, True)])
    def test_a_place_in_which_the_teacher_surely_sees_a_face_is_left_out(self, score: float, kept: bool):
        class Teacher:
            name, framing = "teacher", None

            def detect(self, image):
                return [Detection(Box(30, 30, 90, 90), score)]

        photo = toy_scene(image_side=256)
        assert bool(self.places(photo, SecondLook(Teacher()))) == kept

    def test_they_are_looked_at_and_pasted(self):
        photo = toy_scene(image_side=256)
        photo.image[180:220, 180:220] = (0, 255, 0)
        place = FalsePlace(0, (200.0, 200.0), 40.0, 40.0)
        rng = np.random.default_rng(0)

        def green(draw: SceneAugmentation) -> int:
            views = [draw.draw(0, rng).image.astype(int) for _ in range(60)]
            large = [(image[..., 1] - image[..., [0, 2]].max(axis=2) > 40).mean() > 0.05 for image in views]
            return sum(large)

        without = green(SceneAugmentation([photo], [toy_scene()], 128))
        assert green(SceneAugmentation([photo], [toy_scene()], 128, [place])) > without + 8


def test_copies_are_found_mirrored_and_shrunk(astronaut):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8).repeat(20, 0).repeat(20, 1)
    found = find_copies([astronaut[::2, ::2], astronaut[:, ::-1], noise], [astronaut])
    assert found.tolist() == [True, True, False]
    assert find_copies([], [astronaut]).tolist() == []
    assert find_copies([astronaut], []).tolist() == [False]


@pytest.mark.parametrize(
    "side", [pytest.param(40.0, id="a face"), pytest.param(96.0, id="a face that fills it")]
)
def test_parts_without_a_face_keep_clear_of_faces(side: float):
    photo = toy_scene(side, image_side=96)
    rng = np.random.default_rng(0)
    for _ in range(20):
        part = augmentation._cut_without_face(photo, rng)
        assert len(part.sizes) == 0
        assert not (part.image == 200).all(axis=2).any()
