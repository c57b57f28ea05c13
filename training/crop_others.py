"""Entry point: cuts false positives of a detector out of photos with known faces."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fer.cropping import Framing
from fer.detection.haar import EAGER, HaarDetector
from fer.detection.kv_face import KvFaceDetector, find_faces, kv_face_folder, network_file, onnx_runner
from fer.faces import Box, Detection
from fer.images import RgbImage, UnreadableImageError, read_image
from training.command import run_command
from training.crop_faces import LabelledCrop, write_crops
from training.data.datasets import DatasetError
from training.detector.candidates import find_candidates
from training.detector.evaluation import parse_box
from training.detector.false_places import SecondLook
from training.detector.scenes import find_copies, make_scene, open_teacher

_UPRIGHT: Final = replace(EAGER, tilts=())
"""Haar settings without tilts, since turned views are searched separately."""

EAGER_SCORE: Final = 0.15
"""Score threshold of the project's own detector, far below normal use, so that it errs more often."""

_SIDE: Final = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class CropOthersOptions:
    """Cut out false positives of a detector with a low threshold, and parts of faces.

    Attributes:
        photos: Parquet file with ``image`` and a JSON list of all boxes in ``faces`` or ``boxes``.
        output: The parquet file to write.
        most: Maximum number of crops per photo, highest scores first.
        detector: The detector that makes the mistakes.
        turned: Number of additional searches of each photo, turned and zoomed.
        teacher: YuNet's file, to check each false positive for unlisted faces; empty to trust the lists.
        choosing: Parquet files with the evaluation photos; copies of these photos are skipped.
    """

    photos: Path
    output: Path
    most: int = 4
    detector: Literal["haar", "kv_face"] = "haar"
    turned: int = 0
    teacher: str = ""
    choosing: tuple[Path, ...] = ()


def known_photos(path: Path, *, incomplete: bool = False) -> Iterator[tuple[RgbImage, list[Box]]]:
    """Yield photos with the boxes of all their faces; boxes without area are skipped.

    Args:
        path: The file.
        incomplete: Include photos whose list of faces is not exhaustive.

    Raises:
        DatasetError: The file has no photos with boxes.
    """
    try:
        parquet = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(f"{path} cannot be read as parquet ({error})") from error
    names = parquet.schema_arrow.names
    column = next((name for name in ("faces", "boxes") if name in names), None)
    if column is None or "image" not in names:
        raise DatasetError(f"{path} has the columns {names}; expected image and faces or boxes")
    for batch in parquet.iter_batches(64):
        for row in batch.to_pylist():
            if not (incomplete or row.get("exhaustive", True)):
                continue
            try:
                image = read_image(row["image"]["bytes"])
            except UnreadableImageError:
                continue
            boxes = map(parse_box, json.loads(row[column]))
            yield image, [box for box in boxes if box is not None]


def _eager_detector(name: str) -> tuple[Callable[[RgbImage], list[Detection]], Framing]:
    """Return a detector with a low threshold, and the mapping of its boxes to the reference square."""
    if name == "haar":
        haar = HaarDetector(_UPRIGHT)
        return haar.detect, haar.framing
    detector = KvFaceDetector()
    run = onnx_runner(network_file(kv_face_folder(), detector.card))

    def detect(image: RgbImage) -> list[Detection]:
        return find_faces(run, image, longest_side=detector.longest_side, least_score=EAGER_SCORE)

    return detect, detector.framing


def crop_others(options: CropOthersOptions) -> int:
    """Write the crops; return their number.

    Raises:
        DatasetError: The file has no photos with boxes.
        UnknownModelError: The teacher's file is missing.
    """
    detect, framing = _eager_detector(options.detector)
    look = SecondLook(open_teacher(options.teacher)) if options.teacher else None
    photos = list(known_photos(options.photos))
    kept_apart = [image for path in options.choosing for image, _ in known_photos(path, incomplete=True)]
    is_copy = find_copies([image for image, _ in photos], kept_apart)
    crops = []
    for number, (image, known) in enumerate(photos):
        if is_copy[number]:
            continue
        boxes = np.array([[box.left, box.top, box.right, box.bottom] for box in known], np.float32)
        scene = make_scene(
            image, boxes, np.zeros((len(known), 5, 2), np.float32), np.ones(len(known), np.float32)
        )
        found = find_candidates(
            [detect], framing, [scene], look, seed=number, turned_count=options.turned, margin=0.0, side=_SIDE
        )
        wrong = np.flatnonzero(~found.is_face)
        surest = wrong[np.argsort(-found.scores[wrong], kind="stable")[: options.most]]
        crops += [LabelledCrop(found.crops[row], None, is_face=False) for row in surest]
    write_crops(options.output, crops)
    return len(crops)


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, write the crops, print their number; return 1 with a sentence on an error."""
    return run_command(CropOthersOptions, _crop, "training.crop_others", arguments)


def _crop(options: CropOthersOptions) -> None:
    print(f"wrote {crop_others(options)} crops without a face to {options.output}")


if __name__ == "__main__":
    sys.exit(main())
