"""Augmentation of labelled photos: rotation, mirroring, scale, pasted faces, mosaics, degradation."""

from dataclasses import dataclass, field
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from fer.images import RgbImage
from training.detector.false_places import FalsePlace, cut_place
from training.detector.scenes import Scene, join_scenes, move_scene

_LEAST_VISIBLE: Final = 0.6  # of a face's box; faces cut off further are ignored
_LEAST_SIDE: Final = 7.0  # pixels; smaller faces are ignored
_SHARE_OF_PLACES: Final = 0.3
_LARGEST_ENLARGEMENT: Final = 2.5  # larger factors show no further detail


@dataclass(frozen=True, slots=True)
class SceneAugmentation:
    """Generator of training views.

    Args:
        scenes: Photos.
        faces: Crops of single faces to paste; parts of photos without faces are pasted equally often.
        size: Side of the square views in pixels.
        places: False positives; drawn often, in their photos and pasted into others.
    """

    scenes: list[Scene]
    faces: list[Scene]
    size: int = 256
    places: list[FalsePlace] = field(default_factory=list)

    def draw(self, index: int, rng: np.random.Generator) -> Scene:
        """Return a view based on one of the photos."""
        choice = rng.random()
        if choice < 0.15:
            view = self._mosaic(index, rng)
        else:
            view = self._look(index, self.size, rng)
            if choice < 0.45 and self.faces:
                for _ in range(rng.integers(1, 4)):
                    view = _paste(view, self._patch(rng), rng)
        return _mark_hidden(_spoil(view, rng))

    def _look(self, index: int, size: int, rng: np.random.Generator) -> Scene:
        """Return a view of the photo, or sometimes of a false positive in another photo."""
        if self.places and rng.random() < _SHARE_OF_PLACES:
            place = self.places[rng.integers(len(self.places))]
            return _view_around(self.scenes[place.scene], place.side, np.array(place.centre), size, rng)
        return _view(self.scenes[index], size, rng)

    def _patch(self, rng: np.random.Generator) -> Scene:
        """Return a patch to paste, with or without a face, so that pasted edges do not indicate a face."""
        if rng.random() < 0.5:
            return self.faces[rng.integers(len(self.faces))]
        if self.places and rng.random() < 0.5:
            place = self.places[rng.integers(len(self.places))]
            return cut_place(self.scenes[place.scene], place)
        return _cut_without_face(self.scenes[rng.integers(len(self.scenes))], rng)

    def _mosaic(self, index: int, rng: np.random.Generator) -> Scene:
        half = self.size // 2
        image = np.empty((self.size, self.size, 3), np.uint8)
        parts = []
        for number in range(4):
            chosen = index if number == 0 else int(rng.integers(len(self.scenes)))
            part = _mark_hidden(self._look(chosen, half, rng))
            left, top = half * (number % 2), half * (number // 2)
            image[top : top + half, left : left + half] = part.image
            shift = np.array([[1.0, 0.0, left], [0.0, 1.0, top]])
            parts.append(move_scene(image, part, shift, 0.0, False))
        return join_scenes(image, parts)


def _draw_turn(rng: np.random.Generator) -> float:
    """Draw a rotation in radians: mostly natural head tilts, sometimes larger angles."""
    choice = rng.random()
    reach = 12 if choice < 0.4 else 60 if choice < 0.8 else 110
    return float(np.radians(rng.uniform(-reach, reach)))


def _view(scene: Scene, size: int, rng: np.random.Generator) -> Scene:
    """Return a square view of a photo, rotated, and scaled to give one of its faces a random size."""
    height, width = scene.image.shape[:2]
    if len(scene.sizes) and rng.random() < 0.7:
        chosen = rng.integers(len(scene.sizes))
        return _view_around(scene, float(scene.sizes[chosen].mean()), scene.centres[chosen], size, rng)
    scale = size / max(height, width) * np.exp(rng.uniform(np.log(0.6), np.log(1.8)))
    middle = np.array([width, height]) / 2
    target = size / 2 + rng.uniform(-0.2, 0.2, 2) * size
    return _warp(scene, size, scale, middle, target, rng)


def _view_around(
    scene: Scene, side: float, middle: NDArray[np.floating], size: int, rng: np.random.Generator
) -> Scene:
    """Return a square view around a place in a photo, scaled to give the place a random size."""
    wanted = np.exp(rng.uniform(np.log(9), np.log(0.9 * size)))
    fill = size / max(scene.image.shape[:2])  # the photo should fill the view
    scale = min(max(wanted / side, 0.45 * fill), _LARGEST_ENLARGEMENT)
    spare = max(size - side * scale, 0) / 2
    target = size / 2 + rng.uniform(-spare, spare, 2) * 1.1
    return _warp(scene, size, scale, middle, target, rng)


def _warp(
    scene: Scene,
    size: int,
    scale: float,
    middle: NDArray[np.floating],
    target: NDArray[np.floating],
    rng: np.random.Generator,
) -> Scene:
    matrix, turn, mirrored = _draw_matrix(scale, middle, target, rng)
    border = rng.integers(0, 256, 3) if rng.random() < 0.5 else np.full(3, rng.integers(0, 256))
    replicate = rng.random() < 0.3
    image = _warp_image(
        scene.image, matrix, size, None if replicate else tuple(int(value) for value in border)
    )
    return move_scene(image, scene, matrix, turn, mirrored)


def _draw_matrix(
    scale: float, middle: NDArray[np.floating], target: NDArray[np.floating], rng: np.random.Generator
) -> tuple[NDArray[np.float64], float, bool]:
    turn, mirrored = _draw_turn(rng), bool(rng.random() < 0.5)
    stretch = np.exp(rng.uniform(-0.1, 0.1))
    cos, sin = np.cos(turn), np.sin(turn)
    shape = np.diag([scale * stretch * (-1 if mirrored else 1), scale / stretch])
    linear = np.array([[cos, -sin], [sin, cos]]) @ shape
    return np.concatenate([linear, (target - linear @ middle)[:, None]], axis=1), turn, mirrored


def _warp_image(
    image: RgbImage, matrix: NDArray[np.float64], size: int, border: tuple[int, ...] | None
) -> RgbImage:
    scale = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    if scale < 0.6:  # downscale by area first: bilinear sampling would skip pixels
        factor = max(scale * 1.2, 2 / min(image.shape[:2]))
        image = np.asarray(
            cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), np.uint8
        )
        matrix = matrix @ np.diag([1 / factor, 1 / factor, 1.0])
    mode = cv2.BORDER_REPLICATE if border is None else cv2.BORDER_CONSTANT
    warped = cv2.warpAffine(
        image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=mode, borderValue=border or ()
    )
    return np.asarray(warped, dtype=np.uint8)


def _cut_without_face(scene: Scene, rng: np.random.Generator) -> Scene:
    """Return a part of a photo that touches no face, including uncertain ones."""
    height, width = scene.image.shape[:2]
    for _ in range(8):
        side = max(int(min(height, width) * rng.uniform(0.12, 0.6)), 8)
        left, top = rng.integers(width - side + 1), rng.integers(height - side + 1)
        boxes = scene.boxes
        apart = (
            (boxes[:, 0] >= left + side) | (boxes[:, 2] <= left)
            | (boxes[:, 1] >= top + side) | (boxes[:, 3] <= top)
        )  # fmt: skip
        if apart.all():
            break
    else:  # a face fills the photo: use a plain patch
        return _without_faces(np.full((8, 8, 3), rng.integers(0, 256, 3), np.uint8), scene)
    return _without_faces(np.ascontiguousarray(scene.image[top : top + side, left : left + side]), scene)


def _without_faces(image: RgbImage, scene: Scene) -> Scene:
    none = scene.take(np.zeros(len(scene.sizes), bool))
    return Scene(image, none.sizes, none.centres, none.landmarks, none.rolls, none.is_sure)


def _paste(view: Scene, patch: Scene, rng: np.random.Generator) -> Scene:
    """Paste a patch, with or without a face, into a view; its edge is hard or soft."""
    size = view.image.shape[0]
    height, width = patch.image.shape[:2]
    if len(patch.sizes):
        side, middle = float(patch.sizes[0].mean()), patch.centres[0]
    else:
        side, middle = 0.8 * min(height, width), np.array([width, height]) / 2
    scale = min(np.exp(rng.uniform(np.log(12), np.log(0.6 * size))) / side, _LARGEST_ENLARGEMENT)
    reach = side * scale / 2
    target = rng.uniform(reach, size - reach, 2)
    matrix, turn, mirrored = _draw_matrix(scale, middle, target, rng)
    pasted = _warp_image(patch.image, matrix, size, (0, 0, 0))
    mask = np.zeros((height, width), np.float32)
    if rng.random() < 0.5:
        mask[:] = 1.0
    else:
        cv2.ellipse(mask, (width // 2, height // 2), (width // 2, height // 2), 0, 0, 360, 1.0, -1)
        mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), max(width * 0.03, 0.5)), np.float32)
    share = cv2.warpAffine(mask, matrix, (size, size), flags=cv2.INTER_LINEAR)
    image = np.asarray(cv2.blendLinear(pasted, view.image, share, 1 - share), dtype=np.uint8)
    added = move_scene(image, patch, matrix, turn, mirrored)
    # Drop faces hidden by the patch; ignore partly hidden ones.
    covered = np.array([share[_inside(box, size)].mean() for box in view.boxes], np.float32)
    kept = view.take(covered < 0.7)
    kept.is_sure[covered[covered < 0.7] > 0.15] = False
    return join_scenes(image, [kept, added])


def _inside(box: NDArray[np.float32], size: int) -> tuple[slice, slice]:
    left, top = (int(np.clip(value, 0, size - 1)) for value in box[:2])
    right, bottom = (int(np.clip(np.ceil(value), 1, size)) for value in box[2:])
    return slice(top, max(bottom, top + 1)), slice(left, max(right, left + 1))


def _mark_hidden(view: Scene) -> Scene:
    """Drop faces outside the view, ignore those that are cut off or too small."""
    boxes = view.boxes
    visible = boxes.clip(0, view.image.shape[0])
    share = (visible[:, 2:] - visible[:, :2]).prod(axis=1) / (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    is_sure = view.is_sure & (share >= _LEAST_VISIBLE) & (view.sizes.mean(axis=1) >= _LEAST_SIDE)
    return Scene(view.image, view.sizes, view.centres, view.landmarks, view.rolls, is_sure).take(share > 0.05)


def _spoil(view: Scene, rng: np.random.Generator) -> Scene:
    """Change light, colour and sharpness, as cameras and web sites do."""
    pixels: NDArray[Any] = view.image
    if rng.random() < 0.2:
        pixels = np.repeat(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    if rng.random() < 0.7:
        pixels = cv2.LUT(pixels, _draw_light(rng))
    if rng.random() < 0.2:
        pixels = cv2.GaussianBlur(pixels, (0, 0), rng.uniform(0.4, 1.8))
    if rng.random() < 0.15:
        length = int(rng.integers(3, 8))
        pixels = cv2.blur(pixels, (length, 1) if rng.random() < 0.5 else (1, length))
    if rng.random() < 0.25:
        noise = rng.standard_normal(pixels.shape, np.float32) * rng.uniform(2, 16)
        pixels = np.round(pixels + noise).clip(0, 255).astype(np.uint8)
    if rng.random() < 0.35:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(20, 85))]
        _, encoded = cv2.imencode(".jpg", pixels, quality)
        pixels = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR))
    image = np.asarray(pixels, dtype=np.uint8)
    return Scene(image, view.sizes, view.centres, view.landmarks, view.rolls, view.is_sure)


def _draw_light(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw a lookup table for the three channels: gain, contrast, brightness, gamma."""
    values = np.arange(256, dtype=np.float64)[:, None] * np.ones(3)
    if rng.random() < 0.5:
        values *= rng.uniform(0.75, 1.25, 3)
    values = (values - 110) * rng.uniform(0.5, 1.5) + 110 + rng.uniform(-35, 35)
    if rng.random() < 0.4:  # dark rooms, bright windows
        values = 255 * (values.clip(0, 255) / 255) ** np.exp(rng.uniform(-0.8, 1.0))
    return np.round(values.clip(0, 255)).astype(np.uint8)[:, None]
