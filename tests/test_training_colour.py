"""Training with RGB crops: initial weights, teachers, augmentation, duplicates, and the exported card."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_faces import SIX_WORDS, toy_face

from fer.classification import EmotionClassifier
from fer.model_card import Preprocessing, load_card
from fer.preprocessing import prepare_crops
from training import export, train
from training.config import TrainConfig
from training.data.augmentation import GREY_SHARE, Augmentation, luma
from training.data.datasets import DecodedFaces, FaceTable
from training.data.duplicates import drop_duplicates
from training.run_files import CONFIG_FILE, read_epochs, read_object
from training.setup import initial_network, load_teachers, with_format


@pytest.fixture
def in_colour(config: TrainConfig) -> TrainConfig:
    return replace(config, colour="rgb")


def coloured(count: int) -> torch.Tensor:
    """Return plain crops of one strong colour, shape (count, 3, 48, 48)."""
    return torch.tensor([200, 100, 30], dtype=torch.uint8)[None, :, None, None].repeat(count, 1, 48, 48)


def test_a_network_of_rgb_crops_is_trained_and_exported(
    in_colour: TrainConfig, weights: Path, tmp_path: Path
) -> None:
    settings = replace(in_colour, epochs=3, teachers=(str(weights),), initial_weights=str(weights))
    train.train(settings, tmp_path / "run")
    assert read_epochs(tmp_path / "run")[-1]["val_accuracy"] > 0.5
    folder = export.export_run(
        export.ExportOptions(run=tmp_path / "run", tag="colour", weights=tmp_path / "weights")
    )
    classifier = EmotionClassifier(folder)
    assert classifier.card.preprocessing.colour == "rgb"
    face = np.repeat(toy_face("happy", 3)[:, :, None], 3, axis=2)
    assert classifier.classify([face])[0].emotion == "happy"


def test_grey_pictures_keep_their_answers_when_colour_is_added_to_weights(
    in_colour: TrainConfig, config: TrainConfig, weights: Path
) -> None:
    settings = replace(config, initial_weights=str(weights))
    grey = initial_network(settings).eval()
    colour = initial_network(replace(settings, colour="rgb")).eval()
    crops = torch.from_numpy(np.stack([toy_face(word, 7)[None] for word in SIX_WORDS]))
    with torch.inference_mode():
        torch.testing.assert_close(
            colour(crops.expand(-1, 3, -1, -1))["crowd"], grey(crops)["crowd"], rtol=1e-4, atol=1e-3
        )


@pytest.mark.parametrize("channels", [1, 3])
def test_weights_of_rgb_crops_start_a_training_of_either_kind(
    channels: int, config: TrainConfig, in_colour: TrainConfig, weights: Path, tmp_path: Path
) -> None:
    train.train(replace(in_colour, epochs=1, initial_weights=str(weights)), tmp_path / "run")
    folder = export.export_run(
        export.ExportOptions(run=tmp_path / "run", tag="colour", weights=tmp_path / "weights")
    )
    settings = replace(
        config if channels == 1 else in_colour, initial_weights=str(folder), teachers=(str(folder),)
    )
    network = initial_network(settings)
    assert network.channels == channels
    teachers = load_teachers(settings.teachers, settings.heads, 0.5, 1.0, torch.device("cpu"))
    crops = torch.from_numpy(np.stack([toy_face(word, 7)[None] for word in SIX_WORDS]))
    answers = teachers.answers(crops.repeat(1, channels, 1, 1))["crowd"]
    torch.testing.assert_close(answers, teachers.answers(crops)["crowd"], rtol=1e-3, atol=1e-3)


def test_fine_tuning_keeps_the_format_of_its_initial_weights(
    in_colour: TrainConfig, config: TrainConfig, weights: Path, tmp_path: Path
) -> None:
    train.train(replace(in_colour, epochs=1, size=56, mirror_average=False), tmp_path / "run")
    tuned = replace(config, epochs=1, initial_weights=str(tmp_path / "run"))
    train.train(tuned, tmp_path / "tuned")
    assert (with_format(tuned).size, with_format(tuned).colour) == (56, "rgb")
    stored = read_object(tmp_path / "tuned" / CONFIG_FILE)
    assert (stored["size"], stored["colour"]) == (56, "rgb")
    assert with_format(replace(tuned, size=48, colour="grey")).preprocessing == Preprocessing()
    assert with_format(tuned).mirror_average is False
    assert with_format(replace(tuned, mirror_average=True)).mirror_average is True
    assert with_format(config).mirror_average is True
    exported = with_format(replace(config, initial_weights=str(weights)))
    assert exported.mirror_average is load_card(weights).mirror_average is True
    assert with_format(config).preprocessing == Preprocessing()


def test_grey_values_are_those_of_the_product() -> None:
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (48, 48, 3), dtype=np.uint8)
    grey, colour = (prepare_crops([image], Preprocessing(colour=kind)) for kind in ("grey", "rgb"))
    assert np.abs(luma(torch.from_numpy(colour)).numpy() - grey).max() <= 1


def test_colours_vary_and_some_crops_lose_theirs() -> None:
    crops = Augmentation(torch.Generator().manual_seed(0), strength=1.0)(coloured(400)).float()
    difference = (crops.amax(dim=1) - crops.amin(dim=1)).mean(dim=(1, 2))
    three_deviations = 0.07  # of 400 draws
    assert (difference < 6).float().mean().item() == pytest.approx(GREY_SHARE, abs=three_deviations)
    assert difference.std() > 20


def test_geometry_alone_keeps_the_colour() -> None:
    crops = Augmentation(torch.Generator().manual_seed(0), strength=0.0)(coloured(100))
    kept = (crops == coloured(100)).all(dim=(1, 2, 3))
    assert kept.float().mean().item() == pytest.approx(1 - GREY_SHARE, abs=0.15)


def test_a_grey_copy_of_a_coloured_picture_is_a_duplicate() -> None:
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (6, 6, 3), dtype=np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    grey = image @ np.array([0.299, 0.587, 0.114])
    copy = np.repeat(grey.round().astype(np.uint8)[:, :, None], 3, axis=2)
    crops = prepare_crops([image, copy], Preprocessing(colour="rgb"))
    table = FaceTable(
        ("a", "b"), ("train", "val"), (None, None), np.full((2, 10), -1, np.int16), (image, copy)
    )
    _, report = drop_duplicates(DecodedFaces(table, crops, ()))
    assert report.across_splits == 1
