"""Entry point: writes small copies of data sets, to train on another machine."""

import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from fer.images import RgbImage
from fer.model_card import Preprocessing
from fer.preprocessing import prepare_crops
from training.command import run_command
from training.config import TrainConfig
from training.data.datasets import DatasetError, FaceTable, pixels_of, square_of
from training.data.parquet_files import write_parquet_faces
from training.data.splits import load_splits
from training.data.targets import was_voted


@dataclass(frozen=True, slots=True, kw_only=True)
class PackOptions:
    """Write data sets as small crops, without duplicates, each as a parquet file with the same name.

    Attributes:
        data: As for a training.
        output: Folder of the new files.
        size: Side of the crops in pixels; smaller images keep their size.
        colour: Whether to keep the colours, for trainings with RGB crops.
        quality: Quality of WebP, from 1 to 100.
    """

    data: tuple[Path, ...]
    output: Path
    size: int = 80
    colour: Literal["grey", "rgb"] = "grey"
    quality: int = 90


def pack(options: PackOptions) -> list[Path]:
    """Write the files and return their paths.

    Raises:
        DatasetError: The data cannot be used, or two data sets have the same name.
        ValueError: Size or quality is out of range.
    """
    if not 1 <= options.quality <= 100:
        raise ValueError(f"expected quality to be 1 to 100, got {options.quality}")
    sources = [path.stem for path in options.data]
    if len(set(sources)) < len(sources):
        raise DatasetError(f"expected data sets with different names, got {', '.join(sources)}")
    if options.output.exists() and not options.output.is_dir():
        raise ValueError(f"expected output to be a folder, {options.output} is a file; name another one")
    config = TrainConfig(data=options.data, size=options.size, colour=options.colour)
    splits = load_splits(config, config.preprocessing)
    options.output.mkdir(parents=True, exist_ok=True)
    paths = []
    for source in sources:
        parts = [
            table.take(row for row, name in enumerate(table.sources) if name == source)
            for table in (splits.train.table, splits.val.table)
        ]
        paths.append(options.output / f"{source}.parquet")
        _write(paths[-1], parts, options)
    return paths


def _write(path: Path, parts: Sequence[FaceTable], options: PackOptions) -> None:
    labels = [label for part in parts for label in part.labels]
    votes = np.concatenate([part.votes for part in parts])
    write_parquet_faces(
        path,
        [_encode(pixels_of(picture), options) for part in parts for picture in part.pictures],
        labels,
        sorted({str(label) for label in labels if label is not None}),
        splits=[split for part in parts for split in part.splits],
        votes=votes if was_voted(votes).any() else None,
    )


def _encode(image: RgbImage, options: PackOptions) -> bytes:
    square = square_of(image)
    preprocessing = Preprocessing(size=min(len(square), options.size), colour=options.colour)
    crop = prepare_crops([square], preprocessing)[0].transpose(1, 2, 0)
    buffer = io.BytesIO()
    Image.fromarray(crop.squeeze()).save(buffer, "WEBP", quality=options.quality, method=6)
    return buffer.getvalue()


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, write the files, print their sizes; return 1 with a sentence on an error."""
    return run_command(PackOptions, _pack, "training.pack", arguments)


def _pack(options: PackOptions) -> None:
    for path in pack(options):
        print(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    sys.exit(main())
