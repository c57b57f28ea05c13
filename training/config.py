"""Settings of a training."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from inspect import getdoc
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal

from fer.emotions import OTHER, Label, label_of, labels_problem
from fer.model_card import OWN_HEAD, Preprocessing
from training.data.targets import HEAD_LABELS, TRAINED_HEADS
from training.setting_help import SETTING_HELP

Schedule = Literal["cosine", "plateau", "step", "constant"]
Optimizer = Literal["sgd", "adamw", "adam"]
Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "float32", "bfloat16"]

USUAL_HEADS: Final = ("crowd", "fer2013")
"""Heads that are trained by default."""

_NARROWER: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType({"kv_accurate": ("kv_fast",)})
"""Architectures of the same depth with fewer channels, whose weights can be widened."""


class SettingsError(ValueError):
    """Invalid settings; the message is that of the first problem.

    Attributes:
        problems: The name of each invalid setting with a sentence about it.
    """

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        super().__init__(problems[0][1])
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """Settings of one training; ``SETTING_HELP`` describes each of them.

    Raises:
        SettingsError: Some values are invalid; the error lists all of them.
    """

    data: tuple[Path, ...]
    architecture: str = "kv_fast"
    heads: tuple[str, ...] = USUAL_HEADS
    labels: tuple[str, ...] = ()
    teaches: tuple[str, ...] = ()
    insets: tuple[str, ...] = ()
    draws: tuple[str, ...] = ()
    size: int = 0
    colour: Literal["auto", "grey", "rgb"] = "auto"
    initial_weights: str = ""
    teachers: tuple[str, ...] = ()
    teacher_share: float = 0.8
    teacher_temperature: float = 2.0
    other_places: tuple[Path, ...] = ()
    epochs: int = 60
    batch_size: int = 128
    optimizer: Optimizer = "sgd"
    learning_rate: float = 0.1
    schedule: Schedule = "cosine"
    warmup_epochs: int = 2
    plateau_patience: int = 5
    weight_decay: float = 5e-4
    dropout: float | None = None
    crowd_share: float = 0.5
    class_balance: float = 0.0
    prior_shift: float = 0.0
    mirror_average: bool | None = None
    inner_view: float = 1.0
    mixup: float = 0.0
    augment: bool = True
    augment_strength: float = 0.5
    early_epochs: int = 0
    early_side: int = 32
    ema_decay: float = 0.999
    early_stopping_patience: int = 0
    select_by: Literal["accuracy", "macro_f1", "loss"] = "accuracy"
    watch_share: float = 1.0
    val_share: float = 0.1
    keep_duplicates: bool = False
    seed: int = 0
    device: Device = "auto"
    precision: Precision = "auto"
    thread_count: int = 0
    compile: bool = False
    tensorboard: bool = False
    runs: Path = Path("runs")
    name: str = ""

    def __post_init__(self) -> None:
        problems: list[tuple[str, str]] = []

        def _require(fulfilled: bool, setting: str, found: object, expected: str) -> None:
            if not fulfilled:
                problems.append((setting, f"expected {setting} to be {expected}, got {found!r}"))

        _require_numbers(self, _require)
        if problems:  # the range checks below need numbers
            raise SettingsError(problems)
        _require(len(self.data) > 0, "data", self.data, "at least one folder or file")
        _require(
            len(self.heads) > 0 and set(self.heads) <= set(TRAINED_HEADS),
            "heads",
            self.heads,
            f"at least one of {', '.join(TRAINED_HEADS)}",
        )
        _require(
            OWN_HEAD not in self.heads or len(self.heads) == 1,
            "heads",
            self.heads,
            f"{OWN_HEAD} alone or other heads without it",
        )
        if self.labels:
            _require(self.heads == (OWN_HEAD,), "labels", self.labels, f"empty without the head {OWN_HEAD}")
            problem = labels_problem(self.labels)
            _require(problem is None, "labels", self.labels, f"class names of one head ({problem})")
        _require(
            self.size == 0
            or (
                32 <= self.size <= 128
                and self.size % 8 == 0
                and (self.size == 48 or self.architecture != "kv_cnn")
            ),
            "size",
            self.size,
            "0 or a multiple of 8 from 32 to 128 (48 for kv_cnn, which is built for one size)",
        )
        _require(self.colour in ("auto", "grey", "rgb"), "colour", self.colour, "auto, grey or rgb")
        for entry in self.teaches:
            stem, _, heads = entry.partition("=")
            _require(
                bool(stem) and bool(heads) and set(heads.split("+")) <= set(self.heads),
                "teaches",
                entry,
                f"STEM=HEAD+HEAD with heads from {', '.join(self.heads)}",
            )
        for entry in self.insets:
            stem, _, share = entry.partition("=")
            _require(
                bool(stem) and _is_share(share, 0, 0.4),
                "insets",
                entry,
                "STEM=SHARE with a share in [0, 0.4]",
            )
        for entry in self.draws:
            stem, _, share = entry.partition("=")
            _require(
                bool(stem) and _is_share(share, 1e-3, 1), "draws", entry, "STEM=SHARE with a share in (0, 1]"
            )
        _require(0 <= self.teacher_share <= 1, "teacher_share", self.teacher_share, "a value in [0, 1]")
        _require(
            0 < self.teacher_temperature <= 20,
            "teacher_temperature",
            self.teacher_temperature,
            "a value in (0, 20]",
        )
        _require(
            not self.other_places or bool({"crowd", "votes"} & set(self.heads)),
            "other_places",
            self.other_places,
            "empty without the head crowd or votes: only these have the output 'other'",
        )
        _require(self.epochs >= 1, "epochs", self.epochs, "at least 1")
        _require(self.batch_size >= 2, "batch_size", self.batch_size, "at least 2")
        _require(0 < self.learning_rate <= 1, "learning_rate", self.learning_rate, "a value in (0, 1]")
        _require(
            self.warmup_epochs >= 0 and (self.epochs < 1 or self.warmup_epochs <= self.epochs),
            "warmup_epochs",
            self.warmup_epochs,
            "0 to epochs",
        )
        _require(self.plateau_patience >= 1, "plateau_patience", self.plateau_patience, "at least 1")
        _require(0 <= self.weight_decay < 1, "weight_decay", self.weight_decay, "a value in [0, 1)")
        _require(self.dropout is None or 0 <= self.dropout < 1, "dropout", self.dropout, "a value in [0, 1)")
        _require(0 <= self.crowd_share <= 1, "crowd_share", self.crowd_share, "a value in [0, 1]")
        _require(0 <= self.class_balance <= 1, "class_balance", self.class_balance, "a value in [0, 1]")
        _require(0 <= self.prior_shift <= 1, "prior_shift", self.prior_shift, "a value in [0, 1]")
        _require(
            0.5 <= self.inner_view <= 0.95 or self.inner_view == 1,
            "inner_view",
            self.inner_view,
            "1 or a value in [0.5, 0.95]",
        )
        _require(0 <= self.mixup <= 2, "mixup", self.mixup, "a value in [0, 2]")
        _require(
            0 <= self.augment_strength <= 1, "augment_strength", self.augment_strength, "a value in [0, 1]"
        )
        _require(
            self.early_epochs >= 0 and not (self.early_epochs and self.architecture == "kv_cnn"),
            "early_epochs",
            self.early_epochs,
            "0 or more (0 for kv_cnn, which is built for one size)",
        )
        _require(16 <= self.early_side <= 48, "early_side", self.early_side, "16 to 48 pixels")
        _require(0 <= self.ema_decay < 1, "ema_decay", self.ema_decay, "a value in [0, 1)")
        _require(
            self.early_stopping_patience >= 0,
            "early_stopping_patience",
            self.early_stopping_patience,
            "0 or more",
        )
        _require(0 < self.watch_share <= 1, "watch_share", self.watch_share, "a value in (0, 1]")
        _require(0 < self.val_share < 0.9, "val_share", self.val_share, "a value in (0, 0.9)")
        _require(self.thread_count >= 0, "thread_count", self.thread_count, "0 or more")
        _require("/" not in self.name and "\\" not in self.name, "name", self.name, "a plain folder name")
        if problems:
            raise SettingsError(problems)

    @property
    def preprocessing(self) -> Preprocessing:
        """Input format of the network; what the settings leave open is as for random weights."""
        return self.preprocessing_like(Preprocessing())

    @property
    def is_mirrored(self) -> bool:
        """Whether answers average over the mirror image; left open, they do, as for random weights."""
        return self.mirror_average is not False

    def preprocessing_like(self, usual: Preprocessing) -> Preprocessing:
        """Return the input format; what the settings leave open is as in another one."""
        colour = usual.colour if self.colour == "auto" else self.colour
        return Preprocessing(size=self.size or usual.size, colour=colour)

    def start_problem(self, architecture: str) -> str | None:
        """Return why the training cannot start from weights of an architecture; None if it can.

        Heads missing from such weights start from random weights.
        """
        fitting = (self.architecture, *_NARROWER.get(self.architecture, ()))
        if architecture in fitting:
            return None
        return f"expected initial weights of one of {', '.join(fitting)}, got {architecture}"

    def labels_of(self, head: str) -> tuple[str, ...]:
        """Return the outputs of a head, in order."""
        return self.labels if head == OWN_HEAD else HEAD_LABELS[head]

    def expressions_of(self, head: str) -> tuple[Label, ...]:
        """Return the expressions of a head, without its output ``other``."""
        return tuple(label_of(label) for label in self.labels_of(head) if label != OTHER)

    def heads_of(self, source: str) -> tuple[str, ...]:
        """Return the heads that a data set trains.

        Args:
            source: Name of its file or folder, without extension.
        """
        heads = _by_source(self.teaches).get(source)
        return self.heads if heads is None else tuple(heads.split("+"))

    def inset_of(self, source: str) -> float:
        """Return the share to crop from each side of a data set's images; see ``heads_of``."""
        return float(_by_source(self.insets).get(source, 0.0))

    def draw_of(self, source: str) -> float:
        """Return the share of a data set's images drawn per epoch; see ``heads_of``."""
        return float(_by_source(self.draws).get(source, 1.0))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as stored in a run directory."""
        return plain_settings(asdict(self))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "TrainConfig":
        """Rebuild the settings from stored values; settings unknown to this version are rejected by name."""
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(data) - known)
        if unknown:
            raise ValueError(f"expected settings of TrainConfig, got unknown {', '.join(unknown)}")
        values = dict(data)
        for name in ("data", "other_places"):
            values[name] = tuple(Path(path) for path in values.get(name, ()))
        for name in _WORD_LISTS:
            if name in values:
                values[name] = tuple(values[name])
        if "runs" in values:
            values["runs"] = Path(values["runs"])
        return cls(**values)


def plain_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as stored in a run directory: paths as strings, tuples as lists."""

    def plain(value: Any) -> Any:
        if isinstance(value, Path):
            return str(value)
        return [plain(item) for item in value] if isinstance(value, tuple) else value

    return {name: plain(value) for name, value in values.items()}


_WORD_LISTS: Final = ("heads", "labels", "teachers", "teaches", "insets", "draws")


def _by_source(entries: tuple[str, ...]) -> dict[str, str]:
    return {stem: value for stem, _, value in (entry.partition("=") for entry in entries)}


def _is_share(text: str, low: float, high: float) -> bool:
    try:
        return low <= float(text) <= high
    except ValueError:
        return False


def _require_numbers(config: "TrainConfig", require: Callable[[bool, str, object, str], None]) -> None:
    for each in fields(config):
        default, value = each.default, getattr(config, each.name)
        if isinstance(default, bool) or not isinstance(default, int | float):
            continue
        kinds: tuple[type, ...] = (int,) if isinstance(default, int) else (int, float)
        is_number = isinstance(value, kinds) and not isinstance(value, bool)
        require(is_number, each.name, value, "a whole number" if kinds == (int,) else "a number")


# Python 3.13 takes the indentation out of docstrings; what is added must lie as deep as the rest.
TrainConfig.__doc__ = f"{getdoc(TrainConfig)}\n\nAttributes:\n" + "\n".join(
    f"    {name}: {text}" for name, text in SETTING_HELP.items()
)
