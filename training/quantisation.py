"""Eight-bit quantisation of exported networks."""

import contextlib
import io
import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from fer.emotions import Label
from fer.files import replaced
from fer.model_card import load_card
from fer.onnx_session import open_session
from training.metrics import restrict

SAMPLE_FILE: Final = "sample.npz"
"""File in a run directory with crops for calibrating value ranges and crops for comparing accuracies."""

LARGEST_LOSS: Final = 0.003
"""Largest loss of accuracy at which the quantised network is kept."""

_RANGE_COUNT: Final = 512
_BATCH_SIZE: Final = 32
_JUDGED_AT_ONCE: Final = 256
_INPUT: Final = "crops"
_HEADS: Final = "network.heads."
"""Prefix of the parameters of the heads in an exported network."""


def save_sample(
    path: Path,
    train_crops: NDArray[np.uint8],
    val_crops: NDArray[np.uint8],
    truth: Mapping[str, Sequence[Label | None]],
) -> None:
    """Write the crops that an export needs to quantise a network.

    Args:
        path: The archive to write.
        train_crops: Shape (N, C, S, S); a subset is kept for the ranges.
        val_crops: Shape (M, C, S, S); all are kept.
        truth: By head, the ground-truth labels of ``val_crops``, None for crops without one.
    """
    rows = np.linspace(0, len(train_crops) - 1, min(_RANGE_COUNT, len(train_crops))).astype(int)
    arrays: dict[str, Any] = {"ranges": train_crops[rows], "val": val_crops}
    for head, labels in truth.items():
        arrays[f"truth.{head}"] = np.array([str(label or "") for label in labels])
    with replaced(path) as temporary:
        np.savez_compressed(temporary, **arrays)


def quantise(source: Path, target: Path, crops: NDArray[np.uint8]) -> None:
    """Quantise an ONNX network to eight-bit integers.

    Scales are per output channel. Weights use seven bits, since processors without VNNI accumulate two
    eight-bit products in 16 bits. The rounding errors of all layers shift each logit by a constant, which
    favours some expressions: the biases of the heads compensate for it (Nagel et al. 2019, section 4.2).

    Args:
        source: The network in single precision.
        target: The file to write.
        crops: Typical input, shape (N, C, S, S), for calibrating the range of every layer.
    """
    whole = max(len(crops) // _BATCH_SIZE * _BATCH_SIZE, 1)  # the library needs batches of equal size
    size = min(_BATCH_SIZE, len(crops))
    batches = [{_INPUT: crops[start : start + size]} for start in range(0, whole, size)]
    quantise_network(source, target, batches, "Percentile")
    _correct_biases(source, target, batches)


def _correct_biases(source: Path, target: Path, batches: Sequence[Mapping[str, NDArray[Any]]]) -> None:
    """Shift the biases of the heads so that the mean logits are those of single precision."""
    import onnx  # noqa: PLC0415 - only exports need it

    wanted, found = (_mean_logits(path, batches) for path in (source, target))
    network = onnx.load(target)
    for stored in network.graph.initializer:
        if stored.name in wanted:
            bias = onnx.numpy_helper.to_array(stored) + (wanted[stored.name] - found[stored.name])
            stored.CopyFrom(onnx.numpy_helper.from_array(bias.astype(np.float32), stored.name))
    onnx.save(network, target)


def _mean_logits(path: Path, batches: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[np.float64]]:
    """Return the mean logits of each head over crops and views, by the name of the head's bias."""
    import onnx  # noqa: PLC0415 - only exports need it

    network = onnx.load(path)
    heads = {
        node.input[2]: node.output[0]
        for node in network.graph.node
        if node.op_type == "Gemm" and node.input[2].startswith(_HEADS)
    }
    network.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in heads.values())
    with tempfile.TemporaryDirectory() as folder:
        onnx.save(network, Path(folder) / "logits.onnx")
        session = open_session(Path(folder) / "logits.onnx", os.cpu_count() or 1)
        logits = [session.run(list(heads.values()), batch) for batch in batches]
        del session  # Windows keeps open files
    return {
        bias: np.concatenate(parts).mean(axis=0, dtype=np.float64)
        for bias, parts in zip(heads, zip(*logits, strict=True), strict=True)
    }


def quantise_network(
    source: Path,
    target: Path,
    inputs: Sequence[Mapping[str, NDArray[Any]]],
    method: Literal["Percentile", "MinMax"],
) -> None:
    """Quantise any convolutional network to eight-bit integers, in the same way as ``quantise``.

    Args:
        source: The network in single precision.
        target: The file to write.
        inputs: Typical inputs, by input name.
        method: Calibration method; ``Percentile`` needs inputs of equal shape.
    """
    from onnxruntime import quantization  # noqa: PLC0415 - only exports need it
    from onnxruntime.quantization.shape_inference import quant_pre_process  # noqa: PLC0415

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._inputs = iter(inputs)

        def get_next(self) -> Any:
            return next(self._inputs, None)

    silent = logging.getLogger()
    level = silent.level
    silent.setLevel(logging.ERROR)  # the library logs advice on the root logger and prints its progress
    try:
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            prepared = Path(folder) / "prepared.onnx"
            quant_pre_process(source, prepared, skip_symbolic_shape=True)
            quantization.quantize_static(
                prepared,
                target,
                Reader(),
                quant_format=quantization.QuantFormat.QDQ,
                op_types_to_quantize=["Conv", "Add", "Relu"],
                per_channel=True,
                reduce_range=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                calibrate_method=quantization.CalibrationMethod[method],
            )
    finally:
        silent.setLevel(level)


def accuracies(folder: Path, sample: Path, name: str) -> dict[str, float]:
    """Return the accuracy of an exported network on a sample's validation crops, by head.

    Args:
        folder: The weights folder with the card.
        sample: A sample as ``save_sample`` writes it.
        name: The ONNX file in the weights folder.
    """
    heads = {head.name: head for head in load_card(folder).heads}
    session = open_session(folder / name, os.cpu_count() or 1)
    found = {}
    with np.load(sample) as data:
        names = [key.removeprefix("truth.") for key in data.files if key.startswith("truth.")]
        crops = data["val"]
        batches = [crops[start : start + _JUDGED_AT_ONCE] for start in range(0, len(crops), _JUDGED_AT_ONCE)]
        answers = [session.run(names, {_INPUT: batch}) for batch in batches]  # all heads at once
        for head, parts in zip(names, zip(*answers, strict=True), strict=True):
            truth, labels = data[f"truth.{head}"], list(heads[head].emotions)
            guesses = np.array(labels)[
                restrict(np.concatenate(parts), heads[head].labels, labels).argmax(axis=1)
            ]
            known = np.isin(truth, labels)
            found[head] = float((guesses[known] == truth[known]).mean()) if known.any() else 0.0
    return found
