"""The detector's network: cells of a face, loss, learning."""

import numpy as np
import pytest
import torch
from toy_scenes import toy_scene

from fer.detection.decoding import cell_grid, decode
from fer.faces import Box
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


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """For tensors this small, threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class TestAssignment:
    @pytest.mark.parametrize(("side", "strides"), [(12, {8}), (40, {8, 16}), (60, {16}), (200, {32})])
    def test_a_face_belongs_to_cells_of_its_size_near_its_middle(self, side, strides):
        view = toy_scene(image_side=256)
        view.sizes[:] = side
        grid = cell_grid(256, 256)
        chosen = grid[assign(view) == 0]
        assert set(chosen[:, 2].astype(int)) == strides
        assert (
            np.abs(chosen[:, :2] - view.centres[0]).max(axis=1) <= np.maximum(chosen[:, 2], 0.2 * side)
        ).all()

    def test_doubtful_faces_are_neither_face_nor_background(self):
        rows = assign(toy_scene(score=0.6))
        assert (rows == LEFT_ASIDE).any()
        assert not (rows >= 0).any()
        assert (rows == BACKGROUND).any()

    def test_rows_of_a_batch_point_at_the_right_faces(self):
        batch = make_batch([toy_scene(), toy_scene(score=0.5), toy_scene(30.0)])
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
        batch, grid = make_batch([toy_scene(), toy_scene(30.0)]), torch.from_numpy(cell_grid(96, 96).copy())
        parts = detector_loss(self.perfect(batch, grid), batch, grid)
        assert float(parts["loss"]) < 1e-4

    def test_unknown_landmarks_cost_nothing_and_leave_no_trace(self):
        known, unknown = toy_scene(), toy_scene()
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
        batch, grid = make_batch([toy_scene()]), cell_grid(96, 96)
        cells = self.perfect(batch, torch.from_numpy(grid.copy()))
        cells[:, :, 0] = cells[:, :, 0].sigmoid()
        boxes, landmarks, scores = decode(cells[0].numpy(), grid, least_score=0.5)
        np.testing.assert_allclose(boxes, batch.boxes.numpy(), atol=1e-3)
        np.testing.assert_allclose(landmarks, batch.landmarks.numpy(), atol=1e-3)
        assert scores.shape == (1,)

    @pytest.mark.parametrize("field", [0, 1, 5])
    def test_a_wrong_answer_costs(self, field):
        batch, grid = make_batch([toy_scene()]), torch.from_numpy(cell_grid(96, 96).copy())
        cells = self.perfect(batch, grid)
        cells[:, :, field] = -1.5 if field == 0 else cells[:, :, field] + 0.7
        assert float(detector_loss(cells, batch, grid)["loss"]) > 0.05

    def test_no_face_is_finite(self):
        batch, grid = make_batch([toy_scene(score=0.1)]), torch.from_numpy(cell_grid(96, 96).copy())
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
        network, batch, grid = KvFaceNetwork(), make_batch([toy_scene()] * 2), cell_grid(96, 96)
        optimizer = torch.optim.AdamW(network.parameters(), lr=5e-3)
        for _ in range(60):
            loss = detector_loss(network(batch.images), batch, torch.from_numpy(grid.copy()))["loss"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        cells = ExportedDetector(network)(batch.images)[0].detach().numpy()
        boxes, _, _ = decode(cells, grid, least_score=0.5)
        assert len(boxes) == 1
        assert Box(*map(float, boxes[0])).iou(Box(20, 30, 60, 70)) > 0.7
