"""A wide network that begins with what a narrow one has learned."""

from collections.abc import Mapping

import torch
from torch import Tensor

_LEAST_SHARE = 0.3  # of a channel's copies in what reads them: unlike shares let the copies grow apart


def widen(
    narrow: Mapping[str, Tensor], wide: Mapping[str, Tensor], generator: torch.Generator
) -> dict[str, Tensor]:
    """Weights of a wider network that answers as the narrow one does (Net2Net, Chen et al. 2016).

    Every channel is there several times; what reads the copies shares the channel's weight among them at
    random.

    Args:
        narrow: Tensors of the trained network.
        wide: Tensors of the network to fill, with whole multiples of the channels; their values are not read.
        generator: Of the random shares.

    Raises:
        ValueError: The networks differ in more than their widths.
    """
    if narrow.keys() != wide.keys():
        raise ValueError("expected networks of the same layers, got networks that differ in their depth")
    return {name: _widen_tensor(name, narrow[name], wide[name], generator) for name in wide}


def _widen_tensor(name: str, narrow: Tensor, wide: Tensor, generator: torch.Generator) -> Tensor:
    copies = [
        large // small if large % small == 0 else 0
        for small, large in zip(narrow.shape, wide.shape, strict=False)
    ]
    # Kernels keep their size, and only a layer's outputs and inputs have copies.
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
