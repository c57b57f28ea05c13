"""Downloads of files: complete and correct, or not at all."""

import hashlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fer.detection import fetch
from fer.detection.fetch import Download, FetchError

CONTENT = bytes(range(256)) * 40


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked += 1
        bodies = {"/right": CONTENT, "/other": CONTENT[::-1], "/short": CONTENT[:-1], "/long": CONTENT * 9}
        body = bodies.get(self.path)
        self.send_response(404 if body is None else 200)
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.asked = 0
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def download(server, path: str) -> Download:
    address = f"http://127.0.0.1:{server.server_port}{path}"
    return Download("model.onnx", address, len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


def test_the_file_arrives_whole(server, tmp_path):
    path = download(server, "/right").fetch(tmp_path / "new" / "cache")
    assert path.read_bytes() == CONTENT
    assert [child.name for child in path.parent.iterdir()] == ["model.onnx"]


def test_what_is_there_is_not_fetched_again(server, tmp_path):
    download(server, "/right").fetch(tmp_path)
    download(server, "/right").fetch(tmp_path)
    assert server.asked == 1


def test_a_damaged_file_is_replaced(server, tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"half")
    assert download(server, "/right").fetch(tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("path", ["/other", "/short", "/long"])
def test_another_file_is_not_kept(server, tmp_path, path):
    with pytest.raises(FetchError, match="served another file"):
        download(server, path).fetch(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_answer_without_the_file(server, tmp_path):
    with pytest.raises(FetchError, match="cannot be reached"):
        download(server, "/missing").fetch(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_no_network(tmp_path):
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}/model.onnx"
        with pytest.raises(FetchError, match="connect to the internet") as caught:
            Download("model.onnx", address, 1, "0" * 64).fetch(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_written(server, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(FetchError, match="cannot be written"):
        download(server, "/right").fetch(tmp_path / "file")


def test_the_cache_folder_is_the_users(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert fetch.cache_folder().name == "kv-facerecognition"
    assert not list(tmp_path.iterdir())  # asking makes nothing
