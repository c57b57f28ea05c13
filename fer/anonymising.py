"""Make faces unrecognisable in photos and videos."""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import floor
from pathlib import Path
from typing import Final, Literal

import cv2
import numpy as np

from fer.analysis import DEFAULT_DETECTOR
from fer.detection import FaceDetector, load_detector
from fer.faces import Box, Detection
from fer.images import RgbImage
from fer.video import Frame, VideoFile, VideoWriter

Cover = Literal["blur", "pixelate", "box"]

_MARGIN: Final = 0.3
"""Margin of a cover around a face's box, as a share of its sides: hair and chin identify a person, too."""

_BLOCKS: Final = 6
"""Squares across a pixelated face: too few for a person or a program to recognise it."""

_LEAD_S: Final = 0.2
"""Seconds that a cover extends before the first and after the last detection of a face."""

_SURE: Final = 0.4
"""Score that a face must reach at least once to be covered."""

_SAME_FACE: Final = 0.3
_LONGEST_GAP_S: Final = 5.0
"""Longest gap between two detections of one face in the same place; the gap is covered, too."""


def load_eager_detector(name: str | None, *, thorough: bool = False) -> FaceDetector:
    """Build a detector that misses as few faces as possible: a false positive does no harm here.

    Args:
        name: A detector's name; None for the default.
        thorough: Look for small faces in large photos, too.

    Raises:
        UnknownModelError: No such detector.
    """
    return load_detector(name or DEFAULT_DETECTOR, eager=True, thorough=thorough)


def cover_faces(image: RgbImage, boxes: Sequence[Box], cover: Cover) -> RgbImage:
    """Return a copy of the image in which all faces are unrecognisable.

    Args:
        image: RGB ``uint8`` of shape (H, W, 3).
        boxes: Boxes of the faces; each is covered with a margin.
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


def cover_photo(image: RgbImage, finder: FaceDetector, cover: Cover) -> tuple[RgbImage, int]:
    """Return a copy of a photo with every face covered, and the number of covers.

    Args:
        image: RGB ``uint8`` of shape (H, W, 3).
        finder: From :func:`load_eager_detector`.
        cover: ``blur``, ``pixelate`` or ``box``.
    """
    boxes = [detection.box for detection in finder.detect(image)]
    return cover_faces(image, boxes, cover), len(boxes)


@dataclass(frozen=True, slots=True)
class Sight:
    """Box of a face at one time."""

    time_s: float
    box: Box


@dataclass(slots=True, eq=False)
class _Face:
    sights: list[Sight] = field(default_factory=list)
    is_sure: bool = False


class CoverPlan:
    """Covers for every face of a video, including the time before, between and after its detections.

    Successive detections in nearly the same place are one face; if one of them is certain, the face is
    covered in doubtful frames, too. A cover spans all detections shortly before and after, so that it appears
    before the face does; in a gap it spans the detections on both sides.
    """

    def __init__(self) -> None:
        self._open: list[_Face] = []
        self._by_second: defaultdict[int, list[_Face]] = defaultdict(list)

    def add(self, time_s: float, detections: Sequence[Detection]) -> None:
        """Add the detections of one frame; times must increase."""
        self._open = [face for face in self._open if time_s - face.sights[-1].time_s <= _LONGEST_GAP_S]
        waiting = [face for face in self._open if face.sights[-1].time_s < time_s]
        for detection in detections:
            box = detection.box
            face = max(waiting, key=lambda face: box.iou(face.sights[-1].box), default=None)
            if face is not None and box.iou(face.sights[-1].box) >= _SAME_FACE:
                waiting.remove(face)
            else:
                face = _Face()
                self._open.append(face)
            begin_s = face.sights[-1].time_s if face.sights else time_s
            face.sights.append(Sight(time_s, box))
            face.is_sure |= detection.score >= _SURE
            for second in range(floor(begin_s - _LEAD_S), floor(time_s + _LEAD_S) + 1):
                if face not in self._by_second[second]:
                    self._by_second[second].append(face)

    def boxes(self, time_s: float) -> list[Box]:
        """Return the boxes to cover at a time."""
        faces = self._by_second.get(floor(time_s), ())
        places = (_place(face.sights, time_s) for face in faces if face.is_sure)
        return [box for box in places if box is not None]


def copy_covered(
    path: Path, output: Path, plan: CoverPlan, cover: Cover, watcher: Callable[[Frame], None] | None = None
) -> list[str]:
    """Write a copy of a video with its sound, all faces of the plan covered.

    Args:
        path: The video.
        output: The copy.
        plan: Covers for the same video.
        cover: ``blur``, ``pixelate`` or ``box``.
        watcher: Called after each frame is written.

    Returns:
        Notes about what was lost, each worded to follow the file's name.

    Raises:
        UnwritableVideoError: The copy cannot be written; no partial file remains.
    """
    with VideoFile(path) as video, VideoWriter(output, video.info.frame_rate, path) as writer:
        for frame in video.frames():
            covered = cover_faces(frame.image, plan.boxes(frame.timestamp_s), cover)
            writer.write(Frame(covered, frame.timestamp_s))
            if watcher is not None:
                watcher(frame)
    return writer.notes


def _place(sights: Sequence[Sight], time_s: float) -> Box | None:
    """Return the box around all detections near a time or at both ends of a gap; None if there is none."""
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
    """Pixelate, then blur: a plain blur can be reversed."""
    side = max(patch.shape[:2]) / _BLOCKS
    return np.asarray(cv2.GaussianBlur(_pixelate(patch), (0, 0), max(side, 1.0)), dtype=np.uint8)


def _box(patch: RgbImage) -> RgbImage:
    return np.zeros_like(patch)


_COVERS: Final[Mapping[Cover, Callable[[RgbImage], RgbImage]]] = {
    "blur": _blur,
    "pixelate": _pixelate,
    "box": _box,
}
