"""The verifier of detections: its network, training views and files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from fer.detection.verifier import VERIFIER_FILE, Verification
from training.detector.candidates import STORED_MARGIN
from training.detector.network import Residual, convolution
from training.onnx_export import write_onnx
from training.run_files import BEST_FILE, VERIFIER
from training.runs import read_run

VERIFIED_SIDE: Final = 48
"""Side of the network's input crops, in pixels."""

VERIFIED_MARGIN: Final = 0.4
"""Margin of a crop on each side of the reference square, as a share of its side: hair and shoulders help.

That of training; random views have margins around it."""

USED_MARGINS: Final = (0.33, 0.47)
"""Margins of the crop and of the mirrored crop in use: two views that differ tell more than two alike."""

EVEN_SCORE: Final = 0.93
"""Joint score at which a classifier's threshold of ``other`` applies unchanged; benchmarks/false_boxes.py."""

_CHANNELS: Final = (24, 48, 96, 128)
_DROPOUT: Final = 0.2
_SHOWN: Final = (1 + 2 * VERIFIED_MARGIN) / (1 + 2 * STORED_MARGIN)
"""Side of the network's input as a share of the side of a stored crop."""
_REFERENCE: Final = 1 / (1 + 2 * STORED_MARGIN)
"""Side of the reference square as a share of that side."""

_VIEW_ZOOM: Final = 0.16
_VIEW_TURN: Final = 0.26  # radians
_VIEW_SHIFT: Final = 0.125  # of half the view's side
_BLURRED_SIDES: Final = (14, 40)
_FRAMED_SHARE: Final = 0.3
"""Share of the views of a picture that the face nearly fills: it ends near the face on all four sides."""
_BORDERED_SHARE: Final = 0.2
"""Share of the views of a picture that ends near the face on some sides, each with probability 0.5."""
_ENDS: Final = (0.28, 0.8)
"""Distance of such an end from the centre, as a share of half the side of a stored crop."""
_BAR_SHARE: Final = 0.3
"""Share of these views with plain bars beyond, as around films, instead of repeated edge pixels."""
_COVERED_SIDES: Final = (6, 20)


class VerifierNetwork(nn.Module):
    """Binary classifier, face or not: four stages of a convolution with stride 2 and a residual block.

    Takes ``uint8`` RGB of shape (N, 3, ``VERIFIED_SIDE``, ``VERIFIED_SIDE``); returns log-odds of shape (N,).
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for channels in _CHANNELS:
            layers += [*convolution(before, channels, 2), Residual(channels)]
            before = channels
        self.trunk = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(_DROPOUT))
        self.head = nn.Linear(before, 1)

    def forward(self, crops: Tensor) -> Tensor:
        """Return the log-odds of "face"."""
        logits: Tensor = self.head(self.trunk(crops.float() / 63.75 - 2.0))
        return logits[:, 0]


def plain_views(crops: NDArray[np.uint8]) -> Tensor:
    """Return the stored crops as network input: ``float32`` of shape (N, 3, side, side) in [0, 255]."""
    count = len(crops)
    return _sample(crops, _grid(torch.full((count,), _SHOWN), torch.zeros(count), torch.zeros(count, 2)))


def random_views(crops: NDArray[np.uint8], generator: torch.Generator) -> Tensor:
    """Return the same with random shift, mirroring, and changes of light, colour and detail."""
    count = len(crops)

    def draw(*shape: int, low: float = -1.0, high: float = 1.0) -> Tensor:
        return torch.rand(count, *shape, generator=generator) * (high - low) + low

    ends, has_bars = _random_ends(count, generator)
    # A crop in use is no larger than the picture, but shows the reference square; bars belong to the picture.
    picture = (ends[:, :2] + ends[:, 2:]).amin(1) / 2
    largest = torch.where(has_bars, _SHOWN, picture.clamp(_REFERENCE, _SHOWN))
    zoom = largest * torch.exp(_VIEW_ZOOM * draw())
    grid = _grid(zoom, _VIEW_TURN * draw(), _VIEW_SHIFT * zoom[:, None] * draw(2))
    inside = torch.maximum(torch.minimum(grid, ends[:, None, None, 2:]), -ends[:, None, None, :2])
    views = _sample(crops, inside)
    is_bar = (inside != grid).any(-1)[:, None] & has_bars[:, None, None, None]
    views = torch.where(is_bar, 127.5 + 127.5 * draw(3, 1, 1), views)
    views = torch.where(draw(1, 1, 1) < 0, views.flip(3), views)
    mean = views.mean((1, 2, 3), keepdim=True)
    views = (views - mean) * draw(1, 1, 1, low=0.6, high=1.4) + mean
    views = views + 50 * draw(1, 1, 1) + 20 * draw(3, 1, 1)
    views = torch.where(draw(1, 1, 1) < -0.6, views.mean(1, keepdim=True).expand_as(views), views)
    views = _blur_some(views, generator)
    views = views + 15 * draw(1, 1, 1, low=0.0) * torch.randn(views.shape, generator=generator)
    return _cover_some(views, generator).clamp(0, 255)


def _grid(zoom: Tensor, turn: Tensor, shift: Tensor) -> Tensor:
    """Return the points of the stored crops that the views show, shape (N, side, side, 2), in [-1, 1]."""
    cos, sin = torch.cos(turn) * zoom, torch.sin(turn) * zoom
    rows = torch.stack([torch.stack([cos, -sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1)], 1)
    return functional.affine_grid(rows, [len(zoom), 3, VERIFIED_SIDE, VERIFIED_SIDE], align_corners=False)


def _sample(crops: NDArray[np.uint8], grid: Tensor) -> Tensor:
    images = torch.from_numpy(crops).permute(0, 3, 1, 2).float()
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _random_ends(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return where pictures end, and whether plain bars follow there.

    Returns:
        Distances to the left, top, right and bottom of the centre, shape (N, 4), infinite if far away; and
        whether bars follow, shape (N,).
    """
    ends = torch.empty(count, 4).uniform_(*_ENDS, generator=generator)
    kind = torch.rand(count, 1, generator=generator)
    is_framed = kind < _FRAMED_SHARE
    is_bordered = (kind < _FRAMED_SHARE + _BORDERED_SHARE) & (torch.rand(count, 4, generator=generator) < 0.5)
    has_bars = torch.rand(count, generator=generator) < _BAR_SHARE
    return torch.where(is_framed | is_bordered, ends, torch.inf), has_bars


def _blur_some(views: Tensor, generator: torch.Generator) -> Tensor:
    """Blur the first third of the views, all by the same amount."""
    blurred = len(views) // 3
    side = int(torch.randint(*_BLURRED_SIDES, (1,), generator=generator))
    small = functional.interpolate(views[:blurred], size=(side, side), mode="area")
    back = functional.interpolate(small, size=views.shape[2:], mode="bilinear", align_corners=False)
    return torch.cat([back, views[blurred:]])


def _cover_some(views: Tensor, generator: torch.Generator) -> Tensor:
    """Cover about a quarter of the views by a plain rectangle, like a hand, a cup or another head."""
    for row in torch.nonzero(torch.rand(len(views), generator=generator) < 0.25).flatten().tolist():
        width, height = torch.randint(*_COVERED_SIDES, (2,), generator=generator).tolist()
        left = int(torch.randint(VERIFIED_SIDE - width + 1, (1,), generator=generator))
        top = int(torch.randint(VERIFIED_SIDE - height + 1, (1,), generator=generator))
        colour = 255 * torch.rand(3, 1, 1, generator=generator)
        views[row, :, top : top + height, left : left + width] = colour
    return views


_GOLDEN_COUNT: Final = 3


def load_verifier(run: Path) -> VerifierNetwork:
    """Load the trained network in evaluation mode.

    Raises:
        ValueError: The run has no weights yet, or is not a training of this network.
    """
    found = read_run(run).config.get("architecture")
    if found not in (None, VERIFIER):
        raise ValueError(f"expected a run of training.detector.train_verifier, got {found} in {run}")
    if not (run / BEST_FILE).is_file():
        raise ValueError(f"{run} has no weights yet; expected a run of training.detector.train_verifier")
    network = VerifierNetwork()
    try:
        network.load_state_dict(load_file(run / BEST_FILE))
    except RuntimeError as error:
        raise ValueError(
            f"{run} was trained with an earlier network of the verifier; train it again"
        ) from error
    return network.eval()


def mean_verifier(runs: Sequence[Path]) -> VerifierNetwork:
    """Load the mean of the weights of trainings that follow one another, in evaluation mode.

    It separates better than each of them (Wortsman et al. 2022, "Model soups").

    Args:
        runs: At least one.

    Raises:
        ValueError: A run has no weights yet, or is not a training of this network.
    """
    states = [load_verifier(run).state_dict() for run in runs]
    network = VerifierNetwork()
    network.load_state_dict(
        {
            name: torch.stack([state[name].double() for state in states]).mean(0).to(value.dtype)
            for name, value in states[-1].items()
        }
    )
    return network.eval()


def verification_of(
    candidate_score: float, trust: float, live_candidate_score: float | None = None
) -> Verification:
    """Return the settings of a verifier in use; its crops are those of this network."""
    margin, mirrored_margin = USED_MARGINS
    return Verification(
        candidate_score=candidate_score,
        trust=trust,
        side=VERIFIED_SIDE,
        margin=margin,
        live_candidate_score=live_candidate_score,
        mirrored_margin=mirrored_margin,
        even_score=EVEN_SCORE,
    )


def write_verifier(network: VerifierNetwork, folder: Path) -> None:
    """Export the network to ONNX, with a variable number of crops."""
    write_onnx(
        network,
        torch.from_numpy(golden_crops()),
        folder / VERIFIER_FILE,
        input_name="crops",
        output_names=["logits"],
        sizes={0: torch.export.Dim("count", min=1, max=4096)},
    )


def golden_crops() -> NDArray[np.uint8]:
    """Return synthetic images of shape (N, 3, side, side), identical on every machine."""
    rows, columns = np.mgrid[0:VERIFIED_SIDE, 0:VERIFIED_SIDE]
    waves = [127.5 + 127.5 * np.sin(rows / (2 + n) + n) * np.cos(columns / (3 + n)) for n in range(9)]
    shape = (_GOLDEN_COUNT, 3, VERIFIED_SIDE, VERIFIED_SIDE)
    return np.stack(waves).reshape(shape).astype(np.uint8)
