"""Limits shared by all visitors: memory, upload volume and stalled uploads."""

import asyncio
import os
import shutil
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final, TypeVar

import anyio
import anyio.lowlevel
from fastapi import HTTPException
from starlette.concurrency import run_in_threadpool
from starlette.formparsers import MultiPartException

from fer.door import READING_METHODS, App, Message, Receive, Scope, Send
from fer.images import UnreadableImageError, decoding_bytes

PICTURE_BYTES: Final = 2 * 1024**3
"""Maximum memory for decoding and analysing images; the largest accepted image needs less."""

UPLOAD_BYTES: Final = 512 * 1024**2
"""Maximum size of all incomplete photo uploads together, as they are held in memory."""

STORED_BYTES: Final = 4 * 1024**3
"""Maximum size of unread files in Gradio's upload folder."""

MAX_SILENCE_S: Final = 20.0
LEAST_BYTES_PER_S: Final = 16 * 1024
GRACE_S: Final = 20.0
"""Time before the minimum rate applies; uploads that are slower on average, or silent, are aborted."""

RETRY_AFTER_S: Final = 5

PHOTOS_AT_ONCE: Final = max(os.cpu_count() or 1, 2)
"""More would not finish sooner, as each occupies a core; they slow live pages and take more memory."""

_TURN_WITHIN_S: Final = 60.0
_PATIENCE_S: Final = 20.0
_ASK_EVERY_S: Final = 0.05
_UPLOAD_PATH: Final = "/gradio_api/upload"
"""Gradio's upload URL; its parser cleans up only after its own exceptions."""

FRAMES_AT_ONCE: Final = PHOTOS_AT_ONCE

_LIVE_LASTS_S: Final = 1.0
"""Time after a live frame during which more are expected."""

_live_until_s = 0.0

_Slots = anyio.lowlevel.RunVar[anyio.CapacityLimiter]

_photos: Final = _Slots("photos")
_frames: Final = _Slots("live frames")

Answer = TypeVar("Answer")


async def run_live(read: Callable[[], Answer]) -> Answer:
    """Analyse a live frame in a thread, independent of the limit on photos; visitors take turns."""
    global _live_until_s  # noqa: PLW0603 - one per process, like the processor it is about
    _live_until_s = time.monotonic() + _LIVE_LASTS_S
    _divide_processor()
    return await anyio.to_thread.run_sync(read, limiter=live_limiter())


def _divide_processor() -> None:
    """Let photos use the whole processor, or half of it while somebody is live: photos can wait."""
    is_live = time.monotonic() < _live_until_s
    _limiter(_photos, PHOTOS_AT_ONCE).total_tokens = PHOTOS_AT_ONCE // 2 if is_live else PHOTOS_AT_ONCE


def live_limiter() -> anyio.CapacityLimiter:
    """Return the limiter of live frames in the running event loop: first come, first served."""
    return _limiter(_frames, FRAMES_AT_ONCE)


class BusyError(UnreadableImageError):
    """The server is at capacity; the same request will succeed a little later."""

    def __init__(self) -> None:
        super().__init__(f"the server is busy with other visitors; try again in {RETRY_AFTER_S} seconds")


class Budget:
    """A limit on the bytes held at once; may be used from several threads.

    Args:
        most_bytes: The limit.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._held_bytes = 0
        self._lock = threading.Lock()

    @property
    def held_bytes(self) -> int:
        """Number of bytes currently held."""
        return self._held_bytes

    def take(self, count: int) -> bool:
        """Reserve bytes; return False if they do not fit now. The first holder always fits."""
        with self._lock:
            if self._held_bytes and self._held_bytes + count > self._most_bytes:
                return False
            self._held_bytes += count
            return True

    def give_back(self, count: int) -> None:
        """Release reserved bytes."""
        with self._lock:
            self._held_bytes -= count


pictures: Final = Budget(PICTURE_BYTES)
uploads: Final = Budget(UPLOAD_BYTES)


@asynccontextmanager
async def room_for_picture(data: bytes) -> AsyncIterator[None]:
    """Wait for a slot and until decoding an image fits into memory, judged by the size in its header.

    Raises:
        BusyError: The wait took too long.
    """
    turn = _limiter(_photos, PHOTOS_AT_ONCE)
    _divide_processor()
    try:
        with anyio.fail_after(_TURN_WITHIN_S):
            await turn.acquire()
    except TimeoutError as error:
        raise BusyError from error
    try:
        cost = await run_in_threadpool(decoding_bytes, data)
        until_s = time.monotonic() + _PATIENCE_S
        while not pictures.take(cost):
            if time.monotonic() > until_s:
                raise BusyError
            await asyncio.sleep(_ASK_EVERY_S)  # without occupying a thread
        try:
            yield
        finally:
            pictures.give_back(cost)
    finally:
        turn.release()
        _divide_processor()


def _limiter(slots: _Slots, count: int) -> anyio.CapacityLimiter:
    """Return the limiter of the running event loop."""
    try:
        return slots.get()
    except LookupError:
        slots.set(limiter := anyio.CapacityLimiter(count))
        return limiter


@contextmanager
def room_in_thread(data: bytes) -> Iterator[None]:
    """Wait as :func:`room_for_picture` does, but in the calling thread.

    Raises:
        BusyError: The wait took too long.
    """
    cost = decoding_bytes(data)
    until_s = time.monotonic() + _PATIENCE_S
    while not pictures.take(cost):
        if time.monotonic() > until_s:
            raise BusyError
        time.sleep(_ASK_EVERY_S)
    try:
        yield
    finally:
        pictures.give_back(cost)


class Patience:
    """Middleware that aborts stalled uploads, and Gradio uploads that its folder has no space for.

    Args:
        app: The page.
        upload_folder: Folder of Gradio's uploads; None without one.
    """

    def __init__(self, app: App, upload_folder: Path | None = None) -> None:
        self._app = app
        self._upload_folder = upload_folder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request or socket."""
        if scope["type"] != "http" or scope["method"] in READING_METHODS:
            await self._app(scope, receive, send)
            return
        is_form = scope["path"].rstrip("/").endswith(_UPLOAD_PATH)
        if is_form and self._upload_folder is not None:
            stored = await run_in_threadpool(_size_of, self._upload_folder)
            if stored > STORED_BYTES:
                await answer_busy(send)
                return
            length = dict(scope["headers"]).get(b"content-length", b"0")
            problem = await run_in_threadpool(_problem_of_disk, self._upload_folder, length)
            if problem is not None:
                await answer_plainly(
                    send, 507, f"the server cannot keep the file: {problem}; try again later"
                )
                return
        clock = asyncio.get_running_loop().time
        start_s, received, is_complete = clock(), 0, False

        async def receive_soon() -> Message:
            nonlocal received, is_complete
            if is_complete:
                return await receive()
            left_s = GRACE_S + received / LEAST_BYTES_PER_S - (clock() - start_s)
            try:
                message = await asyncio.wait_for(receive(), max(min(left_s, MAX_SILENCE_S), 0.01))
            except TimeoutError as error:
                sentence = "the upload stalled; check the connection and send the file again"
                if is_form:
                    raise MultiPartException(sentence) from error
                raise HTTPException(408, sentence, {"Connection": "close"}) from error
            if message["type"] == "http.disconnect" and is_form:
                raise MultiPartException("the upload was broken off")
            received += len(message.get("body", b""))
            is_complete = not message.get("more_body", False)
            return message

        await self._app(scope, receive_soon, send)


async def answer_busy(send: Send) -> None:
    """Answer a request with the time after which to try again."""
    await answer_plainly(send, 503, str(BusyError()), [(b"retry-after", str(RETRY_AFTER_S).encode())])


async def answer_plainly(
    send: Send, status: int, sentence: str, headers: Sequence[tuple[bytes, bytes]] = ()
) -> None:
    """Answer a request with one sentence and close its connection."""
    body = sentence.encode()
    every = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    every += [(b"connection", b"close"), *headers]
    await send({"type": "http.response.start", "status": status, "headers": every})
    await send({"type": "http.response.body", "body": body})


def _problem_of_disk(folder: Path, length: bytes) -> str | None:
    """Return the reason why a folder cannot store an upload, such as a full or disconnected disk."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"1")
        free_bytes = shutil.disk_usage(folder).free
    except OSError as error:
        return error.strerror or "its disk does not answer"
    return "its disk is full" if length.isdigit() and int(length) > free_bytes else None


def _size_of(folder: Path) -> int:
    """Return the total size in bytes of all files below a folder."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size
        except OSError:  # deleted meanwhile
            continue
    return total
