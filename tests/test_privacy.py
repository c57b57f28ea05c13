import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect


def stranger(home):
    """The environment of a user who never chose anything."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("XDG_", "ORT_", "STREAMLIT_"))
    }
    return kept | {"HOME": str(home), "USERPROFILE": str(home), "LOCALAPPDATA": str(home)}


WATCHER = """
import os, sys

def note(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"):
        with open(os.environ["WATCHER_LOG"], "a") as log:
            log.write(f"{event} {arguments[1] if arguments[0].__class__.__name__ == 'socket' else arguments[0]}\\n")

sys.addaudithook(note)
"""
"""Python runs this as ``sitecustomize`` and writes down whom its process calls."""


def watched(folder):
    """The same user, whose Python programs write down whom they call."""
    watcher = folder / "watcher"
    watcher.mkdir()
    (watcher / "sitecustomize.py").write_text(WATCHER)
    return stranger(folder / "home") | {"PYTHONPATH": str(watcher), "WATCHER_LOG": str(watcher / "calls.log")}


def calls(folder):
    """Whom the watched programs called beyond their own machine."""
    log = folder / "watcher" / "calls.log"
    lines = log.read_text().splitlines() if log.is_file() else []
    return [line for line in lines if not any(own in line for own in ("127.0.0.1", "localhost", "::1"))]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextmanager
def running(command, folder, repository, health):
    """A server of a user who never chose anything, from its first answer on; stopped as Ctrl+C does it."""
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, *command], cwd=repository, env=watched(folder), stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + 90
        while True:
            try:
                urllib.request.urlopen(health, timeout=5).read()
                break
            except OSError:
                assert server.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline, "the server did not start"
                time.sleep(0.2)
        yield
    finally:
        server.send_signal(signal.SIGINT)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait(20)


def files_below(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_reading_a_face_writes_nothing_into_the_home(repository, tmp_path):
    """ONNX Runtime keeps usage events in the home unless it is told not to."""
    code = "import fer; import onnxruntime; onnxruntime.SessionOptions()"
    command = [sys.executable, "-c", code]
    subprocess.run(command, cwd=repository, env=stranger(tmp_path), check=True, timeout=60)
    assert files_below(tmp_path) == []


def test_the_watcher_sees_who_is_called(tmp_path):
    code = "import socket; socket.socket(type=socket.SOCK_DGRAM).connect(('192.0.2.1', 9))"
    subprocess.run([sys.executable, "-c", code], env=watched(tmp_path), check=False, timeout=60)
    assert calls(tmp_path) == ["socket.connect ('192.0.2.1', 9)"]


@pytest.mark.golden
def test_the_page_calls_nobody(repository, tmp_path):
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    photo = (repository / "docs" / "images" / "photo.png").read_bytes()
    with running(["app.py", "--port", str(port)], tmp_path, repository, f"{address}/kv/choices"):
        assert b"KV FaceRecognition" in urllib.request.urlopen(address, timeout=60).read()
        kind = {"Content-Type": "image/png"}
        read = urllib.request.Request(f"{address}/kv/photo", photo, kind)
        assert json.load(urllib.request.urlopen(read, timeout=60))["record"]["faces"]
    assert calls(tmp_path) == []


def test_the_dashboard_calls_nobody_and_forbids_browsers_usage_statistics(repository, tmp_path):
    """Streamlit's statistics are sent by the browser, unless the server's first message forbids it."""
    port = free_port()
    command = ["-m", "streamlit", "run", "streamlit_app.py", "--server.headless", "true"]
    command += ["--server.port", str(port), "--", "--runs", str(tmp_path / "runs")]
    with running(command, tmp_path, repository, f"http://localhost:{port}/_stcore/health"):
        hello = BackMsg()
        hello.rerun_script.query_string = ""
        address = f"ws://localhost:{port}/_stcore/stream"
        messages = {}
        with connect(address, subprotocols=["streamlit"], open_timeout=60, max_size=None) as line:
            line.send(hello.SerializeToString())
            while "script_finished" not in messages:
                answer = ForwardMsg()
                answer.ParseFromString(line.recv(timeout=60))
                messages[answer.WhichOneof("type")] = answer
    config = messages["new_session"].new_session.config
    assert config.toolbar_mode == config.ToolbarMode.VIEWER, "the repository's settings were read"
    assert not config.gather_usage_stats
    assert files_below(tmp_path / "home") == [], "no number that tells this user from others is kept"
    assert calls(tmp_path) == []
