"""A complete training of the detector: run directory, resuming, fine-tuning."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from page_fakes import encoded
from PIL import Image
from safetensors.torch import load_file

from fer.faces import Box, Detection, Landmarks
from training.detector import scenes as scenes_module
from training.detector import train as training
from training.detector.evaluation import read_boxed_photos
from training.detector.scenes import read_crowds
from training.detector.train import DetectorConfig
from training.run_files import BEST_FILE, RunState, kept_epoch
from training.runs import read_run

FACE = {
    "box": [165, 50, 290, 200],
    "landmarks": [[203, 107], [255, 106], [232, 138], [208, 158], [250, 158]],
    "score": 0.95,
}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def config(astronaut, tmp_path: Path) -> DetectorConfig:
    """Three photos of the same face, told from each other by their light, and none to choose by that is a copy."""

    def picture(image) -> dict[str, object]:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        return {"bytes": buffer.getvalue(), "path": "a.png"}

    photos = [picture(astronaut // divisor) for divisor in (1, 2, 3)]
    pd.DataFrame({"image": photos, "faces": [json.dumps([FACE])] * 3}).to_parquet(tmp_path / "photos.parquet")
    upside_down = [picture(astronaut[::-1].copy())]
    for name in ("boxed", "web"):
        boxes = json.dumps([[165, 312, 290, 462]])
        pd.DataFrame({"image": upside_down, "boxes": [boxes], "exhaustive": [True]}).to_parquet(
            tmp_path / f"{name}.parquet"
        )
    return DetectorConfig(
        photos=tmp_path / "photos.parquet",
        boxed_photos=tmp_path / "boxed.parquet",
        web_photos=tmp_path / "web.parquet",
        epochs=2,
        batch_size=2,
        view_size=64,
        val_share=0.3,
        judge_every=1,
        runs=tmp_path / "runs",
        name="first",
    )


def test_a_training_can_start_from_another_one(config: DetectorConfig) -> None:
    first = read_run(training.train(config))
    assert (first.state, len(first.epochs)) == (RunState.FINISHED, 2)
    assert set(first.report) >= {"val_boxed_recall", "val_web_recall", "val_false_boxes"}
    assert (
        first.report["best_epoch"]
        == first.status["best_epoch"]
        == kept_epoch(first.config, first.epochs)["epoch"]
    )

    # A rate this low leaves the network where it was: what differs then was not taken over.
    further = DetectorConfig(
        **{name: getattr(config, name) for name in config.__dataclass_fields__}
        | {"initial_run": str(config.runs / "first"), "epochs": 1, "learning_rate": 1e-12, "name": "second"}
    )
    folder = training.train(further)
    before, after = (load_file(config.runs / name / BEST_FILE) for name in ("first", "second"))
    weights = [name for name in before if "running" not in name and "batches" not in name]
    for name in weights:
        torch.testing.assert_close(after[name], before[name], atol=1e-5, rtol=1e-4)
    kept = [
        json.loads(line) for line in (folder / "history" / "01" / "epochs.jsonl").read_text().splitlines()
    ]
    assert [row["epoch"] for row in kept] == [1, 2]


class Finder:
    """Finds one face everywhere."""

    def __init__(self, *corners: float) -> None:
        self.box = Box(*corners)

    def detect(self, image):
        points = np.array(FACE["landmarks"], np.float64)
        return [Detection(self.box, 0.9, landmarks=Landmarks.from_array(points))]


@pytest.fixture
def crowds(astronaut, tmp_path: Path) -> Path:
    """Eleven rows in turn with two faces and with none; those held out are upside down, so not copies."""
    images = [
        {"bytes": encoded(astronaut[::-1] if row in (0, 3, 6, 10) else astronaut), "path": "a.png"}
        for row in range(11)
    ]
    boxes = [json.dumps([FACE["box"], [10, 10, 40, 40]] if row % 2 else []) for row in range(11)]
    table = pd.DataFrame({"image": images, "boxes": boxes, "exhaustive": [True] * 11})
    table.to_parquet(tmp_path / "crowds.parquet")
    return tmp_path / "crowds.parquet"


def test_hand_labelled_photos_get_the_landmarks_that_the_teacher_finds(crowds: Path, monkeypatch) -> None:
    monkeypatch.setattr(scenes_module, "open_teacher", lambda path, side: Finder(170, 50, 290, 205))
    scenes = read_crowds([crowds], "")
    assert [len(scene.boxes) for scene in scenes] == [2, 0, 0, 2, 2, 0, 2]  # rows 1, 2, 4, 5, 7, 8 and 9
    held = read_boxed_photos(crowds, held_out=True)
    assert len(scenes) + len(held) == 11
    assert [len(photo.boxes) for photo in held] == [0, 2, 0, 0]  # rows 0, 3, 6 and 10
    first = scenes[0]
    assert first.boxes[0].tolist() == FACE["box"]  # the label's box, not the teacher's
    assert first.landmarks[0].tolist() == FACE["landmarks"]
    assert np.isnan(first.landmarks[1]).all()
    assert first.is_sure.all()
    assert read_crowds([], "no such file") == []


def test_crowds_train_and_are_judged(config: DetectorConfig, crowds: Path, monkeypatch) -> None:
    monkeypatch.setattr(scenes_module, "open_teacher", lambda path, side: Finder(170, 50, 290, 205))
    run = read_run(training.train(replace(config, crowds=(crowds,), epochs=1)))
    assert run.state is RunState.FINISHED
    assert run.config["crowds"] == [str(crowds)]
    assert "crowds.parquet" in str(run.environment["data"])
    assert all(np.isfinite(value) for name, value in run.epochs[0].items() if name.startswith("train"))
    assert 0 <= run.report["val_crowd_recall"] <= 1
    assert run.report["val_crowd_false_boxes"] >= 0


def test_copies_of_held_out_photos_are_not_trained_on(
    config: DetectorConfig, crowds: Path, monkeypatch
) -> None:
    monkeypatch.setattr(scenes_module, "open_teacher", lambda path, side: Finder(170, 50, 290, 205))
    table = pd.read_parquet(crowds)
    table["image"] = [table["image"][1]] * 11
    table.to_parquet(crowds)
    with pytest.raises(ValueError, match="got 10, all copies of evaluation photos"):
        training.train(replace(config, crowds=(crowds,), epochs=1))


def test_a_killed_training_goes_on_with_the_places_it_had(config: DetectorConfig, monkeypatch) -> None:
    class Teacher:
        def detect(self, image):
            return [Detection(Box(0, 0, 9, 9), 0.1)]

    monkeypatch.setattr(training, "open_teacher", lambda path: Teacher())
    found = [training.FalsePlace(0, (60.0, 400.0), 30.0, 40.0)]
    searches: list[int] = []

    def search(network, scenes, second_look):
        searches.append(len(scenes))
        return found

    monkeypatch.setattr(training, "find_false_places", search)
    fields = {name: getattr(config, name) for name in config.__dataclass_fields__}
    searching = DetectorConfig(**fields | {"search_every": 2, "epochs": 3})

    class Killed(Exception):
        pass

    real_epoch = training.DetectorTrainer.run_epoch

    def die_in_second(self, epoch):
        if epoch == 2:
            raise Killed
        real_epoch(self, epoch)

    monkeypatch.setattr(training.DetectorTrainer, "run_epoch", die_in_second)
    with pytest.raises(Killed):
        training.train(searching)
    drawn: list[list[training.FalsePlace]] = []

    def remember(self, epoch):
        real_epoch(self, epoch)
        drawn.append(self.places)

    monkeypatch.setattr(training.DetectorTrainer, "run_epoch", remember)
    folder = training.train(searching)
    assert [row["epoch"] for row in read_run(folder).epochs] == [1, 2, 3]
    assert drawn == [found, found]
    assert len(searches) == 2  # before the first epoch and before the third


def test_unusable_photos_end_the_command_with_one_sentence(config: DetectorConfig, capsys) -> None:
    config.photos.write_bytes(b"not a table")
    words = ["--photos", str(config.photos), "--boxed-photos", str(config.boxed_photos)]
    words += ["--web-photos", str(config.web_photos), "--runs", str(config.runs)]
    assert training.main(words) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1


@pytest.mark.parametrize(
    "wrong", [{"epochs": 0}, {"view_size": 100}, {"learning_rate": 2.0}, {"val_share": 1.0}]
)
def test_wrong_settings_are_refused(wrong, tmp_path):
    with pytest.raises(ValueError, match=f"expected {next(iter(wrong))}"):
        DetectorConfig(photos=tmp_path, boxed_photos=tmp_path, web_photos=tmp_path, **wrong)
