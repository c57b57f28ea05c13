"""Detections with ground truth, from which the verifier learns."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from fer.cropping import Framing
from fer.detection.verifier import verified_crop
from fer.faces import Box, Detection
from training.detector.evaluation import Detect
from training.detector.false_places import FalsePlace, SecondLook, clear_reach
from training.detector.scenes import Scene, move_scene

STORED_SIDE: Final = 68
"""Side of the verifier's stored training crops in pixels; larger than its input, to allow random shifts."""

STORED_MARGIN: Final = 0.75
"""Margin of a crop around the reference square on each side, as a share of it."""

TURNED_COUNT: Final = 3
"""Number of rotated and zoomed searches per photo."""

MOST_FALSE: Final = 40
"""Maximum number of false positives of one search."""

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
    most_false: int = MOST_FALSE,
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
        most_false: Maximum number of false positives per search; a random selection of more is used.
        margin: Margin of the crops around the reference square on each side, as a share of it.
        side: Side of the crops in pixels.
    """
    crops, truths, scores, numbers = [], [], [], []
    for number, scene in enumerate(scenes):
        rng = np.random.default_rng((seed, number))
        looks = [(scene, detect) for detect in detects]
        looks += [(_turned(scene, rng), detects[0]) for _ in range(turned_count)]
        for view, detect in looks:
            places = _thinned(view, detect(view.image), most_false, rng)
            for place, truth in _judged(view, places, second_look):
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


def _thinned(
    scene: Scene, places: Sequence[Detection], most_false: int, rng: np.random.Generator
) -> list[Detection]:
    """Return all detections of faces and a random selection of the others, not yet checked."""
    is_other = [_best_overlap(scene, place) < _FACE_IOU for place in places]
    others = np.flatnonzero(is_other)
    chosen = set(rng.permutation(others)[:most_false].tolist())
    return [place for row, place in enumerate(places) if not is_other[row] or row in chosen]


def _best_overlap(scene: Scene, place: Detection) -> float:
    return max((place.box.iou(Box(*map(float, corners))) for corners in scene.boxes), default=0.0)


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
    least_part = (
        0.0 if second_look is None else _PART_IOU[0]
    )  # all faces are listed: what is beside them is none
    if least_part <= best < _PART_IOU[1]:
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
