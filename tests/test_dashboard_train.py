"""The dashboard's form that starts a training."""

from datetime import UTC, datetime

import pytest
from dashboard_pages import button, fine, open_page, went
from toy_faces import write_folder
from toy_runs import write_toy_run

from dashboard.setting_form import ELSEWHERE, MAIN_SETTINGS
from training import jobs
from training.config import TrainConfig
from training.run_files import RunState, write_json
from training.runs import read_run

pytestmark = pytest.mark.usefixtures("shelves")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        pytest.param("set quick epochs", 0, "Expected epochs to be at least 1, got 0", id="no epochs"),
        pytest.param("set quick learning_rate", 10.0, "(0, 1], got 10.0", id="rate"),
        pytest.param(
            "set quick batch_size", 512, "larger than the 36 training pictures; choose 32", id="batch"
        ),
        pytest.param("set quick device", "cuda", "No GPU (CUDA) was found", id="no card"),
        pytest.param("train_name", "a/b", "a plain folder name", id="name"),
    ],
)
def test_a_wrong_setting_is_a_sentence_and_nothing_starts(tmp_path, faces, monkeypatch, key, value, words):
    monkeypatch.setattr(jobs, "start", lambda *words, **named: pytest.fail("it started"))
    monkeypatch.setattr("dashboard.train.list_cards", list)
    page = open_page("train", tmp_path)
    page.text_input(key="train_folder").set_value(str(faces)).run()
    control = next(
        element
        for kind in ("number_input", "selectbox", "text_input")
        for element in getattr(page, kind)
        if element.key == key
    )
    control.set_value(value).run()
    assert words in fine(page)
    starts = [element for element in page.button if element.label == "Start training"]
    assert all(element.disabled for element in starts)


def test_a_training_is_started_with_what_the_form_says(tmp_path, faces, monkeypatch):
    started = []

    def start(config, *, cuda_devices):
        started.append((config, list(cuda_devices)))
        return tmp_path / "runs" / "new"

    monkeypatch.setattr(jobs, "start", start)
    page = open_page("train", tmp_path)
    page.text_input(key="train_folder").set_value(str(faces)).run()
    page.number_input(key="set quick epochs").set_value(3).run()
    button(page, "Start training").click().run()
    fine(page)
    ((config, cards),) = started
    assert (config.data, config.epochs, config.architecture, cards) == ((faces,), 3, "kv_fast", [])
    assert config.runs == tmp_path / "runs"
    assert went(page) == "run new"


def test_five_pictures_or_one_class_are_refused(tmp_path, faces, monkeypatch):
    few = write_folder(tmp_path / "few", 1, ("happy", "sad"))
    alone = write_folder(tmp_path / "alone", 30, ("happy",))
    for folder, words in ((few, "at least 20 are needed"), (alone, "All pictures show happy")):
        page = open_page("train", tmp_path)
        page.text_input(key="train_folder").set_value(str(folder)).run()
        assert words in fine(page)
        assert button(page, "Start training").disabled


def test_a_full_disk_is_a_sentence(tmp_path, faces, monkeypatch):
    def start(config, *, cuda_devices):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(jobs, "start", start)
    page = open_page("train", tmp_path)
    page.text_input(key="train_folder").set_value(str(faces)).run()
    button(page, "Start training").click().run()
    assert "Nothing was started: [Errno 28] No space left" in fine(page)


def test_a_queued_training_can_be_stopped_from_the_form(tmp_path):
    folder = write_toy_run(tmp_path / "runs" / "a", 2)
    write_json(folder / "status.json", {"state": "queued", "updated_at": datetime.now(UTC).isoformat()})
    page = open_page("train", tmp_path)
    assert "queued" in fine(page)
    page.button(key="stop a").click().run()
    assert (folder / "stop").exists()
    assert read_run(folder).state is RunState.QUEUED


def test_the_form_asks_for_every_setting(tmp_path):
    page = open_page("train", tmp_path)
    fine(page)
    kinds = ("number_input", "selectbox", "multiselect", "checkbox")
    (advanced,) = page.expander
    folded = {element.key for kind in kinds for element in getattr(advanced, kind)}
    shown = {element.key for kind in kinds for element in getattr(page, kind)} - folded
    assert {f"set quick {name}" for name in MAIN_SETTINGS} <= shown
    rest = {name for name in TrainConfig.__dataclass_fields__ if name not in (*MAIN_SETTINGS, *ELSEWHERE)}
    assert folded == {f"set quick {name}" for name in rest}
