from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from toy_faces import WORDS, encode_png, toy_face, write_csv, write_folder, write_parquet

from fer.emotions import Emotion
from fer.images import read_image
from fer.model_card import Preprocessing
from fer.preprocessing import prepare_crops
from training.config import TrainConfig
from training.data.datasets import DatasetError, decode, read_table, read_tables
from training.data.duplicates import drop_duplicates
from training.data.splits import load_splits, shown_truth
from training.data.targets import VOTE_WORDS

SIZE_48 = Preprocessing()


def test_folder_with_splits(tmp_path: Path) -> None:
    table = read_table(write_folder(tmp_path / "faces", count=2))
    assert len(table) == 24
    assert set(table.splits) == {"train", "val"}
    assert set(table.labels) == set(Emotion) - {Emotion.DISGUSTED, Emotion.CONTEMPTUOUS}
    assert not table.has_votes
    assert table.summary().loc["happy", "train"] == 2


def test_folder_without_splits_in_other_spellings(tmp_path: Path) -> None:
    for name in (" Happiness", "SAD"):
        (tmp_path / name).mkdir()
        Image.fromarray(toy_face("sad", 1)).save(tmp_path / name / "a.png")
    assert set(read_table(tmp_path).labels) == {Emotion.HAPPY, Emotion.SAD}


def test_csv_as_published(tmp_path: Path) -> None:
    table = read_table(write_csv(tmp_path / "icml_face_data.csv"))
    assert [table.labels[i] for i in (0, 2, 4)] == [Emotion.ANGRY, Emotion.DISGUSTED, Emotion.FEARFUL]
    assert table.splits[:2] == ("train", "val")
    crops = decode(table, SIZE_48).crops
    assert crops.shape == (14, 1, 48, 48)
    np.testing.assert_array_equal(crops[0, 0], toy_face("angry", 0))  # exact: grey stays grey


def test_parquet_with_votes(tmp_path: Path) -> None:
    counts: dict[str, list[int | None]] = {word: [0, None] for word in VOTE_WORDS} | {"fear": [10, None]}
    faces = [encode_png(toy_face("fear", i)) for i in range(2)]
    table = read_table(write_parquet(tmp_path / "some_publictest.parquet", faces, [6, 2], counts))
    assert table.labels == (Emotion.NEUTRAL, Emotion.FEARFUL)
    assert table.splits == ("val", "val")
    assert table.votes[:, VOTE_WORDS.index("fear")].tolist() == [10, 0]
    assert shown_truth(table) == [Emotion.FEARFUL, None]


def test_training_and_inference_see_the_same_bits(tmp_path: Path) -> None:
    path = tmp_path / "happy" / "a.png"
    path.parent.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    trained = decode(read_table(tmp_path), SIZE_48).crops
    used = prepare_crops([read_image(path)], SIZE_48)
    np.testing.assert_array_equal(trained, used)


def test_broken_picture_in_the_middle_is_named_and_left_out(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "faces", count=3)
    (folder / "train" / "happy" / "1.png").write_bytes(b"no picture")
    faces = decode(read_table(folder), SIZE_48)
    assert len(faces.table) == len(faces.crops) == 35
    assert len(faces.problems) == 1
    assert "1.png" in faces.problems[0]


def test_wide_pictures_are_cut_to_their_middle() -> None:
    from training.data.datasets import square_of  # noqa: PLC0415

    image = np.zeros((10, 30, 3), dtype=np.uint8)
    image[:, 10:20] = 200
    assert (square_of(image, 0.0) == 200).all()
    assert square_of(image, 0.2).shape == (6, 6, 3)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        pytest.param(lambda p: p / "missing", "no data at", id="missing"),
        pytest.param(lambda p: _write(p / "a.txt", "x"), "ending '.txt'", id="unknown form"),
        pytest.param(lambda p: _write(p / "a.csv", "emotion,pixels\n9,1 2 3 4\n"), "line 2.*0 to 6", id="csv code"),
        pytest.param(lambda p: _write(p / "a.csv", "emotion,pixels\n0,1 2 3\n"), "2304 pixels", id="csv short row"),
        pytest.param(lambda p: _write(p / "a.csv", "a,b\n1,2\n"), "no column emotion and pixels", id="csv columns"),
        pytest.param(lambda p: _write(p / "a.parquet", "x"), "cannot be read as parquet", id="no parquet"),
        pytest.param(lambda p: _class_folder(p, "grumpy"), "unknown expression 'grumpy'", id="unknown class"),
        pytest.param(lambda p: _empty(p), "no images", id="empty folder"),
    ],
)  # fmt: skip
def test_unusable_data_is_told_in_a_sentence(tmp_path: Path, make, expected: str) -> None:
    with pytest.raises(DatasetError, match=expected):
        read_table(make(tmp_path))


def _write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def _class_folder(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    Image.fromarray(toy_face("sad", 1)).save(folder / name / "a.png")
    return folder


def _empty(folder: Path) -> Path:
    (folder / "happy").mkdir()
    return folder


def test_parquet_numbers_need_names(tmp_path: Path) -> None:
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    images = pa.array([{"bytes": encode_png(toy_face("sad", 1)), "path": None}])
    pq.write_table(pa.table({"image": images, "label": pa.array([3])}), tmp_path / "a.parquet")
    with pytest.raises(DatasetError, match="without names"):
        read_table(tmp_path / "a.parquet")


def test_duplicates_leave_the_training_split(tmp_path: Path) -> None:
    plain, mirrored, resaved = (toy_face("happy", i) for i in range(3))
    twin = toy_face("sad", 9)
    pictures = [
        plain,
        mirrored[:, ::-1],
        np.clip(resaved.astype(int) + 3, 0, 255).astype(np.uint8),
        twin,
        twin,
    ]
    train = write_parquet(
        tmp_path / "a_train.parquet", [encode_png(p) for p in pictures], [WORDS.index(w) for w in
        ("happy", "happy", "happy", "sad", "neutral")],
    )  # fmt: skip
    val = write_parquet(
        tmp_path / "a_val.parquet", [encode_png(p) for p in (plain, mirrored, resaved)], [3, 3, 3]
    )
    faces, report = drop_duplicates(decode(read_tables([train, val]), SIZE_48))
    assert (report.across_splits, report.within_train, report.conflicting) == (3, 1, 1)
    assert faces.table.splits == ("train", "val", "val", "val")
    assert faces.table.labels[0] is None  # two labels for the same pixels: neither is known


def test_splits_are_drawn_alike_for_the_same_seed(tmp_path: Path) -> None:
    table = write_csv(tmp_path / "a.csv")
    lines = table.read_text().replace("PublicTest", "Training")
    table.write_text(lines)
    config = TrainConfig(data=(table,), val_share=0.5, keep_duplicates=True)
    first, second = load_splits(config, SIZE_48), load_splits(config, SIZE_48)
    assert first.val.table.names == second.val.table.names
    assert len(first.val.table) == 7
    assert not set(first.val.table.names) & set(first.train.table.names)


@pytest.mark.parametrize(
    ("words", "split", "expected"),
    [
        pytest.param(("happy",), None, "has only happy", id="one class"),
        pytest.param(("happy", "sad"), "val", "split 'val' is empty|no images", id="empty split"),
    ],
)
def test_splits_that_cannot_train_are_refused(tmp_path: Path, words, split, expected: str) -> None:
    folder = write_folder(tmp_path / "faces", words=words)
    if split:
        for path in (folder / split).rglob("*.png"):
            path.write_bytes(b"")
    with pytest.raises(DatasetError, match=expected):
        load_splits(TrainConfig(data=(folder,)), SIZE_48)


@pytest.mark.shared
def test_real_data_sets_are_read(shared: Path) -> None:
    table = read_table(shared / "data" / "fer2013_publictest.parquet")
    assert len(table) == 3589
    assert set(table.splits) == {"val"}
    assert table.has_votes
    crops = decode(table.take(range(100)), SIZE_48).crops
    assert 90 < crops.mean() < 160


PIXELS = " ".join(["7"] * 9)


@pytest.mark.parametrize("heading", ["set", "fold name", "Usagé"])
def test_splits_under_another_heading_are_kept(tmp_path, heading):
    """Rows that say PrivateTest were trained on."""
    words = ["Training", "PrivateTest"]
    rows = "".join(f"{code},{PIXELS},{word}\n" for code, word in enumerate(words))
    (tmp_path / "a.csv").write_text(f"emotion,pixels,{heading}\n{rows}", encoding="utf-8")
    assert read_table(tmp_path / "a.csv").splits == ("train", "test")
    images = [{"bytes": encode_png(toy_face("sad", i)), "path": None} for i in range(2)]
    table = pa.table({"image": images, "label": ["happy", "sad"], heading: words})
    pq.write_table(table, tmp_path / "a.parquet")
    assert read_table(tmp_path / "a.parquet").splits == ("train", "test")


def test_other_columns_are_no_splits(tmp_path):
    (tmp_path / "a.csv").write_text(f"emotion,pixels,note\n0,{PIXELS},test\n3,{PIXELS},by hand\n")
    assert read_table(tmp_path / "a.csv").splits == ("", "")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (f"emotion,Emotion ,pixels\n0,1,{PIXELS}\n", "line 1: 2 columns are named 'emotion'"),
        ("emotion,pixels" + ",x" * 100_000 + f"\n0,{PIXELS}\n", "line 1: expected at most 10000 columns"),
        (f"emotion,pixels,{'x' * 200_000}\n0,{PIXELS},\n", "line 1: expected the names of columns"),
        (f"emotion,pixels\n{'9' * 5000},{PIXELS}\n", rf"from 0 to 6, got {'9' * 40}$"),
        ("emotion,pixels,Usage\n", "no row below its header"),
        (
            f"emotion,pixels\n0,{PIXELS}\n,{PIXELS}\n",
            "line 3: expected the name of an expression, got nothing",
        ),
    ],
    ids=["a column twice", "columns", "a long name", "a long number", "no rows", "no label"],
)
def test_odd_tables_are_told(tmp_path, text, sentence):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DatasetError, match=sentence):
        read_table(tmp_path / "a.csv")
