"""The record that a training keeps besides its metrics: usage, TensorBoard, earlier trainings."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

from training.frame import tensorboard_mirror
from training.run_files import copy_history, earlier_runs
from training.runs import (
    RunWriter,
)
from training.train import main

REPOSITORY = Path(__file__).resolve().parent.parent


def test_histories_of_every_layout_are_read_in_order(tmp_path: Path) -> None:
    def write(folder: Path, name: str) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps({"name": name}))
        (folder / "status.json").write_text("{}")
        return folder

    def names(folders: list[Path]) -> list[str]:
        return [json.loads((folder / "config.json").read_text())["name"] for folder in folders]

    assert earlier_runs(write(tmp_path / "alone", "c")) == []
    nested = write(tmp_path / "nested", "c")
    write(nested / "before" / "before", "a")
    write(nested / "before", "b")
    assert names(earlier_runs(nested)) == ["a", "b"]

    copy_history([*earlier_runs(nested), nested], tmp_path / "next" / "history")
    run = write(tmp_path / "next", "d")
    assert names(earlier_runs(run)) == ["a", "b", "c"]
    assert not list((run / "history").rglob("status.json"))

    weights = tmp_path / "weights"
    copy_history(earlier_runs(run), weights / "history")
    assert names(earlier_runs(write(weights / "run", "d"))) == ["a", "b", "c"]
    assert earlier_runs(write(weights / "elsewhere", "e")) == []


BUSY_THEN_IDLE = """
import json, time, torch
from training.hardware import Usage
usage = Usage(torch.device("cpu"))
end_s = time.process_time() + 0.2
while time.process_time() < end_s:
    pass
busy = usage.take()
time.sleep(0.3)
print(json.dumps([busy, usage.take()]))
"""


def test_usage_of_processor_and_memory_since_the_last_look():
    command = [sys.executable, "-c", BUSY_THEN_IDLE]  # threads of other tests would count here
    answer = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=REPOSITORY, check=True)
    busy, idle = json.loads(answer.stdout)
    assert busy["cores_used"] > 0.05 > idle["cores_used"] >= 0
    if sys.platform == "linux":
        assert 20 < idle["memory_mb"] < 20_000
    assert "gpu_memory_mb" not in idle


class Board:
    """A fake ``SummaryWriter`` that records its calls."""

    made: ClassVar[list["Board"]] = []

    def __init__(self, folder, purge_step):
        self.folder, self.purge_step, self.points = folder, purge_step, []
        Board.made.append(self)

    def add_scalar(self, name, value, step):
        self.points.append((name, value, step))

    def flush(self):
        self.points.append("flushed")


def test_each_epoch_is_mirrored_to_tensorboard(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=Board))
    folder = tmp_path / "run"
    folder.mkdir()
    with RunWriter(folder, {}, {}, 2, tensorboard_mirror(folder)) as writer:
        writer.add_epoch({"epoch": 1, "train_loss": 0.5, "note": "text is left out"})
    board = Board.made.pop()
    assert (board.folder, board.purge_step) == (str(folder / "tensorboard"), 1)
    assert board.points == [("train_loss", 0.5, 1), "flushed"]
    tensorboard_mirror(folder)
    assert Board.made.pop().purge_step == 2


def test_a_missing_tensorboard_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    words = ["--data", str(tmp_path / "nowhere"), "--runs", str(tmp_path), "--name", "run", "--tensorboard"]
    assert main(words) == 1
    sentence = "TensorBoard is not installed; run 'pip install tensorboard' or train without --tensorboard"
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
