"""Checks of labelled images before training."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fer.cropping import reference_square
from fer.detection import FaceDetector
from fer.emotions import Emotion
from fer.images import RgbImage, UnreadableImageError, as_rgb, read_image
from fer.model_card import Preprocessing
from training.data.datasets import FaceTable, Picture, decode
from training.data.duplicates import near_copies

CHECKED_COUNT: Final = 4000
"""Number of images that a check decodes, unless it covers all of them."""

FRAMED_COUNT: Final = 40
WIDE_BELOW: Final = 0.62
"""Share of its image below which a face was not cropped as the network expects."""

SMALL_SIDE: Final = 40
FEW_PICTURES: Final = 20
"""Number of images per class below which a network hardly learns the class."""


@dataclass(frozen=True, slots=True)
class DataCheck:
    """Result of checking a data set.

    Attributes:
        table: The data set.
        checked_count: Number of decoded images.
        unreadable: An error message for each unreadable image.
        copies_across: Number of training images with a duplicate in another split.
        copies_within: Number of exact duplicates within a split.
        sides: Length of the shorter side of the decoded images, in pixels.
        face_shares: Side of the reference square as a share of the image's, for a sample of detected faces.
        framed_count: Size of that sample, including images without a face.
    """

    table: FaceTable
    checked_count: int
    unreadable: tuple[str, ...]
    copies_across: int
    copies_within: int
    sides: NDArray[np.int64]
    face_shares: NDArray[np.float64]
    framed_count: int

    def counts(self) -> pd.DataFrame:
        """Return the number of images by expression (rows) and split (columns)."""
        return count_table(self.table)

    def advice(self) -> list[str]:
        """Return advice to follow before training, as sentences; empty if nothing needs attention."""
        texts = class_problems(self.table)
        texts += [f"Skipped: {sentence}." for sentence in self.table.left_out]
        if self.unreadable:
            texts.append(
                f"{len(self.unreadable)} of {self.checked_count} pictures cannot be read; they are skipped."
            )
        if self.copies_across:
            texts.append(
                f"{self.copies_across} training pictures are also validation or test pictures; "
                "training skips them, because the results would look too good."
            )
        if len(self.sides) and np.median(self.sides) < SMALL_SIDE:
            texts.append(
                f"Half of the pictures are smaller than {SMALL_SIDE} pixels; a network's input is 48×48 or "
                "more, and enlarged pictures lack detail."
            )
        if self.looks_uncropped:
            texts.append(
                f"The faces fill about {np.median(self.face_shares):.0%} of the pictures; the network "
                "expects a tight crop from forehead to chin. Crop the faces first."
            )
        return texts

    @property
    def looks_uncropped(self) -> bool:
        """Whether most detected faces are small in their images."""
        return len(self.face_shares) >= 3 and float(np.median(self.face_shares)) < WIDE_BELOW


def check_data(table: FaceTable, detector: FaceDetector, *, everything: bool = False) -> DataCheck:
    """Decode images, find duplicates, and measure how faces are cropped."""
    chosen = (
        table if everything or len(table) <= CHECKED_COUNT else table.take(spread(len(table), CHECKED_COUNT))
    )
    faces = decode(chosen, Preprocessing())
    splits = np.array(faces.table.splits)
    training = splits == "train"
    across = near_copies(faces.crops[training], faces.crops[~training])
    shares, framed_count, sides = _framing(faces.table, detector)
    return DataCheck(
        table=table,
        checked_count=len(chosen),
        unreadable=faces.problems,
        copies_across=int(np.sum(across)),
        copies_within=_same_pixels(faces.crops, faces.table.splits),
        sides=sides,
        face_shares=shares,
        framed_count=framed_count,
    )


def count_table(table: FaceTable) -> pd.DataFrame:
    """Count images by expression and split; without splits the only column is ``pictures``."""
    counts = table.summary()
    names = [emotion.value for emotion in Emotion if emotion.value in counts.index]
    rest = [name for name in counts.index if name not in names]
    columns = [name for name in ("train", "val", "test", "unsplit") if name in counts.columns]
    return counts.loc[names + rest, columns].rename(columns={"unsplit": "pictures"})


def class_problems(table: FaceTable) -> list[str]:
    """Return the problems with the number of images per class."""
    training = [
        str(label)
        for label, split in zip(table.labels, table.splits, strict=True)
        if label is not None and split in ("train", "")
    ]
    counts = Counter(training)
    if not counts and any(split in ("val", "test") for split in table.splits):
        return [without_training(table)]
    if len(counts) < 2:
        found = next(iter(counts), "no expression")
        return [
            f"Only {found} has training pictures; a network needs at least two expressions to tell apart."
        ]
    few = [f"{name} ({count})" for name, count in sorted(counts.items()) if count < FEW_PICTURES]
    if few:
        return [
            f"Few training pictures of {', '.join(few)}; {FEW_PICTURES} each are a start, "
            "a few hundred are better."
        ]
    return []


def without_training(table: FaceTable) -> str:
    """Return the message for a data set in which every image is held out."""
    held = " and ".join(split for split in ("val", "test") if split in table.splits)
    return (
        f"All pictures belong to the split {held}; none is left to train on. "
        "Add a folder train, or point at the folder above."
    )


def spread(count: int, wanted: int) -> list[int]:
    """Return row numbers spread evenly over all rows."""
    return sorted(set(np.linspace(0, count - 1, min(wanted, count)).round().astype(int).tolist()))


def open_picture(picture: Picture) -> RgbImage:
    """Decode one image of a table.

    Raises:
        UnreadableImageError: It is not an image.
    """
    return as_rgb(picture) if isinstance(picture, np.ndarray) else read_image(picture)


def _same_pixels(crops: NDArray[np.uint8], splits: Sequence[str]) -> int:
    seen: set[tuple[str, bytes]] = set()
    for split, crop in zip(splits, crops, strict=True):
        seen.add((split, crop.tobytes()))
    return len(crops) - len(seen)


def _framing(table: FaceTable, detector: FaceDetector) -> tuple[NDArray[np.float64], int, NDArray[np.int64]]:
    """Return face shares, sample size and image sides; a border helps the detector with tight crops."""
    shares, sides, looked = [], [], 0
    for row in spread(len(table), FRAMED_COUNT) if len(table) else []:
        try:
            image = open_picture(table.pictures[row])
        except UnreadableImageError:
            continue
        looked += 1
        side = min(image.shape[:2])
        sides.append(side)
        border = round(side * 0.4)
        framed = np.pad(image, ((border, border), (border, border), (0, 0)), mode="edge")
        enlarge = max(1, round(160 / side))
        found = detector.detect(np.ascontiguousarray(framed.repeat(enlarge, axis=0).repeat(enlarge, axis=1)))
        if found:
            shares.append(reference_square(found[0], detector.framing).side / enlarge / side)
    return np.array(shares, dtype=np.float64), looked, np.array(sides, dtype=np.int64)
