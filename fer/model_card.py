"""The card of a set of weights: labels, preprocessing, calibration, provenance."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeVar

from fer.emotions import OTHER, Emotion, Label, label_of, labels_problem
from fer.files import replaced
from fer.json_values import build, parse_json

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")

CARD_FORMAT: Final = 1
CARD_FILE: Final = "card.json"
WEIGHTS_FILE: Final = "model.safetensors"
ONNX_FILE: Final = "model.onnx"
INT8_FILE: Final = "model.int8.onnx"
GOLDEN_FILE: Final = "golden.safetensors"


OWN_HEAD: Final = "own"
"""The head whose labels are user-defined classes."""

_USUAL_CHOICES: Final = ("six", "seven")
"""Heads offered to people if the card lists none."""


class UnknownModelError(LookupError):
    """A model name or folder without usable weights."""


class WeightsMismatchError(ValueError):
    """Weights that do not match their card."""


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """Input format of a network.

    Attributes:
        size: Side of the square crop in pixels.
        colour: ``grey`` for one channel of luma (ITU-R BT.601), ``rgb`` for three.
        margin: Margin on each side of the reference square, as a share of its side.
    """

    size: int = 48
    colour: Literal["grey", "rgb"] = "grey"
    margin: float = 0.0

    def __post_init__(self) -> None:
        if self.size < 8:
            raise ValueError(f"expected a crop of at least 8 pixels, got {self.size}")
        if self.colour not in ("grey", "rgb"):
            raise ValueError(f"expected colour 'grey' or 'rgb', got {self.colour!r}")
        if not -0.4 <= self.margin <= 2.0:
            raise ValueError(f"expected a margin in [-0.4, 2], got {self.margin}")

    @property
    def channel_count(self) -> int:
        """Channels of the network's input."""
        return 1 if self.colour == "grey" else 3

    @property
    def colour_word(self) -> str:
        """``grey`` or ``colour``, for sentences."""
        return "grey" if self.colour == "grey" else "colour"


SMALL_FACE_SIDE: Final = 20
"""Side of a face in pixels of the image below which its expression can hardly be read."""


@dataclass(frozen=True, slots=True)
class Head:
    """One output of a network.

    Attributes:
        name: Name in options and files.
        labels: In output order: expressions, and at most one ``other`` for none of them; any class names in
            the head ``own``.
        temperature: Divisor of the logits before the softmax; already part of the exported files.
        unsure_below: Confidence below which a prediction is unsure; 0 if not measured.
        unsure_below_small: The same for faces of fewer than ``SMALL_FACE_SIDE`` pixels, and for those that
            the picture's border cuts off, if it is larger.
        other_above: Probability of ``other`` above which a detection is rejected as no readable face; 1 for
            never.
    """

    name: str
    labels: tuple[str, ...]
    temperature: float = 1.0
    unsure_below: float = 0.0
    unsure_below_small: float = 0.0
    other_above: float = 1.0

    @property
    def unsure_below_hard(self) -> float:
        """Confidence below which a prediction is unsure if the face is hard to read: small, or cut off."""
        return max(self.unsure_below, self.unsure_below_small)

    def __post_init__(self) -> None:
        if self.name == OWN_HEAD:
            self._check_own()
        unknown = [label for label in self.emotions if label not in set(Emotion) and self.name != OWN_HEAD]
        if unknown or len(set(self.labels)) != len(self.labels) or len(self.emotions) < 2:
            raise ValueError(
                f"expected head {self.name!r} to list at least two different expressions out of "
                f"{', '.join(Emotion)} (and at most one '{OTHER}'), got {list(self.labels)}"
            )
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ValueError(f"expected a temperature above 0 for head {self.name!r}, got {self.temperature}")

    def _check_own(self) -> None:
        if problem := labels_problem([label for label in self.labels if label != OTHER]):
            raise ValueError(f"head {self.name!r}: {problem}")

    @property
    def emotions(self) -> tuple[Label, ...]:
        """The labels without ``other``, in output order."""
        return tuple(label_of(label) for label in self.labels if label != OTHER)


@dataclass(frozen=True, slots=True)
class ModelCard:
    """Everything needed to use a set of weights; the only place where label order matters.

    Attributes:
        name: ``architecture.tag``, the name of the folder.
        architecture: A name that ``fer.networks`` can build.
        preprocessing: Input format of the network.
        heads: Its outputs, in graph order.
        default_head: The head used by default.
        files: SHA-256 of each file that belongs to the card.
        description: One sentence.
        licence: Licence of the weights.
        data_sets: Name, licence and use of each data set.
        metrics: Measured figures by data set and head, copied from the stored report.
        mirror_average: Whether logits are averaged over a crop and its mirror image; the exported files
            include this.
        inner_view: Side of the central view that is averaged with the whole crop, as a share of the crop's
            side; 1 for none; the exported files include this.
        offered_heads: Heads that people may choose in addition to the default one; empty for the usual ones,
            ``six`` and ``seven``.
    """

    name: str
    architecture: str
    preprocessing: Preprocessing
    heads: tuple[Head, ...]
    default_head: str
    files: Mapping[str, str] = field(default_factory=dict)
    description: str = ""
    licence: str = "MIT"
    data_sets: tuple[Mapping[str, str], ...] = ()
    metrics: Mapping[str, Any] = field(default_factory=dict)
    mirror_average: bool = False
    inner_view: float = 1.0
    offered_heads: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [head.name for head in self.heads]
        if len(set(names)) != len(names) or self.default_head not in names:
            raise ValueError(
                f"expected different heads and a default among them, got {names}, {self.default_head!r}"
            )
        if not set(self.offered_heads) <= set(names):
            raise ValueError(f"expected offered heads out of {names}, got {list(self.offered_heads)}")

    @property
    def labels(self) -> tuple[str, ...]:
        """The default head's labels in output order."""
        return self.head().labels

    @property
    def choices(self) -> tuple[Head, ...]:
        """The heads that people may choose, the default one first."""
        offered = self.offered_heads or _USUAL_CHOICES
        return (
            self.head(),
            *(head for head in self.heads if head.name in offered and head.name != self.default_head),
        )

    def head(self, name: str | None = None) -> Head:
        """Return the head of this name, or the default one.

        Raises:
            UnknownModelError: The card lists no such head.
        """
        for head in self.heads:
            if head.name == (name or self.default_head):
                return head
        known = ", ".join(head.name for head in self.heads)
        raise UnknownModelError(f"{self.name} has no head {name!r}; choose one of {known}")

    def save(self, folder: Path) -> None:
        """Write the card as JSON into a folder, under a temporary name first."""
        write_card(folder / CARD_FILE, self)


def load_card(folder: Path) -> ModelCard:
    """Read the card of a weights folder, without touching the weights.

    Raises:
        UnknownModelError: The card is missing or invalid.
    """
    missing = f"no {CARD_FILE} in {folder}; name a folder under weights/ or run 'python -m training.export'"
    return read_card(ModelCard, folder / CARD_FILE, missing)


def write_card(path: Path, card: "DataclassInstance") -> None:
    """Write a card of any kind as JSON, under a temporary name first."""
    data = {"format": CARD_FORMAT, **asdict(card)}
    with replaced(path) as temporary:
        temporary.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def read_card(kind: type[T], path: Path, missing: str) -> T:
    """Read a card of any kind.

    Args:
        kind: Its dataclass.
        path: Its file.
        missing: Sentence for users if there is no such file.

    Raises:
        UnknownModelError: The card is missing or invalid.
    """
    try:
        data = parse_json(path.read_bytes())
        if not isinstance(data, dict) or data.pop("format", None) != CARD_FORMAT:
            raise ValueError(f"expected card format {CARD_FORMAT}")
        return build(kind, data)
    except OSError as error:
        raise UnknownModelError(missing) from error
    except ValueError as error:
        raise UnknownModelError(f"{path} is not a valid card ({error}); export the run again") from error


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class ListsFiles(Protocol):
    """A card of any kind that lists its files."""

    @property
    def files(self) -> Mapping[str, str]:
        """SHA-256 of each file."""


def verified_file(folder: Path, card: ListsFiles, name: str) -> Path:
    """Verify the hash of one of the card's files and return its path.

    Raises:
        UnknownModelError: The file is missing.
        WeightsMismatchError: The file's hash is not the card's.
    """
    path = folder / name
    if not path.is_file():
        raise UnknownModelError(
            f"no {name} in {folder}; the card lists it, restore it or export the run again"
        )
    expected, found = card.files.get(name), file_hash(path)
    if expected != found:
        raise WeightsMismatchError(
            f"{path} does not match its card: expected SHA-256 {str(expected)[:12]}…, "
            f"got {found[:12]}…; restore both from one export"
        )
    return path
