"""Types that describe a face: box, detection, prediction."""

from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Self

import numpy as np
from numpy.typing import NDArray

from fer.emotions import Label


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels of the original frame; right and bottom are exclusive.

    Raises:
        ValueError: The rectangle is empty, inside out or not finite.
    """

    left: float
    top: float
    right: float
    bottom: float

    def __post_init__(self) -> None:
        values = (self.left, self.top, self.right, self.bottom)
        if not all(map(isfinite, values)) or self.left >= self.right or self.top >= self.bottom:
            raise ValueError(f"expected left < right and top < bottom, got {values}")

    @property
    def width(self) -> float:
        """Pixels from left to right."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """Pixels from top to bottom."""
        return self.bottom - self.top

    @property
    def area(self) -> float:
        """Square pixels."""
        return self.width * self.height

    @property
    def centre(self) -> tuple[float, float]:
        """The middle as x, y."""
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    def intersection(self, other: "Box") -> float:
        """The area that both boxes cover, in square pixels."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(width, 0.0) * max(height, 0.0)

    def iou(self, other: "Box") -> float:
        """Intersection over union, in [0, 1]."""
        shared = self.intersection(other)
        return shared / (self.area + other.area - shared)

    def clip(self, width: float, height: float) -> "Box | None":
        """Return the part inside a frame of this size; None if the box lies outside."""
        left, right = max(self.left, 0.0), min(self.right, float(width))
        top, bottom = max(self.top, 0.0), min(self.bottom, float(height))
        return Box(left, top, right, bottom) if left < right and top < bottom else None

    def scale(self, factor: float) -> "Box":
        """The same box in a frame whose sides are ``factor`` times as long."""
        return Box(self.left * factor, self.top * factor, self.right * factor, self.bottom * factor)

    def as_tuple(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom."""
        return self.left, self.top, self.right, self.bottom


@dataclass(frozen=True, slots=True)
class Landmarks:
    """Five points in pixels of the original frame, each x, y; left and right are the subject's."""

    right_eye: tuple[float, float]
    left_eye: tuple[float, float]
    nose: tuple[float, float]
    right_mouth: tuple[float, float]
    left_mouth: tuple[float, float]

    @classmethod
    def from_array(cls, points: NDArray[np.floating]) -> Self:
        """Five rows of x, y in the order of the fields."""
        if points.shape != (5, 2):
            raise ValueError(f"expected landmarks of shape (5, 2), got {points.shape}")
        return cls(*((float(x), float(y)) for x, y in points))

    def as_array(self) -> NDArray[np.float64]:
        """Shape (5, 2), in the order of the fields."""
        return np.array(
            [self.right_eye, self.left_eye, self.nose, self.right_mouth, self.left_mouth], dtype=np.float64
        )

    @property
    def roll(self) -> float:
        """In-plane turn of the head in degrees, by the line through the eyes; positive is clockwise."""
        (x0, y0), (x1, y1) = self.right_eye, self.left_eye
        return float(np.degrees(np.arctan2(y1 - y0, x1 - x0)))


@dataclass(frozen=True, slots=True)
class Detection:
    """A face found in an image.

    Attributes:
        box: Box in pixels of the original frame; may extend beyond its border.
        score: The detector's confidence in [0, 1].
        landmarks: Five points, or None if the detector gives none.
        roll: In-plane turn of the head in degrees, positive is clockwise as seen; 0 if unknown.
        evidence: Log-odds that the score adds to a classifier's judgement whether this is a face; 0 if the
            detector's scores are no probabilities.
    """

    box: Box
    score: float
    landmarks: Landmarks | None = None
    roll: float = 0.0
    evidence: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.score <= 1.0:
            raise ValueError(f"expected a score in [0, 1], got {self.score}")


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """The expression of a face.

    Attributes:
        labels: The expressions or user-defined classes, in the order of the probabilities.
        probabilities: Shape (C,), in [0, 1], sum 1: conditional on the face showing one of the labels.
        other: Probability of "none of these" in [0, 1]: no face, unclear, or another expression.
        unsure_below: Confidence below which the prediction is unsure, from the model's card.
        turned_away: Whether the head is turned too far to be read; the prediction is then unsure.
    """

    labels: tuple[Label, ...]
    probabilities: NDArray[np.float32] = field(repr=False)
    other: float = 0.0
    unsure_below: float = 0.0
    turned_away: bool = False

    def __post_init__(self) -> None:
        if self.probabilities.shape != (len(self.labels),):
            raise ValueError(
                f"expected {len(self.labels)} probabilities, got an array of shape {self.probabilities.shape}"
            )

    @property
    def emotion(self) -> Label:
        """The expression with the largest probability."""
        return self.labels[int(np.argmax(self.probabilities))]

    @property
    def confidence(self) -> float:
        """The largest probability."""
        return float(np.max(self.probabilities))

    @property
    def is_unsure(self) -> bool:
        """Whether the confidence is below the card's threshold or the head is turned away."""
        return self.turned_away or self.confidence < self.unsure_below

    def ranked(self) -> list[tuple[Label, float]]:
        """All expressions with their probabilities, largest first."""
        order = np.argsort(-self.probabilities, kind="stable")
        return [(self.labels[i], float(self.probabilities[i])) for i in order]

    def by_emotion(self) -> dict[Label, float]:
        """The probabilities by expression, in the order of the labels."""
        return {label: float(p) for label, p in zip(self.labels, self.probabilities, strict=True)}


@dataclass(frozen=True, slots=True)
class Face:
    """A face with its expression; ``track_id`` identifies the person in a stream, None in a single image."""

    detection: Detection
    prediction: Prediction
    track_id: int | None = None


def enlarge_face(face: Face, factor: float) -> Face:
    """The same face in an image whose sides are ``factor`` times as long."""
    if factor == 1:
        return face
    detection = face.detection
    landmarks = detection.landmarks and Landmarks.from_array(detection.landmarks.as_array() * factor)
    return replace(face, detection=replace(detection, box=detection.box.scale(factor), landmarks=landmarks))
