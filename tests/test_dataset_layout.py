"""Splits and labels of files in folders and of rows in CSV files."""

import io
from pathlib import PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from toy_faces import WORDS, encode_png, toy_face, write_csv, write_folder, write_parquet

from dashboard.data_check import class_problems
from fer.emotions import FER2013_CODES, Emotion
from fer.model_card import Preprocessing
from training.config import TrainConfig
from training.data.datasets import DatasetError, decode, read_table
from training.data.layout import lay_out
from training.data.splits import load_splits
from training.data.words import split_from_name, split_from_word

LINES = [f"{code},{' '.join(['7'] * 9)},Training" for code in range(7)]
HEADER = "emotion,pixels,Usage"


def placed(*names: str) -> list[tuple[str, str]]:
    layout = lay_out([PurePosixPath(name) for name in names], "here")
    return [(picture.split, str(picture.label)) for picture in layout.pictures]


@pytest.mark.parametrize(
    ("word", "split"),
    [
        *((word, "train") for word in ("Training", "train_set", "TRAIN", "train2017", "Training Data")),
        *(
            (word, "val")
            for word in ("valid", "Validation", "dev", "PublicTest", "public_test", " val ", "Validating")
        ),
        *((word, "test") for word in ("Testing", "PrivateTest", "test-set", "Private Test")),
        *((word, None) for word in ("eval", "evaluation", "holdout", "", "trainer", "happy", "latest", "1")),
    ],
)
def test_words_for_splits(word, split):
    assert split_from_word(word) == split


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("fer2013_publictest.parquet", "val"),
        ("test-00000-of-00001.parquet", "test"),
        ("faces.csv", ""),
        ("train.csv", "train"),
    ],
)
def test_splits_in_names_of_files(name, split):
    assert split_from_name(name) == split


@pytest.mark.parametrize("name", ["my_eval.parquet", "train_and_test.csv"])
def test_a_name_that_could_mean_several_splits_is_refused(name):
    with pytest.raises(DatasetError, match=r"expected one split in the file name, got .* ambiguous"):
        split_from_name(name)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        pytest.param(["Testing/happy/a.png", "Training/sad/a.png"], [("test", "happy"), ("train", "sad")], id="ing"),
        pytest.param(["happy/train/a.png", "happy/test/a.png"], [("test", "happy"), ("train", "happy")], id="inside"),
        pytest.param(["x/dev/happy/a.png", "x/train/sad/a.png"], [("val", "happy"), ("train", "sad")], id="wrapped"),
        pytest.param(["train/x/sad/a.png", "test/x/sad/b.png"], [("test", "sad"), ("train", "sad")], id="wrapped below"),
        pytest.param(["happy/monday/a.png"], [("", "happy")], id="below a class"),
        pytest.param(["__MACOSX/happy/._a.png", "@eaDir/b.png", "happy/a.png"], [("", "happy")], id="system"),
        pytest.param(["train/happy/@eaDir/a.png/x.jpg", "train/happy/a.png"], [("train", "happy")], id="thumbnails"),
    ],
)  # fmt: skip
def test_folders_say_split_and_expression(names, expected):
    assert placed(*names) == expected


@pytest.mark.parametrize(
    ("names", "words"),
    [
        pytest.param(["train/happy/a.png", "eval/happy/b.png"], "unknown split 'eval'", id="unclear"),
        pytest.param(["eval/happy/b.png"], "unknown split 'eval'", id="unclear alone"),
        pytest.param(["happy/a.png", "happy/holdout/b.png"], "unknown split 'holdout'", id="unclear below"),
        pytest.param(["train/sad/a.png", "extra/sad/b.png"], "unknown split 'extra'", id="unknown"),
        pytest.param(["train/sad/a.png", "train/grumpy/b.png"], "unknown expression 'grumpy'", id="class"),
        pytest.param(["train/test/sad/a.png"], "got train and test", id="two splits"),
        pytest.param(["happy/sad/a.png"], "an expression inside another one", id="two classes"),
        pytest.param(["train/a.png"], "outside of class folders: 1", id="loose"),
    ],
)
def test_folders_that_say_something_else_are_refused_by_name(names, words):
    with pytest.raises(DatasetError) as caught:
        placed(*names)
    assert words in str(caught.value)
    assert str(caught.value).startswith("here")


def test_a_folder_counts_what_it_does_not_read(tmp_path):
    folder = write_folder(tmp_path / "faces", 1, ("happy", "sad"))
    (folder / "train" / "happy" / "photo.xyz").write_bytes(b"x")
    (folder / "train" / "happy" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    Image.fromarray(toy_face("sad", 1)).save(folder / "sample.png")
    for name in (".DS_Store", "Thumbs.db", "train/happy/._0.png"):
        (folder / name).write_bytes(b"x")
    table = read_table(folder)
    assert len(table) == 4
    assert table.left_out == (
        "faces: 1 file with .xyz, neither images nor tables, such as train/happy/photo.xyz",
        "faces: 1 image outside of class folders, such as sample.png",
        "faces: 1 link to files that are missing, such as train/happy/gone.png",
    )
    assert load_splits(TrainConfig(data=(folder,)), Preprocessing()).summary["left_out"] == list(
        table.left_out
    )


def test_linked_folders_are_read_once(tmp_path):
    write_folder(tmp_path / "real", 1, ("happy", "sad"))
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "train").symlink_to(tmp_path / "real" / "train")
    (tmp_path / "real" / "train" / "happy" / "circle").symlink_to(tmp_path / "linked")
    assert read_table(tmp_path / "linked").splits == ("train", "train")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_csv_as_programs_save_it(tmp_path, encoding, separator, ending):
    path = tmp_path / "a.csv"
    lines = [HEADER, *LINES, ",,", ""]
    path.write_bytes(ending.join(lines).replace(",", separator).encode(encoding))
    table = read_table(path)
    assert table.labels == FER2013_CODES
    assert set(table.splits) == {"train"}
    assert table.names[-1] == "a.csv line 8"
    assert table.left_out[0].startswith("a.csv: ")


def test_labels_that_a_spreadsheet_made_decimals_of(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("\n".join([HEADER, *(line.replace(",", ".0,", 1) for line in LINES)]))
    assert read_table(path).labels == FER2013_CODES
    path.write_text(f"{HEADER}\n0.5,1 2 3 4,Training\n")
    with pytest.raises(DatasetError, match=r"line 2: expected an emotion from 0 to 6, got 0\.5"):
        read_table(path)


def test_decimal_labels_in_parquet(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", [encode_png(toy_face(w, 1)) for w in WORDS[:2]], [0, 1])
    table = pq.read_table(path)
    column = pa.array([1.0, None], pa.float64())
    pq.write_table(table.set_column(1, "label", column), path)
    assert read_table(path).labels == (Emotion.DISGUSTED, None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(f"{HEADER}\n0,1 2 3 4,Training\n\n,,\n9,1 2 3 4,Training\n", "line 5: expected an emotion", id="blank"),
        pytest.param(f'{HEADER}\n0,"[1 2\n 3 4]",Training\n9,1,Training\n', "line 4: expected an emotion", id="breaks"),
        pytest.param(f"\n\n{HEADER}\n0,1 2 3,Training\n", "line 4: expected 2304", id="late header"),
        pytest.param(f"{HEADER}\n0,0.1 0.2 0.3 0.4,Training\n", "line 2: expected whole-number pixels", id="shares"),
        pytest.param(f"{HEADER}\n0,1 2 3 nan,Training\n", "line 2: expected whole-number pixels", id="nan"),
        pytest.param(f"{HEADER}\n0,1,2,3,4,Training\n", "line 2: expected as many values", id="commas"),
        pytest.param(f"{HEADER}\n0,1 2 3 4,Evaluation\n", "line 2: unknown split 'Evaluation'", id="split"),
        pytest.param(f"{HEADER}\n0,1 2 3 4,Training\n0,1 2 3 4,\n", "line 3: no split, although", id="no split"),
        pytest.param("", "no column emotion and pixels|cannot be read as CSV", id="nothing"),
    ],
)  # fmt: skip
def test_a_wrong_csv_is_told_with_its_line(tmp_path, text, words):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(DatasetError, match=words):
        read_table(path)


def test_testing_rows_are_not_trained_on(tmp_path):
    path = write_csv(tmp_path / "a.csv")
    header, *rows = path.read_text().replace("PublicTest", "Testing").splitlines()
    path.write_text("\n".join([header, *rows, *(row for row in rows if row.endswith("Training"))]))
    table = read_table(path)
    assert table.splits.count("test") == 7
    splits = load_splits(TrainConfig(data=(path,), keep_duplicates=True, val_share=0.5), Preprocessing())
    tested = {name for name, split in zip(table.names, table.splits, strict=True) if split == "test"}
    assert len(splits.train.table) == len(splits.val.table) == 7
    assert not tested & {*splits.train.table.names, *splits.val.table.names}


@pytest.mark.parametrize("column", ["split", "Usage", "subset"])
def test_splits_of_parquet_columns(tmp_path, column):
    path = write_parquet(tmp_path / "a.parquet", [encode_png(toy_face("sad", i)) for i in range(2)], [4, 4])
    table = pq.read_table(path)
    pq.write_table(table.append_column(column, pa.array(["Testing", "training"])), path)
    assert read_table(path).splits == ("test", "train")
    pq.write_table(table.append_column(column, pa.array(["Testing", "extra"])), path)
    with pytest.raises(DatasetError, match="row 1: unknown split 'extra'"):
        read_table(path)


def test_pictures_of_other_sizes_in_one_set(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(f"{HEADER}\n0,{' '.join(['7'] * 9)},Training\n3,{' '.join(['9'] * 400)},Training\n")
    crops = decode(read_table(path), Preprocessing()).crops
    assert crops.shape == (2, 1, 48, 48)
    assert [np.unique(crop).tolist() for crop in crops] == [[7], [9]]


def test_a_set_with_only_a_validation_split_says_so(tmp_path):
    folder = write_folder(tmp_path / "faces", 1)
    (sentence,) = class_problems(read_table(folder).split("val"))
    assert sentence.startswith("All pictures belong to the split val; none is left to train on.")


def test_a_set_without_splits_trains_beside_one_that_has_them(tmp_path):
    named = write_folder(tmp_path / "named", 2, ("happy", "sad"))
    plain = write_folder(tmp_path / "other", 3, ("happy", "sad")) / "train"
    plain = plain.rename(tmp_path / "plain")
    splits = load_splits(TrainConfig(data=(named, plain), keep_duplicates=True), Preprocessing())
    assert (len(splits.train.table), len(splits.val.table)) == (4 + 6, 4)


def test_an_expression_that_is_never_judged_is_told(tmp_path):
    folder = write_folder(tmp_path / "faces", 2, ("happy", "sad", "fear"))
    for path in (folder / "val" / "fear").iterdir():
        path.unlink()
    splits = load_splits(TrainConfig(data=(folder,)), Preprocessing())
    assert splits.summary["val_lacks"] == ["fearful"]
    assert splits.warnings() == ["the split 'val' has no fearful: not evaluated"]


def test_columns_of_parquet_are_found_in_any_case(tmp_path):
    path = tmp_path / "faces.parquet"
    buffer = io.BytesIO()
    Image.new("L", (8, 8), 90).save(buffer, "PNG")
    pq.write_table(pa.table({"Image": [buffer.getvalue()], "LABEL": ["happy"], "Split": ["test"]}), path)
    table = read_table(path)
    assert (table.labels[0], table.splits) == (Emotion.HAPPY, ("test",))
