import io
import shutil
import zipfile
from datetime import UTC, datetime

import numpy as np
import pytest
from dashboard_pages import button, open_page, texts, went
from PIL import Image
from streamlit.testing.v1 import AppTest
from toy_faces import encode_png, toy_face, write_folder
from toy_runs import write_toy_detector, write_toy_detector_run, write_toy_run, write_toy_verifier_run

from dashboard.setting_form import ELSEWHERE, MAIN_SETTINGS
from fer import model_shelf
from fer.emotions import Emotion
from training import jobs
from training.config import TrainConfig
from training.runs import RunState, RunWriter, read_run, write_json

PAGES = ("runs", "run", "data", "train", "models")


@pytest.fixture(autouse=True)
def shelves(tmp_path, monkeypatch):
    """A user without models of their own, and nothing that came along."""
    monkeypatch.setattr(model_shelf, "user_folder", lambda: tmp_path / "user")
    monkeypatch.setattr(model_shelf, "weights_shelf", lambda: tmp_path / "shipped")
    monkeypatch.setattr("dashboard.shown_runs.weights_shelf", lambda: tmp_path / "shipped")
    return tmp_path


@pytest.fixture
def one(tmp_path):
    write_toy_run(tmp_path / "runs" / "20260101-000000_kv_fast", 8)
    return tmp_path


@pytest.fixture
def many(one):
    runs = one / "runs"
    write_toy_run(runs / "20260102-000000_kv_fast", 5, planned=9, state="stopped", seed=2)
    write_toy_run(runs / "20260103-000000_kv_fast", 3, planned=9, state="failed", seed=3)
    write_toy_run(runs / "20260104-000000_kv_accurate", 6, planned=9, architecture="kv_accurate", seed=4)
    (runs / "broken").mkdir()
    (runs / "broken" / "config.json").write_text("{")
    return one


def fine(page):
    assert not page.exception, page.exception[0].value
    return texts(page)


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
    assert "Runs" in fine(app)


def test_runs_are_listed_with_their_figures(many):
    page = open_page("runs", many)
    table = page.dataframe[0].value
    assert list(table["state"]) == ["finished", "failed", "stopped", "finished"]
    assert table["val accuracy"].between(30, 90).all()  # percent
    assert list(table["epochs"]) == ["6 / 9", "3 / 9", "5 / 9", "8 / 8"]
    assert "1 run folder cannot be read" in texts(page)
    assert "config.json is no JSON" in texts(page)


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
        assert "No run contains" in texts(page)


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
        assert "cannot be read" in fine(open_page(module, tmp_path))


def test_a_run_is_told_from_the_address(many):
    page = open_page("run", many, run="20260101-000000_kv_fast")
    said = fine(page)
    assert "finished" in said
    assert page.selectbox[0].value == "20260101-000000_kv_fast"
    values = [metric.value for metric in page.metric]
    assert values[0].isdigit()
    assert values[1].endswith("%")
    assert "What is taken for what" in said
    assert "most confident mistakes" in said
    assert "Environment" in said


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("20260102-000000_kv_fast", ["stopped", "Resume"]),
        ("20260103-000000_kv_fast", ["the card fell off the bus", "Resume"]),
        ("broken", ["config.json is no JSON"]),
        ("gone", ["no run named 'gone'"]),
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
    assert "What is taken for what" in fine(open_page("run", one))


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


@pytest.fixture
def faces(tmp_path):
    return write_folder(tmp_path / "faces", 6)


def test_a_data_set_is_counted_and_checked(tmp_path, faces):
    shutil.copy(faces / "val" / "happy" / "0.png", faces / "train" / "happy" / "copy.png")
    (faces / "train" / "sad" / "bad.png").write_bytes(b"no picture")
    page = open_page("data", tmp_path)
    page.text_input(key="data_path").set_value(str(faces)).run()
    said = fine(page)
    counts = page.dataframe[0].value
    assert counts.loc["happy", "train"] == 7
    assert counts.loc["all", "val"] == 36
    assert "1 training pictures stand in the validation" in said
    assert "1 of 74 pictures cannot be read" in said
    assert "Few training pictures of" in said
    button(page, "Train with these").click().run()
    assert went(page) == "train"
    assert page.session_state["train_path"] == str(faces)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        pytest.param(
            {"Happiness": 14, "SAD": 14}, ["Few training pictures of happy (14), sad (14)"], id="fine"
        ),
        pytest.param({"happy": 3}, ["Only happy has training pictures"], id="one class"),
        pytest.param({"happy": -3, "sad": -2}, ["5 of 5 pictures cannot be read"], id="none is a picture"),
    ],
)
def test_class_folders_without_splits_are_counted(tmp_path, files, words):
    """Negative counts are files that are no pictures."""
    for word, count in files.items():
        (tmp_path / "plain" / word).mkdir(parents=True)
        for number in range(abs(count)):
            face = encode_png(toy_face("happy", number)) if count > 0 else b"no picture"
            (tmp_path / "plain" / word / f"{number}.png").write_bytes(face)
    page = open_page("data", tmp_path)
    page.text_input(key="data_path").set_value(str(tmp_path / "plain")).run()
    said = fine(page)
    assert page.dataframe[0].value.loc["all", "pictures"] == sum(map(abs, files.values()))
    assert [word for word in words if word not in said] == []


def test_the_split_is_chosen_anew_for_other_pictures(tmp_path, faces, repository, monkeypatch):
    """What trained a model is not judged unasked because pictures without splits were chosen before."""
    monkeypatch.setattr(model_shelf, "weights_shelf", lambda: repository / "weights")
    write_folder(tmp_path / "data" / "b", 3)
    shutil.copytree(tmp_path / "data" / "b" / "train", tmp_path / "data" / "a")
    page = open_page("models", tmp_path)

    def split():
        return next(element for element in page.selectbox if element.label == "Split")

    fine(page)
    assert split().value == "everything"
    page.selectbox(key="models_set").set_value("b").run()
    fine(page)
    assert split().value == "val"
    split().set_value("everything").run()
    assert "look better here than they are" in fine(page)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(lambda path: None, "no data at", id="missing"),
        pytest.param(lambda path: path.mkdir(), "no pictures in", id="empty"),
        pytest.param(
            lambda path: (path / "grumpy").mkdir(parents=True), "unknown expression 'grumpy'", id="class"
        ),
        pytest.param(lambda path: path.write_text("x"), "expected a folder of class folders", id="text"),
    ],
)
def test_a_path_that_is_no_data_set_is_a_sentence(tmp_path, make, words):
    make(tmp_path / "where")
    for module, key in (("data", "data_path"), ("train", "train_folder")):
        page = open_page(module, tmp_path)
        page.text_input(key=key).set_value(str(tmp_path / "where")).run()
        assert words in fine(page), module


def test_data_sets_are_uploaded_looked_at_and_deleted(tmp_path, faces):
    page = open_page("data", tmp_path)
    page.segmented_control(key="data_part").set_value("Upload").run()
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for path in faces.rglob("*.png"):
            archive.write(path, "mine/" + str(path.relative_to(faces)))
    page.file_uploader(key="data_upload").set_value(
        ("my faces.zip", content.getvalue(), "application/zip")
    ).run()
    assert not (tmp_path / "data").exists(), "nothing is kept before the button"
    button(page, "Keep these").click().run()
    assert "72 files are kept as the data set my-faces" in fine(page)
    button(page, "Look at it").click().run()
    assert page.dataframe[0].value.loc["all", "train"] == 36
    page.checkbox(key="sure my-faces").check().run()
    page.button(key="delete my-faces").click().run()
    fine(page)
    assert not (tmp_path / "data" / "my-faces").exists()


def test_a_refused_upload_leaves_nothing(tmp_path):
    page = open_page("data", tmp_path)
    page.segmented_control(key="data_part").set_value("Upload").run()
    page.file_uploader(key="data_upload").set_value(("a.zip", b"PK no zip", "application/zip")).run()
    button(page, "Keep these").click().run()
    assert "Nothing was kept: this is no zip file" in fine(page)
    assert list((tmp_path / "data").iterdir()) == []


def test_pictures_are_taken_kept_and_deleted(tmp_path, astronaut):
    page = open_page("data", tmp_path)
    page.segmented_control(key="data_part").set_value("Take pictures").run()
    page.segmented_control(key="collect_emotion").set_value(Emotion.HAPPY).run()
    content = io.BytesIO()
    Image.fromarray(astronaut).save(content, "jpeg")
    page.camera_input[0].set_value(("photo.jpg", content.getvalue(), "image/jpeg")).run()
    assert not (tmp_path / "data").exists(), "nothing is kept before the button"
    button(page, "Keep").click().run()
    assert "Happy: 1 kept" in fine(page)
    (kept,) = (tmp_path / "data" / "my-face" / "happy").glob("*.png")
    with Image.open(kept) as crop:
        assert crop.size[0] == crop.size[1]
    page.button(key=f"delete {kept}").click().run()
    assert not kept.exists()


def test_a_picture_without_a_face_is_not_kept(tmp_path):
    page = open_page("data", tmp_path)
    page.segmented_control(key="data_part").set_value("Take pictures").run()
    content = io.BytesIO()
    Image.fromarray(np.full((240, 320, 3), 90, np.uint8)).save(content, "jpeg")
    page.camera_input[0].set_value(("photo.jpg", content.getvalue(), "image/jpeg")).run()
    assert "No face was found" in fine(page)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        pytest.param("set quick epochs", 0, "Expected epochs to be at least 1, got 0", id="no epochs"),
        pytest.param("set quick learning_rate", 10.0, "(0, 1], got 10.0", id="rate"),
        pytest.param(
            "set quick batch_size", 512, "larger than the 36 training pictures; choose 32", id="batch"
        ),
        pytest.param("set quick device", "cuda", "No CUDA card was found", id="no card"),
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


@pytest.fixture
def detectors(one):
    """Beside a training of expressions: one of the detector, one that failed, one that came along."""
    write_toy_detector_run(one / "runs" / "20260102-000000_kv_face")
    write_toy_detector_run(one / "runs" / "20260103-000000_kv_face", 8, state="failed")
    write_toy_verifier_run(one / "runs" / "20260104-000000_kv_face_verifier")
    write_toy_detector(one / "shipped" / "kv_face.web")
    return one


def test_detectors_stand_among_the_runs(detectors):
    page = open_page("runs", detectors)
    fine(page)
    table = page.dataframe[0].value.set_index("name")
    assert table.loc["kv_face.web", "state"] == "shipped"
    found = table.loc["20260102-000000_kv_face"]
    assert (found["best epoch"], found["data"], found["epochs"]) == (8, "all.parquet", "12 / 12")
    assert found[["val accuracy", "macro F1"]].isna().all()


@pytest.mark.parametrize(
    ("name", "words", "missing"),
    [
        pytest.param(
            "20260102-000000_kv_face",
            ["finished", "Boxed faces found", "90.0 %", "85.0 %", "0.25", "training.detector.export"],
            ["Export", "Resume", "Validation accuracy", "What is taken for what"],
            id="finished",
        ),
        pytest.param(
            "20260103-000000_kv_face",
            ["no photos any more", "training.detector.train", "report is written when"],
            ["Export", "Resume"],
            id="failed",
        ),
        pytest.param(
            "kv_face.web", ["came along", "90.0 %"], ["Export", "training.detector.export"], id="shipped"
        ),
    ],
)
def test_a_detectors_run_shows_what_it_measured_and_offers_nothing_more(detectors, name, words, missing):
    page = open_page("run", detectors, run=name)
    said = fine(page) + "\n".join(
        [element.label for element in page.button] + [metric.label for metric in page.metric]
    )
    assert [word for word in words if word not in said] == []
    assert [word for word in missing if word in said] == []
    assert [tab.label for tab in page.tabs] == ["Curves", "Report", "Settings", "Log", "Downloads"]
    titles = str([element.proto.spec for element in page.get("vega_lite_chart")])
    for title in ("Loss", "Boxed faces found", "Web faces found", "False boxes a photo"):
        assert f'"{title}"' in titles
    assert "Accuracy" not in titles


def test_a_verifiers_run_shows_how_often_it_was_right(detectors):
    page = open_page("run", detectors, run="20260104-000000_kv_face_verifier")
    said = fine(page) + "\n".join(metric.label for metric in page.metric)
    for words in (
        "Places judged right",
        "94.0 %",
        "photos that were not learned from",
        "--run RUN --verifier",
    ):
        assert words in said
    assert "Boxed faces found" not in [metric.label for metric in page.metric]


def test_a_detector_is_no_model_of_expressions(detectors):
    page = open_page("models", detectors)
    said = fine(page)
    assert "kv_face.web" in said
    assert "Finds faces of any tilt." in said
    assert page.dataframe[0].value.loc["recall"].tolist() == [0.91, 0.7]
    assert not any("Use this model" in element.label for element in page.button)
    form = open_page("train", detectors)
    fine(form)
    choices = [
        choice
        for kind in ("selectbox", "multiselect")
        for box in getattr(form, kind)
        for choice in box.options
    ]
    assert not [choice for choice in choices if "kv_face" in choice]


def test_a_detectors_card_that_cannot_be_read_is_a_sentence(detectors):
    (detectors / "shipped" / "kv_face.web" / "detector.json").write_text("{}")
    assert "cannot be understood" in fine(open_page("models", detectors))


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
