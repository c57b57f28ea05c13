"""Yaw and pitch of a head, from the five landmarks of a face."""

import math
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
    (ax, ay, az), (dx, dy, dz) = camera.tolist()
    across, down, both = ax * ax + ay * ay + az * az, dx * dx + dy * dy + dz * dz, ax * dx + ay * dy + az * dz
    area = across * down - both * both
    if area <= 1e-12 * (across + down) ** 2 or across + down < 1e-18:
        return HeadTurn(0.0, 0.0)
    # Depth of the head's axes, which roll does not change: these rows have the same direction of their cross
    # product as the nearest scaled rotation.
    length = math.sqrt(area)
    right, lower, towards = (
        (ay * dz - az * dy) / length,
        (az * dx - ax * dz) / length,
        (ax * dy - ay * dx) / length,
    )
    yaw = math.degrees(math.asin(min(max(-right, -1.0), 1.0)))
    pitch = math.degrees(math.atan2(lower, max(towards, 0.0)))
    return HeadTurn(yaw, pitch)
