import numpy as np
import pytest
import torch
from toy_faces import toy_face

from training.data import augmentation
from training.data.augmentation import BLUR_SHARE, COVER_SHARE, Augmentation, Damage


def batch(count: int = 16) -> torch.Tensor:
    return torch.from_numpy(np.stack([toy_face("happy", i)[None] for i in range(count)]))


def augment(crops: torch.Tensor, seed: int, strength: float = 1.0) -> torch.Tensor:
    generator = torch.Generator()
    generator.manual_seed(seed)
    return Augmentation(generator, strength)(crops)


def test_same_seed_same_pictures_other_seed_other_pictures() -> None:
    assert torch.equal(augment(batch(), 1), augment(batch(), 1))
    assert not torch.equal(augment(batch(), 1), augment(batch(), 2))


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_shape_and_type_stay(strength: float) -> None:
    crops = augment(batch(), 0, strength)
    assert crops.shape == (16, 1, 48, 48)
    assert crops.dtype == torch.uint8


def test_pictures_are_moved_each_by_itself_and_half_are_mirrored() -> None:
    half = torch.zeros(400, 1, 48, 48, dtype=torch.uint8)
    half[..., :24] = 200
    moved = augment(half, 0, strength=0.0).float()
    right_is_brighter = (moved[..., 24:].mean(dim=(1, 2, 3)) > moved[..., :24].mean(dim=(1, 2, 3))).float()
    assert 0.4 < right_is_brighter.mean() < 0.6  # 400 draws of a fair coin
    assert len({tuple(picture.flatten().tolist()) for picture in moved}) > 300


def test_a_plain_picture_stays_plain_under_movement() -> None:
    plain = torch.full((4, 1, 48, 48), 77, dtype=torch.uint8)
    generator = torch.Generator()
    moved = Augmentation(generator)._move(plain.float())
    torch.testing.assert_close(moved, plain.float(), atol=1e-3, rtol=0)  # edges repeat, no black corners


def test_movement_keeps_fine_detail() -> None:
    noise = torch.rand(64, 1, 48, 48, generator=torch.Generator().manual_seed(0))
    moved = Augmentation(torch.Generator())._move(noise)
    middle = (slice(None), slice(None), slice(12, 36), slice(12, 36))
    # Pixels in between are means of their neighbours: linear interpolation keeps 0.66 of the deviation.
    assert moved[middle].std() > 0.75 * noise[middle].std()


def test_compression_keeps_the_picture() -> None:
    pixels = batch(4).float() / 255
    lossy = Augmentation(torch.Generator())._compress(pixels)
    assert 0 < (lossy - pixels).abs().mean() < 0.1


@pytest.mark.parametrize("channels", [1, 3])
def test_covers_are_plain_and_leave_the_rest_as_it_is(channels: int, monkeypatch) -> None:
    noise = torch.randint(0, 256, (400, channels, 48, 48), generator=torch.Generator().manual_seed(0))
    crops = noise.to(torch.uint8)
    monkeypatch.setattr(augmentation, "BLUR_SHARE", 0.0)
    covered, has_cover = Damage(torch.Generator().manual_seed(1))(crops)
    assert (covered.shape, covered.dtype) == (crops.shape, torch.uint8)
    changed = (covered != crops).any(dim=1).flatten(1)
    untouched = (~changed.any(dim=1)).float().mean().item()
    assert untouched == pytest.approx(0.5 * (1 - COVER_SHARE), abs=0.07)  # three deviations of 400 draws
    assert has_cover.float().mean().item() == pytest.approx(COVER_SHARE, abs=0.07)
    shares = changed.float().mean(dim=1)
    assert shares.max() < 0.8
    assert shares[has_cover].min() > 0.08
    assert shares[~has_cover].max() < 0.25
    for crop, where in zip(covered.flatten(2), changed, strict=True):
        values = {tuple(value.tolist()) for value in crop[:, where].T}
        assert len(values) <= 2  # one erased rectangle, one cover


def test_covers_of_coloured_crops_are_grey_or_coloured() -> None:
    crops = torch.full((400, 3, 48, 48), 128, dtype=torch.uint8)
    covered = Damage(torch.Generator().manual_seed(1))(crops)[0].float()
    is_coloured = ((covered.amax(dim=1) - covered.amin(dim=1)) > 0).flatten(1).any(dim=1).float().mean()
    assert 0.2 < is_coloured < 0.6


def test_some_crops_are_blurred_beyond_reading_and_told(monkeypatch) -> None:
    monkeypatch.setattr(augmentation, "COVER_SHARE", 0.0)
    lines = torch.zeros(400, 3, 48, 48, dtype=torch.uint8)
    lines[:, :, ::4] = lines[:, :, 1::4] = 200  # of two pixels, like eyes and a mouth in a small face
    blurred, is_blurred = Damage(torch.Generator().manual_seed(1))(lines)
    assert (blurred.shape, blurred.dtype) == (lines.shape, torch.uint8)
    assert is_blurred.float().mean().item() == pytest.approx(BLUR_SHARE, abs=0.05)
    contrast = (blurred[:, :, 1:].float() - blurred[:, :, :-1].float()).abs().mean(dim=(1, 2, 3))
    assert contrast[is_blurred].max() < contrast[~is_blurred].min() / 2


def test_nothing_is_damaged_at_no_strength() -> None:
    crops, is_damaged = Damage(torch.Generator(), 0.0)(batch())
    assert torch.equal(crops, batch())
    assert not is_damaged.any()


def test_shrinking_averages_areas() -> None:
    crops = torch.zeros(2, 1, 48, 48, dtype=torch.uint8)
    crops[:, :, :24] = 200
    small = augmentation.shrink(crops, 24)
    assert small.shape == (2, 1, 24, 24)
    assert small.dtype == torch.uint8
    assert (small[:, :, :12] == 200).all()
    assert (small[:, :, 12:] == 0).all()


def test_coarse_crops_show_no_finer_detail_than_small_faces() -> None:
    fine = torch.zeros(2, 1, 64, 64, dtype=torch.uint8)
    fine[:, :, ::2] = 200  # rows of single pixels
    coarse = augmentation.coarsen(fine, 24)
    assert (coarse.shape, coarse.dtype) == (fine.shape, torch.uint8)
    assert coarse.float().std() < fine.float().std() / 2
    assert coarse.float().mean() == pytest.approx(100, abs=3)
