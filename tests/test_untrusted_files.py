"""Untrusted cards, runs, data sets and tables: one error sentence each, never another exception."""

import io
import json
import re
import shutil
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from PIL import Image
from toy_runs import write_toy_run

from dashboard.mistakes import read_mistakes
from dashboard.shown_runs import all_runs, figures
from fer.folders.table import _for_spreadsheets
from fer.images import UnreadableImageError, read_image
from fer.json_values import parse_json
from fer.model_card import UnknownModelError, load_card
from fer.model_shelf import list_shipped_weights, weights_shelf
from fer.printable import plain_cell, plain_cells, plain_markdown, plain_table
from training.data.datasets import DatasetError, read_table
from training.run_files import MISTAKES_FILE, RunState
from training.runs import RunStore


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"[" * 100_000, id="deeper than Python can"),
        pytest.param(b"[" * 100 + b"]" * 100, id="deeper than needed"),
        pytest.param(b'{"a": ' * 80 + b"1" + b"}" * 80, id="objects"),
        pytest.param(b'"\xff"', id="no UTF-8"),
        pytest.param(b"1" + b"0" * 400, id="a number beyond every type"),
        pytest.param(b"1" * 5000, id="a number that Python does not read"),
    ],
)
def test_json_has_bounds(text):
    with pytest.raises(ValueError, match=r"expected|decode|limit"):
        parse_json(text)


def test_json_of_our_depth_is_read_and_nan_is_nothing():
    assert parse_json(b'{"a": [[[[{"b": [1, NaN]}]]]]}') == {"a": [[[[{"b": [1, None]}]]]]}


@pytest.fixture
def card(tmp_path):
    """A folder with a right card as a dictionary, and a function that writes it back changed."""
    source = weights_shelf() / list_shipped_weights()[0]
    data = json.loads((source / "card.json").read_text())

    def write(change):
        change(data)
        (tmp_path / "card.json").write_text(json.dumps(data))
        return tmp_path

    return write


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda card: card["preprocessing"].update(size=48.5),
            "a whole number in preprocessing.size, got 48.5",
        ),
        (
            lambda card: card["preprocessing"].update(size=True),
            "a whole number in preprocessing.size, got True",
        ),
        (
            lambda card: card["preprocessing"].update(colour=["rgb"]),
            "one of grey, rgb in preprocessing.colour",
        ),
        (lambda card: card.update(files=[]), "an object in files, got a list"),
        (lambda card: card.update(files={"model.onnx": 3}), "text in files.model.onnx, got 3"),
        (
            lambda card: card["heads"][0].update(other_above=None),
            r"a number in heads\[0\].other_above, got None",
        ),
        (lambda card: card["heads"][0].update(labels="happy"), r"a list in heads\[0\].labels, got 'happy'"),
        (lambda card: card["heads"][0].update(temperature="1"), r"a number in heads\[0\].temperature"),
        (lambda card: card.update(heads={}), "a list in heads, got an object"),
        (lambda card: card.update(heads=[3]), r"an object in heads\[0\], got 3"),
        (lambda card: card.update(data_sets=["x"]), r"an object in data_sets\[0\], got 'x'"),
        (lambda card: card.update(mirror_average=1), "true or false in mirror_average, got 1"),
        (lambda card: card.update(inner_view=10**18 * 10**18), "64 bits"),
        (lambda card: card.update(description=None), "text in description, got None"),
        (lambda card: card.update(motto="x"), "no field motto"),
        (lambda card: card.pop("heads"), "a field heads, got none"),
    ],
)
def test_a_card_of_wrong_types_names_the_field(card, change, words):
    with pytest.raises(UnknownModelError, match=words):
        load_card(card(change))


@pytest.mark.parametrize("text", [b"[" * 100_000, b"3", b"[]", b"null", b"\xff\xfe", b""])
def test_a_card_that_is_none_is_said(tmp_path, text):
    (tmp_path / "card.json").write_bytes(text)
    with pytest.raises(UnknownModelError, match="is not a valid card"):
        load_card(tmp_path)


def test_every_shipped_card_passes():
    assert all(load_card(weights_shelf() / name).name == name for name in list_shipped_weights())


STATUS = {"state": "finished", "updated_at": "2026-01-01T00:00:00+00:00", "epoch": 1, "epoch_count": 2}


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("config.json", b"[" * 100_000, "levels of nesting"),
        ("config.json", b'{"architecture": ["kv_fast"]}', "text in architecture of config.json, got list"),
        ("config.json", b'{"data": {"a": 1}}', "a list or text in data of config.json, got dict"),
        ("config.json", b'{"epochs": "ten"}', "a number in epochs of config.json, got str"),
        ("status.json", json.dumps(STATUS | {"step": "1"}).encode(), "a number in step of status.json"),
        ("status.json", json.dumps(STATUS | {"state": {}}).encode(), "text in state of status.json"),
        ("status.json", json.dumps(STATUS | {"epoch": 10**400}).encode(), "64 bits"),
        ("status.json", b'{"state": "queued", "updated_at": "0001-01-01T00:00:00+23:59"}', None),
        ("status.json", b'{"state": "running", "step": 1, "step_count": NaN, "epoch_count": NaN}', None),
        ("epochs.jsonl", b'{"epoch": "one"}\n', "a number in epoch of epochs.jsonl"),
        ("epochs.jsonl", b'{"epoch": 1, "seconds": [3]}\n', "a number in seconds of epochs.jsonl"),
        ("epochs.jsonl", b"[" * 100_000 + b"\n", "epochs.jsonl"),
        ("report.json", b'{"heads": [1]}', "an object in heads of report.json"),
    ],
)
def test_one_bad_run_leaves_the_others_readable(tmp_path, name, text, words):
    write_toy_run(tmp_path / "good", 3)
    shutil.copytree(tmp_path / "good", tmp_path / "bad")
    (tmp_path / "bad" / name).write_bytes(text)
    runs = {shown.name: shown.run for shown in all_runs(RunStore(tmp_path))}
    assert len(runs["good"].epochs) == 3
    figures(runs["bad"])
    if words:
        assert runs["bad"].state is RunState.UNREADABLE
        assert words in runs["bad"].problem


@pytest.mark.parametrize("kind", ["text", "half", "damaged", "one array", "objects", "flat"])
def test_mistakes_that_cannot_be_read_are_a_sentence(tmp_path, kind):
    path = tmp_path / MISTAKES_FILE
    words = {name: np.array(["x"]) for name in ("target", "predicted", "name")}
    crops = np.zeros((1, 1, 48, 48), np.uint8)
    np.savez_compressed(path, crops=crops, confidence=np.array([0.5]), **words)
    whole = path.read_bytes()
    if kind == "text":
        path.write_text("Dear reader")
    elif kind == "half":
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == "damaged":
        at = whole.index(b"crops.npy") + 60
        path.write_bytes(whole[:at] + bytes(255 - byte for byte in whole[at : at + 20]) + whole[at + 20 :])
    elif kind == "one array":
        with path.open("wb") as file:
            np.save(file, crops)
    elif kind == "objects":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("crops.npy", b"\x93NUMPY\x01\x00\x10\x00{'descr': '|O'} \n")
    else:
        np.savez(path, crops=np.zeros(3), confidence=np.array([0.5]), **words)
    with pytest.raises(ValueError, match="cannot be read"):
        read_mistakes(tmp_path)


def parquet(path, images, labels=None):
    struct = pa.array(images, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    pq.write_table(pa.table({"image": struct, "label": labels or ["happy"] * len(images)}), path)
    return path


@pytest.mark.parametrize("link", ["absolute", "parents", "symbolic link", "folder", "zero byte"])
def test_a_parquet_never_names_a_file_outside_its_folder(tmp_path, link):
    (tmp_path / "set").mkdir()
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"secret")
    (tmp_path / "set" / "link.png").symlink_to(secret)
    (tmp_path / "set" / "inner").mkdir()
    name = {
        "absolute": str(secret),
        "parents": "../secret.png",
        "symbolic link": "link.png",
        "folder": "inner",
        "zero byte": "a\0b",
    }[link]
    path = parquet(tmp_path / "set" / "x.parquet", [{"bytes": None, "path": name}])
    with pytest.raises(DatasetError, match="row 0: expected an encoded image in 'image', got none"):
        read_table(path)
    missing = parquet(tmp_path / "set" / "x.parquet", [{"bytes": None, "path": "/no/such/file"}])
    with pytest.raises(DatasetError, match="row 0: expected an encoded image in 'image', got none"):
        read_table(missing)  # the same words: nobody learns what exists here


def test_a_parquet_may_name_its_neighbours(tmp_path):
    (tmp_path / "a.png").write_bytes(b"x")
    table = read_table(parquet(tmp_path / "x.parquet", [{"bytes": None, "path": "a.png"}]))
    assert [path.name for path in table.pictures] == ["a.png"]


@pytest.mark.parametrize("use_dictionary", [True, False])
def test_a_parquet_bomb_is_refused_by_its_size(tmp_path, use_dictionary):
    path = tmp_path / "x.parquet"
    picture = pa.array([{"bytes": b"\0" * 1_000_000, "path": None}] * 400)
    table = pa.table({"image": picture, "label": ["happy"] * 400})
    pq.write_table(table, path, compression="zstd", use_dictionary=use_dictionary)
    assert path.stat().st_size < 1_000_000
    with pytest.raises(DatasetError, match=r"unpacks to .* MB; at most 100 MB"):
        read_table(path)


def test_many_empty_rows_are_refused_by_their_number(tmp_path, monkeypatch):
    monkeypatch.setattr("training.data.parquet_files.MAX_ROW_COUNT", 10)
    path = parquet(tmp_path / "x.parquet", [{"bytes": b"x", "path": None}] * 11)
    with pytest.raises(DatasetError, match="has 11 rows; at most 10"):
        read_table(path)


def test_a_parquet_of_text_that_is_no_utf8_is_a_sentence(tmp_path):
    bad = pa.StringArray.from_buffers(1, pa.py_buffer(np.array([0, 2], np.int32)), pa.py_buffer(b"\xff\xfe"))
    picture = pa.array([{"bytes": b"x", "path": None}])
    pq.write_table(pa.table({"image": picture, "label": bad}), tmp_path / "x.parquet")
    with pytest.raises(DatasetError, match="cannot be read as parquet"):
        read_table(tmp_path / "x.parquet")


@pytest.mark.parametrize(
    "text",
    [
        "![spy](https://evil.example/x.png)",
        "![spy][ref]\n\n[ref]: https://evil.example/x.png",
        '<img src="https://evil.example/x.png">',
        "<script>alert(1)</script>",
        "[click](javascript:alert(1))",
        "[click](JavaScript&colon;alert(1))",
        "[click](data:text/html;base64,xx)",
    ],
)
def test_a_model_card_loads_and_runs_nothing(text):
    plain = plain_markdown(f"before {text} after")
    assert plain.startswith("before ")
    assert plain.endswith(" after")
    assert "![" not in plain
    assert "<" not in plain
    assert not re.search(r"(?i)(javascript|data)(:|&colon;)", plain)


def test_a_model_card_keeps_its_words():
    text = "# Title\n\n**bold** [link](https://example.org) | a | b |\n\n`code` and 100 % data."
    assert plain_markdown(text) == text


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("EPS", "is a drawing such as SVG or EPS, not an image; save it as PNG"),
        ("ICO", "is an icon, not a photo; save it as PNG"),
        ("PCX", "cannot be decoded as an image"),
        ("SPIDER", "cannot be decoded as an image"),
    ],
)
def test_decoders_that_nobody_promised_are_not_reached(kind, sentence):
    buffer = io.BytesIO()
    Image.new("F" if kind == "SPIDER" else "RGB", (32, 32)).save(buffer, kind)
    with pytest.raises(UnreadableImageError, match=sentence):
        read_image(buffer.getvalue())


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1"])
def test_text_is_never_a_formula(text):
    assert plain_cell(text) == f"'{text}"


@pytest.mark.parametrize("value", ["a=b.jpg", "", -1.5, None, 3])
def test_other_cells_stay_as_they_are(value):
    assert plain_cells({"cell": value}) == {"cell": value}


def test_every_csv_writer_neutralises_names(tmp_path):
    name = '=HYPERLINK("http://x").jpg'
    pyarrow.csv.write_csv(_for_spreadsheets(pa.table({"path": [name], "left": [-1.5]})), tmp_path / "a.csv")
    frame = pd.read_csv(tmp_path / "a.csv")
    assert frame["path"][0] == f"'{name}"
    assert frame["left"][0] == -1.5
    assert plain_table(pd.DataFrame({"=x": [name]})).to_csv(index=False).startswith("'=x\n")
