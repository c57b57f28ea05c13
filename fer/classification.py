"""Classify face crops, all faces of an image in one batch."""

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from fer.emotions import OTHER
from fer.faces import Prediction
from fer.images import RgbImage
from fer.model_card import (
    INT8_FILE,
    ONNX_FILE,
    SMALL_FACE_SIDE,
    WEIGHTS_FILE,
    Head,
    ModelCard,
    WeightsMismatchError,
    load_card,
    verified_file,
)
from fer.onnx_session import open_session
from fer.preprocessing import prepare_crops

Engine = Literal["onnx", "onnx-float32", "torch"]


class _Runner(Protocol):
    """Runs a batch through an exported network."""

    def __call__(self, batch: NDArray[np.uint8], head: str) -> NDArray[np.float32]:
        """Probabilities of one head, shape (N, outputs)."""


class EmotionClassifier:
    """An exported network with its card; stateless, may be called from several threads.

    Args:
        folder: A weights folder: card and network.
        engine: ``onnx`` runs on the CPU, quantised to eight bits if the card lists such a file;
            ``onnx-float32`` ignores that file; ``torch`` runs on the GPU if CUDA is available.
        head: One of the card's heads; None for its default.
        thread_count: CPU threads; one is fastest for single faces, and for any number on a busy machine.

    Raises:
        UnknownModelError: The card, the file or the head is missing.
        WeightsMismatchError: The file does not match the card's hash, or its outputs do not match the labels.
    """

    def __init__(
        self, folder: Path, *, engine: Engine = "onnx", head: str | None = None, thread_count: int = 1
    ) -> None:
        self.folder = folder
        self.card: ModelCard = load_card(folder)
        self._use(self.card.head(head))
        self.engine: Engine = engine
        if engine in ("onnx", "onnx-float32"):
            name = INT8_FILE if engine == "onnx" and INT8_FILE in self.card.files else ONNX_FILE
            self._run: _Runner = _onnx_runner(verified_file(folder, self.card, name), self.card, thread_count)
        elif engine == "torch":
            self._run = _torch_runner(verified_file(folder, self.card, WEIGHTS_FILE), self.card)
        else:
            raise ValueError(f"expected engine 'onnx', 'onnx-float32' or 'torch', got {engine!r}")

    def _use(self, head: Head) -> None:
        self.head: Head = head
        labels = head.labels
        self._emotions = head.emotions
        self._emotion_columns = [i for i, label in enumerate(labels) if label != OTHER]
        self._other_column = labels.index(OTHER) if OTHER in labels else None

    def for_head(self, head: str | None = None) -> Self:
        """Return a classifier that uses another head; both share the loaded network.

        Args:
            head: One of the card's heads; None for its default.

        Raises:
            UnknownModelError: The card lists no such head.
        """
        other = copy(self)
        other._use(self.card.head(head))
        return other

    def classify(self, crops: Sequence[RgbImage]) -> list[Prediction]:
        """Classify every crop, in order.

        Args:
            crops: Square RGB ``uint8`` crops of any size in pixels of the image; small faces are unsure
                below another threshold. An empty list gives an empty list.
        """
        if not crops:
            return []
        found = self.predictions(self.probabilities(prepare_crops(crops, self.card.preprocessing)))
        smallest = SMALL_FACE_SIDE * (1 + 2 * self.card.preprocessing.margin)
        return [
            replace(each, unsure_below=self.head.unsure_below_hard) if crop.shape[0] < smallest else each
            for each, crop in zip(found, crops, strict=True)
        ]

    def probabilities(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the head's calibrated probabilities, ``other`` included.

        Args:
            batch: Prepared crops, ``uint8`` of shape (N, C, size, size).

        Returns:
            Shape (N, outputs), in the order of the head's labels.
        """
        return self._run(batch, self.head.name)

    def predictions(self, probabilities: NDArray[np.float32]) -> list[Prediction]:
        """Convert a head's probabilities to predictions; expressions are rescaled without ``other``."""
        emotions = probabilities[:, self._emotion_columns].astype(np.float32)
        emotions /= np.maximum(emotions.sum(axis=1, keepdims=True), 1e-12)
        other = (
            np.zeros(len(probabilities))
            if self._other_column is None
            else probabilities[:, self._other_column]
        )
        return [
            Prediction(self._emotions, row, float(np.clip(share, 0, 1)), self.head.unsure_below)
            for row, share in zip(emotions, other, strict=True)
        ]


def _check_outputs(card: ModelCard, counts: dict[str, int], path: Path) -> None:
    expected = {head.name: len(head.labels) for head in card.heads}
    if counts != expected:
        raise WeightsMismatchError(
            f"{path} has outputs {counts}, its card lists {expected}; restore both from one export"
        )


def _onnx_runner(path: Path, card: ModelCard, thread_count: int) -> _Runner:
    session = open_session(path, thread_count)
    _check_outputs(card, {output.name: output.shape[-1] for output in session.get_outputs()}, path)
    input_name = session.get_inputs()[0].name

    def run(batch: NDArray[np.uint8], head: str) -> NDArray[np.float32]:
        return np.asarray(session.run([head], {input_name: batch})[0], dtype=np.float32)

    return run


def _torch_runner(path: Path, card: ModelCard) -> _Runner:
    import torch  # noqa: PLC0415 - takes seconds; only this engine needs it

    from fer.networks import load_network  # noqa: PLC0415

    network = load_network(path, card)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = network.to(device).eval()
    _check_outputs(card, network.output_counts, path)

    def run(batch: NDArray[np.uint8], head: str) -> NDArray[np.float32]:
        with torch.inference_mode():
            probabilities = network.probabilities(torch.from_numpy(batch).to(device))[head]
        return probabilities.float().cpu().numpy()

    return run
