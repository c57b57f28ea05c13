from pathlib import Path

import pytest
import torch

from fer.networks import ARCHITECTURES, ExpressionNetwork
from training.config import TrainConfig
from training.setup import widen

COUNTS = {"crowd": 7, "fer2013": 7}


def networks() -> tuple[ExpressionNetwork, ExpressionNetwork]:
    torch.manual_seed(0)
    narrow, wide = ExpressionNetwork("kv_fast", COUNTS), ExpressionNetwork("kv_accurate", COUNTS)
    with torch.no_grad():  # statistics as after a training, not the neutral ones of a fresh network
        for module in narrow.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.5, 2)
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.3)
    return narrow.eval(), wide.eval()


def test_the_wide_network_answers_as_the_narrow_one() -> None:
    narrow, wide = networks()
    wide.load_state_dict(widen(narrow.state_dict(), wide.state_dict(), torch.Generator().manual_seed(1)))
    crops = torch.randint(0, 256, (8, 1, 48, 48), dtype=torch.uint8)
    with torch.inference_mode():
        for name, logits in narrow(crops).items():
            torch.testing.assert_close(wide(crops)[name], logits, rtol=1e-3, atol=1e-3)


def test_copies_of_a_channel_grow_apart() -> None:
    narrow, wide = networks()
    wide.load_state_dict(widen(narrow.state_dict(), wide.state_dict(), torch.Generator().manual_seed(1)))
    wide.train()
    optimizer = torch.optim.SGD(wide.parameters(), lr=0.1)
    crops = torch.randint(0, 256, (8, 1, 48, 48), dtype=torch.uint8)
    for _ in range(2):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(wide(crops)["crowd"], torch.arange(8) % 7).backward()
        optimizer.step()
    first, second = wide.state_dict()["trunk.0.weight"].chunk(2)
    assert (first - second).abs().max() > 1e-4


def test_the_same_width_is_a_copy() -> None:
    narrow, _ = networks()
    state = narrow.state_dict()
    for name, tensor in widen(state, state, torch.Generator()).items():
        torch.testing.assert_close(tensor, state[name])


def test_other_depths_and_broken_multiples_are_refused() -> None:
    narrow, _ = networks()
    deep = ExpressionNetwork("kv_teacher", COUNTS).state_dict()
    with pytest.raises(ValueError, match="depth"):
        widen(narrow.state_dict(), deep, torch.Generator())
    state = narrow.state_dict()
    broken = dict(state) | {"trunk.0.weight": torch.zeros(40, 1, 3, 3)}
    with pytest.raises(ValueError, match="multiples"):
        widen(state, broken, torch.Generator())


@pytest.mark.parametrize("target", ARCHITECTURES)
@pytest.mark.parametrize("source", ARCHITECTURES)
def test_settings_say_which_weights_can_be_widened(source: str, target: str) -> None:
    narrow, wide = (ExpressionNetwork(name, COUNTS).state_dict() for name in (source, target))
    try:
        widen(narrow, wide, torch.Generator())
        fits = True
    except ValueError:
        fits = False
    config = TrainConfig(data=(Path("x"),), architecture=target)
    assert (config.start_problem(source) is None) == fits
