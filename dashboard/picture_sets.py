"""The data sets on this machine: list, fill, crop, delete."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from PIL import Image

from dashboard.data_check import open_picture
from fer.cropping import crop_face, crop_square
from fer.detection import FaceDetector
from fer.emotions import Label
from fer.images import RgbImage, UnreadableImageError
from fer.model_shelf import is_plain_name
from training.data.datasets import CLASSES_FILE, FaceTable


class PictureSetError(ValueError):
    """A data set that cannot be created, filled or deleted."""


@dataclass(frozen=True, slots=True)
class CropReport:
    """Result of cropping the faces of a set of images.

    Attributes:
        kept_count: Number of faces kept.
        without_face: Names of images without a detected face.
        unreadable: Names of unreadable images.
    """

    kept_count: int
    without_face: tuple[str, ...]
    unreadable: tuple[str, ...]


def list_sets(data_folder: Path) -> list[str]:
    """Return the names of the data sets, sorted."""
    if not data_folder.is_dir():
        return []
    return sorted(
        path.name for path in data_folder.iterdir() if path.is_dir() and not path.name.startswith(".")
    )


def set_folder(data_folder: Path, name: str) -> Path:
    """Return the folder of a data set, which may not exist yet.

    Raises:
        PictureSetError: The name is not a valid folder name.
    """
    if not is_plain_name(name):
        raise PictureSetError(
            f"expected a name of letters, digits, '_', '-' and '.', got {name!r}; choose another one"
        )
    return data_folder / name


def largest_face(image: RgbImage, detector: FaceDetector) -> RgbImage | None:
    """Return the crop of the largest face, as the networks expect it; None without a face."""
    found = detector.detect(image)
    return crop_face(image, crop_square(image, found[0], detector.framing)) if found else None


def add_picture(folder: Path, emotion: Label, crop: RgbImage) -> Path:
    """Save a crop in the folder of its expression.

    Raises:
        OSError: It cannot be written.
    """
    target = folder / emotion.value
    target.mkdir(parents=True, exist_ok=True)
    path = target / f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}.png"
    Image.fromarray(crop).save(path)
    return path


def list_classes(folder: Path, classes: Sequence[Label]) -> None:
    """Write ``classes.txt`` of a data set, including classes that already have images.

    Raises:
        OSError: It cannot be written.
    """
    kept = [path.name for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    folder.mkdir(parents=True, exist_ok=True)
    names = dict.fromkeys([*map(str, classes), *sorted(kept)])
    (folder / CLASSES_FILE).write_text("".join(f"{name}\n" for name in names), encoding="utf-8")


def pictures_of(folder: Path, emotion: Label) -> list[Path]:
    """Return the saved images of an expression, newest first."""
    return sorted((folder / emotion.value).glob("*.png"), reverse=True)


def crop_set(
    table: FaceTable,
    target: Path,
    detector: FaceDetector,
    tell: Callable[[float], None] | None = None,
) -> CropReport:
    """Create a data set from the largest face of every image, with the same splits and classes.

    Raises:
        PictureSetError: The target exists, or no face was found.
        OSError: It cannot be written.
    """
    if target.exists():
        raise PictureSetError(f"there is a data set named {target.name!r} already; choose another name")
    draft = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(draft, ignore_errors=True)
    kept, without_face, unreadable = 0, [], []
    try:
        for row, picture in enumerate(table.pictures):
            if tell is not None:
                tell((row + 1) / len(table))
            label = table.labels[row]
            if label is None:
                continue
            try:
                crop = largest_face(open_picture(picture), detector)
            except UnreadableImageError:
                unreadable.append(table.names[row])
                continue
            if crop is None:
                without_face.append(table.names[row])
                continue
            folder = draft / table.splits[row] / label.value if table.splits[row] else draft / label.value
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(crop).save(folder / f"{row:06d}.png")
            kept += 1
        if not kept:
            raise PictureSetError("no face was found in any of these pictures; nothing was kept")
        draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return CropReport(kept, tuple(without_face), tuple(unreadable))


def delete_set(data_folder: Path, name: str) -> None:
    """Delete a data set with all its images.

    Raises:
        PictureSetError: There is no data set of this name.
        OSError: It cannot be deleted.
    """
    folder = set_folder(data_folder, name)
    if not folder.is_dir() or folder.is_symlink():
        raise PictureSetError(f"there is no data set named {name!r}")
    shutil.rmtree(folder)
