"""Yaw and pitch of a head, from the five landmarks of a face."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from fer.faces import Landmarks

TURNED_AWAY_DEG: Final = 45.0
"""Beyond this yaw or pitch, half of the face is hidden and its expression cannot be read."""

_SHAPE: Final = np.array(
    [
        [-32.7, -37.1, -18.5],
        [32.7, -37.1, -18.5],
        [0.0, 0.0, 0.0],
        [-27.5, 27.0, -31.2],
        [27.5, 27.0, -31.2],
    ]
)
"""Mean positions of the landmarks relative to the tip of the nose: right, down, towards the viewer; in
units of about 1 mm.

Computed from the landmarks of 1,237 faces in photos by factorisation (Tomasi and Kanade 1992), made
symmetric, and tilted so that faces looking straight ahead have a median pitch of 0.
"""

_CENTRED: Final = _SHAPE - _SHAPE.mean(axis=0)
_INVERSE: Final = np.linalg.pinv(_CENTRED)


@dataclass(frozen=True, slots=True)
class HeadTurn:
    """A head's turn out of the image plane, in degrees.

    Attributes:
        yaw: In [-90, 90]; positive turns the nose to the right of an upright image, the subject's left.
        pitch: In [-90, 90]; positive looks up.
    """

    yaw: float
    pitch: float

    @property
    def is_away(self) -> bool:
        """Whether the face is turned too far to be read."""
        return max(abs(self.yaw), abs(self.pitch)) > TURNED_AWAY_DEG


@lru_cache(maxsize=256)  # called for the same face when it is read and when its record is made
def head_turn(landmarks: Landmarks) -> HeadTurn:
    """Estimate yaw and pitch by fitting a mean head to the landmarks in weak perspective.

    The roll of the head does not matter. Landmarks that coincide count as a head looking straight ahead.
    """
    points = landmarks.as_array()
    camera = (points - points.mean(axis=0)).T @ _INVERSE.T  # 2×3: the head's axes in the image
    left, lengths, right = np.linalg.svd(camera, full_matrices=False)
    if lengths[1] < 1e-6 * max(lengths[0], 1e-12) or lengths[0] < 1e-9:
        return HeadTurn(0.0, 0.0)
    across, down = left @ right  # nearest scaled rotation
    depth = np.cross(across, down)  # depth of the head's axes; roll does not change it
    yaw = np.degrees(np.arcsin(np.clip(-depth[0], -1.0, 1.0)))
    pitch = np.degrees(np.arctan2(depth[1], max(depth[2], 0.0)))
    return HeadTurn(float(yaw), float(pitch))
