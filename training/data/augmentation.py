"""Augmentation of training crops, batch by batch on the training device."""

import math
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.transforms.v2 import functional as transforms

from fer.preprocessing import LUMA

ROTATION_DEGREES: Final = 15.0
SHIFT_SHARE: Final = 0.08
SCALE_RANGE: Final = (0.78, 1.32)
ASPECT_SHARE: Final = 0.05
SHEAR_DEGREES: Final = 3.0
GREY_SHARE: Final = 0.25
"""Share of the RGB crops that lose their colour, since many photos have none; at any strength."""
COVER_SHARE: Final = 0.4
"""Share of the crops of which a part of the face is covered, at a strength of 1."""
BLUR_SHARE: Final = 0.1
"""Share of the crops that are blurred beyond reading, at a strength of 1."""
BLUR_RANGE: Final = (0.04, 0.1)
"""Standard deviation of that blur, as a share of the crop's side."""


class _RandomTransform:
    """Random draws from a generator of its own, reproducible by its seed."""

    def __init__(self, generator: torch.Generator, strength: float = 1.0) -> None:
        self.generator, self.strength = generator, strength
        self.device = generator.device

    def _uniform(self, count: int, low: float, high: float) -> Tensor:
        return torch.rand(count, generator=self.generator, device=self.device) * (high - low) + low

    def _chosen(self, count: int, share: float) -> Tensor:
        """Return a random mask that is true for a share of the crops, shape (N, 1, 1, 1)."""
        return (self._uniform(count, 0, 1) < share * self.strength)[:, None, None, None]


class Augmentation(_RandomTransform):
    """Random changes of position, light and quality, reproducible by the generator's seed.

    Args:
        generator: Generator on the device of the crops.
        strength: Scales the frequency of changes of light and colour, and of degradation, in [0, 1];
            geometric transforms are unaffected.
    """

    def __call__(self, crops: Tensor) -> Tensor:
        """Transform every crop independently.

        Args:
            crops: ``uint8`` of shape (N, C, S, S).

        Returns:
            ``uint8`` of the same shape.
        """
        pixels = crops.float() / 255
        pixels = self._move(pixels).clamp(0, 1)  # cubic interpolation overshoots at edges
        if pixels.shape[1] == len(LUMA):
            pixels = self._recolour(pixels)
        pixels = self._relight(pixels)
        pixels = self._degrade(pixels)
        return (pixels.clamp(0, 1) * 255).round().to(torch.uint8)

    def _some(self, pixels: Tensor, share: float, change: Callable[[Tensor], Tensor]) -> Tensor:
        """Change a random share of the crops; only these are passed to the change."""
        return _change_chosen(pixels, self._chosen(len(pixels), share), change)

    def _move(self, pixels: Tensor) -> Tensor:
        """Apply a random affine map (mirror, rotation, shift, scale, aspect, shear); edge pixels repeat.

        Pixels may leave the range of the input.
        """
        count = len(pixels)
        angle = self._uniform(count, -1, 1) * math.radians(ROTATION_DEGREES)
        shear = torch.tan(self._uniform(count, -1, 1) * math.radians(SHEAR_DEGREES))
        scale = torch.exp(self._uniform(count, math.log(SCALE_RANGE[0]), math.log(SCALE_RANGE[1])))
        aspect = torch.exp(self._uniform(count, -ASPECT_SHARE, ASPECT_SHARE))
        mirror = torch.where(self._uniform(count, 0, 1) < 0.5, -1.0, 1.0)
        cos, sin = torch.cos(angle), torch.sin(angle)
        # Rows of the map from output to input, in grid_sample's coordinates in [-1, 1].
        across, down = 1 / (scale * aspect), aspect / scale
        matrix = torch.stack(
            [
                torch.stack(
                    [mirror * cos * across, mirror * (cos * shear - sin) * down, self._shift(count)], dim=1
                ),
                torch.stack([sin * across, (sin * shear + cos) * down, self._shift(count)], dim=1),
            ],
            dim=1,
        )
        grid = functional.affine_grid(matrix, list(pixels.shape), align_corners=False)
        # Linear interpolation would blur all training crops, unlike those in use.
        return functional.grid_sample(
            pixels, grid, mode="bicubic", padding_mode="border", align_corners=False
        )

    def _shift(self, count: int) -> Tensor:
        return self._uniform(count, -2 * SHIFT_SHARE, 2 * SHIFT_SHARE)  # the grid is two units wide

    def _recolour(self, pixels: Tensor) -> Tensor:
        """Change the white balance and the saturation of RGB crops; some become grey."""
        count = len(pixels)
        gain = torch.exp(self._uniform(3 * count, -0.15, 0.15)).reshape(count, 3, 1, 1)
        pixels = torch.where(self._chosen(count, 0.8), pixels * gain, pixels).clamp(0, 1)
        grey = luma(pixels)
        saturation = self._uniform(count, 0.4, 1.4)[:, None, None, None]
        pixels = torch.where(self._chosen(count, 0.8), grey + (pixels - grey) * saturation, pixels)
        is_grey = (self._uniform(count, 0, 1) < GREY_SHARE)[:, None, None, None]
        return torch.where(is_grey, grey, pixels).clamp(0, 1)

    def _relight(self, pixels: Tensor) -> Tensor:
        """Apply histogram equalisation, gamma, contrast, and light from one side."""
        count, _, side, _ = pixels.shape
        pixels = self._some(pixels, 0.2, _equalise)
        gamma = torch.exp(self._uniform(count, math.log(0.6), math.log(1.6)))[:, None, None, None]
        bent = pixels.clamp(1e-4, 1) ** gamma
        pixels = torch.where(self._chosen(count, 0.8), bent, pixels)
        contrast = self._uniform(count, 0.6, 1.5)[:, None, None, None]
        mean = pixels.mean(dim=(1, 2, 3), keepdim=True)
        pixels = torch.where(self._chosen(count, 0.8), (pixels - mean) * contrast + mean, pixels)
        angle = self._uniform(count, 0, 2 * math.pi)[:, None, None, None]
        line = torch.linspace(-1, 1, side, device=self.device)
        slope = torch.cos(angle) * line[None, None, None, :] + torch.sin(angle) * line[None, None, :, None]
        strength = self._uniform(count, 0, 0.3)[:, None, None, None]
        lit = pixels + slope * strength
        return torch.where(self._chosen(count, 0.4), lit, pixels).clamp(0, 1)

    def _degrade(self, pixels: Tensor) -> Tensor:
        """Simulate small, blurred, dark and compressed faces."""
        count, _, side, _ = pixels.shape
        small_side = int(self._uniform(1, 16, 40).item()) * side // 48

        def coarsen(chosen: Tensor) -> Tensor:
            small = functional.interpolate(chosen, size=(small_side, small_side), mode="area")
            return functional.interpolate(small, size=(side, side), mode="bilinear", align_corners=False)

        sigma = float(self._uniform(1, 0.4, 1.2).item()) * side / 48

        pixels = self._some(pixels, 0.3, coarsen)
        pixels = self._some(pixels, 0.15, lambda chosen: _gaussian(chosen, 5, sigma))
        noise = torch.randn(pixels.shape, generator=self.generator, device=self.device)
        strength = self._uniform(count, 0, 0.06)[:, None, None, None]
        pixels = torch.where(self._chosen(count, 0.3), pixels + noise * strength, pixels)
        return self._some(pixels, 0.2, self._compress)

    def _compress(self, pixels: Tensor) -> Tensor:
        """Simulate JPEG: round the cosine coefficients of 8×8 blocks to multiples of a quantisation table."""
        count, channels, side, _ = pixels.shape
        if side % 8:
            return pixels
        transform, table = _cosine_matrix(self.device), _luma_table(self.device)
        factor = self._uniform(count, 0.4, 2.0)[:, None, None, None, None, None]  # quality 80 to 25
        blocks = pixels.reshape(count, channels, side // 8, 8, side // 8, 8).transpose(3, 4) * 255 - 128
        steps = table * factor
        coefficients = torch.round(transform @ blocks @ transform.T / steps) * steps
        blocks = (transform.T @ coefficients @ transform + 128) / 255
        return blocks.transpose(3, 4).reshape(count, channels, side, side)


class Damage(_RandomTransform):
    """Random covers and heavy blur, reproducible by the generator's seed.

    Small rectangles make the network look at the whole face. Large covers and heavy blur hide what it needs:
    the caller is told which crops got one, so that a training can ask for less confidence.

    Args:
        generator: Generator on the device of the crops.
        strength: Scales the frequency, in [0, 1].
    """

    def __call__(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Damage some crops.

        Args:
            crops: ``uint8`` of shape (N, C, S, S).

        Returns:
            ``uint8`` of the same shape, and whether each crop is covered to a large part or heavily blurred,
            ``bool`` of shape (N,).
        """
        covered, has_cover = self._cover(self._erase(crops))
        low, high = BLUR_RANGE
        sigma = float(self._uniform(1, low, high).item()) * crops.shape[-1]
        size = 2 * math.ceil(3 * sigma) + 1
        is_blurred = self._chosen(len(crops), BLUR_SHARE)
        damaged = _change_chosen(covered, is_blurred, lambda chosen: _gaussian(chosen, size, sigma))
        return damaged, has_cover | is_blurred.flatten()

    def _erase(self, crops: Tensor) -> Tensor:
        """Cover 2 to 20 % of the area of half of the crops with a plain rectangle (Zhong et al. 2020)."""
        count, _, side, _ = crops.shape
        area = self._uniform(count, 0.02, 0.20)
        ratio = torch.exp(self._uniform(count, math.log(0.4), math.log(2.5)))
        height, width = (area * ratio).sqrt() * side, (area / ratio).sqrt() * side
        top = self._uniform(count, 0, 1) * (side - height)
        left = self._uniform(count, 0, 1) * (side - width)
        line = torch.arange(side, device=self.device)
        in_rows = (line >= top[:, None]) & (line < (top + height)[:, None])
        in_columns = (line >= left[:, None]) & (line < (left + width)[:, None])
        covered = in_rows[:, None, :, None] & in_columns[:, None, None, :] & self._chosen(count, 0.5)
        return torch.where(covered, self._plain(crops), crops)

    def _cover(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Cover the eyes, the mouth, one side, or a blot of a hand's size, of COVER_SHARE of the faces."""
        count, _, side, _ = crops.shape
        rows = torch.linspace(0, 1, side, device=self.device)[None, None, :, None]
        columns = rows.transpose(2, 3)
        edge, across, radius = (
            self._uniform(count, low, high)[:, None, None, None]
            for low, high in ((-0.06, 0.06), (0.3, 0.7), (0.2, 0.32))
        )
        is_round = (self._uniform(count, 0, 1) < 0.5)[:, None, None, None]
        between = (columns > 0.08) & (columns < 0.92)
        lens = ((columns - 0.5).abs() - 0.2) ** 2 / 0.19**2 + (rows - 0.36 - edge) ** 2 / 0.13**2 < 1
        below = rows > 0.56 + edge
        covers = [
            torch.where(is_round, lens, (rows > 0.24 + edge) & (rows < 0.46 + edge) & between),
            torch.where(
                is_round, below & ((columns - 0.5) ** 2 + (rows - 0.5) ** 2 < 0.45**2), below & between
            ),
            (columns < 0.42 + 2 * edge).expand(-1, -1, side, -1),
            (columns - across) ** 2 + (rows - 0.56 - edge) ** 2 < radius**2,
        ]
        kind = self._uniform(count, 0, len(covers)).long()
        covered = torch.stack(covers)[kind, torch.arange(count, device=self.device)]
        chosen = self._chosen(count, COVER_SHARE)
        return torch.where(covered & chosen, self._plain(crops), crops), chosen.flatten()

    def _plain(self, crops: Tensor) -> Tensor:
        """Return a plain value for each crop, shape (N, C, 1, 1); of RGB crops, half get a colour."""
        count, channels = crops.shape[:2]
        grey = self._uniform(count, 0, 256)[:, None]
        colour = self._uniform(count * channels, 0, 256).reshape(count, channels)
        is_grey = self._uniform(count, 0, 1)[:, None] < 0.5
        return torch.where(is_grey, grey, colour).to(torch.uint8)[:, :, None, None]


def luma(crops: Tensor) -> Tensor:
    """Return the grey values of RGB crops of shape (N, 3, H, W), as shape (N, 1, H, W)."""
    weights = torch.tensor(LUMA, device=crops.device)[None, :, None, None]
    return (crops.float() * weights).sum(dim=1, keepdim=True)


def shrink(crops: Tensor, side: int) -> Tensor:
    """Resize ``uint8`` crops of shape (N, C, S, S) to ``side`` pixels by area averaging."""
    small = functional.interpolate(crops.float(), size=(side, side), mode="area")
    return small.round().to(torch.uint8)


def coarsen(crops: Tensor, side: int) -> Tensor:
    """Return ``uint8`` crops of shape (N, C, S, S) as they look if the faces have ``side`` pixels."""
    enlarged = functional.interpolate(shrink(crops, side).float(), size=crops.shape[-2:], mode="bilinear")
    return enlarged.round().to(torch.uint8)


def _change_chosen(crops: Tensor, chosen: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """Change the crops for which ``chosen``, of shape (N, 1, 1, 1), is true; only these are passed on."""
    rows = chosen.flatten().nonzero().flatten()
    return crops.index_copy(0, rows, change(crops[rows])) if len(rows) else crops


def _gaussian(crops: Tensor, size: int, sigma: float) -> Tensor:
    """Blur by a Gaussian of the deviation ``sigma``, in pixels, cut off to a kernel of ``size`` pixels."""
    # cuDNN would search for the fastest convolution at every new number of crops.
    with torch.backends.cudnn.flags(enabled=True, benchmark=False):
        blurred: Tensor = transforms.gaussian_blur(crops, kernel_size=[size, size], sigma=[sigma, sigma])
    return blurred


def _equalise(pixels: Tensor) -> Tensor:
    grey = pixels if pixels.shape[1] == 1 else luma(pixels)
    equalised: Tensor = transforms.equalize((grey.clamp(0, 1) * 255).to(torch.uint8)).float() / 255
    return equalised if pixels.shape[1] == 1 else pixels + (equalised - grey)


def _cosine_matrix(device: torch.device) -> Tensor:
    """Return the matrix of the orthonormal discrete cosine transform of eight values."""
    index = torch.arange(8, device=device, dtype=torch.float32)
    matrix = torch.cos((2 * index[None, :] + 1) * index[:, None] * math.pi / 16) / 2
    matrix[0] /= math.sqrt(2)
    return matrix


def _luma_table(device: torch.device) -> Tensor:
    """Return the luma quantisation table K.1 of ITU-T T.81, which most encoders scale."""
    rows = (
        (16, 11, 10, 16, 24, 40, 51, 61),
        (12, 12, 14, 19, 26, 58, 60, 55),
        (14, 13, 16, 24, 40, 57, 69, 56),
        (14, 17, 22, 29, 51, 87, 80, 62),
        (18, 22, 37, 56, 68, 109, 103, 77),
        (24, 35, 55, 64, 81, 104, 113, 92),
        (49, 64, 78, 87, 103, 121, 120, 101),
        (72, 92, 95, 98, 112, 100, 103, 99),
    )
    return torch.tensor(rows, device=device, dtype=torch.float32)
