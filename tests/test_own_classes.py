"""Custom classes: reading, training, export, display."""

import io
import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from toy_faces import encode_png, toy_face, write_folder

from fer import load_analyzer
from fer.__main__ import main
from fer.annotation import FaceAnnotator
from fer.emotions import COLUMN_WORDS, Emotion, OwnLabel, label_from_word, label_of, labels_problem
from fer.faces import Box, Detection, Face, Prediction
from fer.folders.table import table_schema
from fer.model_card import Head, load_card
from fer.palette import label_colours, rgb_from_hex
from fer.reports import face_columns
from fer.timeline.export import spans, timeline_chart
from fer.timeline.table import Timeline
from fer.watch.alerts import parse_alert
from training.config import TrainConfig
from training.data.datasets import DatasetError, read_table
from training.data.layout import lay_out
from training.data.splits import settle_heads
from training.runs import read_run

BORED, FOCUSED = OwnLabel("bored"), OwnLabel("focused")


def rename_classes(folder: Path, **names: str) -> Path:
    """Give class folders other names."""
    for split in folder.iterdir():
        for old, new in names.items():
            (split / old).rename(split / new)
    return folder


@pytest.fixture(scope="module")
def own_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_folder(tmp_path_factory.mktemp("own") / "moods", 12, ("happy", "sad"))
    return rename_classes(folder, happy="bored", sad="focused")


@pytest.fixture(scope="module")
def own_run(config: TrainConfig, own_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from training import train  # noqa: PLC0415 - imports torch

    folder = tmp_path_factory.mktemp("runs") / "own"
    train.train(replace(config, data=(own_data,), ema_decay=0.0, augment=False), folder)
    return folder


@pytest.fixture(scope="module")
def own_weights(own_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from training import export  # noqa: PLC0415 - imports torch

    weights = tmp_path_factory.mktemp("weights")
    return export.export_run(export.ExportOptions(run=own_run, tag="mine", weights=weights))


def test_a_label_is_an_expression_or_somebody_s_own():
    assert label_of("happy") is Emotion.HAPPY
    assert label_from_word(" Happiness ") is Emotion.HAPPY
    mine = label_from_word("half_smile")
    assert (mine, mine.value, mine.display_name) == ("half_smile", "half_smile", "Half smile")
    assert pickle.loads(pickle.dumps(mine)).display_name == "Half smile"
    assert label_from_word("TV face").display_name == "TV face"
    assert label_from_word("mu\u0308de") == "m\u00fcde"  # as zips from a Mac write it


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["bored"], "expected 2 to 20 class names, got 1"),
        ([f"class {i}" for i in range(21)], "expected 2 to 20 class names, got 21"),
        (["bored", "Bored"], "got 'bored' and 'Bored'"),
        (["bored", "x" * 41], "up to 40 letters"),
        (["bored", "a\nb"], "rename it"),
        (["bored", "<b>"], "rename it"),
        (["bored", "=1+1"], "begin with a letter or digit"),
        (["bored", 'a" TEXT'], "rename it"),
        (["bored", "Unsure"], "not columns of the face tables"),
        (["bored", "other"], "not columns of the face tables"),
    ],
)
def test_names_that_cannot_be_classes_are_told(names, sentence):
    assert sentence in (labels_problem(names) or "")
    with pytest.raises(ValueError, match="expected"):
        Head("own", tuple(dict.fromkeys(name for name in names if name != "other")))


def test_names_of_any_script_are_classes():
    assert labels_problem(["müde", "集中", "happy & calm", "7"]) is None


def test_no_column_of_a_table_can_be_a_class():
    schema = table_schema([BORED, FOCUSED]).names
    columns = {*face_columns([]), *schema, *Timeline([BORED, FOCUSED]).columns} - {BORED, FOCUSED}
    assert columns <= COLUMN_WORDS


def test_only_the_head_own_has_own_labels():
    head = Head("own", ("bored", "happy", "other"))
    assert head.emotions == ("bored", Emotion.HAPPY)
    assert head.emotions[1] is Emotion.HAPPY
    with pytest.raises(ValueError, match="different expressions"):
        Head("six", ("bored", "happy"))


def placed(*names: str, own: bool = False) -> list[tuple[str, str]]:
    layout = lay_out([PurePosixPath(name) for name in names], "here", own=own)
    return [(picture.split, str(picture.label)) for picture in layout.pictures]


@pytest.mark.parametrize(
    ("names", "own", "expected"),
    [
        (["bored/a.png", "focused/b.png"], False, [("", "bored"), ("", "focused")]),
        (["x/train/bored/a.png", "x/val/focused/b.png"], False, [("train", "bored"), ("val", "focused")]),
        (["bored/test/a.png", "focused/b.png"], False, [("test", "bored"), ("", "focused")]),
        (["my/set/bored/a/b.png", "my/set/focused/c.png"], False, [("", "bored"), ("", "focused")]),
        (["Joy/a.png", "bored/b.png"], True, [("", "happy"), ("", "bored")]),
        (["Happiness/a.png", "sad/b.png"], True, [("", "happy"), ("", "sad")]),
    ],
)
def test_folders_of_any_names_are_classes(names, own, expected):
    assert placed(*names, own=own) == expected


@pytest.mark.parametrize(
    ("names", "own", "sentence"),
    [
        (["train/happy/a.png", "train/grumpy/b.png"], False, "with --heads own"),
        (["train/bored/a.png", "extra/bored/b.png", "train/calm down/c.png"], False, "unknown split 'extra'"),
        (["eval/bored/a.png", "train/focused/b.png"], True, "unknown split 'eval'"),
        (["train/bored/test/a.png", "train/focused/b.png"], False, "got test and train"),
    ],
)
def test_folders_that_say_something_unclear_are_refused(names, own, sentence):
    with pytest.raises(DatasetError) as caught:
        placed(*names, own=own)
    assert sentence in str(caught.value)


def test_a_list_of_classes_lets_own_names_stand_beside_expressions(tmp_path):
    folder = rename_classes(write_folder(tmp_path / "mixed", 1, ("happy", "sad")), sad="focused")
    with pytest.raises(DatasetError, match="unknown expression 'focused'"):
        read_table(folder)
    assert set(read_table(folder, own=True).labels) == {Emotion.HAPPY, FOCUSED}
    (folder / "classes.txt").write_text("Happiness\nfocused\n")
    table = read_table(folder)
    assert set(table.labels) == {Emotion.HAPPY, FOCUSED}
    assert table.left_out == ()
    (folder / "classes.txt").write_text("happy\nfocussed\n")
    with pytest.raises(DatasetError, match=r"focused is not one of the classes in .*: happy, focussed"):
        read_table(folder)


def test_a_name_that_cannot_be_a_class_is_told_with_the_data(tmp_path):
    folder = rename_classes(write_folder(tmp_path / "x", 1, ("happy", "sad")), happy="unsure", sad="focused")
    with pytest.raises(DatasetError, match="got 'unsure'; rename it"):
        read_table(folder)


def test_own_words_in_tables(tmp_path):
    pixels = " ".join(["7"] * 9)
    csv = tmp_path / "a.csv"
    csv.write_text(f"emotion,pixels\nbored,{pixels}\nfocused,{pixels}\n")
    assert read_table(csv).labels == (BORED, FOCUSED)
    csv.write_text(f"emotion,pixels\nbored,{pixels}\nhappy,{pixels}\n")
    with pytest.raises(DatasetError, match="line 2: unknown expression 'bored'"):
        read_table(csv)
    images = [{"bytes": encode_png(toy_face("sad", i)), "path": None} for i in range(2)]
    pq.write_table(pa.table({"image": images, "label": ["bored", "focused"]}), tmp_path / "a.parquet")
    assert read_table(tmp_path / "a.parquet").labels == (BORED, FOCUSED)


def test_the_head_follows_from_the_classes():
    usual = TrainConfig(data=(Path("x"),))
    assert settle_heads(usual, [Emotion.HAPPY, Emotion.SAD]) is usual
    own = settle_heads(usual, [FOCUSED, Emotion.HAPPY, BORED])
    assert (own.heads, own.labels) == (("own",), ("bored", "focused", "happy"))
    assert TrainConfig.from_dict(json.loads(json.dumps(own.to_dict()))) == own
    assert settle_heads(own, [BORED, FOCUSED]) == own
    with pytest.raises(DatasetError, match="also got smiling"):
        settle_heads(own, [BORED, OwnLabel("smiling")])
    with pytest.raises(DatasetError, match="train with --heads own"):
        settle_heads(replace(usual, heads=("web",)), [BORED, FOCUSED])
    with pytest.raises(ValueError, match="own alone"):
        replace(usual, heads=("own", "web"))


def test_own_classes_train_and_export(own_run: Path, own_weights: Path):
    record = read_run(own_run)
    assert record.config["heads"] == ["own"]
    assert record.config["labels"] == ["bored", "focused"]
    assert record.report is not None
    assert record.report["default_head"] == "own"
    assert record.report["heads"]["own"]["labels"] == ["bored", "focused"]
    assert record.report["heads"]["own"]["accuracy"] > 0.8  # half by chance
    card = load_card(own_weights)
    assert card.head().labels == ("bored", "focused")
    assert [head.name for head in card.choices] == ["own"]
    text = (own_weights / "README.md").read_text(encoding="utf-8")
    assert "Classifies face crops as Bored, Focused" in text
    assert "--repeat kv_fast.mine" in text
    assert "FER2013" not in text


def test_a_resumed_training_keeps_the_classes(config, own_data: Path, own_run: Path, tmp_path: Path):
    from training import train  # noqa: PLC0415 - imports torch

    again = shutil.copytree(own_run, tmp_path / "again")
    train.train(TrainConfig.from_dict(read_run(again).config), again, resume=True)
    assert read_run(again).report == read_run(own_run).report


def test_own_classes_are_judged_and_shown_by_the_shell(
    own_weights: Path, own_data: Path, astronaut, tmp_path, capsys
):
    from training import evaluate  # noqa: PLC0415 - imports torch

    report = evaluate.evaluate(evaluate.EvaluateOptions(weights=str(own_weights), data=own_data, split="val"))
    assert report["labels"] == ["bored", "focused"]
    assert report["count"] == 24
    Image.fromarray(astronaut).save(tmp_path / "face.png")
    words = [str(tmp_path / "face.png"), "--weights", str(own_weights)]
    assert main([*words, "--json", "--csv", str(tmp_path / "faces.csv")]) == 0
    (face,) = json.loads(capsys.readouterr().out)["faces"]
    assert list(face["probabilities"]) == ["bored", "focused"]
    assert face["emotion"] == max(face["probabilities"], key=face["probabilities"].get)
    table = pd.read_csv(tmp_path / "faces.csv")
    assert table["emotion"].tolist() == [face["emotion"]]
    assert table["bored"][0] + table["focused"][0] == pytest.approx(1, abs=1e-5)
    assert main(words) == 0
    assert face["emotion"] in capsys.readouterr().out.lower()


def test_own_classes_are_drawn_in_colours_of_their_own(own_weights: Path, astronaut):
    analyzer = load_analyzer(str(own_weights))
    (face,) = analyzer.analyze(astronaut)
    assert face.prediction.emotion in ("bored", "focused")
    drawn = FaceAnnotator().annotate(astronaut, [face])
    colour = rgb_from_hex(label_colours(["bored", "focused"])[face.prediction.emotion])
    assert (drawn == np.array(colour)).all(axis=2).any()
    assert label_colours(["bored", "happy"])["happy"] == label_colours(["happy"])["happy"]


class OwnAnalyzers:
    """One analyzer under the names that the page offers."""

    detectors = ("kv_face",)

    def __init__(self, folder: Path) -> None:
        self.weights = (folder.name,)
        self.analyzer = load_analyzer(str(folder))

    def heads(self, weights):
        return self.analyzer.classifier.card.choices

    def get(self, weights=None, detector=None, *, head=None, live=False, thorough=False):
        return self.analyzer


def test_own_classes_on_the_photo_page(own_weights: Path, astronaut):
    from fastapi.testclient import TestClient  # noqa: PLC0415 - one test needs it

    from webapp.page import build_routes  # noqa: PLC0415
    from webapp.photo import TAB  # noqa: PLC0415

    client = TestClient(build_routes([TAB], OwnAnalyzers(own_weights)))
    content = io.BytesIO()
    Image.fromarray(astronaut).save(content, "PNG")
    answer = client.post("/kv/photo", content=content.getvalue()).json()
    (face,) = answer["record"]["faces"]
    assert list(face["probabilities"]) == ["bored", "focused"]
    assert "bored,focused" in answer["csv"].splitlines()[0]


def test_own_classes_over_time():
    labels = (OwnLabel("happy & calm"), FOCUSED)
    timeline = Timeline(labels)
    for number in range(6):
        shares = np.array([0.9, 0.1] if number < 3 else [0.2, 0.8], np.float32)
        face = Face(Detection(Box(0, 0, 9, 9), 0.9), Prediction(labels, shares), 1)
        timeline.add([face], number / 10)
    assert [span.emotion.display_name for span in spans(timeline)] == ["Happy & calm", "Focused"]
    svg = timeline_chart(timeline)
    assert "Happy &amp; calm" in svg
    assert "Happy & calm" not in svg
    assert set(timeline.table()["emotion"]) == {"happy & calm", "focused"}


def test_alerts_know_the_labels_of_the_head():
    assert parse_alert("Bored:0.8:3s", [BORED, FOCUSED]).emotion == "bored"
    with pytest.raises(ValueError, match="expected an alert such as"):
        parse_alert("sleepy:0.8:3s", [BORED, FOCUSED])
