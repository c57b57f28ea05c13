from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from toy_faces import write_folder

from dashboard import programs
from dashboard.checks import check_training, make_config, train_count
from dashboard.data_check import FEW_PICTURES, check_data, class_problems, spread
from dashboard.devices import Card, free_memory_bytes, list_cards, parse_cards
from dashboard.figure_row import duration_text, in_percent, percent_text, size_text
from dashboard.picture_sets import PictureSetError, crop_set, delete_set, list_sets, set_folder
from dashboard.places import parse_places
from dashboard.setting_form import ARCHITECTURE_NOTES, ELSEWHERE, PRESETS, preset_value, setting_help
from fer.detection import load_detector
from fer.model_card import Head, ModelCard, Preprocessing
from training.config import TrainConfig
from training.data.datasets import read_table


@pytest.mark.parametrize(
    ("values", "settings"),
    [
        ({"epochs": 0}, {"epochs"}),
        ({"learning_rate": 10.0}, {"learning_rate"}),
        ({"epochs": 0, "learning_rate": 10.0, "batch_size": 1}, {"epochs", "learning_rate", "batch_size"}),
        ({"epochs": 3, "warmup_epochs": 9}, {"warmup_epochs"}),
        ({"heads": ()}, {"heads"}),
        ({"val_share": 0.0}, {"val_share"}),
    ],
)
def test_every_wrong_setting_is_named(values, settings):
    problems = make_config({"data": (Path("x"),), "warmup_epochs": 1} | values)
    assert {problem.setting for problem in problems} == settings
    assert all(problem.is_fatal and problem.text.startswith("Expected") for problem in problems)


@pytest.fixture
def faces(tmp_path):
    return read_table(write_folder(tmp_path / "faces", 8))


def config(tmp_path, **changes):
    return TrainConfig(**({"data": (tmp_path,), "batch_size": 16, "runs": tmp_path / "runs"} | changes))


CARD = Card(0, "Card", 8 << 30, 8 << 30)


@pytest.mark.parametrize(
    ("changes", "cards", "chosen", "setting", "words"),
    [
        pytest.param({}, [], [], None, "", id="fine"),
        pytest.param({"batch_size": 64}, [], [], "batch_size", "larger than the 48", id="batch"),
        pytest.param({"device": "cuda"}, [], [], "device", "No GPU (CUDA)", id="no card"),
        pytest.param({"device": "cuda"}, [CARD], [], None, "", id="card"),
        pytest.param({"device": "cpu"}, [CARD], [0], "device", "device is cpu", id="card unused"),
        pytest.param(
            {"initial_weights": "gone"}, [], [], "initial_weights", "No weights named 'gone'", id="weights"
        ),
        pytest.param({"name": "a b"}, [], [], "name", "A name has letters", id="name"),
    ],
)
def test_what_stands_in_the_way_of_a_training(tmp_path, faces, changes, cards, chosen, setting, words):
    problems = [p for p in check_training(config(tmp_path, **changes), faces, cards, chosen) if p.is_fatal]
    assert {problem.setting for problem in problems} == ({setting} if setting else set())
    assert words in " ".join(problem.text for problem in problems)


def test_a_full_disk_and_little_memory_are_told_before(tmp_path, faces, monkeypatch):
    monkeypatch.setattr("dashboard.checks._free_disk", lambda folder: 1_000_000)
    monkeypatch.setattr("dashboard.checks.free_memory_bytes", lambda: 1_000_000)
    problems = {p.setting: p for p in check_training(config(tmp_path), faces, [])}
    assert problems["runs"].is_fatal
    assert "1.0 MB are free" in problems["runs"].text
    assert "of memory are free" in problems["data"].text


def test_training_pictures_are_counted_as_they_will_be_split(faces):
    assert train_count(TrainConfig(data=(Path("x"),)), faces) == 48
    unsplit = faces.with_split(["" for _ in faces.splits])
    assert train_count(TrainConfig(data=(Path("x"),), val_share=0.25), unsplit) == 72


def test_advice_about_a_data_set(faces):
    detector = load_detector("haar")
    check = check_data(faces, detector)
    assert (check.checked_count, check.unreadable, check.copies_across) == (96, (), 0)
    assert any(f"{FEW_PICTURES} each are a start" in text for text in check.advice())
    alone = faces.take(row for row, label in enumerate(faces.labels) if label == "happy")
    assert "Only happy" in class_problems(alone)[0]
    doubled = faces.take([*range(len(faces)), 0])
    assert check_data(doubled, detector).copies_within == 1


def test_whole_photos_are_told_from_crops(tmp_path, astronaut):
    detector = load_detector("haar")
    for word in ("happy", "sad"):
        (tmp_path / "photos" / word).mkdir(parents=True)
        for number in range(3):
            shifted = np.roll(astronaut, number * 4, axis=1)
            Image.fromarray(shifted).save(tmp_path / "photos" / word / f"{number}.jpg")
    photos = read_table(tmp_path / "photos")
    assert check_data(photos, detector).looks_uncropped
    told = []
    report = crop_set(photos, tmp_path / "crops", detector, told.append)
    assert (report.kept_count, report.without_face, told[-1]) == (6, (), 1.0)
    crops = read_table(tmp_path / "crops")
    assert sorted(crops.labels) == sorted(photos.labels)
    assert not check_data(crops, detector).looks_uncropped
    with pytest.raises(PictureSetError, match="already"):
        crop_set(photos, tmp_path / "crops", detector)


def test_pictures_without_faces_make_no_data_set(tmp_path, faces):
    with pytest.raises(PictureSetError, match="no face was found"):
        crop_set(faces.take(range(3)), tmp_path / "crops", load_detector("haar"))
    assert not list(tmp_path.glob("*crops*"))


def test_data_sets_are_listed_and_deleted_by_plain_names(tmp_path):
    assert list_sets(tmp_path / "missing") == []
    (tmp_path / "b").mkdir()
    (tmp_path / "a").mkdir()
    (tmp_path / ".draft").mkdir()
    assert list_sets(tmp_path) == ["a", "b"]
    delete_set(tmp_path, "a")
    assert list_sets(tmp_path) == ["b"]
    for name in ("gone", "../b", ""):
        with pytest.raises(PictureSetError):
            delete_set(tmp_path, name)
    with pytest.raises(PictureSetError, match="expected a name"):
        set_folder(tmp_path, "..")


@pytest.mark.parametrize(("count", "wanted", "rows"), [(0, 3, [0]), (2, 5, [0, 1]), (10, 3, [0, 4, 9])])
def test_spread(count, wanted, rows):
    assert spread(count, wanted) == rows if count else True


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", []),
        ("0, NVIDIA H100, 81000, 81559\n1, NVIDIA L4, 100, 23034\n", ["NVIDIA H100", "NVIDIA L4"]),
        ("NVIDIA-SMI has failed because it couldn't communicate with the driver", []),
        ("0, X, [N/A], [N/A]", []),
    ],
)
def test_cards_are_read_from_the_driver(text, names):
    cards = parse_cards(text)
    assert [card.name for card in cards] == names
    assert all(card.total_bytes > card.free_bytes for card in cards)


def test_no_driver_is_no_card(tmp_path):
    assert list_cards(str(tmp_path / "nvidia-smi")) == []
    assert free_memory_bytes(tmp_path / "meminfo") is None
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    2048 kB\n")
    assert free_memory_bytes(tmp_path / "meminfo") == 2048 * 1024


def test_the_list_of_networks_is_the_real_one():
    from fer.networks import ARCHITECTURES, ExpressionNetwork  # noqa: PLC0415 - imports torch
    from training.data.targets import HEAD_LABELS  # noqa: PLC0415

    assert list(ARCHITECTURE_NOTES) == list(ARCHITECTURES)
    outputs = {head: len(labels) for head, labels in HEAD_LABELS.items()}
    for name, note in ARCHITECTURE_NOTES.items():
        count = sum(parameter.numel() for parameter in ExpressionNetwork(name, outputs).parameters())
        assert note.parameter_count == pytest.approx(count, rel=0.05), name  # for sizes on a disk


@pytest.mark.parametrize(
    ("source", "target", "is_fine"),
    [("kv_fast", "kv_accurate", True), ("kv_fast", "kv_fast", True), ("kv_accurate", "kv_fast", False)],
)
def test_narrower_weights_may_start_a_training(tmp_path, faces, source, target, is_fine):
    """Heads that the weights lack start at random; so the training itself does it."""
    folder = tmp_path / f"{source}.mine"
    folder.mkdir()
    heads = (Head("crowd", ("happy", "sad")),)
    ModelCard(folder.name, source, Preprocessing(), heads, "crowd").save(folder)
    made = config(tmp_path, initial_weights=str(folder), architecture=target)
    problems = [problem.text for problem in check_training(made, faces, []) if problem.is_fatal]
    assert problems == ([] if is_fine else ["Expected initial weights of one of kv_fast, got kv_accurate."])


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_right_and_contain_only_differences(name):
    defaults = TrainConfig(data=(Path("x"),))
    TrainConfig(data=(Path("x"),), **PRESETS[name].changes)
    assert all(getattr(defaults, setting) != value for setting, value in PRESETS[name].changes.items())
    assert preset_value(PRESETS[name], "seed") == defaults.seed


def test_every_setting_has_a_help_text():
    assert set(setting_help()) == set(TrainConfig.__dataclass_fields__)
    assert set(TrainConfig.__dataclass_fields__) >= ELSEWHERE
    assert setting_help()["schedule"].startswith("`cosine` decays to 0")


def test_places_from_the_command_line(tmp_path):
    places = parse_places(["--runs", str(tmp_path / "r"), "--data", str(tmp_path / "d"), "--other", "x"])
    assert (places.runs, places.data) == (tmp_path / "r", tmp_path / "d")
    assert parse_places([]).runs == Path("runs").absolute()


@pytest.mark.parametrize(
    ("script", "words"),
    [
        pytest.param("raise SystemExit('no such card')", "no such card", id="says why"),
        pytest.param("raise SystemExit(3)", "status 3", id="silent"),
        pytest.param("print('hello')", "answer cannot be read", id="no JSON"),
        pytest.param("print([1])", "answer cannot be read", id="no object"),
        pytest.param("import no_torch_here", "No module named", id="import"),
        pytest.param("import time; time.sleep(30)", "longer than 2 s", id="hangs"),
    ],
)
def test_a_program_that_fails_is_a_sentence(tmp_path, monkeypatch, script, words):
    (tmp_path / "odd.py").write_text(script)
    monkeypatch.setattr(programs, "_ROOT", tmp_path)
    with pytest.raises(programs.ProgramError, match=words):
        programs._read_object(programs._run("odd", [], 2))


def test_a_program_may_print_before_its_answer(tmp_path, monkeypatch):
    (tmp_path / "chatty.py").write_text("print('warming up'); print('{\"a\": 1}')")
    monkeypatch.setattr(programs, "_ROOT", tmp_path)
    assert programs._read_object(programs._run("chatty", [], 20)) == {"a": 1}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0.24, "0.2 s"),
        (45, "45 s"),
        (99, "99 s"),
        (120, "2 min"),
        (5999, "1 h 40 min"),
        (12345, "3 h 26 min"),
    ],
)
def test_durations(seconds, text):
    assert duration_text(seconds) == text


def test_other_numbers():
    assert [percent_text(share) for share in (None, 0, 0.7055, 1)] == ["–", "0.0 %", "70.5 %", "100.0 %"]
    assert [size_text(count) for count in (12, 3_200, 3_720_000, 5e12)] == [
        "12 bytes",
        "3.2 kB",
        "3.7 MB",
        "5000.0 GB",
    ]


def test_shares_are_told_as_percent():
    table = in_percent(pd.DataFrame({"name": ["a", "b"], "share": [0.858, None]}), ("share",))
    assert table["share"].iloc[0] == pytest.approx(85.8)  # rounding
    assert pd.isna(table["share"].iloc[1])
