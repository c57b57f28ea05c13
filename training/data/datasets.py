"""Labelled face pictures from folders, FER2013 CSV files and parquet files as one table."""

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
    """Pictures of faces with what is known about them; nothing is decoded yet.

    Attributes:
        names: Of each picture, for messages.
        splits: ``train``, ``val``, ``test`` or empty where the data names none.
        labels: The data set's label, None where it has none.
        votes: Counts of shape (N, 10) in the order of ``VOTE_WORDS``; rows of -1 without votes.
        pictures: Encoded bytes, paths, or pixels.
        left_out: Sentences about files and rows that are not part of the table, with their numbers.
        sources: The data set of each picture: the name of its file or folder without ending.
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
        """Whether any picture was voted on."""
        return bool((self.votes >= 0).any())

    def take(self, rows: Iterable[int]) -> "FaceTable":
        """The table of these rows, in this order."""
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
        """The rows of one split."""
        return self.take(i for i, split in enumerate(self.splits) if split == name)

    def with_labels(self, labels: Sequence[Label | None]) -> "FaceTable":
        """The same pictures with other labels."""
        return replace(self, labels=tuple(labels))

    def with_split(self, splits: Sequence[str]) -> "FaceTable":
        """The same pictures in other splits."""
        return replace(self, splits=tuple(splits))

    def summary(self) -> pd.DataFrame:
        """Pictures by label (rows) and split (columns)."""
        labels = pd.Series([label.value if label else "without label" for label in self.labels], name="label")
        splits = pd.Series([split or "unsplit" for split in self.splits], name="split")
        return pd.crosstab(labels, splits)


@dataclass(frozen=True, slots=True)
class DecodedFaces:
    """The pictures of a table as a network sees them.

    Attributes:
        table: The rows that could be read.
        crops: ``uint8`` of shape (N, C, size, size).
        problems: A sentence for each picture that was left out.
    """

    table: FaceTable
    crops: NDArray[np.uint8]
    problems: tuple[str, ...]


def read_tables(paths: Sequence[Path], *, own: bool = False) -> FaceTable:
    """Read several data sets and put them one after the other.

    Args:
        paths: Of the data sets.
        own: See ``read_table``.

    Raises:
        DatasetError: Nothing there, an unknown form, an unknown class or split, or no pictures.
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
    """Read one data set by its form: folder, ``.csv`` or ``.parquet``.

    Classes are expressions, or somebody's own where none of them is an expression or ``classes.txt`` names
    them.

    Args:
        path: The folder or file.
        own: Take every word for a class, also beside expressions.

    Raises:
        DatasetError: Nothing there, an unknown form, an unknown class or split, or no pictures.
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
            ". ".join([f"no pictures in {path}; expected class folders such as train/happy/…", *_said(table)])
        )
    check_classes(table.labels, str(path))
    return table if any(table.sources) else replace(table, sources=(path.stem,) * len(table))


def read_classes(folder: Path) -> tuple[Label, ...] | None:
    """Return the classes that a folder's ``classes.txt`` names, in its order; None without that file.

    Raises:
        DatasetError: It cannot be read, or its names cannot be classes.
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
    """Decode every picture and prepare it for a network; unreadable ones are left out and named.

    Args:
        table: What to decode.
        preprocessing: What the network wants to see.
        inset: What to cut off on each side, as a share, from data sets that frame faces wider; one share for
            all, or a function from a picture's source to its share.
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
    """Decode a picture of a table.

    Raises:
        UnreadableImageError: It cannot be decoded.
    """
    return as_rgb(picture if isinstance(picture, np.ndarray) else read_image(picture))


def square_of(image: RgbImage, inset: float = 0.0) -> RgbImage:
    """Cut out the largest centred square, less a share on each side."""
    height, width = image.shape[:2]
    side = min(height, width)
    cut = round(side * inset)
    side = max(side - 2 * cut, 1)
    top, left = (height - side) // 2, (width - side) // 2
    return np.ascontiguousarray(image[top : top + side, left : left + side])


def _said(table: FaceTable) -> list[str]:
    return [f"Left out: {'; '.join(table.left_out)}"] if table.left_out else []


def _read_folder(folder: Path, own: bool) -> FaceTable:
    """Class folders with or without splits, or data files; ``lay_out`` has the rule."""
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
