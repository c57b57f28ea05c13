"""Entry point: cuts tight face crops, as the networks expect them, out of labelled images."""

import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fer.cropping import crop_face, crop_square
from fer.detection import FaceDetector, load_detector
from fer.emotions import Emotion, Label
from fer.images import RgbImage, UnreadableImageError, as_rgb, read_image
from training.command import run_command
from training.data.datasets import Picture, read_table
from training.data.parquet_files import write_parquet_faces
from training.data.targets import VOTE_WORDS

_WORDS: Final = tuple(str(emotion) for emotion in Emotion)


@dataclass(frozen=True, slots=True, kw_only=True)
class CropFacesOptions:
    """Cut the largest face out of every image of a data set.

    Attributes:
        data: A data set with wider framing than FER2013 and one labelled face per image.
        output: The parquet file to write.
        detector: Name of the face detector.
    """

    data: Path
    output: Path
    detector: str = "auto"


@dataclass(frozen=True, slots=True)
class LabelledCrop:
    """A crop with its label.

    Attributes:
        crop: Square, RGB ``uint8``.
        label: None if the crop shows no face.
        is_face: Whether the crop shows a face; other crops count as crowd votes for "not a face".
        split: The split of its image; empty if the data set names none.
        votes: Votes for its image, shape (10,) in the order of ``VOTE_WORDS``; None without votes.
    """

    crop: RgbImage
    label: Label | None
    is_face: bool = True
    split: str = ""
    votes: NDArray[np.integer] | None = None


def crop_labelled_faces(options: CropFacesOptions) -> tuple[int, list[str]]:
    """Cut out all faces and write them.

    Returns:
        The number of faces written, and a sentence for each skipped image.

    Raises:
        DatasetError: The data cannot be used.
        UnknownModelError: No such detector.
    """
    table, detector = read_table(options.data), load_detector(options.detector)
    crops, problems = [], []
    for name, label, split, votes, picture in zip(
        table.names, table.labels, table.splits, table.votes, table.pictures, strict=True
    ):
        try:
            crop = largest_face(open_picture(picture), detector)
        except UnreadableImageError as error:
            problems.append(f"{name}: {error}")
            continue
        if crop is None:
            problems.append(f"{name}: no face found")
        else:
            crops.append(LabelledCrop(crop, label, split=split, votes=votes if table.has_votes else None))
    write_crops(options.output, crops)
    return len(crops), problems


def open_picture(picture: Picture) -> RgbImage:
    """Decode an image of a table."""
    return read_image(picture) if isinstance(picture, bytes | Path) else as_rgb(picture)


def largest_face(image: RgbImage, detector: FaceDetector, margin: float = 0.0) -> RgbImage | None:
    """Return the upright crop of the largest face, as in use; None if no face is detected.

    Args:
        image: RGB ``uint8`` of shape (H, W, 3).
        detector: Finds the face.
        margin: Margin of the crop on each side, as a share of the square's side.
    """
    found = detector.detect(image)
    return crop_face(image, crop_square(image, found[0], detector.framing), margin) if found else None


def write_crops(path: Path, crops: Sequence[LabelledCrop]) -> None:
    """Write a parquet file in Hugging Face's layout, atomically.

    Crops without a face get ten votes for "not a face"; faces without votes belong in another file. Splits
    and votes of the data set are kept.
    """
    labels = [item.label for item in crops]
    own = {str(label) for label in labels if label is not None} - set(_WORDS)
    words = sorted({str(label) for label in labels if label is not None}) if own else _WORDS
    votes = None
    if any(item.votes is not None or not item.is_face for item in crops):
        votes = np.stack([_votes(item) for item in crops])
    splits = [item.split for item in crops]
    write_parquet_faces(
        path,
        [_encode(item.crop) for item in crops],
        labels,
        words,
        splits=splits if any(splits) else (),
        votes=votes,
    )


def _votes(item: LabelledCrop) -> NDArray[np.int16]:
    votes = np.zeros(len(VOTE_WORDS), np.int16)
    if not item.is_face:
        votes[VOTE_WORDS.index("nf")] = 10
    elif item.votes is not None:
        votes[:] = item.votes
    return votes


def _encode(crop: RgbImage) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(crop).save(buffer, "PNG")
    return buffer.getvalue()


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, crop the faces, list the skipped; return 1 with a sentence on an error."""
    return run_command(CropFacesOptions, _crop, "training.crop_faces", arguments)


def _crop(options: CropFacesOptions) -> None:
    count, problems = crop_labelled_faces(options)
    for problem in problems:
        print(f"skipped: {problem}", file=sys.stderr)
    print(f"wrote {count} faces to {options.output}, skipped {len(problems)}")


if __name__ == "__main__":
    sys.exit(main())
