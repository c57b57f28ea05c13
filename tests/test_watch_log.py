"""The watch log under concurrent access: readers, writers, locks, deletion, a full disk, kills."""

import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from fer.emotions import SIX_EMOTIONS
from fer.faces import Box, Detection, Face, Prediction
from fer.watch.log import LogError, WatchLog

ORIGIN = {"source": "door", "weights": "fake.red", "detector": "patch"}
REPOSITORY = Path(__file__).resolve().parent.parent
SHARES = np.full(6, 1 / 6, np.float32)
FACE = Face(Detection(Box(1, 2, 30, 40), 0.9), Prediction(SIX_EMOTIONS, SHARES), 1)

HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute(sys.argv[2])
connection.execute("SELECT COUNT(*) FROM faces").fetchone()
print("ready", flush=True)
sys.stdin.readline()
"""


class Other:
    """Another program that has the log open in a transaction until it is let go."""

    def __init__(self, path, begin):
        command = [sys.executable, "-c", HOLDER, str(path), begin]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self._process.stdout.readline() == "ready\n", self._process.stderr.read()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.communicate("\n", timeout=20)


def open_log(path, **settings):
    return WatchLog(path, SIX_EMOTIONS, ORIGIN, **settings)


def write(log, *times):
    """One look at each time, written at once."""
    for time_s in times:
        log._committed_s = 0.0
        log.add_faces([FACE], float(time_s))


def times_in(path):
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute("SELECT time_s FROM faces ORDER BY time_s")]


def put_aside(folder):
    return sorted(folder.glob("a.*.sqlite"))


def all_times(folder):
    """Of every file that is a log, as somebody who looks for all rows reads them."""
    return sorted(time_s for path in folder.glob("a*.sqlite") for time_s in times_in(path))


@pytest.mark.parametrize("begin", ["BEGIN", "PRAGMA query_only = 1"], ids=["in a transaction", "only open"])
def test_rows_put_aside_under_a_readers_eyes_are_all_there(tmp_path, begin):
    path = tmp_path / "a.sqlite"
    with open_log(path) as log:
        write(log, 1, 2, 3)
        with Other(path, begin):
            log.rotate()
            write(log, 4)
            (aside,) = put_aside(tmp_path)
            assert times_in(aside) == [1, 2, 3]
            assert times_in(path) == [4]
            assert log.problem is None
    assert all_times(tmp_path) == [1, 2, 3, 4]
    assert [file.name for file in tmp_path.iterdir() if "part" in file.name or "-" in file.name] == []


def test_a_file_put_aside_says_who_watched(tmp_path):
    with open_log(tmp_path / "a.sqlite") as log:
        write(log, 1)
        log.rotate()
        write(log, 2)
    for path in tmp_path.glob("a*.sqlite"):
        with closing(sqlite3.connect(path)) as connection:
            joined = "SELECT source, look_count FROM runs JOIN faces ON faces.run = runs.id"
            assert connection.execute(joined).fetchall() == [("door", 1)]


def test_another_programs_lock_ends_no_watch(tmp_path):
    path = tmp_path / "a.sqlite"
    with open_log(path) as log:
        write(log, 1)
        with Other(path, "BEGIN IMMEDIATE"):
            start_s = time.monotonic()
            write(log, 2, 3)
            log.rotate()
            log.begin_gap(4.0, "cable")
            assert time.monotonic() - start_s < 3, "looks are not held up"
            assert "kept in memory" in log.problem or "cannot be rotated yet" in log.problem
            assert times_in(path) == [1]
        log.end_gap(5.0)
        assert log.problem is None
        assert times_in(path) == [1, 2, 3]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT start_s, end_s, reason FROM gaps").fetchall() == [(4, 5, "cable")]
    assert put_aside(tmp_path) == []


def test_a_lock_that_stays_until_the_end_costs_no_row(tmp_path, monkeypatch):
    monkeypatch.setattr("fer.watch.log._OPEN_WAIT_S", 0.3)
    path = tmp_path / "a.sqlite"
    log = open_log(path)
    write(log, 1)
    with Other(path, "BEGIN IMMEDIATE"):
        write(log, 2)
        log.close()
    assert times_in(path) == [1]
    assert all_times(tmp_path) == [1, 2]


def test_memory_is_bounded_under_a_long_lock(tmp_path, monkeypatch):
    monkeypatch.setattr("fer.watch.log._MOST_UNWRITTEN", 4)
    path = tmp_path / "a.sqlite"
    with open_log(path) as log, Other(path, "BEGIN IMMEDIATE"):
        write(log, 1, 2, 3)
        assert [times_in(aside) for aside in put_aside(tmp_path)] == [[1, 2, 3]]
    assert all_times(tmp_path) == [1, 2, 3]


def test_two_watches_share_a_log_that_is_put_aside(tmp_path):
    path = tmp_path / "a.sqlite"
    with open_log(path) as first, open_log(path) as second:
        second.begin_gap(0.5, "cable")
        write(first, 1)
        write(second, 2)
        first.rotate()
        write(first, 3)
        second.end_gap(3.5)
        write(second, 4)
    assert all_times(tmp_path) == [1, 2, 3, 4]
    with closing(sqlite3.connect(path)) as connection:
        runs = connection.execute("SELECT look_count FROM runs ORDER BY id").fetchall()
        assert runs == [(1,), (1,)]
        assert connection.execute("SELECT start_s, end_s, reason FROM gaps").fetchall() == [
            (0.5, 3.5, "cable")
        ]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows deletes no open files")
@pytest.mark.parametrize("is_read", [False, True], ids=["alone", "while it is read"])
def test_a_deleted_log_is_begun_anew(tmp_path, is_read):
    path = tmp_path / "a.sqlite"
    with open_log(path) as log:
        write(log, 1)
        if is_read:
            with Other(path, "BEGIN"):
                path.unlink()
                write(log, 2, 3)
                assert times_in(path) == [2, 3]
        else:
            path.unlink()
            write(log, 2, 3)
        assert times_in(path) == [2, 3]
        log.rotate()
    assert all_times(tmp_path) == [2, 3]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows renames no open files")
def test_a_renamed_log_takes_its_rows_along(tmp_path):
    path = tmp_path / "a.sqlite"
    with open_log(path) as log:
        write(log, 1, 2)
        path.rename(tmp_path / "moved.sqlite")
        write(log, 3)
    assert times_in(tmp_path / "moved.sqlite") == [1, 2]
    assert times_in(path) == [3]


def test_a_folder_that_is_gone_for_a_while_costs_no_row(tmp_path):
    (tmp_path / "disk").mkdir()
    path = tmp_path / "disk" / "a.sqlite"
    with open_log(path) as log:
        write(log, 1)
        (tmp_path / "disk").rename(tmp_path / "unplugged")
        write(log, 2)
        assert "kept in memory" in log.problem
        (tmp_path / "unplugged").rename(tmp_path / "disk")
        write(log, 3)
        assert log.problem is None
    assert times_in(path) == [1, 2, 3]


def test_a_full_disk_is_waited_for(tmp_path):
    path = tmp_path / "a.sqlite"
    with open_log(path) as log:
        write(log, 1)
        pages = log._connection.execute("PRAGMA page_count").fetchone()[0]
        log._connection.execute(f"PRAGMA max_page_count = {pages}")
        write(log, *range(2, 200))
        assert "full" in log.problem
        log._connection.execute("PRAGMA max_page_count = 100000")
        write(log, 200)
        assert log.problem is None
    assert times_in(path) == list(range(1, 201))


def test_a_disk_too_full_for_the_copy_leaves_the_log_as_it_was(tmp_path):
    resource = pytest.importorskip("resource")
    path = tmp_path / "a.sqlite"
    with open_log(path) as log:
        write(log, *range(200))
        log._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (16_384, limits[1]))  # no file may grow beyond it
        try:
            log.rotate()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert "cannot be rotated yet" in log.problem
        assert sorted(file.name for file in tmp_path.iterdir() if "2" in file.name) == []
        write(log, 200)
    assert all_times(tmp_path) == list(range(201))


def test_a_damaged_log_is_said_and_costs_no_row(tmp_path):
    path = tmp_path / "a.sqlite"
    with open_log(path) as log:
        write(log, 1)
        log._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        log._connection.execute("DROP TABLE faces")
        with pytest.raises(LogError, match=r"the last rows are in a\..*\.sqlite"):
            write(log, 2)
    (aside,) = put_aside(tmp_path)
    assert times_in(aside) == [2]


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE gaps (a)",
        "CREATE TABLE alerts (a)",
        "CREATE VIEW gaps AS SELECT 1 AS a",
        "CREATE TRIGGER t BEFORE INSERT ON faces BEGIN SELECT raise(ABORT, 'no'); END",
    ],
)
def test_a_log_that_would_fail_later_is_refused_at_once(tmp_path, statement):
    path = tmp_path / "log.sqlite"
    if "TRIGGER" in statement:
        open_log(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
    with pytest.raises(LogError, match="cannot be used as a log"):
        open_log(path)


def test_a_large_log_is_put_aside_once_and_not_again_at_once(tmp_path):
    path = tmp_path / "a.sqlite"
    with open_log(path, rotate_bytes=25_000) as log, Other(path, "BEGIN"):  # a reader keeps the file large
        write(log, *range(300))
        for _ in range(2):
            log._check_size_s = 0.0
            write(log, 300)
        assert len(put_aside(tmp_path)) == 1
    assert len(all_times(tmp_path)) == 302


@pytest.mark.parametrize("name", ["a[1].sqlite", "a.b.sqlite", "a"])
def test_odd_names_are_counted_and_deleted_too(tmp_path, name):
    with open_log(tmp_path / name, keep_count=2) as log:
        for time_s in range(4):
            write(log, time_s)
            log.rotate()
    assert len([path for path in tmp_path.iterdir() if path.name != name]) == 2


ROTATION = REPOSITORY / "fer" / "watch" / "log_rotation.py"
KILLED = """
import importlib.util, os, sqlite3, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("log_rotation", sys.argv[1])
log_rotation = importlib.util.module_from_spec(spec)
spec.loader.exec_module(log_rotation)

path, deadly_line = Path(sys.argv[2]), int(sys.argv[3])
line_count = 0

def trace(frame, event, argument):
    global line_count
    if not frame.f_code.co_filename.endswith("log_rotation.py"):
        return None
    if event == "line":
        line_count += 1
        if line_count == deadly_line:
            os._exit(9)
    return trace

connection = sqlite3.connect(path, isolation_level=None)
sys.settrace(trace)
log_rotation.move_rows(connection, path, 0)
"""


def test_a_kill_at_any_line_loses_nothing_and_doubles_nothing(tmp_path):
    outcomes = set()
    for deadly_line in range(1, 100):
        folder = tmp_path / str(deadly_line)
        folder.mkdir()
        path = folder / "a.sqlite"
        with open_log(path) as log:
            write(log, 1, 2, 3)
        command = [
            sys.executable,
            "-c",
            KILLED,
            str(ROTATION),
            str(path),
            str(deadly_line),
        ]
        status = subprocess.run(command, timeout=60, check=False).returncode
        with open_log(path) as log:
            write(log, 4)
        assert all_times(folder) == [1, 2, 3, 4], f"killed at line {deadly_line}"
        assert not list(folder.glob(".*"))
        outcomes.add(len(put_aside(folder)))
        if status == 0:
            break
    assert status == 0
    assert outcomes == {0, 1}
