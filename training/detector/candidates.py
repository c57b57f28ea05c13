"""Places that a detector takes for faces when it is asked eagerly, each with the truth about it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from fer.cropping import Framing
from fer.detection.verifier import verified_crop
from fer.faces import Box, Detection
from fer.images import RgbImage
from training.detector.false_places import FalsePlace, SecondLook, clear_reach
from training.detector.scenes import Scene, move_scene

STORED_SIDE: Final = 56
"""Side of the crops that the verifier learns from, in pixels; they show more than it sees, to be moved."""

STORED_MARGIN: Final = 0.55
"""Margin of a crop around the reference square on each side, as a share of it."""

TURNED_COUNT: Final = 3
"""Number of turned and zoomed searches of each photo."""

_FACE_IOU: Final = 0.4
_PART_IOU: Final = (0.05, 0.2)
"""A box that shares so much with a face holds a part of it, or far more than it."""

_FARTHEST_TURN: Final = 75.0  # degrees
_ZOOMS: Final = (0.55, 1.2)

Detect = Callable[[RgbImage], list[Detection]]


@dataclass(frozen=True, slots=True)
class Candidates:
    """Places with the truth about them.

    Attributes:
        crops: RGB ``uint8`` of shape (N, side, side, 3), upright.
        is_face: Shape (N,).
        scores: What the detector gave each, shape (N,), in [0, 1].
        scenes: The number of the photo each is from, shape (N,).
    """

    crops: NDArray[np.uint8]
    is_face: NDArray[np.bool_]
    scores: NDArray[np.float32]
    scenes: NDArray[np.int64]

    def take(self, rows: NDArray[np.bool_]) -> "Candidates":
        """Some of them."""
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
    """Search photos, as they are and turned, and keep every place whose truth is known.

    Args:
        detects: The detector, asked eagerly, at several sizes; the first one sees the turned photos, too.
        framing: How its boxes map to the reference square.
        scenes: Photos with all their faces.
        second_look: Leaves out places in which it sees a face that nobody listed; None trusts the lists.
        seed: Of the turns.
        turned_count: How often each photo is searched turned and zoomed, besides.
        margin: What the crops show around the reference square on each side, as a share of it.
        side: Of the crops, in pixels.
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
    """Whether it is a face; None where that cannot be told."""
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
    """The photo turned and zoomed around its middle."""
    height, width = scene.image.shape[:2]
    degrees = rng.uniform(-_FARTHEST_TURN, _FARTHEST_TURN)
    middle = width / 2 - 0.5, height / 2 - 0.5
    matrix = np.asarray(cv2.getRotationMatrix2D(middle, -degrees, rng.uniform(*_ZOOMS)), np.float64)
    image = cv2.warpAffine(
        scene.image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return move_scene(np.asarray(image, np.uint8), scene, matrix, float(np.radians(degrees)), mirrored=False)
