import os
import socket
import subprocess
import sys
import time
import urllib.request

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


def files_below(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_reading_a_face_writes_nothing_into_the_home(repository, tmp_path):
    """ONNX Runtime keeps usage events in the home unless it is told not to."""
    code = "import fer; import onnxruntime; onnxruntime.SessionOptions()"
    command = [sys.executable, "-c", code]
    subprocess.run(command, cwd=repository, env=stranger(tmp_path), check=True, timeout=60)
    assert files_below(tmp_path) == []


@pytest.fixture
def dashboard_port(repository, tmp_path):
    """A dashboard of a user who never chose anything, started as ``make dashboard`` does it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "streamlit_app.py", "--server.headless", "true"]
    command += ["--server.port", str(port), "--", "--runs", str(tmp_path / "runs")]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            command, cwd=repository, env=stranger(tmp_path / "home"), stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + 90
        while True:
            try:
                urllib.request.urlopen(f"http://localhost:{port}/_stcore/health", timeout=5).read()
                break
            except OSError:
                assert server.poll() is None, (tmp_path / "log").read_text()
                assert time.monotonic() < deadline, "the dashboard did not start"
                time.sleep(0.2)
        yield port
    finally:
        server.kill()
        server.wait(20)


def test_the_dashboard_tells_browsers_to_send_no_usage_statistics(dashboard_port, tmp_path):
    """Streamlit's statistics are sent by the browser, unless the server's first message forbids it."""
    hello = BackMsg()
    hello.rerun_script.query_string = ""
    address = f"ws://localhost:{dashboard_port}/_stcore/stream"
    with connect(address, subprotocols=["streamlit"], open_timeout=60, max_size=None) as line:
        line.send(hello.SerializeToString())
        answer = ForwardMsg()
        while answer.WhichOneof("type") != "new_session":
            answer.ParseFromString(line.recv(timeout=60))
    config = answer.new_session.config
    assert config.toolbar_mode == config.ToolbarMode.VIEWER, "the repository's settings were read"
    assert not config.gather_usage_stats
    assert files_below(tmp_path / "home") == [], "no number that tells this user from others is kept"
