"""Entry point: from a finished run to weights with a card."""

import json
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fer.classification import EmotionClassifier, Engine
from fer.emotions import OTHER
from fer.model_card import (
    GOLDEN_FILE,
    INT8_FILE,
    ONNX_FILE,
    WEIGHTS_FILE,
    Head,
    ModelCard,
    Preprocessing,
    WeightsMismatchError,
    file_hash,
    load_card,
)
from fer.networks import ExpressionNetwork
from training.config import TrainConfig
from training.model_text import model_card_text
from training.onnx_files import forget_origin
from training.quantisation import LARGEST_LOSS, SAMPLE_FILE, accuracies, quantise
from training.run_files import BEFORE_FOLDER
from training.runs import (
    BEST_FILE,
    CONFIG_FILE,
    ENVIRONMENT_FILE,
    EPOCHS_FILE,
    REPORT_FILE,
    read_run,
    write_json,
)
from training.targets import HEAD_LABELS

_TRACE: Final = 1e-20
"""Weights below this are noise of weight decay: they change no answer."""

GOLDEN_TOLERANCE: Final = 1e-4
"""How far ONNX Runtime's probabilities may lie from PyTorch's."""

INT8_TOLERANCE: Final = 0.1
"""The same in eight-bit integers, on a picture that is no photograph."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """What to make of which run.

    Attributes:
        run: The run directory.
        tag: What stands behind the architecture in the name, such as ``crowd``.
        weights: The folder that gets ``<architecture>.<tag>``.
        description: One sentence for the card.
    """

    run: Path
    tag: str
    weights: Path = Path("weights")
    description: str = ""


class _Calibrated(nn.Module):
    """The network as it is exported: probabilities of every head."""

    def __init__(self, network: ExpressionNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, crops: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.network.probabilities(crops).values())


@dataclass(frozen=True, slots=True)
class Export:
    """Everything that goes into a weights folder besides the network.

    Attributes:
        card: Without file hashes.
        config: Settings to keep beside the weights.
        environment: What the training ran on.
        epochs: The history's lines.
        report: The stored metrics.
        before: The ``run`` folder of the weights that the training started from.
        sample: Crops to quantise with; None leaves the network in single precision.
    """

    card: ModelCard
    config: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    epochs: Sequence[Mapping[str, Any]] = ()
    report: Mapping[str, Any] = field(default_factory=dict)
    before: Path | None = None
    sample: Path | None = None


def export_run(options: ExportOptions) -> Path:
    """Turn a run into a weights folder; an older one of the same name is replaced as a whole.

    Raises:
        ValueError: The run cannot be read or is not finished.
        WeightsMismatchError: The exported network answers otherwise than the trained one.
    """
    from safetensors.torch import load_file  # noqa: PLC0415 - after the arguments are known to be right

    run = read_run(options.run)
    if run.problem or run.report is None or not (options.run / BEST_FILE).is_file():
        raise ValueError(f"{options.run} cannot be exported: {run.problem or 'it has no report yet'}")
    config = TrainConfig.from_dict(run.config)
    report = run.report
    heads = tuple(_head(name, report["heads"][name]) for name in config.heads)
    network = ExpressionNetwork(
        config.architecture,
        {head.name: len(head.labels) for head in heads},
        mirror_average=config.mirror_average,
        inner_view=config.inner_view,
    )
    network.load_state_dict(load_file(options.run / BEST_FILE))
    for head in heads:
        network.temperatures[head.name].data.fill_(head.temperature)
        shift = report["heads"][head.name].get("logit_shift")
        if shift is not None:  # part of the last layer from here on
            layer = cast(nn.Linear, network.heads[head.name])
            layer.bias.data += torch.tensor(shift, dtype=layer.bias.dtype)
    card = ModelCard(
        name=f"{config.architecture}.{options.tag}",
        architecture=config.architecture,
        preprocessing=Preprocessing(),
        heads=heads,
        default_head=report["default_head"],
        description=options.description,
        data_sets=tuple(
            {"name": Path(name).name, "sha256": digest} for name, digest in _files(run.environment)
        ),
        metrics={name: _figures(head) for name, head in report["heads"].items()},
        mirror_average=config.mirror_average,
        inner_view=config.inner_view,
    )
    folder = options.weights / card.name
    before, sample = options.run / BEFORE_FOLDER, options.run / SAMPLE_FILE
    write_weights(
        folder,
        network,
        Export(
            card,
            _portable(run.config),
            _portable(run.environment),
            run.epochs,
            report,
            before if before.is_dir() else None,
            sample if sample.is_file() else None,
        ),
    )
    return folder


def write_weights(folder: Path, network: ExpressionNetwork, export: Export) -> ModelCard:
    """Write network, card, golden sample, model card text and history into a weights folder.

    Everything is written beside the folder first and checked there.

    Args:
        folder: ``weights/<architecture>.<tag>``.
        network: With weights and temperatures.
        export: What travels along.

    Returns:
        The card as written, with the hashes of its files.
    """
    from safetensors.torch import save_file  # noqa: PLC0415

    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".export-") as temporary:
        draft = Path(temporary) / folder.name
        (draft / "run").mkdir(parents=True)
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
            (draft / name).chmod(0o644)  # safetensors writes files for the owner alone
        check_golden(draft)
        (draft / "README.md").write_text(model_card_text(card, report), encoding="utf-8")
        for name, data in ((CONFIG_FILE, export.config), (ENVIRONMENT_FILE, export.environment)):
            write_json(draft / "run" / name, data)
        write_json(draft / "run" / REPORT_FILE, report)
        lines = "".join(json.dumps(row) + "\n" for row in export.epochs)
        (draft / "run" / EPOCHS_FILE).write_text(lines, encoding="utf-8")
        if export.before is not None:
            shutil.copytree(export.before, draft / "run" / "before")
        if folder.exists():
            shutil.rmtree(folder)
        shutil.move(draft, folder)
    return card


@torch.no_grad()
def _drop_traces(network: nn.Module) -> None:
    """Make zero of what weight decay left next to it: a product like 1e-40 takes twenty times as long."""
    for values in network.parameters():
        values[values.abs() < _TRACE] = 0.0


def golden_crop(preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """A made-up crop of shape (1, C, size, size): a face-like blot, the same on every machine."""
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
        WeightsMismatchError: It answers otherwise than what was stored at the export.
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
    """Quantise a draft's network; gives the card, with the file if that is good enough, and the figures."""
    with np.load(sample) as data:
        quantise(draft / ONNX_FILE, draft / INT8_FILE, data["ranges"])
    listed = replace(card, files={**card.files, INT8_FILE: file_hash(draft / INT8_FILE)})
    listed.save(draft)
    single, integers = (accuracies(draft, sample, engine) for engine in ("onnx-float32", "onnx"))
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
    program = torch.onnx.export(
        _Calibrated(network).eval(),
        (crops,),
        dynamo=True,
        input_names=["crops"],
        output_names=[head.name for head in card.heads],
        dynamic_shapes={"crops": {0: torch.export.Dim("count", min=1)}},
        verbose=False,
    )
    assert program is not None
    program.save(path, external_data=False)
    forget_origin(path)


def _write_golden(network: ExpressionNetwork, card: ModelCard, path: Path) -> None:
    from safetensors.torch import save_file  # noqa: PLC0415

    crop = torch.from_numpy(golden_crop(card.preprocessing))
    with torch.inference_mode():
        logits, probabilities = network.judged_logits(crop), network.probabilities(crop)
    tensors = {"crop": crop}
    tensors |= {f"logits.{name}": values.clone() for name, values in logits.items()}
    tensors |= {f"probabilities.{name}": values.clone() for name, values in probabilities.items()}
    save_file(tensors, path)


def _head(name: str, report: Mapping[str, Any]) -> Head:
    labels = HEAD_LABELS[name]
    return Head(
        name,
        labels,
        temperature=float(report["temperature"]),
        unsure_below=float(report.get("unsure_below", 0.0)),
        other_above=float(report.get("other_above", 1.0)) if OTHER in labels else 1.0,
    )


def _figures(report: Mapping[str, Any]) -> dict[str, Any]:
    names = ("count", "accuracy", "balanced_accuracy", "macro_f1", "nll", "ece")
    return {name: report[name] for name in names} | {
        "recall": {label: row["recall"] for label, row in report["per_class"].items()}
    }


def _files(environment: Mapping[str, Any]) -> list[tuple[str, str]]:
    return list(environment.get("data", {}).get("files", {}).items())


def _portable(data: Mapping[str, Any]) -> dict[str, Any]:
    """The same values with the names of data files alone: their folders belong to one machine."""

    def shorten(value: Any) -> Any:
        if isinstance(value, str) and "/" in value:
            return Path(value).name
        if isinstance(value, Mapping):
            return {shorten(key): shorten(item) for key, item in value.items()}
        return [shorten(item) for item in value] if isinstance(value, list | tuple) else value

    return {key: shorten(value) for key, value in data.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and export; 1 with a sentence when something is missing."""
    import tyro  # noqa: PLC0415 - the entry point alone needs it

    options = tyro.cli(ExportOptions, args=arguments, prog="python -m training.export")
    try:
        print(f"wrote {export_run(options)}")
    except (ValueError, OSError) as error:
        print(f"export stopped: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
