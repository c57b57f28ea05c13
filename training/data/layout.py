"""The rule that maps files of a folder or zip to images of a data set."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Final

from fer.emotions import Label, UnknownEmotionError, emotion_from_name, label_from_word
from fer.folders.listing import is_system_name
from fer.images import IMAGE_SUFFIXES
from training.data.words import (
    CLASSES_FILE,
    DatasetError,
    are_own_classes,
    classes_from_bytes,
    emotion_of,
    is_unclear_split,
    split_from_word,
    unknown_split,
)

TABLE_SUFFIXES: Final = frozenset({".csv", ".parquet"})


@dataclass(frozen=True, slots=True)
class PlacedPicture:
    """An image file with split and label from its folders.

    Attributes:
        path: Path relative to the data set.
        split: ``train``, ``val``, ``test``, or empty if no folder names one.
        label: The expression, or a custom class.
    """

    path: PurePosixPath
    split: str
    label: Label


@dataclass(frozen=True, slots=True)
class Layout:
    """Files of a data set by kind.

    Attributes:
        pictures: The images, sorted by path.
        tables: CSV and parquet files that make up the data set; only if there are no images.
        wrapper: Outer folders that name neither split nor class.
        left_out: Sentences about skipped files, with their numbers.
        own: Whether class names may be arbitrary.
        classes: The effective ``classes.txt``; empty without one.
    """

    pictures: tuple[PlacedPicture, ...]
    tables: tuple[PurePosixPath, ...]
    wrapper: tuple[str, ...]
    left_out: tuple[str, ...]
    own: bool = False
    classes: tuple[PurePosixPath, ...] = ()


def lay_out(
    files: Iterable[PurePosixPath],
    place: str,
    *,
    own: bool = False,
    read: Callable[[PurePosixPath], bytes] | None = None,
) -> Layout:
    """Sort files into images with split and label, tables, and skipped files.

    Accepted layouts are ``split/class/image``, ``class/split/image`` and ``class/image``, also inside outer
    folders that contain all images; folders below a class belong to it. System files are ignored. A file
    ``classes.txt`` next to the class folders, or above them, lists the only accepted classes, with any names.

    Args:
        files: Relative paths of all files.
        place: Name of the data set, for messages.
        own: Accept any class names; they are also accepted if none of them is an expression.
        read: Returns the content of one of the files; None to ignore ``classes.txt``.

    Raises:
        DatasetError: A folder is neither split nor class, there is no class folder, or ``classes.txt`` cannot
            be read or does not list every class.
    """
    paths = sorted(path for path in files if not is_system_file(path))
    lists = _class_lists(paths)
    named = classes_from_bytes(read(lists[0]), f"{place}, {lists[0]}") if read and lists else None
    own = own or named is not None
    paths = [path for path in paths if path not in lists]
    pictures = [path for path in paths if path.suffix.lower() in IMAGE_SUFFIXES]
    tables = [path for path in paths if path.suffix.lower() in TABLE_SUFFIXES]
    others = [path for path in paths if path.suffix.lower() not in IMAGE_SUFFIXES | TABLE_SUFFIXES]
    left_out = _count_endings(others)
    if not pictures:
        wrapper = _common_folders([path.parts[:-1] for path in tables])
        return Layout((), tuple(tables), wrapper, left_out, own, lists[:1])

    if own or _has_own_classes(pictures):
        wrapper = _own_wrapper(pictures)
        placed = _place_own(pictures, wrapper, place)
    else:
        wrapper = _unknown_wrapper(pictures)
        placed = [_place(path, wrapper, place) for path in pictures]
    kept = tuple(picture for picture in placed if picture is not None)
    loose = [path for path, picture in zip(pictures, placed, strict=True) if picture is None]
    if not kept:
        raise DatasetError(
            f"{place}: images outside of class folders: {len(loose)}, such as {loose[0]}; put them into "
            "folders named after the expression: angry, fearful, happy, sad, surprised, neutral"
        )
    strange = next((picture for picture in kept if named and picture.label not in named), None)
    if named and strange is not None:
        raise DatasetError(
            f"{place}: the folder {strange.path.parent} is not one of the classes in {CLASSES_FILE}: "
            f"{', '.join(named)}; rename it or add a line"
        )
    if loose:
        left_out += (f"{_files(len(loose), 'image')} outside of class folders, such as {loose[0]}",)
    if tables:
        left_out += (f"{_files(len(tables), 'table')} beside the class folders, such as {tables[0]}",)
    return Layout(kept, (), wrapper, left_out, own, lists[:1])


def list_files(folder: Path) -> tuple[list[PurePosixPath], tuple[str, ...]]:
    """List the files below a folder, linked folders included.

    Returns:
        Relative paths of all files, and sentences about unreadable entries.

    Raises:
        DatasetError: A folder cannot be read.
    """
    files: list[PurePosixPath] = []
    broken: list[PurePosixPath] = []
    seen: set[str] = set()
    for root, names, file_names in os.walk(folder, followlinks=True, onerror=_refuse):
        if os.path.realpath(root) in seen:  # a link to a folder already read
            names.clear()
            continue
        seen.add(os.path.realpath(root))
        names.sort()
        inside = PurePosixPath(Path(root).relative_to(folder).as_posix())
        names[:] = [name for name in names if not is_system_file(inside / name)]
        for name in file_names:
            (files if os.path.isfile(Path(root, name)) else broken).append(inside / name)  # noqa: PTH113 - faster
    broken = [path for path in broken if not is_system_file(path)]
    if not broken:
        return files, ()
    return files, (f"{_files(len(broken), 'link')} to files that are missing, such as {min(broken)}",)


def _class_lists(paths: Sequence[PurePosixPath]) -> tuple[PurePosixPath, ...]:
    """Return the files ``classes.txt`` above all images and tables, the outermost first."""
    data = [path for path in paths if path.suffix.lower() in IMAGE_SUFFIXES | TABLE_SUFFIXES]
    lists = [path for path in paths if path.name == CLASSES_FILE]
    above = [each for each in lists if all(path.is_relative_to(each.parent) for path in data)]
    return tuple(sorted(above, key=lambda path: len(path.parts)))


def is_system_file(path: PurePosixPath) -> bool:
    """Return whether a path is hidden, or is or lies in something created by an operating system."""
    return any(map(is_system_name, path.parts))


def _unknown_wrapper(pictures: Sequence[PurePosixPath]) -> tuple[str, ...]:
    """Return the outer folders that contain all class folders and name neither split nor class."""
    prefixes = {
        tuple(part for part in parts[:depth] if split_from_word(part) is None)
        for parts in (path.parts[:-1] for path in pictures)
        if (depth := _class_depth(parts)) is not None
    }
    if len(prefixes) != 1:
        return ()
    prefix = prefixes.pop()
    return () if any(is_unclear_split(part) for part in prefix) else prefix


def _place(path: PurePosixPath, wrapper: tuple[str, ...], place: str) -> PlacedPicture | None:
    """Read split and label from the folders of an image; None if it is in no class folder.

    Raises:
        DatasetError: A folder has an unknown name.
    """
    folders = path.parts[:-1]
    depth = _class_depth(folders)
    above = folders if depth is None else folders[:depth]
    unknown = [part for part in above if split_from_word(part) is None]
    if depth is None:
        _check_unclear(unknown, place)
        rest = unknown[len(wrapper) :] if tuple(unknown[: len(wrapper)]) == wrapper else unknown
        if rest:
            emotion_of(rest[0], f"{place}, the folder {PurePosixPath(*folders)}")
        return None
    if tuple(unknown) != wrapper:
        _check_unclear(unknown, place)
        strange = next(part for part in [*unknown, *wrapper] if part not in wrapper or part not in unknown)
        raise DatasetError(f"{place}, the folder {PurePosixPath(*above)}: {unknown_split(strange)}")
    below = folders[depth + 1 :]
    label = emotion_of(folders[depth], place)
    splits = [split for part in (*above, *below[:1]) if (split := split_from_word(part))]
    if len(set(splits)) > 1:
        raise DatasetError(
            f"{place}: expected one split in the path {path.parent}, got {' and '.join(splits)}; "
            "move its images"
        )
    if below and is_unclear_split(below[0]):
        _check_unclear(below, place)
    if (inner := next((part for part in below if _is_emotion(part)), None)) and emotion_of(
        inner, place
    ) != label:
        raise DatasetError(
            f"{place}: the folder {path.parent} is an expression inside another one; expected class folders "
            "next to each other"
        )
    return PlacedPicture(path, splits[0] if splits else "", label)


def _meanings(path: PurePosixPath) -> tuple[str, ...]:
    """Return the folders of an image that name no split."""
    return tuple(part for part in path.parts[:-1] if split_from_word(part) is None)


def _own_wrapper(pictures: Sequence[PurePosixPath]) -> tuple[str, ...]:
    """Return the folders common to all classes; class folders are at the first level that differs."""
    folders = [parts for path in pictures if (parts := _meanings(path))]
    return _common_folders([parts[:-1] for parts in folders])


def _has_own_classes(pictures: Sequence[PurePosixPath]) -> bool:
    if any(_is_emotion(part) or is_unclear_split(part) for path in pictures for part in path.parts[:-1]):
        return False
    depth = len(_own_wrapper(pictures))
    return are_own_classes(parts[depth] for path in pictures if (parts := _meanings(path)))


def _place_own(
    pictures: Sequence[PurePosixPath], wrapper: tuple[str, ...], place: str
) -> list[PlacedPicture | None]:
    """Read split and custom class from the folders of an image; None if it is in no class folder.

    Raises:
        DatasetError: A folder contains folders named like its sibling classes, or a path names two splits.
    """
    below = [_meanings(path)[len(wrapper) :] for path in pictures]
    classes = {label_from_word(parts[0]) for parts in below if parts}
    placed: list[PlacedPicture | None] = []
    for path, parts in zip(pictures, below, strict=True):
        if not parts:
            placed.append(None)
            continue
        _check_unclear(parts[:2], place)
        if len(parts) > 1 and label_from_word(parts[1]) in classes - {label_from_word(parts[0])}:
            raise DatasetError(f"{place}, the folder {path.parent}: {unknown_split(parts[0])}")
        splits = {split for part in path.parts[:-1] if (split := split_from_word(part))}
        if len(splits) > 1:
            raise DatasetError(
                f"{place}: expected one split in the path {path.parent}, got {' and '.join(sorted(splits))}; "
                "move its images"
            )
        placed.append(PlacedPicture(path, next(iter(splits), ""), label_from_word(parts[0])))
    return placed


def _check_unclear(folders: Iterable[str], place: str) -> None:
    for part in folders:
        if is_unclear_split(part):
            raise DatasetError(f"{place}, the folder {part}: {unknown_split(part)}")


def _class_depth(folders: Sequence[str]) -> int | None:
    return next((depth for depth, part in enumerate(folders) if _is_emotion(part)), None)


def _common_folders(folders: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    shared = takewhile(lambda parts: len(set(parts)) == 1, zip(*folders, strict=False))
    return tuple(parts[0] for parts in shared)


def _is_emotion(word: str) -> bool:
    try:
        emotion_from_name(word)
    except UnknownEmotionError:
        return False
    return True


def _count_endings(paths: Sequence[PurePosixPath]) -> tuple[str, ...]:
    counts = Counter(path.suffix.lower() or "no extension" for path in paths)
    first = {path.suffix.lower() or "no extension": path for path in reversed(paths)}
    return tuple(
        f"{_files(count, 'file')} with {ending}, neither images nor tables, such as {first[ending]}"
        for ending, count in counts.most_common()
    )


def _files(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _refuse(error: OSError) -> None:
    raise DatasetError(
        f"the folder {error.filename} cannot be read ({error.strerror}); change its permissions"
    ) from error
