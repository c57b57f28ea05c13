from pathlib import Path

import pytest
from toy_faces import write_folder

from fer.classification import EmotionClassifier
from training.recipe import RecipeOptions, follow
from training.runs import read_run


@pytest.mark.slow
def test_the_recipe_goes_from_data_to_both_networks_and_does_nothing_twice(tmp_path: Path) -> None:
    options = RecipeOptions(
        data=(write_folder(tmp_path / "faces", count=4),), weights=tmp_path / "weights", runs=tmp_path / "runs",
        tag="toy", teacher="kv_fast", teacher_count=2, teacher_epochs=2, student_epochs=2, batch_size=12,
        device="cpu", thread_count=1,
    )  # fmt: skip
    fast, accurate = follow(options)
    assert (fast.name, accurate.name) == ("kv_fast.toy", "kv_accurate.toy")
    assert EmotionClassifier(accurate).card.architecture == "kv_accurate"
    views = [EmotionClassifier(folder).card.inner_view for folder in (fast, accurate)]
    assert views == [pytest.approx(40 / 48), 1.0], "as they ship"
    config = read_run(tmp_path / "runs" / "toy_kv_fast").config
    assert [Path(name).name for name in config["teachers"]] == [
        "kv_fast.toy_teacher_0",
        "kv_fast.toy_teacher_1",
    ]
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("toy_*/epochs.jsonl")}
    assert len(stamps) == 4
    follow(options)
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
