"""Distillation: teachers' answers and losses, doubt about damaged faces, teachers of several kinds."""

import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional
from toy_faces import SIX_WORDS, toy_face

from fer.model_card import Head, ModelCard, Preprocessing, UnknownModelError
from fer.networks import ExpressionNetwork
from training import train, weights_folder
from training.config import TrainConfig
from training.data.targets import HEAD_LABELS
from training.loop import SplitTensors, Teachers, batch_losses
from training.run_files import read_epochs
from training.setup import load_teachers


def test_a_student_learns_from_teachers(config: TrainConfig, weights: Path, tmp_path: Path) -> None:
    taught = replace(config, epochs=3, teachers=(str(weights), str(weights)), teacher_share=1.0)
    train.train(taught, tmp_path / "run")
    rows = read_epochs(tmp_path / "run")
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]


def test_teachers_are_compiled_with_the_student(
    config: TrainConfig, weights: Path, tmp_path: Path, monkeypatch
) -> None:
    networks = []

    def compiled(network, *, dynamic):
        networks.append(network)
        return network

    monkeypatch.setattr(torch, "compile", compiled)
    monkeypatch.setenv("CXX", sys.executable)  # nothing is compiled: any program will do
    taught = replace(config, epochs=1, teachers=(str(weights),))
    train.train(replace(taught, compile=True), tmp_path / "compiled")
    assert [network.training for network in networks] == [True, False]
    train.train(taught, tmp_path / "plain")
    losses = [read_epochs(tmp_path / name)[0]["train_loss"] for name in ("compiled", "plain")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_the_teachers_answer_is_where_the_students_loss_is_least(weights: Path) -> None:
    teachers = load_teachers([str(weights)], ["crowd"], 0.8, 2.0, torch.device("cpu"))
    crops = torch.from_numpy(np.stack([toy_face(word, 7)[None] for word in SIX_WORDS]))
    answers = teachers.answers(crops)
    same = {head: logits.float() for head, logits in teachers.networks[0][0](crops).items()}
    other = {head: logits.roll(1, dims=0) for head, logits in same.items()}
    shares = {"crowd": 1.0}
    assert (teachers.loss(same, answers, shares) < teachers.loss(other, answers, shares)).all()


def test_a_covered_face_is_drawn_to_doubt_and_teachers_see_the_cover(weights: Path) -> None:
    teachers = load_teachers([str(weights)], ["crowd"], 0.5, 1.0, torch.device("cpu"))
    count = len(HEAD_LABELS["crowd"])
    crops = torch.from_numpy(np.stack([toy_face("happy", seed)[None] for seed in range(4)]))
    target = functional.one_hot(torch.full((4,), HEAD_LABELS["crowd"].index("happy")), count).float()
    batch = SplitTensors(crops, {"crowd": target}, {"crowd": torch.ones(4)})

    def losses(share: float, sees: Callable[[torch.Tensor], torch.Tensor] = torch.clone) -> torch.Tensor:
        """Return the losses of an answer that gives ``share`` to happy; the last two faces are covered."""
        logits = torch.log(target * share + (1 - target) * (1 - share) / (count - 1))
        is_damaged = torch.tensor([False, False, True, True])
        return batch_losses(
            lambda _crops: {"crowd": logits}, batch, {"crowd": 1.0}, nullcontext, teachers,
            lambda crops: (sees(crops), is_damaged),
        )[0]  # fmt: skip

    sure, unsure = losses(0.99), losses(0.6)
    assert (unsure - sure)[2:].mean() < (unsure - sure)[:2].mean() - 0.3
    assert not torch.allclose(losses(0.6, torch.zeros_like), unsure)


def test_an_exported_teacher_and_one_from_a_run_teach_together() -> None:
    exported = ExpressionNetwork("kv_fast", {"six": 7, "crowd": 7})
    of_a_run = ExpressionNetwork("kv_fast", {"crowd": 7})
    teachers = Teachers([(exported, 48), (of_a_run, 48)], ["crowd"], 0.5, 1.0)
    crops = torch.from_numpy(np.stack([toy_face("happy", seed)[None] for seed in range(2)]))
    answers = teachers.answers(crops)
    assert list(answers) == ["crowd"]
    alone = [torch.softmax(network(crops)["crowd"], dim=1) for network in (exported, of_a_run)]
    torch.testing.assert_close(answers["crowd"], sum(alone) / 2)


def test_a_teacher_without_the_students_heads_is_refused(config: TrainConfig, tmp_path: Path) -> None:
    network = ExpressionNetwork("kv_fast", {"crowd": 7})
    card = ModelCard(
        "kv_fast.one", "kv_fast", Preprocessing(), (Head("crowd", HEAD_LABELS["crowd"]),), "crowd"
    )
    weights_folder.write_weights(tmp_path / "kv_fast.one", network, weights_folder.Export(card))
    with pytest.raises(UnknownModelError, match="lacks fer2013"):
        train.train(replace(config, teachers=(str(tmp_path / "kv_fast.one"),)), tmp_path / "run")
