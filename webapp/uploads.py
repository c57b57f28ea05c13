"""Uploads as plain bytes or as a form, rejected before they fill memory or disk."""

import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from fastapi import HTTPException, Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from fer.images import UnreadableImageError
from webapp.limits import BusyError, room_for_picture, uploads
from webapp.video_jobs import MAX_BYTES as MAX_VIDEO_BYTES
from webapp.video_jobs import TooManyVideosError, VideoJob, VideoJobs

MAX_PHOTO_BYTES: Final = 64 * 1024 * 1024
"""Maximum size of a photo's file; each is held in memory."""

_COPIED_BYTES: Final = 1 << 20


@asynccontextmanager
async def received_photo(request: Request, kind: str = "picture") -> AsyncIterator[bytes]:
    """Receive a photo into memory and wait until there is memory to decode it.

    Args:
        request: The request with the photo.
        kind: Word for the photo in error messages.

    Raises:
        BusyError: Other visitors' photos take up the memory.
        HTTPException: The photo is too large, or the form is broken.
        UnreadableImageError: The photo is empty.
    """
    held_bytes = 0

    async def counted() -> AsyncIterator[bytes]:
        nonlocal held_bytes
        async for part in request.stream():
            if not uploads.take(len(part)):
                raise BusyError
            held_bytes += len(part)
            yield part

    try:
        async with _sent_file(request, counted(), kind, MAX_PHOTO_BYTES, in_memory=True) as parts:
            data = b"".join([part async for part in parts])
        if not data:
            raise UnreadableImageError(f"expected a {kind}, got an empty file")
        async with room_for_picture(data):
            yield data
    finally:
        uploads.give_back(held_bytes)


async def receive_video(request: Request, jobs: VideoJobs, name: str) -> tuple[str, VideoJob]:
    """Write a video to the file of a new job; drop the job on failure.

    Returns:
        The key and the job.

    Raises:
        HTTPException: No slot or no disk space is free, or the video is too large, empty or cancelled.
    """
    try:
        key, job = jobs.open(name)
    except TooManyVideosError as error:
        raise HTTPException(503, str(error), {"Retry-After": "60"}) from error
    except OSError as error:
        raise _full(error) from error
    try:
        async with _sent_file(request, request.stream(), "video", MAX_VIDEO_BYTES) as parts:
            with job.source.open("wb") as file:
                async for part in parts:
                    if job.cancelled.is_set():
                        raise HTTPException(409, "this video was cancelled while it was sent")
                    job.asked_s = time.monotonic()  # keeps the job's slot during a slow upload
                    file.write(part)
                if not file.tell():
                    raise HTTPException(422, "expected a video, got an empty file")
    except OSError as error:
        jobs.drop(key)
        raise _full(error) from error
    except BaseException:
        jobs.drop(key)
        raise
    return key, job


@asynccontextmanager
async def _sent_file(
    request: Request, stream: AsyncIterator[bytes], kind: str, most_bytes: int, *, in_memory: bool = False
) -> AsyncIterator[AsyncIterator[bytes]]:
    """Yield the chunks of the file in a request, from a form or a plain body."""
    content_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    parts = _limited(stream, kind, most_bytes)
    if content_type != "multipart/form-data":
        yield parts
        return
    parser = MultiPartParser(request.headers, parts, max_files=1, max_fields=1, max_part_size=_COPIED_BYTES)
    if in_memory:
        parser.spool_max_size = most_bytes + 1
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise HTTPException(
            422, f"expected a form with one file, got a broken one ({error.message})"
        ) from error
    try:
        files = [value for value in form.values() if isinstance(value, UploadFile)]
        if len(files) != 1:
            raise HTTPException(
                422, f"expected a form with one file, got none; send it with curl -F {kind}=@FILE"
            )
        yield _limited(_read_parts(files[0]), kind, most_bytes)
    finally:
        await form.close()


async def _limited(parts: AsyncIterator[bytes], kind: str, most_bytes: int) -> AsyncGenerator[bytes]:
    size = 0
    async for part in parts:
        size += len(part)
        if size > most_bytes:
            raise HTTPException(
                413, f"expected a {kind} of at most {most_bytes >> 20} MB, got more; save it smaller"
            )
        yield part


async def _read_parts(file: UploadFile) -> AsyncIterator[bytes]:
    while part := await file.read(_COPIED_BYTES):
        yield part


def _full(error: OSError) -> HTTPException:
    sentence = f"the video cannot be kept ({error.strerror or error}); ask whoever runs this server"
    return HTTPException(507, sentence)
