import sys

import pytest
from dashboard_pages import button, fine, open_page, texts
from streamlit.testing.v1 import AppTest
from streamlit.web.server.app_discovery import discover_asgi_app
from toy_runs import write_toy_run

from training import jobs
from training.run_files import write_json
from training.runs import RunWriter, read_run

pytestmark = pytest.mark.usefixtures("shelves")

PAGES = ("runs", "run", "data", "train", "models")


@pytest.fixture
def many(one):
    runs = one / "runs"
    write_toy_run(runs / "20260102-000000_kv_fast", 5, planned=9, state="stopped", seed=2)
    write_toy_run(runs / "20260103-000000_kv_fast", 3, planned=9, state="failed", seed=3)
    write_toy_run(runs / "20260104-000000_kv_accurate", 6, planned=9, architecture="kv_accurate", seed=4)
    (runs / "broken").mkdir()
    (runs / "broken" / "config.json").write_text("{")
    return one


@pytest.mark.parametrize("module", PAGES)
def test_every_page_stands_without_runs(module, tmp_path):
    said = fine(open_page(module, tmp_path))
    hints = {
        "runs": "python -m training.train",
        "run": "python -m training.train",
        "models": "training.export",
    }
    assert hints.get(module, "") in said


@pytest.mark.parametrize("module", PAGES)
def test_every_page_stands_with_one_run(module, one):
    fine(open_page(module, one))


@pytest.mark.parametrize("module", PAGES)
def test_every_page_stands_with_many_runs(module, many):
    fine(open_page(module, many))


def test_the_whole_app_stands(many, monkeypatch, repository):
    monkeypatch.setattr(
        "sys.argv", ["streamlit_app.py", "--runs", str(many / "runs"), "--data", str(many / "data")]
    )
    app = AppTest.from_file(str(repository / "streamlit_app.py"), default_timeout=60).run()
    assert "closed" in "".join(part.value for part in app.error)  # nothing restricts access
    monkeypatch.setitem(sys.modules, "streamlit_app", object())
    assert "Runs" in fine(app.run())


def test_the_server_finds_the_door(repository):
    found = discover_asgi_app(repository / "streamlit_app.py")
    assert found.import_string == "streamlit_app:app"


def test_runs_are_listed_with_their_figures(many):
    page = open_page("runs", many)
    table = page.dataframe[0].value
    assert list(table["state"]) == ["finished", "failed", "stopped", "finished"]
    assert table["val accuracy"].between(30, 90).all()  # percent
    assert list(table["epochs"]) == ["6 / 9", "3 / 9", "5 / 9", "8 / 8"]
    assert "1 run folder cannot be read" in texts(page)
    assert "expected JSON in config.json" in texts(page)


@pytest.mark.parametrize(
    ("words", "count"),
    [
        ("", 4),
        ("stopped", 1),
        ("ACCURATE", 1),
        ("fast failed", 1),
        ("pictures", 4),
        ("cpu", 4),
        ("nothing", 0),
    ],
)
def test_the_filter_keeps_runs_with_every_word(many, words, count):
    page = open_page("runs", many)
    page.text_input(key="runs_filter").set_value(words).run()
    fine(page)
    if count:
        assert len(page.dataframe[0].value) == count
    else:
        assert "No run matches" in texts(page)


def test_compared_runs_differ_in_named_settings(many):
    page = open_page("runs", many)
    page.multiselect(key="runs_compared").set_value(
        ["20260101-000000_kv_fast", "20260104-000000_kv_accurate"]
    ).run()
    fine(page)
    settings = page.dataframe[1].value
    assert {"architecture", "epochs", "seed"} <= set(settings["setting"])
    assert "batch size" not in set(settings["setting"])
    page.toggle(key="runs_all_settings").set_value(True).run()
    assert "batch size" in set(page.dataframe[1].value["setting"])
    page.slider(key="runs_smoothing").set_value(0.9).run()
    page.toggle(key="runs_log").set_value(True).run()
    fine(page)
    page.multiselect(key="runs_compared").set_value([]).run()
    assert "Choose runs" in fine(page)


def test_an_unreadable_runs_folder_is_a_sentence(tmp_path, monkeypatch):
    (tmp_path / "runs").mkdir()

    def refuse(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr("pathlib.Path.iterdir", refuse)
    for module in ("runs", "run"):
        assert "Cannot read" in fine(open_page(module, tmp_path))


def test_a_run_is_told_from_the_address(many):
    page = open_page("run", many, run="20260101-000000_kv_fast")
    said = fine(page)
    assert "finished" in said
    assert page.selectbox[0].value == "20260101-000000_kv_fast"
    values = [metric.value for metric in page.metric]
    assert values[0].isdigit()
    assert values[1].endswith("%")
    assert "Confusion matrix" in said
    assert "most confident mistakes" in said
    assert "Environment" in said


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("20260102-000000_kv_fast", ["stopped", "Resume"]),
        ("20260103-000000_kv_fast", ["the card fell off the bus", "Resume"]),
        ("broken", ["expected JSON in config.json"]),
        ("gone", ["The run 'gone' no longer exists"]),
    ],
)
def test_a_run_that_is_not_finished_says_why(many, name, words):
    page = open_page("run", many, run=name)
    said = fine(page) + "".join(element.label for element in page.button)
    assert all(word in said for word in words)


def test_mistakes_are_filtered_by_class(one):
    page = open_page("run", one)
    before = len(page.image)
    page.selectbox(key="mistakes_target").set_value("happy").run()
    fine(page)
    assert 0 < len(page.image) < before


def test_a_report_of_another_version_does_not_empty_the_page(one):
    folder = one / "runs" / "20260101-000000_kv_fast"
    report = dict(read_run(folder).report)
    for head in report["heads"].values():
        for part in ("reliability", "coverage_risk", "intervals_95", "ece"):
            head.pop(part)
    write_json(folder / "report.json", report)
    assert "Confusion matrix" in fine(open_page("run", one))


def test_a_running_training_shows_how_far_it_is_and_can_be_stopped(one):
    folder = one / "runs" / "20260105-000000_kv_fast"
    with RunWriter(folder, {"data": ["x"], "epochs": 4, "architecture": "kv_fast"}, {}, 4) as writer:
        writer.add_epoch(
            {"epoch": 1, "val_accuracy": 0.5, "train_loss": 1.0, "val_loss": 1.0, "seconds": 60.0}
        )
        writer.progress(force=True, epoch=1, step=5, step_count=10)
        page = open_page("run", one)
        fine(page)
        progress = page.get("progress")[0].proto
        assert "epoch 2 of 4, step 5 of 10 · about 2 min left" in progress.text  # 2.5 epochs of 60 s: 150 s
        assert progress.value == 37
        button(page, "Stop training").click().run()
        assert (folder / "stop").exists()
        assert "20260105" in texts(open_page("train", one))


def test_a_training_that_cannot_resume_says_so(many, monkeypatch):
    def refuse(folder):
        raise jobs.JobError("it is too late")

    monkeypatch.setattr(jobs, "resume", refuse)
    page = open_page("run", many, run="20260102-000000_kv_fast")
    button(page, "Resume").click().run()
    assert "it is too late" in fine(page)


def test_a_run_gets_a_note(one):
    folder = next(path for path in (one / "runs").iterdir() if path.is_dir())
    page = open_page("run", one, run=folder.name)
    page.text_area[0].input("with the new crops")
    button(page, "Save note").click().run()
    assert (folder / "note.txt").read_text("utf-8") == "with the new crops\n"
