import json
import sys
from pathlib import Path

import pytest
import torch

from training import pace
from training.config import TrainConfig
from training.hardware import set_up_processor
from training.pace import fitting_batch, made_up_split, measure_pace, memory_advice

CONFIG = TrainConfig(data=(Path("x"),), batch_size=8, device="cpu", thread_count=1)
CPU = torch.device("cpu")


def test_a_training_takes_numbers_next_to_zero_for_zero():
    try:
        set_up_processor(0)
        assert (torch.full((64,), 1e-20) * 1e-20).tolist() == [0.0] * 64
    finally:
        torch.set_flush_denormal(False)
    assert (torch.full((64,), 1e-20) * 1e-20).min() > 0


def test_made_up_pictures_have_the_shape_of_real_ones():
    split = made_up_split(CONFIG, 5, CPU)
    assert (split.crops.shape, split.crops.dtype) == ((5, 1, 48, 48), torch.uint8)
    assert {head: target.shape[1] for head, target in split.targets.items()} == {"crowd": 7, "fer2013": 7}
    assert all((target.sum(dim=1) == 1).all() for target in split.targets.values())


def test_a_pace_is_measured_on_real_steps():
    found = measure_pace(CONFIG, CPU, seconds=0.05, steps=1)
    assert found.images_per_second > 0
    assert found.judged_per_second > 0
    assert found.parameter_count > 900_000
    assert found.peak_bytes is None


@pytest.mark.parametrize(
    ("batch_size", "room", "fits"),
    [(1024, 300, 256), (1024, 512, 512), (1024, 1, None), (2, 100, None), (6, 100, 3)],
)
def test_the_batch_that_fits_is_found_by_halving(batch_size, room, fits):
    def attempt(size):
        if size > room:
            raise torch.OutOfMemoryError

    config = TrainConfig(data=(Path("x"),), batch_size=batch_size)
    assert fitting_batch(config, CPU, attempt) == fits


def test_out_of_memory_says_which_batch_fits(monkeypatch):
    real = pace._one_step

    def small_card(config, device, size):
        if size > 2:
            raise torch.OutOfMemoryError
        real(config, device, size)

    monkeypatch.setattr(pace, "_one_step", small_card)
    text = memory_advice(CONFIG, CPU)
    assert "a batch of 8 images does not fit" in text
    assert "a batch size of 2 fits" in text
    monkeypatch.setattr(pace, "fitting_batch", lambda config, device: None)
    assert "no batch fits" in memory_advice(CONFIG, CPU)


def test_the_program_prints_json(capsys):
    assert pace.main(["--data", "x", "--batch-size", "4", "--device", "cpu", "--thread-count", "1"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["device"], answer["device_name"]) == ("cpu", "CPU")
    assert answer["images_per_second"] > 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a card")
def test_a_missing_card_is_a_sentence(capsys):
    assert pace.main(["--data", "x", "--device", "cuda"]) == 1
    assert "found none; choose 'cpu' or 'auto'" in capsys.readouterr().err


def test_a_program_without_memory_is_a_sentence(monkeypatch, capsys):
    def full(*words, **named):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(pace, "measure_pace", full)
    monkeypatch.setattr(pace, "memory_advice", lambda config, device: "a batch size of 4 fits")
    assert pace.main(["--data", "x", "--device", "cpu"]) == 1
    assert "a batch size of 4 fits" in capsys.readouterr().err
    assert sys.exc_info() == (None, None, None)
