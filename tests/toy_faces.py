"""Synthetic faces that a small network can distinguish, as data sets in every supported form."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

WORDS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
SIX_WORDS = ("angry", "fear", "happy", "sad", "surprise", "neutral")


def toy_face(word: str, seed: int) -> NDArray[np.uint8]:
    """A grey 48×48 picture: every word has bars of its own direction and width, with noise."""
    generator = np.random.default_rng(seed)
    number = WORDS.index(word)
    rows, columns = np.mgrid[0:48, 0:48]
    wave = np.sin((rows * np.cos(number) + columns * np.sin(number)) / (2 + number))
    return (128 + 80 * wave + generator.normal(0, 20, (48, 48))).clip(0, 255).astype(np.uint8)


def write_folder(folder: Path, count: int = 6, words: tuple[str, ...] = SIX_WORDS) -> Path:
    """``train`` and ``val`` with class folders of PNG files."""
    for split_number, split in enumerate(("train", "val")):
        for word in words:
            (folder / split / word).mkdir(parents=True)
            for i in range(count):
                face = toy_face(word, seed=1000 * split_number + 17 * i)
                Image.fromarray(face).save(folder / split / word / f"{i}.png")
    return folder


def write_csv(path: Path, words: tuple[str, ...] = WORDS) -> Path:
    """FER2013's columns, two pictures a word, of which one is PublicTest."""
    rows = [
        {
            "emotion": WORDS.index(word),
            "pixels": " ".join(map(str, toy_face(word, i).ravel())),
            "Usage": usage,
        }
        for word in words
        for i, usage in enumerate(("Training", "PublicTest"))
    ]
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    import io  # noqa: PLC0415

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write_parquet(
    path: Path, faces: list[bytes], labels: list[int], votes: dict[str, list[int | None]] | None = None
) -> Path:
    """Hugging Face's layout with the seven words, and contempt, as ClassLabel names."""
    images = pa.array([{"bytes": face, "path": None} for face in faces])
    columns = {"image": images, "label": pa.array(labels, pa.int64())}
    for word, counts in (votes or {}).items():
        columns[f"votes_{word}"] = pa.array(counts, pa.int8())
    names = ", ".join(f'"{word}"' for word in (*WORDS, "contempt"))
    info = f'{{"info": {{"features": {{"label": {{"_type": "ClassLabel", "names": [{names}]}}}}}}}}'
    pq.write_table(pa.table(columns).replace_schema_metadata({"huggingface": info}), path)
    return path
