"""Limits that visitors share: memory, incomplete uploads, turns of photos, and the precedence of live frames."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import anyio
import pytest
from fastapi.concurrency import run_in_threadpool
from fastapi.testclient import TestClient
from page_fakes import FakeAnalyzers, encoded

from webapp import limits
from webapp.limits import run_live
from webapp.page import build_routes
from webapp.photo import TAB


@pytest.fixture(scope="module")
def client():
    return TestClient(build_routes([TAB], FakeAnalyzers()))


def test_pictures_wait_for_memory_and_are_asked_to_come_back(client, astronaut, monkeypatch):
    monkeypatch.setattr(limits, "_PATIENCE_S", 0.2)
    content = encoded(astronaut)
    limits.pictures.take(limits.PICTURE_BYTES)
    try:
        answer = client.post("/kv/photo", content=content)
        assert answer.status_code == 503
        assert "try again in 5 seconds" in answer.json()["error"]
        assert answer.headers["retry-after"] == "5"
    finally:
        limits.pictures.give_back(limits.PICTURE_BYTES)
    assert client.post("/kv/photo", content=content).status_code == 200
    assert (limits.pictures.held_bytes, limits.uploads.held_bytes) == (0, 0)


def test_bytes_on_their_way_are_bounded(client, astronaut):
    limits.uploads.take(limits.UPLOAD_BYTES)
    try:
        assert client.post("/kv/photo", content=encoded(astronaut)).status_code == 503
    finally:
        limits.uploads.give_back(limits.UPLOAD_BYTES)
    assert limits.uploads.held_bytes == 0


@pytest.mark.parametrize(
    ("end", "status", "words"),
    [(None, 408, b"stalled"), ({"type": "http.disconnect"}, 400, b"broken off")],
    ids=["silent", "gone"],
)
def test_an_upload_that_stops_halfway_is_ended(monkeypatch, end, status, words):
    monkeypatch.setattr(limits, "MAX_SILENCE_S", 0.2)
    scope = {"type": "http", "method": "POST", "path": "/kv/photo", "query_string": b"", "headers": []}
    parts = [{"type": "http.request", "body": b"half of a photo", "more_body": True}]
    sent = []

    async def receive():
        if parts:
            return parts.pop()
        return end or await asyncio.sleep(60)

    async def send(message):
        sent.append(message)

    start_s = time.monotonic()
    page = build_routes([TAB], FakeAnalyzers())
    with ThreadPoolExecutor(1) as pool:  # a browser test may run a loop in this thread
        pool.submit(lambda: asyncio.run(page(scope, receive, send))).result()
    assert time.monotonic() - start_s < 5
    assert sent[0]["status"] == status
    assert words in sent[1]["body"]
    assert limits.uploads.held_bytes == 0


def most_at_once(content: bytes, *, count: int, stay_s: float = 0.01):
    """Return the coroutine of that many visitors, each with a photo: how many are in at once, and their errors."""
    inside, most = 0, 0

    async def visit() -> None:
        nonlocal inside, most
        async with limits.room_for_picture(content):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(stay_s)
            inside -= 1

    async def visits() -> tuple[int, list[BaseException | None]]:
        errors = await asyncio.gather(*(visit() for _ in range(count)), return_exceptions=True)
        return most, errors

    return visits()


def test_few_photos_are_read_at_once_and_the_others_wait(astronaut, monkeypatch):
    monkeypatch.setattr(limits, "PHOTOS_AT_ONCE", 2)
    monkeypatch.setattr(limits, "_TURN_WITHIN_S", 0.5)
    monkeypatch.setattr(limits, "_live_until_s", 0.0)  # nobody is live
    content = encoded(astronaut)
    with ThreadPoolExecutor(1) as pool:  # a browser test may run a loop in this thread
        quick = pool.submit(lambda: asyncio.run(most_at_once(content, count=6))).result()
        assert quick == (2, [None] * 6)
        _, late = pool.submit(lambda: asyncio.run(most_at_once(content, count=6, stay_s=0.6))).result()
    assert [type(answer) for answer in late] == [type(None)] * 2 + [limits.BusyError] * 4
    assert limits.pictures.held_bytes == 0


def test_photos_leave_half_of_the_processor_to_live_pages(astronaut, monkeypatch):
    monkeypatch.setattr(limits, "PHOTOS_AT_ONCE", 4)
    monkeypatch.setattr(limits, "_LIVE_LASTS_S", 0.3)
    monkeypatch.setattr(limits, "_live_until_s", 0.0)
    content = encoded(astronaut)

    async def day() -> list[int]:
        alone, _ = await most_at_once(content, count=12)
        await run_live(lambda: "a frame")
        beside, _ = await most_at_once(content, count=12)
        await asyncio.sleep(0.4)  # the visitor has left
        after, _ = await most_at_once(content, count=12)
        return [alone, beside, after]

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: asyncio.run(day())).result() == [4, 2, 4]


def test_frames_of_live_pages_never_wait_for_photos() -> None:
    opened = threading.Event()

    async def visit() -> str:
        async with anyio.create_task_group() as group:
            for _ in range(40):  # as many as the threads that all other work shares
                group.start_soon(run_in_threadpool, opened.wait, 20)
            await anyio.sleep(0.3)
            with anyio.fail_after(10):
                answer = await run_live(lambda: "a frame")
            opened.set()
        return answer

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: anyio.run(visit)).result() == "a frame"
