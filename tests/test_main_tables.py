"""Tables of a folder: what they hold, what is read again, and what survives kills and full disks."""

import csv
import json
import os
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
from fer.folders.records import read_record
from fer.reports import FACE_COLUMNS

LANDMARK_COLUMNS = [name for name in FACE_COLUMNS if name.endswith(("_x", "_y"))]
OLD_FACE = {
    "box": [0, 0, 2, 2],
    "score": 0.5,
    "emotion": "sad",
    "confidence": 1.0,
    "probabilities": dict.fromkeys(SIX, 0.0) | {"sad": 1.0},
}
"""As the first release wrote it."""


def test_tables_hold_every_face_and_every_error(without_weights, pictures, tmp_path, capsys):
    table, copy = tmp_path / "faces.parquet", tmp_path / "faces.csv"
    assert main([str(pictures), "--parquet", str(table), "--csv", str(copy)]) == 1
    rows = pyarrow.parquet.read_table(table).to_pylist()
    assert [Path(row["path"]).name for row in rows] == ["a.png", "b.png", "c.png"]
    face, broken, empty = rows
    assert (face["face"], face["left"], face["emotion"], face["error"]) == (1, 16.0, "happy", None)
    assert "cannot be decoded as an image" in broken["error"]
    assert (empty["face"], empty["width"], empty["emotion"], empty["error"]) == (None, 40, None, None)
    with copy.open(newline="", encoding="utf-8") as file:
        assert [row["emotion"] for row in csv.DictReader(file)] == ["happy", "", ""]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["faces.csv", "faces.parquet", "pictures"]


def test_what_is_in_the_table_is_not_read_again(without_weights, pictures, tmp_path, capsys):
    table = tmp_path / "faces.parquet"
    main([str(pictures), "--parquet", str(table)])
    (pictures / "a.png").write_bytes(b"unreadable now, but known already")
    Image.fromarray(red_face(170)).save(pictures / "b.png")  # was unreadable: is tried again
    capsys.readouterr()
    assert main([str(pictures), "--recursive", "--parquet", str(table)]) == 0
    out, err = capsys.readouterr()
    assert "2 of 4 photos are already in the table" in err
    assert [line.split(":")[0] for line in out.splitlines()] == [
        str(pictures / "b.png"),
        str(pictures / "below" / "d.png"),
    ]
    rows = pyarrow.parquet.read_table(table).to_pylist()
    assert [Path(row["path"]).name for row in rows] == ["a.png", "b.png", "d.png", "c.png"]
    assert [row["error"] for row in rows] == [None] * 4


def test_a_table_of_an_earlier_version_is_continued(without_weights, pictures, tmp_path, capsys):
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


def test_a_table_of_other_models_is_not_continued(without_weights, pictures, tmp_path, capsys, monkeypatch):
    table = tmp_path / "faces.parquet"
    main([str(pictures / "a.png"), "--parquet", str(table)])
    other = fake_analyzer()
    monkeypatch.setattr(type(other.detector), "name", "another")
    capsys.readouterr()
    assert main([str(pictures / "c.png"), "--parquet", str(table)]) == 1
    assert "holds the results of other models" in capsys.readouterr().err


def test_a_journal_that_was_cut_off_is_continued(without_weights, pictures, tmp_path, capsys):
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


def shell(repository: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fer", *words]
    return subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.golden
@pytest.mark.slow
def test_workers_give_the_same_table_even_when_killed_half_way(astronaut, repository, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(60):
        Image.fromarray(astronaut[: 300 + 3 * number]).save(folder / f"{number:02}.png")
    (folder / "07.png").write_bytes(b"broken")
    unbroken = tmp_path / "one.parquet"
    assert shell(repository, str(folder), "--parquet", str(unbroken)).returncode == 1

    table, journal = tmp_path / "two.parquet", tmp_path / "two.parquet.partial.jsonl"
    command = [sys.executable, "-m", "fer", str(folder), "--parquet", str(table), "--workers", "2"]
    with subprocess.Popen(
        command, cwd=repository, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as job:
        until = time.monotonic() + 60
        while not (journal.exists() and journal.read_bytes().count(b"\n") > 10) and time.monotonic() < until:
            time.sleep(0.02)
        os.kill(job.pid, signal.SIGKILL)
    assert not table.exists()
    answer = shell(repository, str(folder), "--parquet", str(table), "--workers", "2")
    assert "are already in the table" in answer.stderr
    assert pyarrow.parquet.read_table(table).equals(pyarrow.parquet.read_table(unbroken))
