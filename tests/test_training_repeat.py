"""Repeating an earlier training with its stored settings."""

import json
import shutil
from pathlib import Path

import pytest

from fer.model_shelf import find_weights
from training import train
from training.data.datasets import DatasetError
from training.repeat import RepeatOptions, repeated_settings
from training.run_files import read_epochs


def test_a_repeated_run_has_the_same_settings_and_losses(config, run: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    for path in config.data:
        if path.is_dir():
            shutil.copytree(path, moved / path.name)
        else:
            moved.mkdir(exist_ok=True)
            shutil.copy(path, moved)
    settings, warnings = repeated_settings(RepeatOptions(str(run), (tmp_path, moved), epochs=2))
    assert warnings == []
    assert [path.parent for path in settings.data] == [moved] * len(config.data)
    stored = json.loads((run / "config.json").read_text())
    assert {name: stored[name] for name in ("architecture", "learning_rate", "seed", "heads")} == {
        name: settings.to_dict()[name] for name in ("architecture", "learning_rate", "seed", "heads")
    }
    assert (settings.epochs, settings.name, settings.device) == (2, "", "auto")
    words = ["--repeat", str(run), "--folders", str(moved), "--epochs", str(stored["epochs"])]
    assert train.main([*words, "--runs", str(tmp_path / "again")]) == 0
    (again,) = (tmp_path / "again").iterdir()
    losses = [row["train_loss"] for row in read_epochs(run)]
    assert [row["train_loss"] for row in read_epochs(again)] == pytest.approx(losses, rel=1e-3)


def test_what_is_missing_or_changed_is_named(run: Path, tmp_path: Path, capsys) -> None:
    with pytest.raises(DatasetError, match=r"expected .* in .*; name its folder with --folders"):
        repeated_settings(RepeatOptions(str(run), (tmp_path,)))
    assert train.main(["--repeat", str(tmp_path / "nothing"), "--folders", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("[")
    assert train.main(["--repeat", str(tmp_path / "broken"), "--folders", str(tmp_path)]) == 1
    assert "cannot be repeated: broken cannot be read" in capsys.readouterr().err


def test_the_shipped_weights_can_be_repeated(tmp_path: Path) -> None:
    folder = find_weights("kv_accurate.crowd")
    stored = json.loads((folder / "run" / "config.json").read_text())
    for name in (*stored["data"], *stored["other_places"]):
        (tmp_path / name).write_bytes(b"other content")
    with pytest.raises(ValueError, match="learned from teacher_0, teacher_1, and there is no teacher_0"):
        repeated_settings(RepeatOptions(str(folder / "history" / "03"), (tmp_path,)))
    teachers = ("kv_accurate.crowd", "kv_fast.crowd")
    settings, warnings = repeated_settings(RepeatOptions("kv_accurate.crowd", (tmp_path,), teachers))
    assert (settings.architecture, settings.teachers) == ("kv_accurate", teachers)
    *about_data, about_start = warnings
    assert len(about_data) == len(stored["data"]) + len(stored["other_places"])
    assert all("differs from the" in sentence for sentence in about_data)
    assert "starts from kv_accurate.crowd as it is now" in about_start


def test_other_initial_weights_than_then_are_named(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, again := tmp_path / "again")
    stored = json.loads((run / "config.json").read_text())
    (again / "config.json").write_text(json.dumps(stored | {"initial_weights": "kv_fast.crowd"}))
    folders = tuple({Path(path).parent for path in stored["data"]})
    settings, warnings = repeated_settings(RepeatOptions(str(again), folders))
    assert settings.initial_weights == "kv_fast.crowd"
    assert ["starts from kv_fast.crowd as it is now" in sentence for sentence in warnings] == [True]
    others = RepeatOptions(str(again), folders, initial_weights="kv_accurate.crowd")
    settings, warnings = repeated_settings(others)
    assert (settings.initial_weights, warnings) == ("kv_accurate.crowd", [])
