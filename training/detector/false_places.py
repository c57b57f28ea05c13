"""Hard negative mining: false positives of the network on its training photos."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from fer.detection import FaceDetector
from fer.detection.kv_face import find_faces
from training.detector.network import ExportedDetector, KvFaceNetwork
from training.detector.scenes import Scene

EAGER_SCORE: Final = 0.25
"""Score threshold, well below the shipped one: near false positives are useful negatives too."""

_SEARCHED_SIDE: Final = 320
_LOOK: Final = 128  # pixels
_LOOK_SCORE: Final = 0.8  # at lower scores the teacher, too, detects many fists and ears
_LOOK_TURNS: Final = (0, 40, -40, 90, -90)  # degrees
_ENLARGEMENTS: Final = (2.0, 1.5, 1.0)  # of a place's box; the first that touches no face is used


@dataclass(frozen=True, slots=True)
class FalsePlace:
    """A false positive in a photo.

    Attributes:
        scene: The photo's number.
        centre: x and y, pixels.
        side: Side of the detected box, pixels.
        reach: Side of the square around it that touches no known face, pixels.
    """

    scene: int
    centre: tuple[float, float]
    side: float
    reach: float


def find_false_places(
    network: KvFaceNetwork, scenes: Sequence[Scene], second_look: "SecondLook | None" = None
) -> list[FalsePlace]:
    """Search photos and return detections apart from all known faces, including uncertain ones.

    Args:
        network: The partly trained network; left in evaluation mode.
        scenes: Photos with all their faces.
        second_look: Finds unlisted faces, which are skipped.
    """
    exported = ExportedDetector(network).eval()

    def run(images: NDArray[np.uint8]) -> NDArray[Any]:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            cells: NDArray[Any] = exported(torch.from_numpy(images)).float().numpy()
        return cells

    places = []
    for number, scene in enumerate(scenes):
        for found in find_faces(run, scene.image, longest_side=_SEARCHED_SIDE, least_score=EAGER_SCORE):
            side = (found.box.width + found.box.height) / 2
            reach = clear_reach(scene, found.box.centre, side)
            if reach is None:
                continue
            place = FalsePlace(number, found.box.centre, side, reach)
            if second_look is None or not second_look.sees_face(scene, place):
                places.append(place)
    return places


def cut_place(scene: Scene, place: FalsePlace) -> Scene:
    """Return the square, clipped to the photo, as a scene without faces."""
    height, width = scene.image.shape[:2]
    x, y = place.centre
    left, top = (max(int(value - place.reach / 2), 0) for value in (x, y))
    right = min(int(np.ceil(x + place.reach / 2)), width)
    bottom = min(int(np.ceil(y + place.reach / 2)), height)
    none = scene.take(np.zeros(len(scene.sizes), bool))
    image = np.ascontiguousarray(scene.image[top:bottom, left:right])
    return Scene(image, none.sizes, none.centres, none.landmarks, none.rolls, none.is_sure)


class SecondLook:
    """Second check of a place by the teacher, enlarged and rotated, since its lists miss some occluded faces.

    Args:
        teacher: Detector of upright faces.
    """

    def __init__(self, teacher: FaceDetector) -> None:
        self._teacher = teacher

    def sees_face(self, scene: Scene, place: FalsePlace) -> bool:
        """Whether the teacher detects a face near the centre of the place, at any rotation."""
        patch = cv2.resize(cut_place(scene, place).image, (_LOOK, _LOOK), interpolation=cv2.INTER_LINEAR)
        middle = (_LOOK / 2, _LOOK / 2)
        for degrees in _LOOK_TURNS:
            matrix = cv2.getRotationMatrix2D(middle, degrees, 1.0)
            turned = cv2.warpAffine(patch, matrix, (_LOOK, _LOOK), borderMode=cv2.BORDER_REPLICATE)
            found = self._teacher.detect(np.asarray(turned, np.uint8))
            if any(face.score >= _LOOK_SCORE for face in found):
                return True
        return False


def clear_reach(scene: Scene, centre: tuple[float, float], side: float) -> float | None:
    """Return the side of the largest square around a place that touches no known face; None if all do."""
    sides = (factor * side for factor in _ENLARGEMENTS)
    return next((reach for reach in sides if _is_clear(scene, centre, reach)), None)


def _is_clear(scene: Scene, centre: tuple[float, float], side: float) -> bool:
    boxes, middle = scene.boxes, np.array(centre, np.float32)
    low, high = middle - side / 2, middle + side / 2
    apart = (boxes[:, :2] >= high).any(axis=1) | (boxes[:, 2:] <= low).any(axis=1)
    return bool(apart.all())
