"""Entry point: converts a weights file of the original student project to a weights folder with a card."""

import pickle
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
import tyro
from torch import Tensor, nn

from fer.emotions import UnknownEmotionError, emotion_from_name
from fer.model_card import Head, ModelCard, Preprocessing
from fer.networks import ExpressionNetwork, Standardise
from training.command import run_command
from training.weights_folder import Export, write_weights

ARCHITECTURE: Final = "kv_cnn"
HEAD: Final = "adopted"


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptOptions:
    """The file to convert, and name and place of the weights.

    Attributes:
        file: A ``.pth`` file: a state dictionary, alone or under ``state_dict`` or ``model_state_dict``.
        labels: The expressions in the order of the network's outputs.
        mean: Mean of the normalisation in its training, for pixels in [0, 1]: one number, or one per channel.
        std: Standard deviation of the normalisation.
        tag: Suffix of the weights' name, after ``kv_cnn.``.
        weights: Parent folder of ``kv_cnn.<tag>``.
    """

    file: tyro.conf.Positional[Path]
    labels: tuple[str, ...]
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.5,)
    tag: str = "adopted"
    weights: Path = Path("weights")


def adopt(options: AdoptOptions) -> Path:
    """Write a weights folder for a file of the student project.

    Raises:
        ValueError: File, labels or tensors do not match the network.
    """
    try:
        labels = tuple(str(emotion_from_name(label)) for label in options.labels)
    except UnknownEmotionError as error:
        raise ValueError(f"--labels: {error}") from error
    tensors = _read_state(options.file)
    channels = tensors[0].shape[1] if tensors and tensors[0].ndim == 4 else 0
    if channels not in (1, 3):
        raise ValueError(f"expected {options.file} to begin with a convolution of 1 or 3 channels")
    network = ExpressionNetwork(ARCHITECTURE, {HEAD: len(labels)}, channels)
    network.standardise = Standardise(options.mean, options.std)
    _copy(tensors, network, options.file)
    card = ModelCard(
        name=f"{ARCHITECTURE}.{options.tag}",
        architecture=ARCHITECTURE,
        preprocessing=Preprocessing(colour="grey" if channels == 1 else "rgb"),
        heads=(Head(HEAD, labels),),
        default_head=HEAD,
        description=f"Adopted from {options.file.name}; neither calibrated nor evaluated.",
    )
    write_weights(options.weights / card.name, network, Export(card))
    return options.weights / card.name


def _read_state(file: Path) -> list[Tensor]:
    """Return the tensors in file order, without counters."""
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise ValueError(f"{file} cannot be read as a plain state dictionary ({error})") from error
    for key in ("state_dict", "model_state_dict"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"expected a state dictionary of tensors in {file}, got {type(state).__name__}")
    return [tensor for tensor in state.values() if tensor.ndim > 0]


def _copy(tensors: list[Tensor], network: ExpressionNetwork, file: Path) -> None:
    """Copy tensors by order and shape, since names differ between versions of the student project."""
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    places = [parameter for layer in layers for parameter in (layer.weight, layer.bias)]
    expected, found = [list(place.shape) for place in places], [list(tensor.shape) for tensor in tensors]  # type: ignore[union-attr]
    if expected != found:
        raise ValueError(
            f"{file} is not the {ARCHITECTURE} network with {found[-1][0] if found else 0} outputs for "
            f"{expected[-1][0]} labels: expected tensors of shapes {expected}, got {found}"
        )
    with torch.no_grad():
        for place, tensor in zip(places, tensors, strict=True):
            place.copy_(tensor)  # type: ignore[union-attr]


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and convert the file; return 1 with a sentence on an error."""
    return run_command(AdoptOptions, _convert, "training.adopt", arguments)


def _convert(options: AdoptOptions) -> None:
    print(f"wrote {adopt(options)}")


if __name__ == "__main__":
    sys.exit(main())
