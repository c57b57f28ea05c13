"""Limits of what all visitors together may cost: memory, bytes on their way, patience with uploads."""

import asyncio
import ctypes
import os
import shutil
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar

import anyio
import anyio.lowlevel
from fastapi import HTTPException
from starlette.concurrency import run_in_threadpool
from starlette.formparsers import MultiPartException

from fer.door import App, Message, Receive, Scope, Send
from fer.images import UnreadableImageError, decoding_bytes

PICTURE_BYTES: Final = 2 * 1024**3
"""Memory that pictures may take while they are decoded and read; the largest one takes less."""

UPLOAD_BYTES: Final = 512 * 1024**2
"""Pictures that are held while the rest of them is on its way, all visitors together."""

STORED_BYTES: Final = 4 * 1024**3
"""Files that programs have sent to Gradio's upload address and that were not read yet."""

MAX_SILENCE_S: Final = 20.0
LEAST_BYTES_PER_S: Final = 16 * 1024
GRACE_S: Final = 20.0
"""An upload that sends nothing for a while, or less than this in the mean, is ended."""

RETRY_AFTER_S: Final = 5

PHOTOS_AT_ONCE: Final = max(os.cpu_count() or 1, 2)
"""More are no sooner done, for each keeps a core busy; they slow the live pages and hold more memory."""

_TURN_WITHIN_S: Final = 60.0
_PATIENCE_S: Final = 20.0
_ASK_EVERY_S: Final = 0.05
_READING: Final = ("GET", "HEAD", "OPTIONS")

_turns: Final = anyio.lowlevel.RunVar[anyio.CapacityLimiter]("turns of photos")

_M_MMAP_THRESHOLD: Final = -3
_RETURNED_BYTES: Final = 1 << 20


def return_freed_memory() -> None:
    """Have pieces of memory from a megabyte on go back to the system once they are freed.

    The GNU C library raises this limit to 32 MB as pictures are freed. All later ones then lie in the heaps
    of their threads, which keep what is freed: a gigabyte after a minute with many visitors.
    """
    with suppress(OSError, AttributeError, TypeError):  # other C libraries have no such setting
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _RETURNED_BYTES)


_live_frames: Final = anyio.CapacityLimiter(max(os.cpu_count() or 1, 2))

Answer = TypeVar("Answer")


async def run_live(read: Callable[[], Answer]) -> Answer:
    """Read a frame of a live page in a thread; frames never wait for photos, and visitors take turns."""
    return await anyio.to_thread.run_sync(read, limiter=_live_frames)


class BusyError(UnreadableImageError):
    """Too much is asked at once; the same question is answered a little later."""

    def __init__(self) -> None:
        super().__init__(f"the server is busy with other visitors; try again in {RETRY_AFTER_S} seconds")


class Budget:
    """Bytes that may be held at once; may be used from several threads.

    Args:
        most_bytes: The whole budget.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._held_bytes = 0
        self._lock = threading.Lock()

    @property
    def held_bytes(self) -> int:
        """Return the bytes that are held now."""
        return self._held_bytes

    def take(self, count: int) -> bool:
        """Hold bytes; False where they do not fit now. A single holder always fits."""
        with self._lock:
            if self._held_bytes and self._held_bytes + count > self._most_bytes:
                return False
            self._held_bytes += count
            return True

    def give_back(self, count: int) -> None:
        """Hold them no longer."""
        with self._lock:
            self._held_bytes -= count


pictures: Final = Budget(PICTURE_BYTES)
uploads: Final = Budget(UPLOAD_BYTES)


@asynccontextmanager
async def room_for_picture(data: bytes) -> AsyncIterator[None]:
    """Wait for a turn, and until a picture's decoding fits into memory; its declared size is known before.

    Raises:
        BusyError: It had no turn or did not fit for a while.
    """
    turn = _turn()
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
            await asyncio.sleep(_ASK_EVERY_S)  # no thread waits: those are for visitors who are served
        try:
            yield
        finally:
            pictures.give_back(cost)
    finally:
        turn.release()


def _turn() -> anyio.CapacityLimiter:
    """Return the turns of the running event loop."""
    try:
        return _turns.get()
    except LookupError:
        _turns.set(turn := anyio.CapacityLimiter(PHOTOS_AT_ONCE))
        return turn


@contextmanager
def room_in_thread(data: bytes) -> Iterator[None]:
    """Wait as :func:`room_for_picture` does, in a thread of the caller's.

    Raises:
        BusyError: It did not fit for a while.
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
    """Middleware that ends uploads which come to a halt, and Gradio's uploads where its folder is full.

    Args:
        app: The page.
        upload_path: Gradio's address for files; its parser cleans up after an exception of its own only.
        upload_folder: Where Gradio keeps them; None where there is none.
    """

    def __init__(
        self, app: App, upload_path: str = "/gradio_api/upload", upload_folder: Path | None = None
    ) -> None:
        self._app = app
        self._upload_path = upload_path
        self._upload_folder = upload_folder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request or socket."""
        if scope["type"] != "http" or scope["method"] in _READING:
            await self._app(scope, receive, send)
            return
        is_form = scope["path"].rstrip("/").endswith(self._upload_path)
        if is_form and self._upload_folder is not None:
            stored = await run_in_threadpool(_size_of, self._upload_folder)
            if stored > STORED_BYTES:
                await _answer(send, 503, str(BusyError()), [(b"retry-after", str(RETRY_AFTER_S).encode())])
                return
            length = dict(scope["headers"]).get(b"content-length", b"0")
            problem = await run_in_threadpool(_problem_of_disk, self._upload_folder, length)
            if problem is not None:
                await _answer(send, 507, f"the server cannot keep the file: {problem}; try again later")
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
                sentence = "the upload came to a halt; check the connection and send the file again"
                if is_form:
                    raise MultiPartException(sentence) from error
                raise HTTPException(408, sentence, {"Connection": "close"}) from error
            if message["type"] == "http.disconnect" and is_form:
                raise MultiPartException("the upload was broken off")
            received += len(message.get("body", b""))
            is_complete = not message.get("more_body", False)
            return message

        await self._app(scope, receive_soon, send)


async def _answer(
    send: Send, status: int, sentence: str, headers: Sequence[tuple[bytes, bytes]] = ()
) -> None:
    body = sentence.encode()
    every = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    every += [(b"connection", b"close"), *headers]
    await send({"type": "http.response.start", "status": status, "headers": every})
    await send({"type": "http.response.body", "body": body})


def _problem_of_disk(folder: Path, length: bytes) -> str | None:
    """Say why a folder cannot take an upload, such as a disk that is full or was unplugged."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"1")
        free_bytes = shutil.disk_usage(folder).free
    except OSError as error:
        return error.strerror or "its disk does not answer"
    return "its disk is full" if length.isdigit() and int(length) > free_bytes else None


def _size_of(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size
        except OSError:  # read and deleted meanwhile
            continue
    return total
