"""Detections with ground truth, from which the verifier learns."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from fer.cropping import Framing, reference_square
from fer.detection.verifier import verified_crop
from fer.faces import Box, Detection
from training.detector.evaluation import Detect
from training.detector.false_places import FalsePlace, SecondLook, clear_reach
from training.detector.scenes import Scene, move_scene

STORED_SIDE: Final = 88
"""Side of the verifier's stored training crops in pixels; larger than its input, to allow random shifts."""

STORED_MARGIN: Final = 0.75
"""Margin of a crop around the reference square on each side, as a share of it."""

TURNED_COUNT: Final = 3
"""Number of rotated and zoomed searches per photo."""

_FACE_IOU: Final = 0.4
_PART_IOU: Final = (0.05, 0.2)
"""Overlap of boxes that contain only a part of a face, or far more than a face."""

_FARTHEST_SEARCH_TURN: Final = 75.0  # degrees
_SEARCH_ZOOMS: Final = (0.55, 1.2)


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


def join_candidates(one: Candidates, other: Candidates) -> Candidates:
    """Join the detections in different photos."""
    return Candidates(
        np.concatenate([one.crops, other.crops]),
        np.concatenate([one.is_face, other.is_face]),
        np.concatenate([one.scores, other.scores]),
        np.concatenate([one.scenes, other.scenes + one.scenes.max(initial=-1) + 1]),
    )


def find_candidates(
    detects: Sequence[Detect],
    framing: Framing,
    scenes: Sequence[Scene],
    second_look: SecondLook | None,
    *,
    seed: int = 0,
    turned_count: int = TURNED_COUNT,
    most_false: int | None = None,
    is_touching_false: bool = False,
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
        most_false: Maximum number of false positives per search, of which more are drawn at random; None for
            all.
        is_touching_false: Whether detections that touch a listed face, but hardly overlap it, are false
            positives; otherwise their truth is unknown.
        margin: Margin of the crops around the reference square on each side, as a share of it.
        side: Side of the crops in pixels.
    """
    crops, truths, scores, numbers = [], [], [], []
    for number, scene in enumerate(scenes):
        rng = np.random.default_rng((seed, number))
        looks = [(scene, detect) for detect in detects]
        looks += [(_turned(scene, rng), detects[0]) for _ in range(turned_count)]
        for view, detect in looks:
            places = _measured(view, detect(view.image))
            if most_false is not None:
                places = _thinned(places, most_false, rng)
            for place, truth in _judged(view, places, second_look, is_touching_false):
                square = reference_square(place, framing)
                crops.append(verified_crop(view.image, square, margin=margin, side=side))
                truths.append(truth)
                scores.append(place.score)
                numbers.append(number)
    return Candidates(
        np.stack(crops) if crops else np.zeros((0, side, side, 3), np.uint8),
        np.array(truths, bool),
        np.array(scores, np.float32),
        np.array(numbers, np.int64),
    )


_Measured = tuple[Detection, NDArray[np.float64]]
"""A detection with its overlap (IoU) with each face of the scene, shape (faces,)."""


def _measured(scene: Scene, places: Sequence[Detection]) -> list[_Measured]:
    """Return the detections that touch the photo, with their overlaps."""
    height, width = scene.image.shape[:2]
    faces = [Box(*map(float, corners)) for corners in scene.boxes]
    return [
        (place, np.array([place.box.iou(face) for face in faces], np.float64))
        for place in places
        if place.box.clip(width, height) is not None
    ]


def _thinned(places: Sequence[_Measured], most_false: int, rng: np.random.Generator) -> list[_Measured]:
    """Return all detections of faces and a random selection of the others, not yet checked."""
    is_other = np.array([overlaps.max(initial=0.0) < _FACE_IOU for _, overlaps in places], bool)
    is_other[rng.permutation(np.flatnonzero(is_other))[:most_false]] = False  # these stay
    return [place for place, is_dropped in zip(places, is_other, strict=True) if not is_dropped]


def _judged(
    scene: Scene, places: Sequence[_Measured], second_look: SecondLook | None, is_touching_false: bool
) -> Iterator[tuple[Detection, bool]]:
    """Yield the detections whose truth is known: a face or not."""
    for place, overlaps in places:
        best = float(overlaps.max(initial=0.0))
        if best >= _FACE_IOU:
            if scene.is_sure[int(overlaps.argmax())]:
                yield place, True
        elif (0.0 if is_touching_false else _PART_IOU[0]) <= best < _PART_IOU[1]:
            if not (overlaps[~scene.is_sure] > 0).any():
                yield place, False
        elif best < _PART_IOU[0] and _is_clear(scene, place, second_look):
            yield place, False


def _is_clear(scene: Scene, place: Detection, second_look: SecondLook | None) -> bool:
    """Whether a detection is apart from all faces, listed or not."""
    side = (place.box.width + place.box.height) / 2
    reach = clear_reach(scene, place.box.centre, side)
    if reach is None:
        return False
    place_in_photo = FalsePlace(0, place.box.centre, side, reach)
    return second_look is None or not second_look.sees_face(scene, place_in_photo)


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
