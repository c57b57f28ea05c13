"""Readers of labelled face images: folders, FER2013 CSV files and parquet files as one table."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fer.emotions import Label
from fer.images import RgbImage, UnreadableImageError, as_rgb, read_image
from fer.model_card import Preprocessing
from fer.preprocessing import prepare_crops
from training.data.csv_files import read_csv
from training.data.layout import lay_out, list_files
from training.data.parquet_files import read_parquet_faces
from training.data.targets import VOTE_WORDS
from training.data.words import (
    CLASSES_FILE,
    DatasetError,
    check_classes,
    classes_from_bytes,
    classes_from_words,
)

__all__ = [
    "CLASSES_FILE",
    "DatasetError",
    "DecodedFaces",
    "FaceTable",
    "Picture",
    "classes_from_words",
    "decode",
    "read_classes",
    "read_table",
    "read_tables",
]

Picture = bytes | Path | RgbImage


@dataclass(frozen=True, slots=True)
class FaceTable:
    """Face images with labels, not yet decoded.

    Attributes:
        names: Name of each image, for messages.
        splits: ``train``, ``val``, ``test``, or empty if the data names none.
        labels: The data set's label of each image, None if it has none.
        votes: Counts of shape (N, 10) in the order of ``VOTE_WORDS``; rows of -1 without votes.
        pictures: Encoded bytes, paths, or pixels.
        left_out: Sentences about skipped files and rows, with their numbers.
        sources: The data set of each image: the name of its file or folder without extension.
    """

    names: tuple[str, ...]
    splits: tuple[str, ...]
    labels: tuple[Label | None, ...]
    votes: NDArray[np.int16]
    pictures: tuple[Picture, ...]
    left_out: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.sources) != len(self.names):
            object.__setattr__(self, "sources", ("",) * len(self.names))

    def __len__(self) -> int:
        return len(self.names)

    @property
    def has_votes(self) -> bool:
        """Whether any image has votes."""
        return bool((self.votes >= 0).any())

    def take(self, rows: Iterable[int]) -> "FaceTable":
        """Return a table of some rows, in the given order."""
        index = [int(row) for row in rows]
        return FaceTable(
            tuple(self.names[i] for i in index),
            tuple(self.splits[i] for i in index),
            tuple(self.labels[i] for i in index),
            self.votes[index],
            tuple(self.pictures[i] for i in index),
            self.left_out,
            tuple(self.sources[i] for i in index),
        )

    def split(self, name: str) -> "FaceTable":
        """Return the rows of one split."""
        return self.take(i for i, split in enumerate(self.splits) if split == name)

    def with_labels(self, labels: Sequence[Label | None]) -> "FaceTable":
        """Return the same images with other labels."""
        return replace(self, labels=tuple(labels))

    def with_split(self, splits: Sequence[str]) -> "FaceTable":
        """Return the same images in other splits."""
        return replace(self, splits=tuple(splits))

    def summary(self) -> pd.DataFrame:
        """Count images by label (rows) and split (columns)."""
        labels = pd.Series([label.value if label else "without label" for label in self.labels], name="label")
        splits = pd.Series([split or "unsplit" for split in self.splits], name="split")
        return pd.crosstab(labels, splits)


@dataclass(frozen=True, slots=True)
class DecodedFaces:
    """The images of a table as preprocessed crops.

    Attributes:
        table: The readable rows.
        crops: ``uint8`` of shape (N, C, size, size).
        problems: A sentence for each skipped image.
    """

    table: FaceTable
    crops: NDArray[np.uint8]
    problems: tuple[str, ...]


def read_tables(paths: Sequence[Path], *, own: bool = False) -> FaceTable:
    """Read several data sets into one table.

    Args:
        paths: Paths of the data sets.
        own: See ``read_table``.

    Raises:
        DatasetError: No data, an unknown format, an unknown class or split, or no images.
    """
    tables = [read_table(path, own=own) for path in paths]
    check_classes((label for table in tables for label in table.labels), "the data")
    return FaceTable(
        tuple(name for table in tables for name in table.names),
        tuple(split for table in tables for split in table.splits),
        tuple(label for table in tables for label in table.labels),
        np.concatenate([table.votes for table in tables]),
        tuple(picture for table in tables for picture in table.pictures),
        tuple(sentence for table in tables for sentence in table.left_out),
        tuple(source for table in tables for source in table.sources),
    )


def read_table(path: Path, *, own: bool = False) -> FaceTable:
    """Read one data set: a folder, ``.csv`` or ``.parquet``.

    Classes are expressions. Custom classes are accepted if none of them is an expression, or if
    ``classes.txt`` names them.

    Args:
        path: The folder or file.
        own: Accept any class name, also next to expressions.

    Raises:
        DatasetError: No data, an unknown format, an unknown class or split, or no images.
    """
    path = Path(path)
    if path.is_dir():
        table = _read_folder(path, own)
    elif not path.exists():
        raise DatasetError(
            f"no data at {path}; expected a folder of class folders, a FER2013 CSV or a parquet file"
        )
    elif path.suffix.lower() == ".csv":
        table = _read_csv(path, own)
    elif path.suffix.lower() == ".parquet":
        table = _read_parquet(path, own)
    else:
        raise DatasetError(
            f"{path} has the ending {path.suffix!r}; expected a folder of class folders, .csv or .parquet"
        )
    if not len(table):
        raise DatasetError(
            ". ".join([f"no images in {path}; expected class folders such as train/happy/…", *_said(table)])
        )
    check_classes(table.labels, str(path))
    return table if any(table.sources) else replace(table, sources=(path.stem,) * len(table))


def read_classes(folder: Path) -> tuple[Label, ...] | None:
    """Return the classes in a folder's ``classes.txt``, in file order; None without that file.

    Raises:
        DatasetError: The file cannot be read, or contains invalid class names.
    """
    path = folder / CLASSES_FILE
    if not path.is_file():
        return None
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read ({error.strerror}); change its permissions") from error
    return classes_from_bytes(content, str(path))


def decode(
    table: FaceTable, preprocessing: Preprocessing, inset: float | Callable[[str], float] = 0.0
) -> DecodedFaces:
    """Decode and preprocess all images; unreadable ones are skipped and listed.

    Args:
        table: The images.
        preprocessing: Preprocessing of the network.
        inset: Share to crop from each side of data sets with wider framing; one share for all, or a function
            from an image's source to its share.
    """
    insets = {source: inset(source) if callable(inset) else inset for source in set(table.sources)}
    kept, prepared, problems = [], [], []
    for row, picture in enumerate(table.pictures):
        try:
            image = square_of(pixels_of(picture), insets[table.sources[row]])
        except UnreadableImageError as error:
            problems.append(f"{table.names[row]}: {error}")
            continue
        prepared.append(prepare_crops([image], preprocessing))
        kept.append(row)
    shape = (0, preprocessing.channel_count, preprocessing.size, preprocessing.size)
    crops = np.concatenate(prepared) if prepared else np.empty(shape, dtype=np.uint8)
    return DecodedFaces(table.take(kept), crops, tuple(problems))


def pixels_of(picture: Picture) -> RgbImage:
    """Decode an image of a table.

    Raises:
        UnreadableImageError: It cannot be decoded.
    """
    return as_rgb(picture if isinstance(picture, np.ndarray) else read_image(picture))


def square_of(image: RgbImage, inset: float = 0.0) -> RgbImage:
    """Crop the largest centred square, reduced by a share on each side."""
    height, width = image.shape[:2]
    side = min(height, width)
    cut = round(side * inset)
    side = max(side - 2 * cut, 1)
    top, left = (height - side) // 2, (width - side) // 2
    return np.ascontiguousarray(image[top : top + side, left : left + side])


def _said(table: FaceTable) -> list[str]:
    return [f"Skipped: {'; '.join(table.left_out)}"] if table.left_out else []


def _read_folder(folder: Path, own: bool) -> FaceTable:
    """Read class folders with or without splits, or data files, by the rule of ``lay_out``."""
    files, broken = list_files(folder)
    layout = lay_out(files, str(folder), own=own, read=partial(_read_bytes, folder))
    left_out = tuple(f"{folder.name}: {sentence}" for sentence in (*layout.left_out, *broken))
    if layout.tables:
        table = read_tables([folder / path for path in layout.tables], own=layout.own)
        return replace(table, left_out=(*left_out, *table.left_out))
    return FaceTable(
        tuple(str(picture.path) for picture in layout.pictures),
        tuple(picture.split for picture in layout.pictures),
        tuple(picture.label for picture in layout.pictures),
        _no_votes(len(layout.pictures)),
        tuple(folder / picture.path for picture in layout.pictures),
        left_out,
    )


def _read_bytes(folder: Path, path: PurePosixPath) -> bytes:
    try:
        return (folder / path).read_bytes()
    except OSError as error:
        raise DatasetError(
            f"{folder / path} cannot be read ({error.strerror}); change its permissions"
        ) from error


def _read_csv(path: Path, own: bool) -> FaceTable:
    faces = read_csv(path, own=own)
    blank = (
        (f"{path.name}: {faces.blank_count} blank row{'' if faces.blank_count == 1 else 's'}",)
        if faces.blank_count
        else ()
    )
    return FaceTable(
        tuple(f"{path.name} line {line}" for line in faces.lines),
        faces.splits,
        faces.labels,
        _no_votes(len(faces.lines)),
        faces.pictures,
        blank,
    )


def _read_parquet(path: Path, own: bool) -> FaceTable:
    faces = read_parquet_faces(path, own=own)
    count = len(faces.pictures)
    return FaceTable(
        tuple(f"{path.name} row {row}" for row in range(count)),
        faces.splits,
        faces.labels,
        _no_votes(count) if faces.votes is None else faces.votes,
        faces.pictures,
    )


def _no_votes(count: int) -> NDArray[np.int16]:
    return np.full((count, len(VOTE_WORDS)), -1, dtype=np.int16)
