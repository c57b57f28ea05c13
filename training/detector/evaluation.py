"""Recall and false positives of a detector on photos with labelled boxes."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from fer.faces import Box, Detection
from fer.images import RgbImage, read_image
from training.data.datasets import DatasetError

BOXED_IOU = 0.4
WEB_IOU = 0.3

HELD_OUT_OF_TEN: Final = (0, 3, 6)
"""Last digits of the row numbers of hand-labelled photos that are never trained on."""

Detect = Callable[[RgbImage], list[Detection]]


@dataclass(frozen=True, slots=True)
class BoxedPhoto:
    """A photo with manually labelled faces.

    Attributes:
        image: RGB ``uint8`` of shape (H, W, 3).
        boxes: Boxes in pixels.
        labels: The expression of each face, empty if the data set names none.
        is_exhaustive: Whether all faces are labelled, so that other detections are false positives.
    """

    image: RgbImage
    boxes: tuple[Box, ...]
    labels: tuple[str, ...] = ()
    is_exhaustive: bool = False


@dataclass(frozen=True, slots=True)
class Recall:
    """Counts of detected faces and of false positives."""

    found: int
    count: int
    false_boxes: int
    exhaustive_count: int

    @property
    def share(self) -> float:
        """Share of the labelled faces that were detected, in [0, 1]."""
        return self.found / self.count if self.count else 0.0


def read_boxed_photos(path: Path, *, held_out: bool | None = None) -> list[BoxedPhoto]:
    """Read photos from parquet: ``image``, and ``boxes`` as a JSON list of boxes or objects with a label.

    Boxes without area are skipped.

    Args:
        path: The file.
        held_out: Whether to read the rows that no training uses, or the others; None for all.

    Raises:
        DatasetError: A box is malformed.
    """
    table = pd.read_parquet(path)
    if held_out is not None:
        table = table[np.isin(np.arange(len(table)) % 10, HELD_OUT_OF_TEN) == held_out]
    exhaustive = table["exhaustive"] if "exhaustive" in table else [False] * len(table)
    photos = []
    for image, text, complete in zip(table["image"], table["boxes"], exhaustive, strict=True):
        rows = [(row, box) for row in json.loads(text) if (box := parse_box(row)) is not None]
        photos.append(
            BoxedPhoto(
                read_image(image["bytes"]),
                tuple(box for _, box in rows),
                tuple(str(row.get("label", "")) for row, _ in rows if isinstance(row, dict)),
                bool(complete),
            )
        )
    return photos


def parse_box(face: object) -> Box | None:
    """Parse a box: a list of four numbers, an object with such a ``box``, or one with a number per side.

    Returns:
        The box; None if it has no area.

    Raises:
        DatasetError: It is none of these.
    """
    corners = face
    try:
        if isinstance(face, Mapping):
            corners = face.get("box") or [face[side] for side in ("left", "top", "right", "bottom")]
        left, top, right, bottom = map(float, corners)  # type: ignore[call-overload]
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"expected a box as left, top, right, bottom, got {face!r}") from error
    return Box(left, top, right, bottom) if left < right and top < bottom else None


def match(boxes: Sequence[Box], detections: Sequence[Detection], least_iou: float) -> list[int | None]:
    """Match each labelled box to its best detection, each used at most once; None if there is none."""
    pairs = sorted(
        (
            (box.iou(detection.box), row, column)
            for row, box in enumerate(boxes)
            for column, detection in enumerate(detections)
        ),
        reverse=True,
    )
    matched: list[int | None] = [None] * len(boxes)
    taken: set[int] = set()
    for iou, row, column in pairs:
        if iou >= least_iou and matched[row] is None and column not in taken:
            matched[row] = column
            taken.add(column)
    return matched


def measure_recall(detect: Detect, photos: Sequence[BoxedPhoto], least_iou: float) -> Recall:
    """Run a detector on photos; false positives are counted only on exhaustively labelled photos."""
    found = count = false_boxes = exhaustive = 0
    for photo in photos:
        detections = detect(photo.image)
        matched = match(photo.boxes, detections, least_iou)
        hits = sum(column is not None for column in matched)
        found, count = found + hits, count + len(photo.boxes)
        if photo.is_exhaustive:
            exhaustive += 1
            false_boxes += len(detections) - hits
    return Recall(found, count, false_boxes, exhaustive)
