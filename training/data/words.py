"""Words of data sets for splits and expressions, translated or refused by name."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Final

from fer.emotions import (
    FER2013_CODES,
    Emotion,
    Label,
    OwnLabel,
    UnknownEmotionError,
    emotion_from_name,
    label_from_word,
    labels_problem,
)

SPLIT_SPELLINGS: Final = {
    "train": "train",
    "training": "train",
    "trn": "train",
    "val": "val",
    "valid": "val",
    "validate": "val",
    "validating": "val",
    "validation": "val",
    "dev": "val",
    "devel": "val",
    "development": "val",
    "publictest": "val",
    "test": "test",
    "testing": "test",
    "tst": "test",
    "privatetest": "test",
}
"""Spellings of the splits in data sets, lower case; FER2013 calls validation PublicTest."""

UNCLEAR_SPLITS: Final = frozenset(
    {
        "eval",
        "evaluation",
        "evaluate",
        "holdout",
        "heldout",
        "unseen",
        "query",
        "gallery",
        "trainval",
        "valtest",
    }
)
"""Words that some data sets use for ``val`` and others for ``test``, or for both."""


CLASSES_FILE: Final = "classes.txt"
"""Names the classes of a folder, one a line; expressions and others may stand side by side."""


class DatasetError(ValueError):
    """A data set that cannot be used as it is."""


def split_from_word(word: str) -> str | None:
    """Translate a word for a split, also ``test-set``, ``Public Test`` or ``train2017``; None for others."""
    plain = _plain(word)
    return SPLIT_SPELLINGS.get(plain) or SPLIT_SPELLINGS.get(
        re.sub(r"(set|split|data|images|faces)$", "", plain)
    )


def is_unclear_split(word: str) -> bool:
    """Whether a word names a split without telling which one."""
    return _plain(word) in UNCLEAR_SPLITS


def split_from_name(name: str) -> str:
    """Find the split in the name of a file: ``fer2013_publictest.csv`` is ``val``; empty without any word.

    Raises:
        DatasetError: Words of several splits, or a word that could mean several.
    """
    words = [word for word in re.split(r"[^a-z0-9]+", PurePath(name).stem.lower()) if word]
    splits = {split: word for word in words if (split := split_from_word(word))}
    unclear = [word for word in words if is_unclear_split(word)]
    if len(splits) > 1 or (unclear and not splits):
        found = " and ".join([*splits.values(), *unclear])
        raise DatasetError(
            f"{name}: its name says {found!r}, which could be more than one split; "
            "rename it with one of train, val and test, or add a column 'split'"
        )
    return next(iter(splits), "")


SPLIT_COLUMNS: Final = ("split", "usage", "subset")


def split_column(columns: Mapping[str, Sequence[str]]) -> str | None:
    """Return the name of the column that tells the split; None without one.

    It is one of ``SPLIT_COLUMNS``, or else holds nothing but words for splits.
    Rows that say "test" under another heading must not be trained on unsaid.

    Args:
        columns: Words of each column that holds neither pictures nor labels.
    """
    known = next((name for name in SPLIT_COLUMNS if name in columns), None)
    if known is not None:
        return known
    filled = {name: {word for word in words if word.strip()} for name, words in columns.items()}
    return next((name for name, words in filled.items() if words and all(map(split_from_word, words))), None)


def splits_from_column(words: Sequence[str], places: Sequence[str]) -> list[str] | None:
    """Translate a column of split words; None where the whole column is empty.

    Args:
        words: As the data set writes them.
        places: Of each word, for messages.

    Raises:
        DatasetError: A word that is unknown or unclear, or missing in some rows.
    """
    if not any(word.strip() for word in words):
        return None
    known = {word: split_from_word(word) for word in set(words)}
    for word, place in zip(words, places, strict=True):
        if known[word] is None:
            raise DatasetError(f"{place}: {unknown_split(word)}")
    return [known[word] or "" for word in words]


def unknown_split(word: str) -> str:
    """Say that a word is no split, and which words are."""
    found = f"unknown split {word!r}" if word.strip() else "no word for the split, which other rows have"
    return (
        f"{found}; expected train (or training), val (or validation, dev, PublicTest) "
        "or test (or testing, PrivateTest)"
    )


def are_own_classes(words: Iterable[str]) -> bool:
    """Whether words name at least two classes and none of them an expression."""
    labels = {label_from_word(word) for word in words if word.strip()}
    return len(labels) > 1 and all(isinstance(label, OwnLabel) for label in labels)


def check_classes(labels: Iterable[Label | None], place: str) -> None:
    """Check the names of classes that people made up; expressions alone are always right.

    Raises:
        DatasetError: Too many of them, or a name that cannot be shown; the sentence begins with the place.
    """
    names = {label for label in labels if label is not None}
    if any(isinstance(label, OwnLabel) for label in names) and (
        problem := labels_problem(sorted(names), fewest=1)
    ):
        raise DatasetError(f"{place}: {problem}")


def classes_from_words(words: Iterable[str], place: str) -> tuple[Label, ...]:
    """Translate the names of the classes of one data set, in their order; empty ones do not count.

    Raises:
        DatasetError: They cannot be classes, or one is a split's name; the sentence begins with the place.
    """
    labels = tuple(label_from_word(word) for word in words if word.strip())
    split = next((label for label in labels if split_from_word(label)), None)
    problem = f"expected class names, got the split {split!r}; rename it" if split else labels_problem(labels)
    if problem:
        raise DatasetError(f"{place}: {problem}")
    return labels


def classes_from_bytes(content: bytes, place: str) -> tuple[Label, ...]:
    """Read the content of a ``classes.txt``: one name a line, UTF-8 with or without a mark.

    Raises:
        DatasetError: Another encoding, no name, or names that cannot be classes.
    """
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"{place} cannot be read ({error}); write one class name a line as UTF-8"
        ) from error
    return classes_from_words(lines, place)


def label_of_class(word: str, place: str, *, own: bool = False) -> Label:
    """Translate a data set's word for a class.

    Args:
        word: As the data set writes it.
        place: Of the word, for messages.
        own: Whether it may be somebody's own class.

    Raises:
        DatasetError: No expression, where it has to be one; the sentence begins with its place.
    """
    return label_from_word(word) if own else emotion_of(word, place)


def emotion_of(word: str, place: str) -> Emotion:
    """Translate a data set's word for an expression.

    Raises:
        DatasetError: An unknown word; the sentence begins with its place.
    """
    if not word.strip():
        raise DatasetError(
            f"{place}: expected the name of an expression, got nothing; fill it in or remove it"
        )
    try:
        return emotion_from_name(word)
    except UnknownEmotionError as error:
        raise DatasetError(
            f"{place}: {error}. Classes of your own are read where none of them is an expression, or with "
            f"{CLASSES_FILE} in the data's folder, one name a line, or with --heads own"
        ) from error


def emotion_of_code(code: str, place: str, *, own: bool = False) -> Label:
    """Translate a number of FER2013, also written as ``0.0``, or a word; see ``label_of_class``.

    Raises:
        DatasetError: Neither.
    """
    try:
        number = float(code)
    except ValueError:
        return label_of_class(code, place, own=own)
    if not number.is_integer() or not 0 <= number < len(FER2013_CODES):
        raise DatasetError(
            f"{place}: expected an emotion from 0 to {len(FER2013_CODES) - 1}, got {code.strip()}"
        )
    return FER2013_CODES[int(number)]


def _plain(word: str) -> str:
    return re.sub(r"\d+$", "", re.sub(r"[\s_.-]+", "", word.lower()))
