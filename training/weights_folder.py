"""Writes a weights folder: network, card, golden sample, model card text, history; checks it first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fer.classification import EmotionClassifier, Engine
from fer.files import replaced_folder
from fer.model_card import (
    GOLDEN_FILE,
    INT8_FILE,
    ONNX_FILE,
    WEIGHTS_FILE,
    ModelCard,
    Preprocessing,
    WeightsMismatchError,
    file_hash,
    load_card,
)
from fer.networks import ExpressionNetwork
from training.model_text import model_card_text
from training.onnx_export import write_onnx
from training.quantisation import LARGEST_LOSS, accuracies, quantise
from training.run_files import (
    HISTORY_FOLDER,
    copy_history,
    write_record,
)

_TRACE: Final = 1e-20
"""Weights below this are residue of weight decay and do not affect the output."""

GOLDEN_TOLERANCE: Final = 1e-4
"""Maximum difference between the probabilities of ONNX Runtime and PyTorch."""

INT8_TOLERANCE: Final = 0.1
"""The same for the eight-bit network, on the synthetic golden crop."""


class _Calibrated(nn.Module):
    """The network as exported: probabilities of every head."""

    def __init__(self, network: ExpressionNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, crops: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.network.probabilities(crops).values())


@dataclass(frozen=True, slots=True)
class Export:
    """Contents of a weights folder except for the network.

    Attributes:
        card: The card, without file hashes.
        config: Settings of the training.
        environment: Environment of the training.
        epochs: Metrics of the epochs.
        report: The final metrics.
        before: Folders of earlier trainings, oldest first.
        sample: Crops for quantisation; None to keep single precision.
    """

    card: ModelCard
    config: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    epochs: Sequence[Mapping[str, Any]] = ()
    report: Mapping[str, Any] = field(default_factory=dict)
    before: Sequence[Path] = ()
    sample: Path | None = None


def write_weights(folder: Path, network: ExpressionNetwork, export: Export) -> ModelCard:
    """Write network, card, golden sample, model card text and history into a weights folder.

    All files are written to a draft folder and checked before it replaces the weights folder.

    Args:
        folder: ``weights/<architecture>.<tag>``.
        network: With weights and temperatures.
        export: All other contents.

    Returns:
        The card as written, with the hashes of its files.
    """
    from safetensors.torch import save_file  # noqa: PLC0415

    with replaced_folder(folder) as draft:
        network = network.cpu().eval()
        _drop_traces(network)
        save_file({k: v.contiguous() for k, v in network.state_dict().items()}, draft / WEIGHTS_FILE)
        _write_onnx(network, export.card, draft / ONNX_FILE)
        _write_golden(network, export.card, draft / GOLDEN_FILE)
        hashes = {name: file_hash(draft / name) for name in (WEIGHTS_FILE, ONNX_FILE, GOLDEN_FILE)}
        card = replace(export.card, files=hashes)
        card.save(draft)
        report = dict(export.report)
        if export.sample is not None:
            card, report["int8"] = _add_integers(draft, card, export.sample)
            card.save(draft)
            hashes = dict(card.files)
        for name in hashes:
            (draft / name).chmod(0o644)  # safetensors creates files readable only by the owner
        check_golden(draft)
        (draft / "README.md").write_text(model_card_text(card, report), encoding="utf-8")
        write_record(draft / "run", export.config, export.environment, report, export.epochs)
        copy_history(export.before, draft / HISTORY_FOLDER)
    return card


@torch.no_grad()
def _drop_traces(network: nn.Module) -> None:
    """Set tiny weights to zero: products with denormal numbers take twenty times as long."""
    for values in network.parameters():
        values[values.abs() < _TRACE] = 0.0


def golden_crop(preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Return a synthetic face-like crop of shape (1, C, size, size), identical on every machine."""
    size = preprocessing.size
    rows, columns = np.mgrid[0:size, 0:size] / size
    face = 200 - 260 * ((columns - 0.5) ** 2 + 0.7 * (rows - 0.5) ** 2)
    for x, y, spread in ((0.33, 0.38, 0.006), (0.67, 0.38, 0.006), (0.5, 0.75, 0.012)):
        face -= 110 * np.exp(-((columns - x) ** 2 + 3 * (rows - y) ** 2) / spread)
    plane = face.clip(0, 255).astype(np.uint8)
    return np.repeat(plane[None, None], preprocessing.channel_count, axis=1)


def check_golden(folder: Path) -> None:
    """Run the exported network on the golden crop.

    Raises:
        WeightsMismatchError: The output differs from the one stored at the export.
    """
    from safetensors.numpy import load_file  # noqa: PLC0415

    golden = load_file(folder / GOLDEN_FILE)
    card = load_card(folder)
    checks: list[tuple[str, Engine, float]] = [(ONNX_FILE, "onnx-float32", GOLDEN_TOLERANCE)]
    if INT8_FILE in card.files:
        checks.append((INT8_FILE, "onnx", INT8_TOLERANCE))
    for head in card.heads:
        for name, engine, tolerance in checks:
            classifier = EmotionClassifier(folder, head=head.name, engine=engine)
            found = classifier.probabilities(golden["crop"])
            distance = float(np.abs(found - golden[f"probabilities.{head.name}"]).max())
            if not distance <= tolerance:
                raise WeightsMismatchError(
                    f"{folder / name} differs from the trained network by {distance:.2g} "
                    f"in head {head.name!r}; expected at most {tolerance:g}"
                )


def _add_integers(draft: Path, card: ModelCard, sample: Path) -> tuple[ModelCard, dict[str, Any]]:
    """Quantise a draft's network; return the card, with the new file if accurate enough, and the figures."""
    with np.load(sample) as data:
        quantise(draft / ONNX_FILE, draft / INT8_FILE, data["ranges"])
    listed = replace(card, files={**card.files, INT8_FILE: file_hash(draft / INT8_FILE)})
    listed.save(draft)
    single, integers = (accuracies(draft, sample, name) for name in (ONNX_FILE, INT8_FILE))
    shipped = all(single[head] - integers[head] < LARGEST_LOSS for head in single)
    if not shipped:
        (draft / INT8_FILE).unlink()
    return (listed if shipped else card), {
        "float32_accuracy": single,
        "int8_accuracy": integers,
        "shipped": shipped,
    }


def _write_onnx(network: ExpressionNetwork, card: ModelCard, path: Path) -> None:
    crops = torch.from_numpy(np.repeat(golden_crop(card.preprocessing), 2, axis=0))
    write_onnx(
        _Calibrated(network).eval(),
        crops,
        path,
        input_name="crops",
        output_names=[head.name for head in card.heads],
        sizes={0: torch.export.Dim("count", min=1)},
    )


def _write_golden(network: ExpressionNetwork, card: ModelCard, path: Path) -> None:
    from safetensors.torch import save_file  # noqa: PLC0415

    crop = torch.from_numpy(golden_crop(card.preprocessing))
    with torch.inference_mode():
        logits, probabilities = network.judged_logits(crop), network.probabilities(crop)
    tensors = {"crop": crop}
    tensors |= {f"logits.{name}": values.clone() for name, values in logits.items()}
    tensors |= {f"probabilities.{name}": values.clone() for name, values in probabilities.items()}
    save_file(tensors, path)
