"""The wrong answers that a network was surest of."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fer.emotions import Emotion
from training.datasets import DecodedFaces
from training.metrics import restrict
from training.targets import HEAD_LABELS

MISTAKE_COUNT: Final = 200


def save_mistakes(
    path: Path,
    probabilities: NDArray[np.floating],
    head: str,
    faces: DecodedFaces,
    truth: Sequence[Emotion | None],
) -> None:
    """Write the most confident wrong answers with their crops.

    Args:
        path: The archive to write.
        probabilities: Shape (N, outputs) in the order of the head's labels.
        head: Which head answered.
        faces: The pictures that were judged.
        truth: The true label of each.
    """
    emotions = [label for label in HEAD_LABELS[head] if label in {str(t) for t in truth if t is not None}]
    shares = restrict(probabilities, HEAD_LABELS[head], emotions)
    guesses = [emotions[i] for i in shares.argmax(axis=1)]
    confidence = shares.max(axis=1)
    wrong = [row for row, label in enumerate(truth) if label in emotions and label != guesses[row]]
    wrong = sorted(wrong, key=lambda row: -confidence[row])[:MISTAKE_COUNT]
    temporary = path.with_name(f".{path.name}")
    np.savez_compressed(
        temporary,
        crops=faces.crops[wrong],
        target=np.array([str(truth[row]) for row in wrong]),
        predicted=np.array([str(guesses[row]) for row in wrong]),
        confidence=confidence[wrong].astype(np.float32),
        name=np.array([faces.table.names[row] for row in wrong]),
    )
    temporary.replace(path)
