"""Network, optimizer and tensors of a training, built from its settings."""

import os
import shutil
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from fer.model_card import WEIGHTS_FILE, Preprocessing, UnknownModelError, load_card, verified_file
from fer.model_shelf import find_weights
from fer.networks import ExpressionNetwork, load_network
from fer.preprocessing import LUMA
from training.config import TrainConfig
from training.data.augmentation import Augmentation, Damage
from training.data.datasets import DecodedFaces
from training.data.targets import head_targets
from training.loop import SplitTensors, Teachers
from training.run_files import (
    BEST_FILE,
    CONFIG_FILE,
    EPOCHS_FILE,
    HISTORY_FOLDER,
    copy_history,
    earlier_runs,
    read_object,
)

_LARGEST_BALANCE: Final = 3.0
_STEM: Final = "trunk.0.weight"


def initial_network(config: TrainConfig) -> ExpressionNetwork:
    """Return the network with random weights, or with the initial weights of the settings.

    Raises:
        UnknownModelError: The initial weights are missing, or do not match the architecture or the heads.
    """
    network = _untrained_network(config)
    if config.initial_weights:
        trained = _load_trained(config.initial_weights)
        fresh, state = network.state_dict(), trained.state_dict()
        state = {name: state[name] for name in fresh if name in state}
        state[_STEM] = _fit_channels(state[_STEM], network.channels)
        # Missing heads start from random weights: a trained trunk under a new head is still the better start.
        lacking = _lacking_heads(config, trained)
        state |= {name: values for name, values in fresh.items() if name.startswith(lacking)}
        try:
            generator = torch.Generator().manual_seed(config.seed)
            network.load_state_dict(widen(state, network.state_dict(), generator))
        except ValueError as error:
            raise UnknownModelError(
                f"expected weights of {config.architecture} or of a narrower architecture of the same depth, "
                f"{config.initial_weights} is {trained.architecture}: {error}"
            ) from error
        for temperature in network.temperatures.values():
            temperature.data.fill_(1.0)
    return network


def draw_seed(config: TrainConfig, network: ExpressionNetwork) -> int:
    """Return the seed of all random draws of the epochs: order, augmentation, mixup.

    It also depends on the initial weights, so a training that goes on from an earlier one with the same seed
    does not see the same changes of the same images again.

    Args:
        config: The settings.
        network: The network before its first step, on the CPU.
    """
    if not config.initial_weights:
        return config.seed
    return config.seed + zlib.crc32(network.state_dict()[_STEM].numpy().tobytes())


def load_teachers(
    names: Sequence[str], heads: Sequence[str], share: float, temperature: float, device: torch.device
) -> Teachers:
    """Load teachers from weights folders or run directories.

    Raises:
        UnknownModelError: A teacher is missing or lacks a head of the student.
    """
    networks = []
    for name in names:
        network = _load_trained(name)
        lacking = set(heads) - set(network.output_counts)
        if lacking:
            raise UnknownModelError(
                f"expected a teacher with heads {', '.join(heads)}, {name} lacks {', '.join(sorted(lacking))}"
            )
        networks.append((network.to(device).to(memory_format=torch.channels_last), _format_of(name)[0].size))
    return Teachers(networks, heads, share, temperature)


def augmentation_of(
    config: TrainConfig, generator: torch.Generator
) -> tuple[Augmentation | None, Damage | None]:
    """Return the random changes of the crops before mixup, and the damage after it."""
    if not config.augment:
        return None, None
    strength = config.augment_strength
    return Augmentation(generator, strength), Damage(generator, strength)


def _load_trained(name: str) -> ExpressionNetwork:
    """Return the network of a weights folder, or the best epoch of a run."""
    if (run := _run_config(name)) is not None:
        network = _untrained_network(run)
        network.load_state_dict(load_file(Path(name) / BEST_FILE))
        return network
    folder = find_weights(name)
    card = load_card(folder)
    return load_network(verified_file(folder, card, WEIGHTS_FILE), card)


def _format_of(name: str) -> tuple[Preprocessing, bool]:
    """Return the input format of a weights folder or run, and whether it averages over the mirror image."""
    if (run := _run_config(name)) is not None:
        return run.preprocessing, run.is_mirrored
    card = load_card(find_weights(name))
    return card.preprocessing, card.mirror_average


def _run_config(name: str) -> TrainConfig | None:
    """Return the settings of a run directory with weights; None if it is none."""
    if not (Path(name) / BEST_FILE).is_file():
        return None
    return TrainConfig.from_dict(read_object(Path(name) / CONFIG_FILE))


def with_format(config: TrainConfig) -> TrainConfig:
    """Return the settings with the size, the colour and the views that they leave to the initial weights.

    Raises:
        UnknownModelError: The initial weights are missing.
        SettingsError: The architecture cannot be trained with their size.
    """
    if config.size and config.colour != "auto" and config.mirror_average is not None:
        return config
    usual, is_mirrored = Preprocessing(), config.is_mirrored
    if config.initial_weights:
        usual, was_mirrored = _format_of(config.initial_weights)
        is_mirrored = was_mirrored if config.mirror_average is None else is_mirrored
    found = config.preprocessing_like(usual)
    return replace(config, size=found.size, colour=found.colour, mirror_average=is_mirrored)


def _untrained_network(config: TrainConfig) -> ExpressionNetwork:
    """Return the network of the settings with random weights."""
    return ExpressionNetwork(
        config.architecture,
        {head: len(config.labels_of(head)) for head in config.heads},
        config.preprocessing.channel_count,
        dropout=config.dropout,
        mirror_average=config.is_mirrored,
        inner_view=config.inner_view,
    )


class _CompiledNetwork(nn.Module):
    """Compiled code for whole batches; the last one of an epoch is smaller and not worth compiling for."""

    def __init__(self, network: nn.Module, batch_size: int) -> None:
        super().__init__()
        self.network, self.batch_size = network, batch_size
        self.fused = torch.compile(network, dynamic=False)

    def forward(self, crops: Tensor) -> dict[str, Tensor]:
        network = self.fused if len(crops) == self.batch_size else self.network
        logits: dict[str, Tensor] = network(crops)
        return logits


def compiled(network: nn.Module, batch_size: int) -> nn.Module:
    """Return the network with fused normalisation, activation and addition.

    The compiled code is kept in PyTorch's cache between trainings.

    Args:
        network: Takes crops, returns logits by head.
        batch_size: Size of the batches to compile for.

    Raises:
        ValueError: There is no C++ compiler.
    """
    compiler = os.environ.get("CXX", "")
    if not any(map(shutil.which, [compiler] if compiler else ["g++", "clang++", "cl"])):
        raise ValueError(
            f"expected a C++ compiler for --compile, got {compiler or 'none'}; install g++, or train without "
            "--compile"
        )
    return _CompiledNetwork(network, batch_size)


def _fit_channels(stem: Tensor, channels: int) -> Tensor:
    """Return the first convolution for crops of other channels; grey pictures keep their features."""
    if stem.shape[1] == channels:
        return stem
    if channels == 1:
        return stem.sum(dim=1, keepdim=True)
    return stem * torch.tensor(LUMA)[None, :, None, None]


def _lacking_heads(config: TrainConfig, trained: ExpressionNetwork) -> tuple[str, ...]:
    """Return the tensor prefixes of heads that are missing from the weights."""
    lacking = [head for head in config.heads if head not in trained.output_counts]
    return tuple(prefix for head in lacking for prefix in (f"heads.{head}.", f"temperatures.{head}"))


def keep_history(config: TrainConfig, folder: Path) -> None:
    """Copy the records of initial weights and teachers, and of what led to them, into the run directory."""
    origins = [config.initial_weights] if config.initial_weights else []
    runs: dict[bytes, Path] = {}  # weights and their teachers may have learned from the same networks
    for name in (*origins, *config.teachers):
        run = Path(name) if (Path(name) / CONFIG_FILE).is_file() else find_weights(name) / "run"
        for each in (*earlier_runs(run), run):
            if each.is_dir():
                runs.setdefault(_epochs_of(each), each)
    if runs and not earlier_runs(folder):
        copy_history(list(runs.values()), folder / HISTORY_FOLDER)


def _epochs_of(run: Path) -> bytes:
    """Return what tells the records of two trainings apart: two with the same epochs are copies."""
    path = run / EPOCHS_FILE
    return path.read_bytes() if path.is_file() else str(run).encode()


def make_optimizer(network: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Return the optimizer; biases and normalisation get no weight decay."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},  # biases, normalisation
    ]
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.learning_rate, momentum=0.9, nesterov=True)
    if config.optimizer == "adam":
        return torch.optim.Adam(groups, lr=config.learning_rate)
    return torch.optim.AdamW(groups, lr=config.learning_rate)


def head_shares(config: TrainConfig) -> dict[str, float]:
    """Return the weight of each head in the loss; the weights add up to 1."""
    if len(config.heads) == 1:
        return {config.heads[0]: 1.0}
    leading = "crowd" if "crowd" in config.heads else config.heads[0]
    rest = (1 - config.crowd_share) / (len(config.heads) - 1)
    return {head: config.crowd_share if head == leading else rest for head in config.heads}


def split_tensors(faces: DecodedFaces, config: TrainConfig, device: torch.device) -> SplitTensors:
    """Return crops, targets and sample weights of a split on a device.

    Rare classes weigh up to three times as much (``class_balance``). With balanced classes, or if some data
    sets do not train a head, the mean weight of the head over all crops is 1.

    Args:
        faces: The split.
        config: The heads, and the data sets that train them.
        device: Device of the tensors.
    """
    targets, weights = {}, {}
    balance = config.class_balance
    for head in config.heads:
        shares, weight = head_targets(head, faces.table.labels, faces.table.votes, config.labels_of(head))
        taught = {source: head in config.heads_of(source) for source in set(faces.table.sources)}
        weight = weight * np.array([taught[source] for source in faces.table.sources], dtype=np.float32)
        if balance:
            counts = np.maximum((shares * weight[:, None]).sum(axis=0), 1)
            factor = np.minimum((counts.mean() / counts) ** balance, _LARGEST_BALANCE)
            weight = weight * (shares @ factor.astype(np.float32))
        if balance or not all(taught.values()):
            weight = weight * (len(weight) / max(float(weight.sum()), 1e-6))
        targets[head] = torch.from_numpy(shares).to(device)
        weights[head] = torch.from_numpy(weight.astype(np.float32)).to(device)
    return SplitTensors(torch.from_numpy(faces.crops).to(device), targets, weights)


_LEAST_SHARE = 0.3  # of each copy of a channel; unequal shares break the symmetry between the copies


def widen(
    narrow: Mapping[str, Tensor], wide: Mapping[str, Tensor], generator: torch.Generator
) -> dict[str, Tensor]:
    """Return weights of a wider network with the same outputs (Net2Net, Chen et al. 2016).

    Every channel is copied; the next layer divides the channel's weight among the copies at random.

    Args:
        narrow: Tensors of the trained network.
        wide: Tensors of the wider network, with whole multiples of the channels; only their shapes are used.
        generator: Generator of the random shares.

    Raises:
        ValueError: The networks differ in more than width.
    """
    if narrow.keys() != wide.keys():
        raise ValueError("expected networks with the same layers, got networks of different depth")
    return {name: _widen_tensor(name, narrow[name], wide[name], generator) for name in wide}


def _widen_tensor(name: str, narrow: Tensor, wide: Tensor, generator: torch.Generator) -> Tensor:
    copies = [
        large // small if large % small == 0 else 0
        for small, large in zip(narrow.shape, wide.shape, strict=False)
    ]
    # Kernels keep their size; only input and output channels are copied.
    if narrow.ndim != wide.ndim or 0 in copies or any(count != 1 for count in copies[2:]):
        raise ValueError(
            f"expected whole multiples of {tuple(narrow.shape)} in {name}, got {tuple(wide.shape)}"
        )
    if narrow.ndim == 0:
        return narrow.clone()
    widened = narrow.repeat(copies[0], *[1] * (narrow.ndim - 1))
    if narrow.ndim == 1 or copies[1] == 1:
        return widened
    shares = torch.rand(copies[1], *widened.shape[:2], generator=generator) + _LEAST_SHARE
    shares = shares / shares.sum(dim=0)
    parts = [widened * share.reshape(*share.shape, *[1] * (narrow.ndim - 2)) for share in shares]
    return torch.cat(parts, dim=1)
