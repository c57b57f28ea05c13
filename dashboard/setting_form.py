"""A form generated from TrainConfig, with presets and one control per setting."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from types import MappingProxyType
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

from streamlit.delta_generator import DeltaGenerator

from dashboard.spoken import st
from fer.model_shelf import DEFAULT_WEIGHTS, list_weights
from training.config import USUAL_HEADS, TrainConfig
from training.setting_help import SETTING_HELP

MAIN_SETTINGS: Final = ("architecture", "initial_weights", "epochs", "batch_size", "learning_rate", "device")
ELSEWHERE: Final = frozenset({"data", "labels", "other_places", "teaches", "insets", "draws", "runs", "name"})
"""Settings that have controls elsewhere on the page, or none."""

_LABELS: Final = {
    "initial_weights": "Initial weights",
    "ema_decay": "EMA decay",
    "val_share": "Validation share",
    "compile": "Compile the network",
    "tensorboard": "TensorBoard",
}
"""Labels of settings whose names are not clear enough."""

_SWITCH: Final[Mapping[bool | None, str]] = MappingProxyType({None: "auto", True: "on", False: "off"})

ANEW: Final = "random weights"


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


def setting_controls(preset_name: str, preset: Preset) -> tuple[dict[str, Any], dict[str, DeltaGenerator]]:
    """Draw every control.

    Returns:
        The values by setting, and the slot for a message next to each control.
    """
    values: dict[str, Any] = {}
    slots: dict[str, DeltaGenerator] = {}
    rest = [field.name for field in fields(TrainConfig) if field.name not in (*MAIN_SETTINGS, *ELSEWHERE)]
    for names, place in ((MAIN_SETTINGS, st.container()), (rest, st.expander("Advanced settings"))):
        for start in range(0, len(names), 3):  # row by row, to keep the order in narrow windows
            for name, column in zip(
                names[start : start + 3], place.columns(3, vertical_alignment="bottom"), strict=False
            ):
                with column:
                    values[name] = _control(preset_name, preset, name)
                    slots[name] = st.empty()
    return values, slots


def setting_help() -> dict[str, str]:
    """Return the help text of each setting, as Markdown."""
    return {name: text.replace("``", "`") for name, text in SETTING_HELP.items()}


def preset_value(preset: Preset, name: str) -> Any:
    """Return the initial value of a setting in a preset."""
    if name == "initial_weights" and preset.starts_from_model:
        names = list_weights()
        return DEFAULT_WEIGHTS if DEFAULT_WEIGHTS in names else next(iter(names), "")
    default = next(field.default for field in fields(TrainConfig) if field.name == name)
    value = preset.changes.get(name, default)
    assert value is not MISSING
    return value


def _control(preset_name: str, preset: Preset, name: str) -> Any:  # noqa: PLR0911 - one return per kind
    value, key = preset_value(preset, name), f"set {preset_name} {name}"
    label, help_text = _LABELS.get(name, name.replace("_", " ").capitalize()), setting_help().get(name)
    kind = get_type_hints(TrainConfig)[name]
    if name == "architecture":
        names = list(ARCHITECTURE_NOTES)
        return st.selectbox(
            label, names, index=names.index(value), format_func=_architecture_title, key=key, help=help_text
        )
    if name == "initial_weights":
        names = ["", *list_weights()]
        return st.selectbox(
            label,
            names,
            index=names.index(value),
            format_func=lambda choice: choice or ANEW,
            key=key,
            help=help_text,
        )
    if name in ("heads", "teachers"):
        choices = USUAL_HEADS if name == "heads" else list_weights()
        return tuple(st.multiselect(label, choices, default=list(value), key=key, help=help_text))
    if get_origin(kind) is Literal:
        choices = list(get_args(kind))
        return st.selectbox(label, choices, index=choices.index(value), key=key, help=help_text)
    if kind is bool:
        return st.checkbox(label, value=value, key=key, help=help_text)
    if kind == bool | None:
        return st.selectbox(
            label, list(_SWITCH), index=list(_SWITCH).index(value), format_func=_SWITCH.__getitem__, key=key,
            help=help_text,
        )  # fmt: skip
    if kind is int:
        return int(st.number_input(label, value=value, step=1, key=key, help=help_text))
    number = st.number_input(
        label, value=value, format="%g" if value is None or value >= 0.01 else "%.5g", step=None, key=key,
        help=help_text, placeholder="default of the architecture",
    )  # fmt: skip
    return None if number is None else float(number)


def _architecture_title(name: str) -> str:
    return ARCHITECTURE_NOTES[name].title
