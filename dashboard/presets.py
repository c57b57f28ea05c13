"""Presets of the training form; each contains only its differences from the defaults."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class ArchitectureNote:
    """Notes for choosing an architecture.

    Attributes:
        title: Name in the list.
        parameter_count: Number of trainable parameters, with both heads.
    """

    title: str
    parameter_count: int


ARCHITECTURE_NOTES: Final[Mapping[str, ArchitectureNote]] = MappingProxyType(
    {
        "kv_fast": ArchitectureNote("kv_fast · small, for live video", 931_344),
        "kv_accurate": ArchitectureNote("kv_accurate · larger, better", 3_713_552),
        "kv_teacher": ArchitectureNote("kv_teacher · teacher for distillation", 11_174_864),
        "kv_cnn": ArchitectureNote("kv_cnn · the student project", 12_236_496),
    }
)
"""The trainable architectures; a test compares them with ``fer.networks``."""


@dataclass(frozen=True, slots=True)
class Preset:
    """A preset.

    Attributes:
        title: Label of its button.
        text: Its purpose.
        changes: Differences from ``TrainConfig``'s defaults.
        starts_from_model: Whether to start from existing weights instead of random ones.
    """

    title: str
    text: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    starts_from_model: bool = False


PRESETS: Final[Mapping[str, Preset]] = MappingProxyType(
    {
        "quick": Preset(
            "Quick try",
            "Train a small network from scratch in a few minutes, to see how it works.",
            {"epochs": 12, "batch_size": 32, "learning_rate": 0.05, "warmup_epochs": 1, "ema_decay": 0.99},
        ),
        "fine_tune": Preset(
            "Fine-tune on my pictures",
            "Starts from a trained model; a few dozen pictures per expression are enough.",
            {
                "epochs": 15,
                "batch_size": 32,
                "learning_rate": 0.005,
                "warmup_epochs": 1,
                "ema_decay": 0.99,
                "early_stopping_patience": 6,
            },
            starts_from_model=True,
        ),
        "full": Preset(
            "Full recipe",
            "From scratch with all techniques, for tens of thousands of pictures; takes hours, or a GPU.",
            {
                "epochs": 120,
                "batch_size": 256,
                "learning_rate": 0.2,
                "warmup_epochs": 5,
                "mixup": 0.2,
                "class_balance": 0.5,
            },
        ),
    }
)
