"""Networks by name: ``uint8`` crops in, logits of every head out."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from fer.model_card import ModelCard, WeightsMismatchError

PIXEL_MEAN: Final = 0.508
PIXEL_STD: Final = 0.255
"""Mean and standard deviation of the pixels of FER2013's training split, scaled to [0, 1]."""


class Standardise(nn.Module):
    """Standardisation of pixels in [0, 255]; part of the network, so that all callers agree.

    Args:
        mean: Mean of the pixels in [0, 1]; one number, or one per channel.
        std: Their standard deviation.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float] = (PIXEL_MEAN,), std: Sequence[float] = (PIXEL_STD,)) -> None:
        super().__init__()
        for name, values in (("mean", mean), ("std", std)):
            value = torch.tensor(values[0]) if len(values) == 1 else torch.tensor(values)[:, None, None]
            self.register_buffer(name, value)

    def forward(self, crops: Tensor) -> Tensor:
        """Standardise crops of shape (N, C, H, W) in [0, 255], any number type."""
        return (crops.float() / 255 - self.mean) / self.std


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions with a shortcut (He et al. 2016, post-activation)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.convolve_1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.normalise_1 = nn.BatchNorm2d(out_channels)
        self.convolve_2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.normalise_2 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, features: Tensor) -> Tensor:
        """Map shape (N, in, H, W) to (N, out, H / stride, W / stride)."""
        inner = torch.relu(self.normalise_1(self.convolve_1(features)))
        inner = self.normalise_2(self.convolve_2(inner))
        return torch.relu(inner + self.shortcut(features))


def residual_trunk(
    channels: int, widths: tuple[int, ...], depths: tuple[int, ...], stem_stride: int
) -> nn.Sequential:
    """Build a stem, stages of residual blocks that halve the side, and global average pooling."""
    layers: list[nn.Module] = [
        nn.Conv2d(channels, widths[0], 3, stem_stride, 1, bias=False),
        nn.BatchNorm2d(widths[0]),
        nn.ReLU(),
    ]
    width = widths[0]
    for stage, (stage_width, depth) in enumerate(zip(widths, depths, strict=True)):
        for block in range(depth):
            layers.append(ResidualBlock(width, stage_width, 2 if stage > 0 and block == 0 else 1))
            width = stage_width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def origin_trunk(channels: int) -> nn.Sequential:
    """Build the original student project's network without its last layer: 48×48 in, 1024 features out."""
    layers: list[nn.Module] = []
    width = channels
    for stage_width, depth in ((64, 2), (128, 2), (256, 3)):
        for _ in range(depth):
            layers += [nn.Conv2d(width, stage_width, 3, padding=1), nn.ReLU()]
            width = stage_width
        layers.append(nn.MaxPool2d(2))
    layers += [nn.Flatten(), nn.Linear(256 * 6 * 6, 1024), nn.ReLU(), nn.Dropout(0.5)]
    layers += [nn.Linear(1024, 1024), nn.ReLU()]
    return nn.Sequential(*layers)


class Architecture:
    """A trunk's constructor, its number of features, and the dropout before its heads."""

    def __init__(self, trunk: Callable[[int], nn.Sequential], feature_count: int, dropout: float) -> None:
        self.trunk, self.feature_count, self.dropout = trunk, feature_count, dropout


ARCHITECTURES: Final[Mapping[str, Architecture]] = MappingProxyType(
    {
        "kv_fast": Architecture(
            lambda channels: residual_trunk(channels, (32, 48, 96, 192), (2, 2, 2, 1), 2), 192, 0.2
        ),
        "kv_accurate": Architecture(
            lambda channels: residual_trunk(channels, (64, 96, 192, 384), (2, 2, 2, 1), 2), 384, 0.3
        ),
        "kv_teacher": Architecture(
            lambda channels: residual_trunk(channels, (64, 128, 256, 512), (2, 2, 2, 2), 2), 512, 0.3
        ),
        "kv_cnn": Architecture(origin_trunk, 1024, 0.5),
    }
)


class ExpressionNetwork(nn.Module):
    """Standardisation, trunk, one linear layer per head, and the temperature of each head.

    Args:
        architecture: A key of ``ARCHITECTURES``.
        output_counts: Outputs by head name, in order.
        channels: 1 for grey crops, 3 for RGB.
        dropout: Dropout rate before the heads; None for the architecture's own.
        mirror_average: Average the logits of a crop and its mirror image in ``probabilities``; takes twice
            the time.
        inner_view: Side of a central view to average with the whole crop, as a share of the crop's side, in
            (0, 1]; 1 for none. Takes twice the time; predictions depend less on how closely a face is framed.
    """

    def __init__(
        self,
        architecture: str,
        output_counts: Mapping[str, int],
        channels: int = 1,
        dropout: float | None = None,
        *,
        mirror_average: bool = False,
        inner_view: float = 1.0,
    ) -> None:
        super().__init__()
        if architecture not in ARCHITECTURES:
            raise ValueError(f"unknown architecture {architecture!r}; known are {', '.join(ARCHITECTURES)}")
        plan = ARCHITECTURES[architecture]
        self.architecture = architecture
        self.output_counts = dict(output_counts)
        self.channels = channels
        self.mirror_average = mirror_average
        self.inner_view = inner_view
        self.standardise = Standardise()
        self.trunk = plan.trunk(channels)
        self.dropout = nn.Dropout(plan.dropout if dropout is None else dropout)
        self.heads = nn.ModuleDict(
            {name: nn.Linear(plan.feature_count, count) for name, count in output_counts.items()}
        )
        self.temperatures = nn.ParameterDict(
            {name: nn.Parameter(torch.ones(()), requires_grad=False) for name in output_counts}
        )

    def forward(self, crops: Tensor) -> dict[str, Tensor]:
        """Return logits by head, each of shape (N, outputs).

        Args:
            crops: Shape (N, C, size, size), values in [0, 255].
        """
        features = self.dropout(self.trunk(self.standardise(crops)))
        return {name: head(features) for name, head in self.heads.items()}

    def probabilities(self, crops: Tensor) -> dict[str, Tensor]:
        """Return calibrated probabilities by head, each of shape (N, outputs)."""
        return {
            name: torch.softmax(logits.float() / self.temperatures[name], dim=1)
            for name, logits in self.judged_logits(crops).items()
        }

    def judged_logits(self, crops: Tensor) -> dict[str, Tensor]:
        """Return the logits used for predictions: the mean over all views of each crop."""
        views = self.views(crops)
        logits: dict[str, Tensor] = self(torch.cat(views))
        return {
            name: values.reshape(len(views), -1, self.output_counts[name]).mean(dim=0)
            for name, values in logits.items()
        }

    def views(self, crops: Tensor) -> list[Tensor]:
        """Return the enabled views of each crop: itself, its centre enlarged, both mirrored.

        Args:
            crops: Shape (N, C, size, size), values in [0, 255].
        """
        views = [crops]
        margin = round(crops.shape[-1] * (1 - self.inner_view) / 2)
        if margin:
            whole = crops.float()
            inner = whole[..., margin:-margin, margin:-margin]
            views = [whole, functional.interpolate(inner, size=crops.shape[-2:], mode="bilinear")]
        if self.mirror_average:
            views += [view.flip(-1) for view in views]
        return views


def network_for(card: ModelCard) -> ExpressionNetwork:
    """Build the card's network with untrained weights."""
    output_counts = {head.name: len(head.labels) for head in card.heads}
    return ExpressionNetwork(
        card.architecture,
        output_counts,
        card.preprocessing.channel_count,
        mirror_average=card.mirror_average,
        inner_view=card.inner_view,
    )


def load_network(path: Path, card: ModelCard) -> ExpressionNetwork:
    """Load the card's network with the weights of a safetensors file.

    Raises:
        WeightsMismatchError: The tensors are not those of the card's network.
    """
    from safetensors.torch import load_file  # noqa: PLC0415 - not part of the lite set

    network, state = network_for(card), load_file(path)
    for name in ("mean", "std"):
        if f"standardise.{name}" in state:  # scalar or per channel
            setattr(network.standardise, name, torch.empty_like(state[f"standardise.{name}"]))
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsMismatchError(
            f"{path} does not hold the tensors of {card.architecture} with outputs "
            f"{network.output_counts}; restore card and weights from one export"
        ) from error
    return network
