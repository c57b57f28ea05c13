"""The process that reads untrusted videos: after a crash, a hang or full memory, the next task runs."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from webapp import server_folder as folders
from webapp.video_jobs import VideoJobs
from webapp.worker import Cancelled, Worker, WorkFailedError, server_worker

REPOSITORY = Path(__file__).resolve().parent.parent


def well(tell):
    tell(0.5)
    return b"well"


def abort(tell):
    os.abort()


def fill_memory(tell):
    kept = []
    while True:
        kept.append(np.ones(1 << 24))
        tell(None)


def say_nothing(tell):
    time.sleep(60)


def go_on(tell):
    while True:
        time.sleep(0.01)
        tell(0.25)


def mistake(tell):
    raise AttributeError("no such thing")


def sentence(tell):
    raise ValueError("expected a video, got a poem")


@pytest.fixture(scope="module")
def worker():
    worker = Worker(memory_bytes=1 << 29, silence_s=10)
    yield worker
    worker.close()


@pytest.mark.parametrize(
    ("work", "words"),
    [
        (abort, "ended the process that read it .*SIGABRT"),
        (fill_memory, "needs more memory"),
        (mistake, "cannot be read .AttributeError."),
        (sentence, "expected a video, got a poem"),
    ],
)
def test_work_fails_alone(worker, work, words):
    if work is fill_memory and not sys.platform.startswith("linux"):
        pytest.skip("only Linux counts the memory that is used")
    with pytest.raises(WorkFailedError, match=words):
        worker.run(work)
    assert worker.run(well) == b"well"


def test_silent_work_is_ended(worker):
    worker.run(well)
    worker._silence_s, before = 0.3, worker._silence_s
    try:
        with pytest.raises(WorkFailedError, match="takes too long"):
            worker.run(say_nothing)
    finally:
        worker._silence_s = before
    assert worker.run(well) == b"well"


def test_one_process_serves_all_and_a_killed_one_is_replaced(worker):
    worker.run(well)
    first = worker.pid
    worker.run(well)
    assert worker.pid == first
    os.kill(first, signal.SIGKILL)
    worker._process.join(10)
    assert worker.run(well) == b"well"
    assert worker.pid != first


def test_cancelling_keeps_the_process(worker):
    shares = []
    worker.run(well)
    first = worker.pid
    with pytest.raises(Cancelled):
        worker.run(go_on, lambda: len(shares) > 1, shares.append)
    assert shares[0] == 0.25
    assert worker.run(well) == b"well"
    assert worker.pid == first


SERVER = """
import sys
from webapp.server_folder import server_folder
from webapp.worker import Worker
sys.path.append("tests")
from test_worker import well
if __name__ == "__main__":
    folder = server_folder()
    (folder / "annotated.mp4").write_bytes(b"a visitor's video")
    worker = Worker()
    if len(sys.argv) > 1:
        worker.run(well)
    print(worker.pid, flush=True)
    sys.stdin.readline()
"""


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_nothing_is_left_of_a_killed_server_once_the_next_one_starts(tmp_path):
    (tmp_path / "server.py").write_text(SERVER)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, str(tmp_path / "server.py")]
    options = {"cwd": REPOSITORY, "env": environment, "stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([*command, "works"], text=True, **options) as killed:
        pid = int(killed.stdout.readline())
        with subprocess.Popen(command, text=True, **options) as other:  # leaves the running one's files alone
            other.stdout.readline()
            assert len(list(temporary.glob("*/annotated.mp4"))) == 2
            killed.kill()
            killed.wait()
            other.communicate("\n", timeout=20)
    until = time.monotonic() + 5
    while is_running(pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert not is_running(pid), "the process of a killed server ends with it"
    assert len(list(temporary.glob("*/annotated.mp4"))) == 1
    with subprocess.Popen(command, text=True, **options) as third:
        third.stdout.readline()
        third.communicate("\n", timeout=20)
    assert list(temporary.iterdir()) == []


@pytest.mark.filterwarnings("ignore:flock not supported")  # the lock library falls back to a file's existence
def test_a_file_system_without_locks_gets_a_folder_all_the_same(tmp_path, monkeypatch):
    """Nobody's folder is swept there, for nothing tells whose server still runs."""
    other = tmp_path / "kv-page-other"
    other.mkdir()
    other.with_name("kv-page-other.lock").touch()

    def refuse(*_words):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", refuse)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(folders, "_folder", None)
    monkeypatch.setattr(folders, "_lock", None)
    folder = folders.server_folder()
    assert folder.is_dir() and other.is_dir()
    folders._remove()
    assert not folder.exists()


def test_work_that_waits_for_other_work_can_be_cancelled(worker):
    worker.run(well)  # the process is there
    ends = threading.Event()

    def keep_busy():
        with pytest.raises(Cancelled):
            worker.run(go_on, ends.is_set)

    other = threading.Thread(target=keep_busy)
    other.start()
    time.sleep(0.3)
    with pytest.raises(Cancelled):
        worker.run(well, lambda: True)
    assert other.is_alive()
    ends.set()
    other.join(10)
    assert worker.run(well) == b"well"


def test_all_videos_of_a_server_are_read_by_one_process():
    assert VideoJobs()._worker is VideoJobs()._worker is server_worker()
