"""Requests to Gradio's own addresses: what is not needed is closed, and mistakes are sentences."""

import asyncio
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from webapp import gradio_guard

REPOSITORY = Path(__file__).resolve().parent.parent
FILE = {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}


@dataclass
class Page:
    address: str
    log: Path

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, str]:
        """Return the status and the text of an answer."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.address + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A running page with the endpoints."""
    log = tmp_path_factory.mktemp("log") / "log.txt"
    command = [sys.executable, "tests/fake_page.py", "webapp.video"]
    with (
        log.open("wb") as errors,
        subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=errors, text=True) as server,
    ):
        yield Page(server.stdout.readline().strip(), log)
        server.terminate()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/gradio_api/process_recording"),  # runs FFmpeg on the file, without limits
        ("POST", "/gradio_api/component_server"),
        ("POST", "/gradio_api/vibe-edit"),
        ("GET", "/gradio_api/proxy=http://127.0.0.1/"),
        ("GET", "/gradio_api/file=/etc/passwd"),
        ("GET", "/gradio_api/deep_link?session_hash=a"),
        ("GET", "/gradio_api/dev/reload"),
        ("GET", "/monitoring/summary"),
    ],
)
def test_what_the_page_does_not_need_is_closed(page, method, path):
    assert page.ask(method, path) == (404, "there is nothing at this address; see /api/docs")


@pytest.mark.parametrize("path", ["/config", "/gradio_api/info", "/gradio_api/startup-events", "/theme.css"])
def test_what_the_page_needs_is_open(page, path):
    assert page.ask("GET", path)[0] == 200


@pytest.mark.parametrize(
    ("endpoint", "data", "words"),
    [
        ("analyze_photo", [], "expected a file that was uploaded"),
        ("analyze_photo", [FILE, None, None, None], "expected a file that was uploaded"),
        ("analyze_photo", [{**FILE, "path": "\0"}, None, None, None], "expected a file that was uploaded"),
        ("analyze_photo", [5, None, None, None], "expected a file that was uploaded"),
        ("analyze_photo", [{"path": 7}, None, None, None], "expected a file that was uploaded"),
        ("analyze_photo", [None, [], None, None], "expected a name or null"),
        ("analyze_video", [None, "a", None, None, None], "expected every_s of at least 0 seconds"),
        ("analyze_video", [None, 1, {}, 7, None], "expected a name or null"),
    ],
)
def test_wrong_arguments_are_a_sentence_and_no_traceback(page, endpoint, data, words):
    _, text = page.ask("POST", f"/gradio_api/run/{endpoint}", {"data": data})
    assert words in json.loads(text)["error"]
    assert "Traceback" not in page.log.read_text()


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/gradio_api/call/nothing", {"data": []}),
        ("GET", "/gradio_api/queue/data?session_hash=none", None),
    ],
)
def test_what_gradio_cannot_answer_is_one_line_of_the_log(page, method, path, body):
    page.ask(method, path, body)
    line, end_s = f"Gradio cannot answer '{path.split('?')[0]}'", time.monotonic() + 20
    while line not in page.log.read_text() and time.monotonic() < end_s:  # written after the answer
        time.sleep(0.05)
    log = page.log.read_text()
    assert line in log
    assert "Traceback" not in log


def test_arguments_have_a_limit(page):
    status, text = page.ask("POST", "/gradio_api/queue/join", {"data": ["a" * (2 << 20)]})
    assert status == 413
    assert "at most 1 MB" in text


def test_streams_leave_room_for_other_requests(monkeypatch):
    monkeypatch.setattr(gradio_guard, "MAX_STREAMS", 2)
    statuses = []

    async def ask(guard, path):
        async def send(message):
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        scope = {"type": "http", "method": "GET", "path": path, "headers": []}
        await guard(scope, lambda: asyncio.sleep(0), send)

    async def visit():
        end = asyncio.Event()

        async def page(scope, receive, send):
            if "heartbeat" in scope["path"]:
                await end.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})

        guard = gradio_guard.GradioGuard(page)
        streams = [asyncio.create_task(ask(guard, f"/gradio_api/heartbeat/{number}")) for number in range(3)]
        await asyncio.sleep(0.01)
        await ask(guard, "/gradio_api/info")
        end.set()
        await asyncio.gather(*streams)
        await ask(guard, "/gradio_api/heartbeat/4")

    with ThreadPoolExecutor(1) as pool:  # the browser tests leave an event loop in the main thread
        pool.submit(lambda: asyncio.run(visit())).result()
    assert statuses == [503, 200, 200, 200, 200]
