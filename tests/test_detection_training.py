"""Parts of the detector's training: augmentation of labels, assignment of faces to cells, loss."""

import numpy as np
import pytest
import torch

from fer.detection.decoding import cell_grid, decode, prepare_image, suppress
from fer.faces import Box, Detection
from training.detector import augmentation
from training.detector.augmentation import SceneAugmentation
from training.detector.evaluation import BoxedPhoto, match, measure_recall
from training.detector.false_places import FalsePlace, SecondLook, cut_place, find_false_places
from training.detector.network import (
    BACKGROUND,
    FIELD_COUNT,
    LEFT_ASIDE,
    ExportedDetector,
    KvFaceNetwork,
    assign,
    detector_loss,
    make_batch,
)
from training.detector.scenes import Scene, find_copies, join_scenes, make_scene, move_scene
from training.detector.train import DetectorConfig

POINTS = np.array([[30, 40], [50, 40], [40, 50], [33, 60], [47, 60]], np.float32)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """For tensors this small, threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def scene(side: float = 40.0, score: float = 0.9, image_side: int = 96) -> Scene:
    """A white blot on black where the face is, with a red right and a blue left eye."""
    image = np.zeros((image_side, image_side, 3), np.uint8)
    box = np.array([40 - side / 2, 50 - side / 2, 40 + side / 2, 50 + side / 2], np.float32)
    left, top, right, bottom = box.astype(int)
    image[top:bottom, left:right] = 200
    image[38:43, 28:33] = (255, 0, 0)
    image[38:43, 48:53] = (0, 0, 255)
    return make_scene(image, box, POINTS, np.array([score], np.float32))


class TestScenes:
    def test_doubtful_faces_are_left_aside(self):
        assert scene(score=0.71).is_sure.tolist() == [True]
        assert scene(score=0.69).is_sure.tolist() == [False]

    def test_a_scene_without_faces(self):
        empty = make_scene(np.zeros((8, 8, 3), np.uint8), *(np.zeros(0, np.float32),) * 3)
        assert empty.boxes.shape == (0, 4)
        assert assign(empty).tolist() == [BACKGROUND]
        assert join_scenes(empty.image, [empty, scene()]).boxes.shape == (1, 4)

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
        mirrored = move_scene(np.zeros((96, 96, 3), np.uint8), scene(), matrix, 0.0, True)
        right_eye, left_eye = mirrored.landmarks[0, :2]
        assert right_eye[0] < left_eye[0]  # the subject's right is still on the left of the picture
        np.testing.assert_allclose(right_eye, [96 - 50, 40])


class TestAugmentation:
    def test_labels_follow_the_pixels(self):
        """Wherever a sure face is drawn, its eyes' colours lie under its eyes' landmarks."""
        draw = SceneAugmentation([scene()], [], 128)
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
        draw = SceneAugmentation([scene()] * 3, [scene()], 128)
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
        photo = join_scenes(scene(image_side=256).image, [scene(), scene(score=0.1)])
        found = self.places(photo)
        assert len(found) > 10
        for place in found:
            part = cut_place(photo, place)
            assert not (part.image == 200).all(axis=2).any()
            assert len(part.sizes) == 0
            assert place.side <= place.reach <= 2 * place.side

    def test_a_photo_full_of_face_has_none(self):
        assert self.places(scene(96.0, image_side=96)) == []

    @pytest.mark.parametrize(("score", "kept"), [(0.95, False), (0.6, True)])
    def test_a_place_in_which_the_teacher_surely_sees_a_face_is_left_out(self, score: float, kept: bool):
        class Teacher:
            name, framing = "teacher", None

            def detect(self, image):
                return [Detection(Box(30, 30, 90, 90), score)]

        photo = scene(image_side=256)
        assert bool(self.places(photo, SecondLook(Teacher()))) == kept

    def test_they_are_looked_at_and_pasted(self):
        photo = scene(image_side=256)
        photo.image[180:220, 180:220] = (0, 255, 0)
        place = FalsePlace(0, (200.0, 200.0), 40.0, 40.0)
        rng = np.random.default_rng(0)

        def green(draw: SceneAugmentation) -> int:
            views = [draw.draw(0, rng).image.astype(int) for _ in range(60)]
            large = [(image[..., 1] - image[..., [0, 2]].max(axis=2) > 40).mean() > 0.05 for image in views]
            return sum(large)

        without = green(SceneAugmentation([photo], [scene()], 128))
        assert green(SceneAugmentation([photo], [scene()], 128, [place])) > without + 8


class TestAssignment:
    @pytest.mark.parametrize(("side", "strides"), [(12, {8}), (40, {8, 16}), (60, {16}), (200, {32})])
    def test_a_face_belongs_to_cells_of_its_size_near_its_middle(self, side, strides):
        view = scene(image_side=256)
        view.sizes[:] = side
        grid = cell_grid(256, 256)
        chosen = grid[assign(view) == 0]
        assert set(chosen[:, 2].astype(int)) == strides
        assert (
            np.abs(chosen[:, :2] - view.centres[0]).max(axis=1) <= np.maximum(chosen[:, 2], 0.2 * side)
        ).all()

    def test_doubtful_faces_are_neither_face_nor_background(self):
        rows = assign(scene(score=0.6))
        assert (rows == LEFT_ASIDE).any()
        assert not (rows >= 0).any()
        assert (rows == BACKGROUND).any()

    def test_rows_of_a_batch_point_at_the_right_faces(self):
        batch = make_batch([scene(), scene(score=0.5), scene(30.0)])
        assert batch.boxes.shape == (2, 4)
        assert set(batch.rows[0].tolist()) == {BACKGROUND, 0}
        assert set(batch.rows[2].tolist()) == {BACKGROUND, 1}


class TestLoss:
    def perfect(self, batch, grid) -> torch.Tensor:
        """Return a perfect network's output."""
        cells = torch.zeros(*batch.rows.shape, FIELD_COUNT)
        cells[:, :, 0] = -20.0
        for image, cell in torch.nonzero(batch.rows >= 0):
            face, (x, y, stride) = batch.rows[image, cell], grid[cell]
            left, top, right, bottom = batch.boxes[face]
            cells[image, cell, 0] = 20.0
            cells[image, cell, 1:5] = (torch.stack([x - left, y - top, right - x, bottom - y]) / stride).log()
            cells[image, cell, 5:] = ((batch.landmarks[face] - grid[cell, :2]) / stride).flatten()
        return cells

    def test_the_right_answer_costs_nothing(self):
        batch, grid = make_batch([scene(), scene(30.0)]), torch.from_numpy(cell_grid(96, 96).copy())
        parts = detector_loss(self.perfect(batch, grid), batch, grid)
        assert float(parts["loss"]) < 1e-4

    def test_unknown_landmarks_cost_nothing_and_leave_no_trace(self):
        known, unknown = scene(), scene()
        unknown.landmarks[:] = np.nan
        grid = torch.from_numpy(cell_grid(96, 96).copy())
        for first in (known, unknown):
            batch = make_batch([first, unknown])
            cells = torch.zeros(*batch.rows.shape, FIELD_COUNT, requires_grad=True)
            parts = detector_loss(cells, batch, grid)
            parts["loss"].backward()
            assert parts["loss"].isfinite()
            assert cells.grad is not None
            assert cells.grad.isfinite().all()
            assert (parts["landmarks"] > 0) == (first is known)
            assert (cells.grad[1, :, 5:] == 0).all()
            assert (cells.grad[1, :, 1:5] != 0).any()  # its box is learned

    def test_and_is_decoded_to_the_face(self):
        batch, grid = make_batch([scene()]), cell_grid(96, 96)
        cells = self.perfect(batch, torch.from_numpy(grid.copy()))
        cells[:, :, 0] = cells[:, :, 0].sigmoid()
        boxes, landmarks, scores = decode(cells[0].numpy(), grid, least_score=0.5, overlap=0.4)
        np.testing.assert_allclose(boxes, batch.boxes.numpy(), atol=1e-3)
        np.testing.assert_allclose(landmarks, batch.landmarks.numpy(), atol=1e-3)
        assert scores.shape == (1,)

    @pytest.mark.parametrize("field", [0, 1, 5])
    def test_a_wrong_answer_costs(self, field):
        batch, grid = make_batch([scene()]), torch.from_numpy(cell_grid(96, 96).copy())
        cells = self.perfect(batch, grid)
        cells[:, :, field] = -1.5 if field == 0 else cells[:, :, field] + 0.7
        assert float(detector_loss(cells, batch, grid)["loss"]) > 0.05

    def test_no_face_is_finite(self):
        batch, grid = make_batch([scene(score=0.1)]), torch.from_numpy(cell_grid(96, 96).copy())
        cells = torch.zeros(*batch.rows.shape, FIELD_COUNT, requires_grad=True)
        loss = detector_loss(cells, batch, grid)["loss"]
        loss.backward()
        assert torch.isfinite(loss)
        assert torch.isfinite(cells.grad).all()
        assert (cells.grad[batch.rows == LEFT_ASIDE] == 0).all()


class TestNetwork:
    @pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 96), (256, 320)])
    def test_one_row_a_cell_at_any_size(self, height, width):
        with torch.inference_mode():
            cells = KvFaceNetwork().eval()(torch.zeros(1, 3, height, width, dtype=torch.uint8))
        assert cells.shape == (1, len(cell_grid(height, width)), FIELD_COUNT)

    def test_it_is_small(self):
        assert sum(parameter.numel() for parameter in KvFaceNetwork().parameters()) <= 600_000

    def test_it_learns_a_face(self):
        """A few steps on one picture must find its face: channels, grid, loss and decoding fit together."""
        torch.manual_seed(0)
        network, batch, grid = KvFaceNetwork(), make_batch([scene()] * 2), cell_grid(96, 96)
        optimizer = torch.optim.AdamW(network.parameters(), lr=5e-3)
        for _ in range(60):
            loss = detector_loss(network(batch.images), batch, torch.from_numpy(grid.copy()))["loss"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        cells = ExportedDetector(network)(batch.images)[0].detach().numpy()
        boxes, _, _ = decode(cells, grid, least_score=0.5, overlap=0.4)
        assert len(boxes) == 1
        assert Box(*map(float, boxes[0])).iou(Box(20, 30, 60, 70)) > 0.7


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
        assert suppress(boxes, 0.4).tolist() == [0, 2]
        assert suppress(boxes[:0], 0.4).tolist() == []

    @pytest.mark.parametrize(
        ("boxes", "kept"),
        [
            pytest.param([[0, 0, 50, 60], [54, 0, 104, 60], [27, 0, 77, 60]], [0, 1], id="between two"),
            pytest.param([[0, 0, 50, 60], [40, 0, 90, 60], [80, 0, 130, 60]], [0, 1, 2], id="a row of heads"),
            pytest.param([[0, 0, 50, 60], [27, 0, 77, 60]], [0, 1], id="half behind one"),
        ],
    )
    def test_what_two_faces_cover_together_is_no_third_one(self, boxes, kept):
        assert suppress(np.array(boxes, np.float32), 0.4).tolist() == kept

    def test_the_grid_is_shared_read_only(self):
        with pytest.raises(ValueError, match="read-only"):
            cell_grid(64, 64)[0, 0] = 1


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


def test_copies_are_found_mirrored_and_shrunk(astronaut):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8).repeat(20, 0).repeat(20, 1)
    found = find_copies([astronaut[::2, ::2], astronaut[:, ::-1], noise], [astronaut])
    assert found.tolist() == [True, True, False]
    assert find_copies([], [astronaut]).tolist() == []
    assert find_copies([astronaut], []).tolist() == [False]


@pytest.mark.parametrize(
    "wrong", [{"epochs": 0}, {"view_size": 100}, {"learning_rate": 2.0}, {"val_share": 1.0}]
)
def test_wrong_settings_are_refused(wrong, tmp_path):
    with pytest.raises(ValueError, match=f"expected {next(iter(wrong))}"):
        DetectorConfig(photos=tmp_path, boxed_photos=tmp_path, web_photos=tmp_path, **wrong)


@pytest.mark.parametrize(
    "side", [pytest.param(40.0, id="a face"), pytest.param(96.0, id="a face that fills it")]
)
def test_parts_without_a_face_keep_clear_of_faces(side: float):
    photo = scene(side, image_side=96)
    rng = np.random.default_rng(0)
    for _ in range(20):
        part = augmentation._cut_without_face(photo, rng)
        assert len(part.sizes) == 0
        assert not (part.image == 200).all(axis=2).any()
