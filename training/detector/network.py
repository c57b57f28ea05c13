"""The detector's network: dense 3×3 convolutions, three strides, one shared head."""

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from fer.detection.decoding import STRIDES

FIELD_COUNT: Final = 15
"""Values per cell: score, distances to left, top, right, bottom, then five landmarks as x, y."""

_CHANNELS: Final = (16, 24, 48, 96, 96)
_NECK: Final = 48


class KvFaceNetwork(nn.Module):
    """Anchor-free face detector without depthwise convolutions, which are slow on a CPU.

    Takes ``uint8`` RGB of shape (N, 3, H, W), sides divisible by the largest stride; returns (N, cells, 15):
    the cells of stride 8, then 16, then 32, each row by row.
    """

    def __init__(self) -> None:
        super().__init__()
        half, quarter, eighth, sixteenth, last = _CHANNELS
        self.stem = nn.Sequential(_convolution(3, half, 2), _convolution(half, quarter, 2))
        self.stages = nn.ModuleList(
            nn.Sequential(_convolution(before, after, 2), _Residual(after))
            for before, after in ((quarter, eighth), (eighth, sixteenth), (sixteenth, last))
        )
        self.lateral = nn.ModuleList(nn.Conv2d(channels, _NECK, 1) for channels in (eighth, sixteenth, last))
        self.head = _convolution(_NECK, _NECK, 1)
        self.fields = nn.ModuleList(_last_layer() for _ in STRIDES)

    def forward(self, images: Tensor) -> Tensor:
        """Return scores as logits, and boxes and landmarks as ``fer.detection.decoding`` expects them."""
        features = self.stem(images.float() / 127.5 - 1.0)
        levels = []
        for stage in self.stages:
            features = stage(features)
            levels.append(features)
        above = self.lateral[2](levels[2])
        necks = [above]
        for index in (1, 0):
            above = self.lateral[index](levels[index]) + functional.interpolate(above, scale_factor=2.0)
            necks.insert(0, above)
        fields = [layer(self.head(neck)) for layer, neck in zip(self.fields, necks, strict=True)]
        return torch.cat([field.flatten(2) for field in fields], 2).transpose(1, 2)


class ExportedDetector(nn.Module):
    """The network as exported: one image, scores as probabilities."""

    def __init__(self, network: KvFaceNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Return an array of shape (N, cells, 15)."""
        cells = self.network(images)
        return torch.cat([cells[:, :, :1].sigmoid(), cells[:, :, 1:]], 2)


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _convolution(channels, channels, 1)
        self.second = _convolution(channels, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        added: Tensor = self.second(self.first(features))
        return features + added


def _last_layer() -> nn.Conv2d:
    layer = nn.Conv2d(_NECK, FIELD_COUNT, 1)
    nn.init.normal_(layer.weight, std=0.01)
    bias = torch.zeros(FIELD_COUNT)
    bias[0] = -4.0  # faces are rare: start with low scores
    layer.bias = nn.Parameter(bias)
    return layer


def _convolution(before: int, after: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)
    )
