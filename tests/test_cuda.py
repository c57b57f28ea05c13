"""Training and inference on a CUDA GPU."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_faces import SIX_WORDS, toy_face

from training import pace
from training.config import TrainConfig
from training.hardware import Workers, choose_device
from training.run_files import RunState, read_epochs
from training.runs import read_run
from training.setup import load_teachers
from training.train import train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


def test_a_training_on_the_gpu_learns_and_resumes(config: TrainConfig, tmp_path: Path) -> None:
    on_gpu = replace(config, device="cuda", epochs=8, mixup=0.2, ema_decay=0.9, learning_rate=0.05)
    train(on_gpu, tmp_path / "run")
    rows = read_epochs(tmp_path / "run")
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    assert rows[-1]["gpu_memory_mb"] > 0
    record = read_run(tmp_path / "run")
    assert record.state is RunState.FINISHED
    assert record.environment["device"] == "cuda"
    train(replace(on_gpu, epochs=9), tmp_path / "run", resume=True)
    assert len(read_epochs(tmp_path / "run")) == 9


def test_a_student_on_the_gpu_learns_from_a_run(config: TrainConfig, run: Path, tmp_path: Path) -> None:
    taught = replace(config, device="cuda", epochs=3, size=64, teachers=(str(run),), teacher_share=1.0)
    train(taught, tmp_path / "run")
    rows = read_epochs(tmp_path / "run")
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]


def test_the_gpu_answers_as_the_processor_does(run: Path) -> None:
    crops = torch.from_numpy(np.stack([toy_face(word, 7)[None] for word in SIX_WORDS]))
    answers = [
        load_teachers([str(run)], ["crowd"], 0.5, 1.0, torch.device(name)).answers(crops.to(name))["crowd"]
        for name in ("cpu", "cuda")
    ]
    assert answers[1].cpu().numpy() == pytest.approx(answers[0].numpy(), abs=0.01)


def test_throughput_and_memory_are_measured(config: TrainConfig) -> None:
    small = replace(config, device="cuda", batch_size=32)
    measured = pace.measure_pace(small, choose_device(small, Workers()), seconds=0.2, steps=2)
    assert measured.images_per_second > 0
    assert measured.peak_bytes is not None
    assert measured.peak_bytes > 1e6


def test_too_large_a_batch_ends_with_one_that_fits(config: TrainConfig, tmp_path: Path, monkeypatch) -> None:
    class Full:
        def __call__(self, *_args: object) -> None:
            raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr("training.train.batch_losses", Full())
    with pytest.raises(MemoryError, match="a batch size of 6 fits"):
        train(replace(config, device="cuda", batch_size=12), tmp_path / "run")
