"""The server: idle connections, too many connections, and every kind of exit."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent

SERVER = """
import signal, socket, sys
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which nohup ignores
import webapp.serving as serving
from webapp.server_folder import server_folder
serving.MAX_CONNECTIONS, serving.MAX_SILENCE_S, serving.MAX_UNREAD_S = 20, 1.0, 1.0

async def app(scope, receive, send):
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "bytes": message["bytes"]})
    if scope["type"] == "http":
        body = b"ok" if scope["path"] == "/" else bytes(30_000_000)
        length = str(len(body)).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
        await send({"type": "http.response.body", "body": body})

listener = socket.create_server(("127.0.0.1", 0))
(server_folder() / "annotated.mp4").write_bytes(b"a visitor's video")
print(listener.getsockname()[1], flush=True)
serving.serve(app, listener)
"""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")


@pytest.fixture
def server(tmp_path):
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        cwd=REPOSITORY,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        process.port = int(process.stdout.readline())
        process.stdout.readline()  # it says where it is open
        yield process
        process.kill()


def ask(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
        line.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        return line.recv(1000)


@pytest.mark.parametrize(
    "word", [b"", b"GET / HTT", b"GET / HTTP/1.1\r\nhost: x\r\n"], ids=["silent", "half", "head"]
)
def test_many_silent_connections_end_and_others_are_served(server, word):
    lines = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(60)]
    try:
        for line in lines[:20]:
            line.sendall(word)
        answers = [line.recv(1000) for line in lines[20:]]
        assert all(answer.startswith(b"HTTP/1.1 503") and b"try again" in answer for answer in answers)
        assert [line.recv(1000) for line in lines[:20]] == [b""] * 20
    finally:
        for line in lines:
            line.close()
    assert ask(server.port).startswith(b"HTTP/1.1 200")
    server.send_signal(signal.SIGTERM)
    assert server.stderr.read() == ""


def test_visitors_who_read_nothing_are_left(server):
    lines = []
    for _ in range(20):
        lines.append(line := socket.socket())
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        line.connect(("127.0.0.1", server.port))
        line.sendall(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
    try:
        assert ask(server.port).startswith(b"HTTP/1.1 503")
        time.sleep(3)
        assert ask(server.port).startswith(b"HTTP/1.1 200")
    finally:
        for line in lines:
            line.close()
    server.send_signal(signal.SIGTERM)
    assert server.stderr.read() == ""


@pytest.mark.parametrize(
    "frame", [b"\x00\x80\0\0\0\0", b"\x89\x80\0\0\0\0"], ids=["empty fragments", "pings"]
)
def test_frames_without_end_end_the_socket(server, frame):
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as line:
        line.sendall(
            b"GET / HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
            b"sec-websocket-version: 13\r\nsec-websocket-key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
        )
        assert b" 101 " in line.recv(1000)
        start = b"\x02\x81\0\0\0\0a"  # the first fragment of a message: "a"
        line.sendall(start + 100 * frame + b"\x80\x81\0\0\0\0b")
        answer = line.recv(10_000)
        while b"\x82\x02ab" not in answer:  # a hundred are served, the pongs come first
            answer += line.recv(10_000)
        line.sendall(start)
        with pytest.raises((ConnectionError, BrokenPipeError)):
            for _ in range(2_000):
                line.sendall(1_000 * frame)
            raise AssertionError("two million frames were taken")
    assert ask(server.port).startswith(b"HTTP/1.1 200")
    server.send_signal(signal.SIGTERM)
    assert server.stderr.read() == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_every_way_out_leaves_nothing(server, tmp_path, number):
    assert ask(server.port).startswith(b"HTTP/1.1 200")
    assert list(tmp_path.glob("*/annotated.mp4"))
    start_s = time.monotonic()
    server.send_signal(number)
    server.wait(10)
    assert time.monotonic() - start_s < 5
    assert list(tmp_path.iterdir()) == []


ALLOCATE = """
import ctypes, sys
import numpy as np
if sys.argv[1] == "ours":
    from fer.allocator import set_thresholds
    from webapp.serving import RETURNED_BYTES
    set_thresholds(mmap_bytes=RETURNED_BYTES)

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "arena ordblks smblks hblks hblkhd rest rest2 u f k".split()]

def mapped_bytes():
    info = ctypes.CDLL(None).mallinfo2
    info.restype = Info
    return info().hblkhd

del (first := [np.ones(20 << 20, np.uint8)])[0]
before = mapped_bytes()
second = np.ones(16 << 20, np.uint8)
print(mapped_bytes() - before >> 20)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of the GNU C library")
@pytest.mark.parametrize(("who", "mapped_mb"), [("nobody", 0), ("ours", 16)])
def test_pictures_are_freed_to_the_system(who, mapped_mb):
    """A buffer that is mapped by itself goes back when it is freed; one in a thread's heap stays."""
    command = [sys.executable, "-c", ALLOCATE, who]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=REPOSITORY, check=True)
    assert int(answer.stdout) == mapped_mb
