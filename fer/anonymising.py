"""Faces made unrecognisable in photos and videos."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import cv2
import numpy as np

from fer.faces import Box
from fer.images import RgbImage
from fer.video import Frame, VideoFile, VideoWriter

Cover = Literal["blur", "pixelate", "box"]

_MARGIN: Final = 0.25
"""Margin of a cover around a face's box, as a share of its sides: hair and chin identify a person, too."""

_BLOCKS: Final = 6
"""Squares across a face that is pixelated: too few for a person or a program to name it."""

_LEAD_S: Final = 0.5
"""A face is covered so long before it was first found and after it was last: it came from somewhere."""


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
    """Covers for every face of a video, before, between and after the frames that showed it."""

    def __init__(self) -> None:
        self._sights: defaultdict[int, list[Sight]] = defaultdict(list)

    def add(self, track_id: int, time_s: float, box: Box) -> None:
        """A face was found; times of one track increase."""
        self._sights[track_id].append(Sight(time_s, box))

    def boxes(self, time_s: float) -> list[Box]:
        """Return the boxes to cover at a time, from before each track's first sight to after its last."""
        return [box for sights in self._sights.values() if (box := _place(sights, time_s)) is not None]


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
    """The box at a time, between two sights all from one to the other; None where it is not there."""
    if not sights[0].time_s - _LEAD_S <= time_s <= sights[-1].time_s + _LEAD_S:
        return None
    after = bisect_left(sights, time_s - 1e-6, key=lambda sight: sight.time_s)
    if after < len(sights) and abs(sights[after].time_s - time_s) <= 1e-6:
        return sights[after].box
    near = sights[max(after - 1, 0) : after + 1]
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
