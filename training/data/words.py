"""Translation of the words that data sets use for splits and expressions."""

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
"""Spellings of the splits in data sets, in lower case; FER2013 calls the validation split PublicTest."""

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
"""Ambiguous words, which data sets use for ``val``, for ``test``, or for both."""


CLASSES_FILE: Final = "classes.txt"
"""File with the class names of a folder, one per line; it may mix expressions and custom classes."""


class DatasetError(ValueError):
    """A data set that cannot be used."""


def split_from_word(word: str) -> str | None:
    """Translate a word for a split, such as ``test-set``, ``Public Test`` or ``train2017``; else None."""
    plain = _plain(word)
    return SPLIT_SPELLINGS.get(plain) or SPLIT_SPELLINGS.get(
        re.sub(r"(set|split|data|images|faces)$", "", plain)
    )


def is_unclear_split(word: str) -> bool:
    """Whether a word is an ambiguous name of a split."""
    return _plain(word) in UNCLEAR_SPLITS


def split_from_name(name: str) -> str:
    """Detect the split in a file name: ``fer2013_publictest.csv`` is ``val``; empty if it names none.

    Raises:
        DatasetError: The name is ambiguous.
    """
    words = [word for word in re.split(r"[^a-z0-9]+", PurePath(name).stem.lower()) if word]
    splits = {split: word for word in words if (split := split_from_word(word))}
    unclear = [word for word in words if is_unclear_split(word)]
    if len(splits) > 1 or (unclear and not splits):
        found = " and ".join([*splits.values(), *unclear])
        raise DatasetError(
            f"{name}: expected one split in the file name, got {found!r}, which is ambiguous; "
            "use train, val or test in the name, or add a column 'split'"
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
    """Translate a column of split words; None if the whole column is empty.

    Args:
        words: Words of the data set.
        places: Location of each word, for messages.

    Raises:
        DatasetError: A word is unknown, ambiguous, or missing in some rows.
    """
    if not any(word.strip() for word in words):
        return None
    known = {word: split_from_word(word) for word in set(words)}
    for word, place in zip(words, places, strict=True):
        if known[word] is None:
            raise DatasetError(f"{place}: {unknown_split(word)}")
    return [known[word] or "" for word in words]


def unknown_split(word: str) -> str:
    """Return an error sentence about an unknown split, with the known words."""
    found = f"unknown split {word!r}" if word.strip() else "no split, although other rows have one"
    return (
        f"{found}; expected train (or training), val (or validation, dev, PublicTest) "
        "or test (or testing, PrivateTest)"
    )


def are_own_classes(words: Iterable[str]) -> bool:
    """Whether words are at least two custom classes, none of them an expression."""
    labels = {label_from_word(word) for word in words if word.strip()}
    return len(labels) > 1 and all(isinstance(label, OwnLabel) for label in labels)


def check_classes(labels: Iterable[Label | None], place: str) -> None:
    """Check the names of custom classes; expressions are always valid.

    Raises:
        DatasetError: Too many classes, or a name that cannot be shown; the message starts with ``place``.
    """
    names = {label for label in labels if label is not None}
    if any(isinstance(label, OwnLabel) for label in names) and (
        problem := labels_problem(sorted(names), fewest=1)
    ):
        raise DatasetError(f"{place}: {problem}")


def classes_from_words(words: Iterable[str], place: str) -> tuple[Label, ...]:
    """Translate the class names of one data set, in order; empty names are ignored.

    Raises:
        DatasetError: A name is invalid or the name of a split; the message starts with ``place``.
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
            f"{place} cannot be read ({error}); write one class name per line as UTF-8"
        ) from error
    return classes_from_words(lines, place)


def label_of_class(word: str, place: str, *, own: bool = False) -> Label:
    """Translate a data set's word for a class.

    Args:
        word: Word of the data set.
        place: Location of the word, for messages.
        own: Accept custom classes.

    Raises:
        DatasetError: The word is not an expression, and ``own`` is false; the message starts with ``place``.
    """
    return label_from_word(word) if own else emotion_of(word, place)


def emotion_of(word: str, place: str) -> Emotion:
    """Translate a data set's word for an expression.

    Raises:
        DatasetError: An unknown word; the message starts with ``place``.
    """
    if not word.strip():
        raise DatasetError(
            f"{place}: expected the name of an expression, got nothing; fill it in or remove it"
        )
    try:
        return emotion_from_name(word)
    except UnknownEmotionError as error:
        raise DatasetError(
            f"{place}: {error}. Custom classes are accepted if none of them is an expression, or with "
            f"{CLASSES_FILE} in the data's folder, one name per line, or with --heads own"
        ) from error


def emotion_of_code(code: str, place: str, *, own: bool = False) -> Label:
    """Translate a FER2013 code, which may be written as ``0.0``, or a word; see ``label_of_class``.

    Raises:
        DatasetError: The text is neither a code nor a word for a class.
    """
    try:
        number = float(code)
    except ValueError:
        return label_of_class(code, place, own=own)
    if not number.is_integer() or not 0 <= number < len(FER2013_CODES):
        raise DatasetError(
            f"{place}: expected an emotion from 0 to {len(FER2013_CODES) - 1}, got {code.strip()[:40]}"
        )
    return FER2013_CODES[int(number)]


def _plain(word: str) -> str:
    return re.sub(r"\d+$", "", re.sub(r"[\s_.-]+", "", word.lower()))
