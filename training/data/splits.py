"""Training and validation split of the data sets of a training."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fer.emotions import Label, OwnLabel
from fer.model_card import OWN_HEAD, Preprocessing
from training.config import USUAL_HEADS, TrainConfig
from training.data.datasets import DatasetError, DecodedFaces, FaceTable, decode, read_tables
from training.data.duplicates import drop_duplicates
from training.data.targets import majority, was_voted


@dataclass(frozen=True, slots=True)
class Splits:
    """Decoded training and validation splits, with a summary.

    Attributes:
        train: The training split, without duplicates.
        val: The validation split.
        summary: Counts by label, problems, duplicates, hashes of the files.
    """

    train: DecodedFaces
    val: DecodedFaces
    summary: Mapping[str, Any]

    def settle(self, config: TrainConfig) -> TrainConfig:
        """Return the settings with the head that the classes require, and its labels."""
        labels = {*self.train.table.labels, *self.val.table.labels}
        return settle_heads(config, [label for label in labels if label is not None])

    def warnings(self) -> list[str]:
        """Return sentences about skipped images, and about expressions without validation images."""
        sentences = [f"skipped: {sentence}" for sentence in self.summary["left_out"]]
        if problems := self.summary["unreadable"]:
            sentences.append(f"skipped: {len(problems)} unreadable images, such as {problems[0]}")
        if lacking := self.summary["val_lacks"]:
            sentences.append(f"the split 'val' has no {', '.join(lacking)}: not evaluated")
        return sentences


def settle_heads(config: TrainConfig, labels: Iterable[Label]) -> TrainConfig:
    """Return the settings with the head ``own`` and its labels if the labels are custom classes.

    Args:
        config: The requested settings.
        labels: Labels of the data.

    Raises:
        DatasetError: The labels differ from those of the settings, or the requested heads lack the classes.
    """
    found = sorted(set(labels), key=str.casefold)
    strange = [label for label in found if isinstance(label, OwnLabel)]
    if OWN_HEAD not in config.heads:
        if not strange:
            return config
        if config.heads != USUAL_HEADS:
            raise DatasetError(
                f"expected expressions as classes for the heads {', '.join(config.heads)}, got "
                f"{', '.join(strange)}; train with --heads {OWN_HEAD}"
            )
        config = replace(config, heads=(OWN_HEAD,))
    if not config.labels:
        return replace(config, labels=tuple(map(str, found)))
    if unknown := [label for label in found if label not in config.labels]:
        raise DatasetError(
            f"expected the classes {', '.join(config.labels)}, also got {', '.join(unknown)}; "
            "start a new training for other classes"
        )
    return config


def load_splits(config: TrainConfig, preprocessing: Preprocessing) -> Splits:
    """Read, decode and split the data of a training.

    Raises:
        DatasetError: Unreadable data, fewer than two classes, or an empty split.
    """
    if config.other_places:
        read_tables(config.other_places)  # needed only after the last epoch; report problems before the first
    table = read_tables(config.data, own=OWN_HEAD in config.heads)
    table = table.with_split(
        _draw_val(table, config.val_share, config.seed) if "val" not in table.splits else table.splits
    )
    # Data sets without splits may stand next to sets with a validation split.
    table = table.with_split([split or "train" for split in table.splits])
    table = table.take(row for row, split in enumerate(table.splits) if split in ("train", "val"))
    faces = decode(table, preprocessing, config.inset_of)
    duplicates: dict[str, int] = {}
    if not config.keep_duplicates:
        faces, found = drop_duplicates(faces)
        duplicates = {
            "across_splits": found.across_splits,
            "within_train": found.within_train,
            "conflicting": found.conflicting,
        }
    train, val = (_part(faces, split) for split in ("train", "val"))
    _check(train, "train")
    _check(val, "val")
    summary = {
        "files": {str(path): data_hash(path) for path in (*config.data, *config.other_places)},
        "train": _counts(train.table.labels),
        "val": _counts(val.table.labels),
        "duplicates": duplicates,
        "unreadable": list(faces.problems),
        "left_out": list(table.left_out),
        "val_lacks": sorted({str(label) for label in train.table.labels if label} - _names(val)),
    }
    return Splits(train, val, summary)


def head_truth(head: str, table: FaceTable, config: TrainConfig) -> list[Label | None]:
    """Return a head's label of each image; None if its data set does not train the head."""
    truth = shown_truth(table) if head in ("crowd", "votes") else list(table.labels)
    taught = {source: head in config.heads_of(source) for source in set(table.sources)}
    return [label if taught[source] else None for label, source in zip(truth, table.sources, strict=True)]


def drawn_counts(sources: Sequence[str], config: TrainConfig) -> dict[str, int]:
    """Return the number of images drawn from each data set per epoch."""
    counts = Counter(sources)
    return {source: max(round(config.draw_of(source) * count), 1) for source, count in counts.items()}


def draw_rows(sources: Sequence[str], config: TrainConfig) -> Tensor:
    """Draw the rows of one epoch with PyTorch's generator: a share of every data set, in random order.

    Args:
        sources: The data set of each image of the training split.
        config: The share of each data set.
    """
    order = torch.randperm(len(sources))
    if not config.draws:
        return order
    names = np.asarray(sources)[order.numpy()]
    kept = np.zeros(len(names), dtype=bool)
    for source, count in drawn_counts(sources, config).items():
        kept[np.flatnonzero(names == source)[:count]] = True
    return order[torch.from_numpy(kept)]


def shown_truth(table: FaceTable) -> list[Label | None]:
    """Return the crowd's majority for images with votes, else the label."""
    voted = was_voted(table.votes)
    by_crowd = majority(np.where(voted[:, None], table.votes, 0))
    return [by_crowd[row] if voted[row] else table.labels[row] for row in range(len(table))]


def data_hash(path: Path) -> str:
    """Return the SHA-256 of a file, or of the names and sizes in a folder."""
    if path.is_dir():
        listing = "\n".join(
            f"{file.relative_to(path)} {file.stat().st_size}"
            for file in sorted(path.rglob("*"))
            if file.is_file()
        )
        return hashlib.sha256(listing.encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _draw_val(table: FaceTable, share: float, seed: int) -> list[str]:
    """Divide all rows outside ``test`` into ``train`` and ``val``, stratified by class."""
    splits = ["test" if split == "test" else "train" for split in table.splits]
    generator = np.random.default_rng(seed)
    for label in sorted(set(table.labels), key=str):  # the order of a set differs from process to process
        rows = [row for row in range(len(table)) if table.labels[row] == label and splits[row] == "train"]
        if len(rows) > 1:
            for row in generator.permutation(rows)[: max(round(share * len(rows)), 1)]:
                splits[row] = "val"
    return splits


def _part(faces: DecodedFaces, split: str) -> DecodedFaces:
    rows = [row for row, name in enumerate(faces.table.splits) if name == split]
    return DecodedFaces(faces.table.take(rows), faces.crops[rows], ())


def _check(faces: DecodedFaces, split: str) -> None:
    classes = {label for label in faces.table.labels if label is not None}
    if not len(faces.table):
        raise DatasetError(
            f"the split {split!r} is empty; expected images of at least two expressions in it, "
            "in files or folders with its name"
        )
    if len(classes) < 2:
        found = ", ".join(classes) or "no label"
        raise DatasetError(f"the split {split!r} has only {found}; expected at least two expressions")


def _names(faces: DecodedFaces) -> set[str]:
    return {str(label) for label in faces.table.labels if label}


def _counts(labels: Sequence[Label | None]) -> dict[str, int]:
    counted = Counter(str(label) if label else "without label" for label in labels)
    return dict(sorted(counted.items()))
