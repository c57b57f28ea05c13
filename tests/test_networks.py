from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from fer.model_card import Head, ModelCard, Preprocessing, WeightsMismatchError
from fer.networks import ARCHITECTURES, ExpressionNetwork, Standardise, load_network

SIX = ("angry", "fearful", "happy", "sad", "surprised", "neutral")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_architecture_answers_with_one_row_a_crop(architecture: str, channels: int) -> None:
    network = ExpressionNetwork(architecture, {"a": 7, "b": 6}, channels).eval()
    crops = torch.randint(0, 256, (2, channels, 48, 48), dtype=torch.uint8)
    logits, shares = network(crops), network.probabilities(crops)
    assert {name: tuple(rows.shape) for name, rows in logits.items()} == {"a": (2, 7), "b": (2, 6)}
    torch.testing.assert_close(shares["a"].sum(dim=1), torch.ones(2))


def test_sizes_are_what_the_documents_say() -> None:
    def count(name: str) -> int:
        network = ExpressionNetwork(name, {"crowd": 7, "fer2013": 7})
        return sum(parameter.numel() for parameter in network.parameters())

    assert count("kv_fast") < 1_000_000
    assert count("kv_accurate") < 6_000_000
    assert 12_000_000 < count("kv_cnn") < 12_500_000


def test_the_origins_network_to_the_letter() -> None:
    network = ExpressionNetwork("kv_cnn", {"crowd": 6})
    convolutions = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [(c.out_channels, c.kernel_size) for c in convolutions] == [
        (width, (3, 3)) for width in (64, 64, 128, 128, 256, 256, 256)
    ]
    linear = [m.out_features for m in network.modules() if isinstance(m, torch.nn.Linear)]
    assert linear == [1024, 1024, 6]
    assert [m.p for m in network.modules() if isinstance(m, torch.nn.Dropout)] == [0.5, 0.5]
    assert sum(isinstance(m, torch.nn.MaxPool2d) for m in network.modules()) == 3


def test_standardisation_is_the_first_layer_for_one_number_or_one_a_channel() -> None:
    pixels = torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)
    assert Standardise((0.5,), (0.25,))(pixels).unique().tolist() == [2.0]
    assert Standardise((0.0, 0.5, 1.0), (1.0, 1.0, 1.0))(pixels)[0, :, 0, 0].tolist() == [1.0, 0.5, 0.0]


def test_temperature_flattens() -> None:
    network = ExpressionNetwork("kv_fast", {"a": 6}).eval()
    crops = torch.randint(0, 256, (4, 1, 48, 48), dtype=torch.uint8)
    sharp = network.probabilities(crops)["a"].max()
    network.temperatures["a"].data.fill_(5.0)
    assert network.probabilities(crops)["a"].max() < sharp


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file(ExpressionNetwork("kv_fast", {"crowd": 6}).state_dict(), path)
    card = ModelCard("kv_fast.x", "kv_fast", Preprocessing(), (Head("crowd", SIX),), "crowd")
    assert isinstance(load_network(path, card), ExpressionNetwork)
    wrong = ModelCard("kv_fast.x", "kv_fast", Preprocessing(), (Head("crowd", SIX[:5]),), "crowd")
    with pytest.raises(WeightsMismatchError, match="does not hold the tensors of kv_fast"):
        load_network(path, wrong)


def test_unknown_architecture_is_named() -> None:
    with pytest.raises(ValueError, match="unknown architecture 'vgg'"):
        ExpressionNetwork("vgg", {"a": 6})
