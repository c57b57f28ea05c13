"""Simulated environments: folders, consoles, locales, time zones."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from datetime import datetime, timedelta

import pandas as pd
import pytest
from PIL import Image

from training.run_files import RunState
from training.runs import RunWriter, new_run_folder, read_run

CONSOLES = [
    pytest.param({"PYTHONIOENCODING": "cp1251"}, id="Cyrillic Windows"),
    pytest.param({"PYTHONIOENCODING": "cp437"}, id="old Windows console"),
    pytest.param({"PYTHONIOENCODING": "cp932"}, id="Japanese Windows"),
    pytest.param({"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}, id="no locale"),
]
NAME = "Äpfel ж 日本 – 1.png"


@pytest.fixture
def photos(tmp_path, astronaut):
    folder = tmp_path / "Eigene Bilder (2)" / "Фото и имена"
    folder.mkdir(parents=True)
    Image.fromarray(astronaut).save(folder / NAME)
    return folder


def run(repository, words, **environment):
    kept = {name: value for name, value in os.environ.items() if name not in ("LC_ALL", "LANG", "PYTHONUTF8")}
    command = [sys.executable, *words]
    return subprocess.run(
        command, check=False, cwd=repository, env=kept | environment, capture_output=True, timeout=120
    )


@pytest.mark.golden
@pytest.mark.parametrize("console", CONSOLES)
def test_names_that_the_console_lacks_stop_nothing(console, photos, repository):
    table = photos / "Таблица – a b.csv"
    answer = run(repository, ["-m", "fer", str(photos), "--csv", str(table)], **console)
    assert b"Traceback" not in answer.stderr
    assert (answer.returncode, len(pd.read_csv(table))) == (0, 1)
    if "LC_ALL" not in console:  # there Python reads names as bytes, which are written escaped
        assert NAME in table.read_text("utf-8")

    missing = run(repository, ["-m", "fer", str(photos / "нет.png")], **console)
    assert (missing.returncode, b"Traceback" in missing.stderr) == (1, False)


@pytest.mark.golden
@pytest.mark.parametrize("console", CONSOLES)
def test_help_and_json_are_printed_on_every_console(console, photos, repository):
    shown = run(repository, ["-m", "fer", "--help"], **console)
    assert (shown.returncode, shown.stderr) == (0, b"")
    answer = run(repository, ["-m", "fer", str(photos / NAME), "--json"], **console)
    assert json.loads(answer.stdout)["faces"], answer.stderr


@pytest.mark.golden
def test_a_long_path_is_read_and_written(tmp_path, astronaut, repository):
    folder = tmp_path
    for number in range(15):
        folder = folder / f"{number:02} {'x' * 57}"
    folder.mkdir(parents=True)
    assert len(str(folder)) > 900
    Image.fromarray(astronaut).save(folder / f"{'n' * 240}.png")
    words = ["-m", "fer", str(folder), "--parquet", str(folder / "faces.parquet")]
    assert run(repository, words).returncode == 0
    assert len(pd.read_parquet(folder / "faces.parquet")) == 1


@pytest.mark.golden
@pytest.mark.skipif(sys.platform == "win32", reason="makes a symbolic link")
def test_the_page_starts_in_a_folder_with_any_name(tmp_path, repository):
    here = tmp_path / "Программы и файлы (x86)"
    here.symlink_to(repository, target_is_directory=True)
    environment = {**os.environ, "PYTHONIOENCODING": "cp1251", "TZ": "Asia/Kathmandu"}
    with subprocess.Popen(
        [sys.executable, str(here / "app.py"), "--port", "0"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="cp1251",
    ) as page:
        try:
            line = page.stdout.readline()
            address = line.split("open at ")[1].split(" ")[0]
            with urllib.request.urlopen(f"{address}/kv/assets/icon.svg", timeout=30) as answer:
                assert answer.read().startswith(b"<svg")
            with urllib.request.urlopen(f"{address}/kv/choices", timeout=30) as answer:
                assert json.load(answer)["weights"]
        finally:
            page.terminate()
        assert "Traceback" not in page.stderr.read()


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="this system cannot change its time zone for a test")
@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "America/St_Johns", "UTC"])
def test_runs_are_written_and_read_across_time_zones(zone, tmp_path, monkeypatch):
    """Written in one zone, read in another: the times are the same, the run is not taken for a dead one."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        folder = new_run_folder(tmp_path, "kv_fast")
        with RunWriter(folder, {"architecture": "kv_fast"}, {}, 1):
            monkeypatch.setenv("TZ", "Asia/Kathmandu")
            time.tzset()
            written = read_run(folder)
            assert written.state is RunState.RUNNING
            started = datetime.fromisoformat(written.status["started_at"])
            assert abs(datetime.now(started.tzinfo) - started) < timedelta(minutes=1)
            assert started.utcoffset() == timedelta(0)
            assert folder.name.startswith(f"{started:%Y%m%d-%H%M}"[:-1])
    finally:
        monkeypatch.undo()
        time.tzset()
