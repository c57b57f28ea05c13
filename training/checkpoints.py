"""Checkpoint: everything a training needs to resume."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn


@dataclass(slots=True)
class Progress:
    """State of a training between two epochs; stored in its checkpoint."""

    epoch: int = 0
    best_epoch: int = 0
    best_figure: float = -math.inf
    best_val_loss: float = math.inf
    resting_epochs: int = 0
    plateau_epochs: int = 0
    plateau_factor: float = 1.0


class Checkpoint:
    """Saves and restores the parts of one training; files appear whole or not at all.

    Args:
        network: The network that is trained.
        averaged: Its averaged copy.
        optimizer: With its momenta.
    """

    def __init__(self, network: nn.Module, averaged: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.network, self.averaged, self.optimizer = network, averaged, optimizer

    def save(self, path: Path, progress: Progress) -> None:
        """Write everything that resuming needs."""
        checkpoint = {
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "progress": asdict(progress),
        }
        temporary = path.with_name(f".{path.name}.tmp")
        torch.save(checkpoint, temporary)
        temporary.replace(path)

    def restore(self, path: Path, device: torch.device) -> Progress:
        """Put the stored state back."""
        checkpoint = torch.load(path, map_location=device, weights_only=True)
        self.network.load_state_dict(checkpoint["network"])
        self.averaged.load_state_dict(checkpoint["averaged"])
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        return Progress(**checkpoint["progress"])


def save_weights(network: nn.Module, path: Path) -> None:
    """Write what use needs: the tensors alone."""
    state = {name: tensor.contiguous().cpu() for name, tensor in network.state_dict().items()}
    temporary = path.with_name(f".{path.name}.tmp")
    save_file(state, temporary)
    temporary.replace(path)
