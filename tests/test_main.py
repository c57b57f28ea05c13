"""The command line end to end: arguments, output lines, tables, exit status."""

import contextlib
import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet
import pytest
from fakes import SIX, fake_analyzer, red_face
from PIL import Image

from fer.__main__ import main
from fer.folders.records import AnalyzerRecipe, read_record
from fer.reports import FACE_COLUMNS

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture
def fake(monkeypatch):
    """The commands with an analyzer that needs no weights."""
    monkeypatch.setattr(AnalyzerRecipe, "build", lambda recipe: fake_analyzer())


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with a face, no face, a broken picture in the middle, and one in a folder below."""
    folder = tmp_path / "pictures"
    (folder / "below").mkdir(parents=True)
    Image.fromarray(red_face(200)).save(folder / "a.png")
    (folder / "b.png").write_bytes(b"\x89PNG but not for long")
    Image.new("RGB", (40, 30)).save(folder / "c.png")
    Image.fromarray(red_face(255)).save(folder / "below" / "d.png")
    (folder / "notes.txt").write_text("not a picture, by its ending")
    return folder


def lines(text: str) -> list[str]:
    return text.splitlines()


def test_one_readable_line_a_face(fake, pictures, capsys):
    assert main([str(pictures / "a.png")]) == 0
    out, err = capsys.readouterr()
    assert lines(out) == [f"{pictures / 'a.png'}: happy 75 % (24×24 pixels at 16, 8)"]
    assert err == ""


def test_a_picture_without_a_face_is_no_error(fake, pictures, capsys):
    assert main([str(pictures / "c.png")]) == 0
    assert "no face found" in capsys.readouterr().out


def test_a_thorough_search_is_handed_on(fake, pictures, monkeypatch, capsys):
    asked = []
    load = AnalyzerRecipe.build
    monkeypatch.setattr(
        AnalyzerRecipe, "build", lambda recipe: (asked.append(recipe.thorough), load(recipe))[1]
    )
    assert main([str(pictures / "a.png"), "--thorough"]) == 0
    assert main([str(pictures / "a.png")]) == 0
    assert asked == [True, False]


def test_errors_stand_on_their_own_line_and_the_others_go_on(fake, pictures, capsys):
    assert main([str(pictures)]) == 1
    out, err = capsys.readouterr()
    assert [line.split(":")[0] for line in lines(out)] == [str(pictures / "a.png"), str(pictures / "c.png")]
    first, last = lines(err)
    assert "b.png is not an image" in first
    assert last == (
        f"{pictures}: 2 photos read, 1 could not be read, "
        "2 skipped (1 .txt, 1 subfolder (--recursive includes it))"
    )


LANDMARK_COLUMNS = [name for name in FACE_COLUMNS if name.endswith(("_x", "_y"))]
OLD_FACE = {
    "box": [0, 0, 2, 2],
    "score": 0.5,
    "emotion": "sad",
    "confidence": 1.0,
    "probabilities": dict.fromkeys(SIX, 0.0) | {"sad": 1.0},
}
"""As the first release wrote it."""


def test_json_is_one_object_a_line(fake, pictures, capsys):
    assert main([str(pictures), "--recursive", "--json"]) == 1
    records = [json.loads(line) for line in lines(capsys.readouterr().out)]
    assert [Path(record["path"]).name for record in records] == ["a.png", "b.png", "d.png", "c.png"]
    first, broken = records[0], records[1]
    assert (first["width"], first["height"]) == (64, 48)
    face = first["faces"][0]
    fixed = ["box", "score", "emotion", "confidence", "unsure", "other", "turned_away"]
    held = ["roll", "yaw", "pitch", "landmarks"]
    assert list(face) == [*fixed, *held, "probabilities"]
    assert (face["unsure"], face["other"], face["landmarks"]) == (False, 0.0, None)
    assert face["box"] == [16, 8, 40, 32]
    assert face["emotion"] == "happy"
    assert set(face["probabilities"]) == set(SIX)
    assert set(broken) == {"path", "error"}


def test_tables_hold_every_face_and_every_error(fake, pictures, tmp_path, capsys):
    table, copy = tmp_path / "faces.parquet", tmp_path / "faces.csv"
    assert main([str(pictures), "--parquet", str(table), "--csv", str(copy)]) == 1
    rows = pyarrow.parquet.read_table(table).to_pylist()
    assert [Path(row["path"]).name for row in rows] == ["a.png", "b.png", "c.png"]
    face, broken, empty = rows
    assert (face["face"], face["left"], face["emotion"], face["error"]) == (1, 16.0, "happy", None)
    assert "not an image" in broken["error"]
    assert (empty["face"], empty["width"], empty["emotion"], empty["error"]) == (None, 40, None, None)
    with copy.open(newline="", encoding="utf-8") as file:
        assert [row["emotion"] for row in csv.DictReader(file)] == ["happy", "", ""]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["faces.csv", "faces.parquet", "pictures"]


def test_what_is_in_the_table_is_not_read_again(fake, pictures, tmp_path, capsys):
    table = tmp_path / "faces.parquet"
    main([str(pictures), "--parquet", str(table)])
    (pictures / "a.png").write_bytes(b"unreadable now, but known already")
    Image.fromarray(red_face(170)).save(pictures / "b.png")  # was unreadable: is tried again
    capsys.readouterr()
    assert main([str(pictures), "--recursive", "--parquet", str(table)]) == 0
    out, err = capsys.readouterr()
    assert "2 of 4 photos are already in the table" in err
    assert [line.split(":")[0] for line in lines(out)] == [
        str(pictures / "b.png"),
        str(pictures / "below" / "d.png"),
    ]
    rows = pyarrow.parquet.read_table(table).to_pylist()
    assert [Path(row["path"]).name for row in rows] == ["a.png", "b.png", "d.png", "c.png"]
    assert [row["error"] for row in rows] == [None] * 4


def test_a_table_of_an_earlier_version_is_continued(fake, pictures, tmp_path, capsys):
    """It has fewer columns; so have the records of a journal that was left."""
    table, later = (
        tmp_path / "faces.parquet",
        {"unsure", "other", "turned_away", "roll", "yaw", "pitch", *LANDMARK_COLUMNS},
    )
    main([str(pictures / "a.png"), "--parquet", str(table)])
    written = pyarrow.parquet.read_table(table)
    pyarrow.parquet.write_table(written.drop_columns(sorted(later)), table)
    origin = written.schema.metadata[b"fer"].decode()
    record = {"path": "c.png", "width": 4, "height": 3, "faces": [OLD_FACE]}
    table.with_name(f"{table.name}.partial.jsonl").write_text(f"{origin}\n{json.dumps(record)}\n")
    Image.fromarray(red_face(190)).save(pictures / "new.png")
    capsys.readouterr()
    assert main([str(pictures / "a.png"), str(pictures / "new.png"), "--parquet", str(table)]) == 0
    assert "1 of 2 photos are already in the table" in capsys.readouterr().err
    resumed = pyarrow.parquet.read_table(table)
    assert resumed.schema == written.schema
    cells = {Path(row["path"]).name: (row["emotion"], row["unsure"]) for row in resumed.to_pylist()}
    assert cells == {"a.png": ("happy", None), "c.png": ("sad", None), "new.png": ("happy", False)}


def test_a_table_of_other_models_is_not_continued(fake, pictures, tmp_path, capsys, monkeypatch):
    table = tmp_path / "faces.parquet"
    main([str(pictures / "a.png"), "--parquet", str(table)])
    other = fake_analyzer()
    monkeypatch.setattr(type(other.detector), "name", "another")
    capsys.readouterr()
    assert main([str(pictures / "c.png"), "--parquet", str(table)]) == 1
    assert "holds the results of other models" in capsys.readouterr().err


def test_a_journal_that_was_cut_off_is_continued(fake, pictures, tmp_path, capsys):
    """A kill leaves whole lines, then half a line."""
    whole, table = tmp_path / "whole.parquet", tmp_path / "faces.parquet"
    main([str(pictures), "--parquet", str(whole)])
    journal = tmp_path / "faces.parquet.partial.jsonl"
    interrupt_after(2, pictures, table)
    assert journal.read_text().count("\n") == 3
    assert not table.exists()
    with journal.open("a") as file:
        file.write('{"path": "half a li')
    capsys.readouterr()
    main([str(pictures), "--parquet", str(table)])
    assert "1 of 3 photos are already in the table" in capsys.readouterr().err  # of two, one was an error
    assert pyarrow.parquet.read_table(table).equals(pyarrow.parquet.read_table(whole))
    assert not journal.exists()


def test_a_full_disk_loses_nothing_and_says_so(astronaut, repository, tmp_path):
    """A limit on the size of files stands for the disk: the write that goes beyond it fails."""
    resource = pytest.importorskip("resource")
    folder, table, whole = tmp_path / "pictures", tmp_path / "faces.parquet", tmp_path / "whole.parquet"
    folder.mkdir()
    for number in range(6):
        Image.fromarray(astronaut[::2, ::2]).save(folder / f"{number}.jpg")

    def run(output: Path, limit: int = resource.RLIM_INFINITY) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "fer", str(folder), "--parquet", str(output)],
            cwd=repository,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY)),
        )

    stopped = run(table, 1500)
    assert stopped.returncode == 1
    assert "cannot grow" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert not table.exists()
    assert run(whole).returncode == 0
    resumed = run(table)
    assert resumed.returncode == 0
    assert "of 6 photos are already in the table" in resumed.stderr
    assert pyarrow.parquet.read_table(table).equals(pyarrow.parquet.read_table(whole))


def interrupt_after(count: int, pictures: Path, table: Path) -> None:
    """Run until so many pictures were read, then press Ctrl-C."""
    patch = pytest.MonkeyPatch()
    seen = []

    def read(analyzer, path):
        if len(seen) == count:
            raise KeyboardInterrupt
        seen.append(path)
        return read_record(analyzer, path)

    patch.setattr("fer.folders.records.read_record", read)
    try:
        assert main([str(pictures), "--parquet", str(table)]) == 130
    finally:
        patch.undo()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        pytest.param([], "expected a photo, a folder or a video", id="nothing"),
        pytest.param(["missing.jpg"], "missing.jpg does not exist", id="missing file"),
        pytest.param(["pictures/below", "--workers", "0"], "at least one worker", id="no workers"),
        pytest.param(["empty"], "empty contains no photos", id="folder without pictures"),
        pytest.param(
            ["pictures/a.png", "--csv", "no/such/folder/x.csv"], "cannot be written", id="unwritable"
        ),
        pytest.param(
            ["pictures/a.png", "--csv", "empty"], "cannot be written|is a folder", id="a folder as table"
        ),
        pytest.param(["pictures/a.png", "--parquet", "pictures/a.png"], "ends in .parquet", id="no table"),
        pytest.param(["fetch", "yunet"], "yunet was not fetched", id="no network"),
    ],
)
def test_bad_words_end_in_one_sentence(words, sentence, fake, pictures, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("urllib.request.urlopen", no_network)
    (tmp_path / "empty").mkdir()
    before = (pictures / "a.png").read_bytes()
    assert main(words) == 1
    err = capsys.readouterr().err
    assert len(lines(err)) == 1
    assert re.search(sentence, err), err
    assert (pictures / "a.png").read_bytes() == before


def no_network(*words, **named):
    raise OSError("no network in a test")


def test_unknown_weights_are_named(pictures, capsys):
    assert main([str(pictures / "a.png"), "--weights", "no.such"]) == 1
    assert "no weights named 'no.such'" in capsys.readouterr().err


def test_unknown_detector_is_named(pictures, capsys):
    assert main([str(pictures / "a.png"), "--detector", "eagle"]) == 1
    assert "no detector named 'eagle'" in capsys.readouterr().err


def shell(*words: str, **settings) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "fer", *words],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **settings,
    )


def test_help_lists_the_options():
    answer = shell("--help")
    assert answer.returncode == 0
    for option in ("--weights", "--detector", "--json", "--csv", "--parquet", "--recursive", "--workers"):
        assert option in answer.stdout


def test_unknown_option_is_a_usage_error():
    answer = shell("--frobnicate")
    assert answer.returncode == 2
    assert "frobnicate" in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.golden
def test_the_astronaut_is_happy(astronaut, tmp_path):
    path = tmp_path / "astronaut.jpg"
    Image.fromarray(astronaut).save(path, quality=95)
    answer = shell(str(path), "--json")
    assert answer.returncode == 0, answer.stderr
    (face,) = json.loads(answer.stdout)["faces"]
    assert face["emotion"] == "happy"
    assert face["confidence"] > 0.6
    assert answer.stderr == ""  # no progress bar where there is no terminal


@pytest.mark.golden
@pytest.mark.slow
def test_workers_give_the_same_table_even_when_killed_half_way(astronaut, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(60):
        Image.fromarray(astronaut[: 300 + 3 * number]).save(folder / f"{number:02}.png")
    (folder / "07.png").write_bytes(b"broken")
    unbroken = tmp_path / "one.parquet"
    assert shell(str(folder), "--parquet", str(unbroken)).returncode == 1

    table, journal = tmp_path / "two.parquet", tmp_path / "two.parquet.partial.jsonl"
    command = [sys.executable, "-m", "fer", str(folder), "--parquet", str(table), "--workers", "2"]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as job:
        until = time.monotonic() + 60
        while not (journal.exists() and journal.read_bytes().count(b"\n") > 10) and time.monotonic() < until:
            time.sleep(0.02)
        os.kill(job.pid, signal.SIGKILL)
    assert not table.exists()
    answer = shell(str(folder), "--parquet", str(table), "--workers", "2")
    assert "are already in the table" in answer.stderr
    assert pyarrow.parquet.read_table(table).equals(pyarrow.parquet.read_table(unbroken))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
@pytest.mark.parametrize("words", [["--json"], []], ids=["json", "lines"])
def test_a_full_disk_under_the_printed_lines_is_a_sentence(words, fake, pictures, monkeypatch, capsys):
    full = Path("/dev/full").open("w")  # noqa: SIM115 - closing it fails, too
    monkeypatch.setattr(sys, "stdout", full)
    assert main([str(pictures / "a.png"), *words]) == 1
    sys.stdout.close()
    with contextlib.suppress(OSError):
        full.close()
    assert "the output cannot be written (no space left)" in capsys.readouterr().err
