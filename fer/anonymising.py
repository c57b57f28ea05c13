"""Faces made unrecognisable in photos and videos."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import cv2
import numpy as np

from fer.analysis import DEFAULT_DETECTOR
from fer.detection import FaceDetector, load_detector
from fer.faces import Box
from fer.images import RgbImage
from fer.video import Frame, VideoFile, VideoWriter

Cover = Literal["blur", "pixelate", "box"]

_MARGIN: Final = 0.3
"""Margin of a cover around a face's box, as a share of its sides: hair and chin identify a person, too."""

_BLOCKS: Final = 6
"""Squares across a face that is pixelated: too few for a person or a program to name it."""

_LEAD_S: Final = 0.5
"""A face is covered so long before it was first found and after it was last: it came from somewhere."""

_SAME_FACE: Final = 0.1
_LONGEST_GAP_S: Final = 5.0
"""A face that is found again at its place after this time or less was there all along."""


def load_eager_detector(name: str | None) -> FaceDetector:
    """Build a detector that misses as few faces as possible: a place covered for nothing does no harm.

    Args:
        name: A detector's name; None for the default.

    Raises:
        UnknownModelError: No such detector.
    """
    return load_detector(name or DEFAULT_DETECTOR, eager=True)


def cover_faces(image: RgbImage, boxes: Sequence[Box], cover: Cover) -> RgbImage:
    """A copy of the image on which nobody can be told.

    Args:
        image: RGB.
        boxes: Of the faces; each is covered with a margin.
        cover: ``blur``, ``pixelate`` or ``box``.
    """
    canvas = image.copy()
    height, width = image.shape[:2]
    for box in boxes:
        left, right = box.left - _MARGIN * box.width, box.right + _MARGIN * box.width
        top, bottom = box.top - _MARGIN * box.height, box.bottom + _MARGIN * box.height
        inside = Box(left, top, right, bottom).clip(width, height)
        if inside is None:
            continue
        rows = slice(int(inside.top), int(np.ceil(inside.bottom)))
        columns = slice(int(inside.left), int(np.ceil(inside.right)))
        canvas[rows, columns] = _COVERS[cover](canvas[rows, columns])
    return canvas


@dataclass(frozen=True, slots=True)
class Sight:
    """Box of a face at one time."""

    time_s: float
    box: Box


class CoverPlan:
    """Covers for every face of a video, before, between and after the frames that showed it.

    Sights that follow each other at nearly the same place are one face. A cover spans all its sights within
    half a second, so that it is there before the face is; between distant sights it spans both.
    """

    def __init__(self) -> None:
        self._faces: list[list[Sight]] = []

    def add(self, time_s: float, boxes: Sequence[Box]) -> None:
        """Note the boxes of one frame; times increase."""
        open_faces = [sights for sights in self._faces if 0 < time_s - sights[-1].time_s <= _LONGEST_GAP_S]
        for box in boxes:
            best = max(open_faces, key=lambda sights: box.iou(sights[-1].box), default=None)
            if best is not None and box.iou(best[-1].box) >= _SAME_FACE:
                open_faces.remove(best)
                best.append(Sight(time_s, box))
            else:
                self._faces.append([Sight(time_s, box)])

    def boxes(self, time_s: float) -> list[Box]:
        """Return the boxes to cover at a time."""
        return [box for sights in self._faces if (box := _place(sights, time_s)) is not None]


def copy_covered(path: Path, output: Path, plan: CoverPlan, cover: Cover) -> list[str]:
    """Write a copy of a video with its sound, all faces of the plan covered.

    Returns:
        Notes about what could not be kept, each to follow the file's name.

    Raises:
        UnwritableVideoError: The copy cannot be written; nothing is left behind.
    """
    with VideoFile(path) as video, VideoWriter(output, video.info.frame_rate, path) as writer:
        for frame in video.frames():
            covered = cover_faces(frame.image, plan.boxes(frame.timestamp_s), cover)
            writer.write(Frame(covered, frame.timestamp_s))
    return writer.notes


def _place(sights: Sequence[Sight], time_s: float) -> Box | None:
    """The box around all sights near a time, or both ends of a gap; None where the face is not there."""
    start = bisect_left(sights, time_s - _LEAD_S - 1e-6, key=lambda sight: sight.time_s)
    end = bisect_right(sights, time_s + _LEAD_S + 1e-6, key=lambda sight: sight.time_s)
    near = sights[start:end]
    if not near:
        if not 0 < start < len(sights):
            return None
        near = sights[start - 1 : start + 1]
    return Box(
        min(sight.box.left for sight in near),
        min(sight.box.top for sight in near),
        max(sight.box.right for sight in near),
        max(sight.box.bottom for sight in near),
    )


def _pixelate(patch: RgbImage) -> RgbImage:
    height, width = patch.shape[:2]
    small = cv2.resize(patch, (min(_BLOCKS, width), min(_BLOCKS, height)), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST), dtype=np.uint8)


def _blur(patch: RgbImage) -> RgbImage:
    """Pixelated first: a plain blur can be undone."""
    side = max(patch.shape[:2]) / _BLOCKS
    return np.asarray(cv2.GaussianBlur(_pixelate(patch), (0, 0), max(side, 1.0)), dtype=np.uint8)


def _box(patch: RgbImage) -> RgbImage:
    return np.zeros_like(patch)


_COVERS: Final[Mapping[Cover, Callable[[RgbImage], RgbImage]]] = {
    "blur": _blur,
    "pixelate": _pixelate,
    "box": _box,
}
