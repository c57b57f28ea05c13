"""The verifier of detections: its candidates with ground truth, training views, network and files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from fer.cropping import Framing
from fer.detection.verifier import VERIFIED_MARGIN, VERIFIED_SIDE, VERIFIER_FILE, verified_crop
from fer.faces import Box, Detection
from training.detector.evaluation import Detect
from training.detector.false_places import FalsePlace, SecondLook, clear_reach
from training.detector.scenes import Scene, move_scene
from training.quantisation import forget_origin
from training.run_files import BEST_FILE, VERIFIER
from training.runs import read_run

STORED_SIDE: Final = 56
"""Side of the verifier's stored training crops in pixels; larger than its input, to allow random shifts."""

STORED_MARGIN: Final = 0.55
"""Margin of a crop around the reference square on each side, as a share of it."""

TURNED_COUNT: Final = 3
"""Number of rotated and zoomed searches per photo."""

_FACE_IOU: Final = 0.4
_PART_IOU: Final = (0.05, 0.2)
"""Overlap of boxes that contain only a part of a face, or far more than a face."""

_FARTHEST_SEARCH_TURN: Final = 75.0  # degrees
_SEARCH_ZOOMS: Final = (0.55, 1.2)

_CHANNELS: Final = (16, 32, 48)
_DROPOUT: Final = 0.2
_SHOWN: Final = (1 + 2 * VERIFIED_MARGIN) / (1 + 2 * STORED_MARGIN)
"""Side of the network's input as a share of the side of a stored crop."""

_VIEW_ZOOM: Final = 0.16
_VIEW_TURN: Final = 0.26  # radians
_VIEW_SHIFT: Final = 0.12  # of half the side
_BLURRED_SIDES: Final = (14, 32)
_COVERED_SIDES: Final = (6, 18)


@dataclass(frozen=True, slots=True)
class Candidates:
    """Detections with ground truth.

    Attributes:
        crops: RGB ``uint8`` of shape (N, side, side, 3), upright.
        is_face: Shape (N,).
        scores: Scores of the detector, shape (N,), in [0, 1].
        scenes: Number of each detection's photo, shape (N,).
    """

    crops: NDArray[np.uint8]
    is_face: NDArray[np.bool_]
    scores: NDArray[np.float32]
    scenes: NDArray[np.int64]

    def take(self, rows: NDArray[np.bool_]) -> "Candidates":
        """Return the selected rows."""
        return Candidates(self.crops[rows], self.is_face[rows], self.scores[rows], self.scenes[rows])


def find_candidates(
    detects: Sequence[Detect],
    framing: Framing,
    scenes: Sequence[Scene],
    second_look: SecondLook | None,
    *,
    seed: int = 0,
    turned_count: int = TURNED_COUNT,
    margin: float = STORED_MARGIN,
    side: int = STORED_SIDE,
) -> Candidates:
    """Search photos, unchanged and rotated, and return all detections whose ground truth is known.

    Args:
        detects: The detector at a low threshold, at several sizes; only the first searches rotated photos.
        framing: Mapping of its boxes to the reference square.
        scenes: Photos with all their faces.
        second_look: Finds unlisted faces, which are skipped; None to trust the lists.
        seed: Random seed of the rotations.
        turned_count: Number of additional searches per photo, rotated and zoomed.
        margin: Margin of the crops around the reference square on each side, as a share of it.
        side: Side of the crops in pixels.
    """
    crops, truths, scores, numbers = [], [], [], []
    for number, scene in enumerate(scenes):
        rng = np.random.default_rng((seed, number))
        looks = [(scene, detect) for detect in detects]
        looks += [(_turned(scene, rng), detects[0]) for _ in range(turned_count)]
        for view, detect in looks:
            for place, truth in _judged(view, detect(view.image), second_look):
                crops.append(verified_crop(view.image, place, framing, margin=margin, side=side))
                truths.append(truth)
                scores.append(place.score)
                numbers.append(number)
    return Candidates(
        np.stack(crops) if crops else np.zeros((0, side, side, 3), np.uint8),
        np.array(truths, bool),
        np.array(scores, np.float32),
        np.array(numbers, np.int64),
    )


def _judged(
    scene: Scene, places: Sequence[Detection], second_look: SecondLook | None
) -> Iterator[tuple[Detection, bool]]:
    height, width = scene.image.shape[:2]
    for place in places:
        if place.box.clip(width, height) is None:
            continue
        truth = _truth(scene, place, second_look)
        if truth is not None:
            yield place, truth


def _truth(scene: Scene, place: Detection, second_look: SecondLook | None) -> bool | None:
    """Return whether a detection is a face; None if unknown."""
    overlaps = np.array([place.box.iou(Box(*map(float, corners))) for corners in scene.boxes])
    best = float(overlaps.max(initial=0.0))
    if best >= _FACE_IOU:
        return True if scene.is_sure[int(overlaps.argmax())] else None
    if _PART_IOU[0] <= best < _PART_IOU[1]:
        return None if (overlaps[~scene.is_sure] > 0).any() else False
    side = (place.box.width + place.box.height) / 2
    reach = clear_reach(scene, place.box.centre, side)
    if reach is None:
        return None
    place_in_photo = FalsePlace(0, place.box.centre, side, reach)
    return None if second_look is not None and second_look.sees_face(scene, place_in_photo) else False


def _turned(scene: Scene, rng: np.random.Generator) -> Scene:
    """Return the photo rotated and zoomed around its centre."""
    height, width = scene.image.shape[:2]
    degrees = rng.uniform(-_FARTHEST_SEARCH_TURN, _FARTHEST_SEARCH_TURN)
    middle = width / 2 - 0.5, height / 2 - 0.5
    matrix = np.asarray(cv2.getRotationMatrix2D(middle, -degrees, rng.uniform(*_SEARCH_ZOOMS)), np.float64)
    image = cv2.warpAffine(
        scene.image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return move_scene(np.asarray(image, np.uint8), scene, matrix, float(np.radians(degrees)), mirrored=False)


class VerifierNetwork(nn.Module):
    """Binary classifier, face or not: three pairs of 3×3 convolutions, each at half the previous size.

    Takes ``uint8`` RGB of shape (N, 3, ``VERIFIED_SIDE``, ``VERIFIED_SIDE``); returns log-odds of shape (N,).
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for channels in _CHANNELS:
            layers += [*_convolution(before, channels, 2), *_convolution(channels, channels, 1)]
            before = channels
        self.trunk = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(_DROPOUT))
        self.head = nn.Linear(before, 1)

    def forward(self, crops: Tensor) -> Tensor:
        """Return the log-odds of "face"."""
        logits: Tensor = self.head(self.trunk(crops.float() / 63.75 - 2.0))
        return logits[:, 0]


def plain_views(crops: NDArray[np.uint8]) -> Tensor:
    """Return the stored crops as network input: ``float32`` of shape (N, 3, side, side) in [0, 255]."""
    count = len(crops)
    return _sample(crops, torch.full((count,), _SHOWN), torch.zeros(count), torch.zeros(count, 2))


def random_views(crops: NDArray[np.uint8], generator: torch.Generator) -> Tensor:
    """Return the same with random shift, mirroring, and changes of light, colour and detail."""
    count = len(crops)

    def draw(*shape: int, low: float = -1.0, high: float = 1.0) -> Tensor:
        return torch.rand(count, *shape, generator=generator) * (high - low) + low

    zoom = _SHOWN * torch.exp(_VIEW_ZOOM * draw())
    views = _sample(crops, zoom, _VIEW_TURN * draw(), _VIEW_SHIFT * draw(2))
    views = torch.where(draw(1, 1, 1) < 0, views.flip(3), views)
    mean = views.mean((1, 2, 3), keepdim=True)
    views = (views - mean) * draw(1, 1, 1, low=0.6, high=1.4) + mean
    views = views + 50 * draw(1, 1, 1) + 20 * draw(3, 1, 1)
    views = torch.where(draw(1, 1, 1) < -0.6, views.mean(1, keepdim=True).expand_as(views), views)
    views = _blur_some(views, generator)
    views = views + 15 * draw(1, 1, 1, low=0.0) * torch.randn(views.shape, generator=generator)
    return _cover_some(views, generator).clamp(0, 255)


def _sample(crops: NDArray[np.uint8], zoom: Tensor, turn: Tensor, shift: Tensor) -> Tensor:
    cos, sin = torch.cos(turn) * zoom, torch.sin(turn) * zoom
    rows = torch.stack([torch.stack([cos, -sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1)], 1)
    images = torch.from_numpy(crops).permute(0, 3, 1, 2).float()
    size = [len(crops), 3, VERIFIED_SIDE, VERIFIED_SIDE]
    grid = functional.affine_grid(rows, size, align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _blur_some(views: Tensor, generator: torch.Generator) -> Tensor:
    """Blur the first third of the views, all by the same amount."""
    blurred = len(views) // 3
    side = int(torch.randint(*_BLURRED_SIDES, (1,), generator=generator))
    small = functional.interpolate(views[:blurred], size=(side, side), mode="area")
    back = functional.interpolate(small, size=views.shape[2:], mode="bilinear", align_corners=False)
    return torch.cat([back, views[blurred:]])


def _cover_some(views: Tensor, generator: torch.Generator) -> Tensor:
    """Cover about a quarter of the views by a plain rectangle, like a hand, a cup or another head."""
    for row in torch.nonzero(torch.rand(len(views), generator=generator) < 0.25).flatten().tolist():
        width, height = torch.randint(*_COVERED_SIDES, (2,), generator=generator).tolist()
        left = int(torch.randint(VERIFIED_SIDE - width + 1, (1,), generator=generator))
        top = int(torch.randint(VERIFIED_SIDE - height + 1, (1,), generator=generator))
        colour = 255 * torch.rand(3, 1, 1, generator=generator)
        views[row, :, top : top + height, left : left + width] = colour
    return views


def _convolution(before: int, after: int, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]


_GOLDEN_COUNT: Final = 3


def load_verifier(run: Path) -> VerifierNetwork:
    """Load the trained network in evaluation mode.

    Raises:
        ValueError: The run has no weights yet, or is not a training of the verifier.
    """
    found = read_run(run).config.get("architecture")
    if found not in (None, VERIFIER):
        raise ValueError(f"expected a run of training.detector.train_verifier, got {found} in {run}")
    if not (run / BEST_FILE).is_file():
        raise ValueError(f"{run} has no weights yet; expected a run of training.detector.train_verifier")
    network = VerifierNetwork()
    network.load_state_dict(load_file(run / BEST_FILE))
    return network.eval()


def write_verifier(network: VerifierNetwork, folder: Path) -> None:
    """Export the network to ONNX, with a variable number of crops."""
    program = torch.onnx.export(
        network,
        (torch.from_numpy(golden_crops()),),
        dynamo=True,
        input_names=["crops"],
        output_names=["logits"],
        dynamic_shapes={"crops": {0: torch.export.Dim("count", min=1, max=4096)}},
        verbose=False,
    )
    assert program is not None
    program.save(folder / VERIFIER_FILE, external_data=False)
    forget_origin(folder / VERIFIER_FILE)


def golden_crops() -> NDArray[np.uint8]:
    """Return synthetic images of shape (N, 3, side, side), identical on every machine."""
    rows, columns = np.mgrid[0:VERIFIED_SIDE, 0:VERIFIED_SIDE]
    waves = [127.5 + 127.5 * np.sin(rows / (2 + n) + n) * np.cos(columns / (3 + n)) for n in range(9)]
    shape = (_GOLDEN_COUNT, 3, VERIFIED_SIDE, VERIFIED_SIDE)
    return np.stack(waves).reshape(shape).astype(np.uint8)
