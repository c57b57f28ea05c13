"""Entry point: finds and removes doubtful labels by cross-validation."""

import logging
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fer.classification import EmotionClassifier
from fer.printable import plain_table
from training.command import run_command
from training.config import TrainConfig
from training.data.datasets import decode, read_table
from training.evaluate import classify_all
from training.export import ExportOptions, export_run
from training.train import train

_HEAD = "fer2013"
_COLUMNS = ["row", "label", "label_share", "other", "other_share"]
_Doubt = tuple[int, str, float, str, float]
"""A doubtful label, by column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanOptions:
    """Train one network per fold on all other folds, and let it classify its held-out fold.

    Attributes:
        data: Parquet file with ``image`` and ``label``.
        output: Parquet file to write: the same rows, with doubtful labels emptied and votes kept.
        folds: Number of folds.
        most_for_label: A label is doubtful if its predicted probability is at most this …
        least_for_other: … and that of another label at least this.
        epochs: Epochs per training.
        batch_size: Images per step.
        learning_rate: Peak learning rate.
        augment_strength: Frequency of changes of light, degradation and occlusion, in [0, 1].
        architecture: Name of an architecture in ``fer.networks``.
        seed: Random seed of folds and trainings.
        thread_count: CPU threads of PyTorch; 0 for PyTorch's default.
    """

    data: Path
    output: Path
    folds: int = 2
    most_for_label: float = 0.05
    least_for_other: float = 0.85
    epochs: int = 10
    batch_size: int = 64
    learning_rate: float = 0.1
    augment_strength: float = 0.3
    architecture: str = "kv_fast"
    seed: int = 0
    thread_count: int = 0

    def __post_init__(self) -> None:
        if self.folds < 2:
            raise ValueError(f"expected at least 2 folds, got {self.folds}")
        if not 0 <= self.most_for_label < self.least_for_other <= 1:
            raise ValueError(
                f"expected 0 <= most_for_label < least_for_other <= 1, got {self.most_for_label} and "
                f"{self.least_for_other}"
            )


def clean_labels(options: CleanOptions) -> pd.DataFrame:
    """Find and empty the doubtful labels, write the data.

    Returns:
        One row per doubtful label: ``row``, ``label``, ``label_share``, ``other``, ``other_share``.

    Raises:
        DatasetError: The data cannot be used.
        ValueError: The data is not a parquet file.
    """
    if options.data.suffix.lower() != ".parquet":
        raise ValueError(f"expected a parquet file, got {options.data}")
    row_count = len(read_table(options.data))
    fold_of = np.random.default_rng(options.seed).permutation(row_count) % options.folds
    with tempfile.TemporaryDirectory() as temporary:
        found = [
            doubt
            for fold in range(options.folds)
            for doubt in _doubt_fold(options, fold_of, fold, Path(temporary))
        ]
    doubted = pd.DataFrame(found, columns=_COLUMNS).sort_values("row", ignore_index=True)
    table = pq.read_table(options.data)
    column = table.schema.get_field_index("label")
    values = table.column("label").to_pylist()
    for row in doubted["row"]:
        values[row] = None
    labels = pa.array(values, table.schema.field("label").type)
    pq.write_table(table.set_column(column, table.schema.field("label"), labels), options.output)
    return doubted


def _doubt_fold(
    options: CleanOptions, fold_of: np.ndarray[tuple[int], np.dtype[np.int64]], fold: int, folder: Path
) -> list[_Doubt]:
    splits = ["val" if number == fold else "train" for number in fold_of]
    data = folder / f"fold_{fold}.parquet"
    table = pq.read_table(options.data)
    if "split" in table.column_names:
        table = table.drop_columns(["split"])
    pq.write_table(table.append_column("split", pa.array(splits)), data)
    config = TrainConfig(
        data=(data,),
        architecture=options.architecture,
        epochs=options.epochs,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        augment_strength=options.augment_strength,
        seed=options.seed,
        thread_count=options.thread_count,
        runs=folder,
        name=f"fold_{fold}",
    )
    train(config, folder / config.name)
    weights = export_run(ExportOptions(run=folder / config.name, tag=config.name, weights=folder / "weights"))
    classifier = EmotionClassifier(weights, head=_HEAD)
    rows = np.flatnonzero(fold_of == fold)
    unseen = decode(read_table(data).take(rows), classifier.card.preprocessing)
    # The name of a row ends with its number in the file.
    numbers = [int(name.rsplit(" ", 1)[1]) for name in unseen.table.names]
    shares = classify_all(classifier, unseen.crops)
    return _doubted(options, shares, list(classifier.head.labels), unseen.table.labels, numbers)


def _doubted(
    options: CleanOptions,
    shares: np.ndarray[tuple[int, int], np.dtype[np.float32]],
    emotions: Sequence[object],
    labels: Sequence[object],
    numbers: Sequence[int],
) -> list[_Doubt]:
    found = []
    for row, label, answer in zip(numbers, labels, shares, strict=True):
        if label not in emotions:  # no label, or one that the network lacks, such as contempt
            continue
        best = int(answer.argmax())
        given = float(answer[emotions.index(label)])
        if given <= options.most_for_label and answer[best] >= options.least_for_other:
            found.append((row, str(label), given, str(emotions[best]), float(answer[best])))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, clean the labels, print a summary; return 1 with a sentence on an error."""
    logging.basicConfig(format="%(message)s")
    logging.getLogger("training").setLevel(logging.INFO)  # but not PyTorch's exporter
    return run_command(CleanOptions, _clean, "training.clean_labels", arguments)


def _clean(options: CleanOptions) -> None:
    doubted = clean_labels(options)
    plain_table(doubted).to_csv(options.output.with_suffix(".csv"), index=False)
    print(pd.crosstab(doubted["label"], doubted["other"]) if len(doubted) else "no doubtful labels")
    print(
        f"{len(doubted)} labels emptied in {options.output}, listed in {options.output.with_suffix('.csv')}"
    )


if __name__ == "__main__":
    sys.exit(main())
