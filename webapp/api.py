"""``/api``: analyse a photo or a video in one plain request and return JSON."""

import json
from functools import partial
from typing import Annotated, Any, Final, Literal

from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import BaseModel

from fer import __version__
from fer.folders.records import picture_record
from fer.images import read_picture
from webapp.analyzers import Analyzers
from webapp.answers import PhotoRecord, TimelineRecord, say_problems, say_statuses
from webapp.api_docs import docs_page
from webapp.uploads import MAX_PHOTO_BYTES, receive_video, received_photo
from webapp.video_jobs import MAX_BYTES as MAX_VIDEO_BYTES
from webapp.video_jobs import MAX_JOBS, VideoJob, VideoJobs
from webapp.video_reading import MAX_LENGTH_S

DESCRIPTION: Final = (
    "Send a photo or a video, get the expressions of its faces. Every answer is JSON; an error is "
    '`{"error": "one sentence"}` with a status of 400 or more.'
)
_GONE: Final = "there is no such video any more; send it again"


class VideoKey(BaseModel):
    """The key under which a video is read."""

    id: str


class VideoState(BaseModel):
    """Progress of a video: ``share`` in [0, 1], ``left_s`` in seconds; ``timeline`` once it is finished."""

    state: Literal["waiting", "running", "finished", "failed"]
    share: float | None
    left_s: float | None
    problem: str | None
    timeline: TimelineRecord | None


class Problem(BaseModel):
    """One sentence: expected, got, what to do."""

    error: str


Name = Annotated[str | None, Query(description="A name offered on the page; the page's own by default.")]


def build_api(analyzers: Analyzers) -> FastAPI:
    """Build the application for ``/api``, with its own video queue."""
    api = FastAPI(
        title="KV FaceRecognition",
        description=DESCRIPTION,
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    jobs = VideoJobs()
    say_problems(api)
    say_statuses(api)
    problems: dict[int | str, dict[str, Any]] = {422: {"model": Problem, "description": "It cannot be read."}}

    @api.post(
        "/photo",
        summary="Read the faces of a photo",
        openapi_extra=_body("photo"),
        responses={
            200: {"model": PhotoRecord, "description": "Read."},
            413: _limit("photo", MAX_PHOTO_BYTES),
            **problems,
        },
    )
    async def photo(
        request: Request,
        name: str = "photo",
        weights: Name = None,
        detector: Name = None,
        head: Name = None,
        thorough: Annotated[
            bool, Query(description="Also search large photos for small faces; several times slower.")
        ] = False,
    ) -> Response:
        """Send the bytes of the photo, or a form with one file. The photo stays in memory."""
        async with received_photo(request, "photo") as data:

            def answer() -> dict[str, Any]:
                picture = read_picture(data)
                analyzer = analyzers.get(weights, detector, head=head, thorough=thorough)
                return picture_record(picture, analyzer.analyze(picture.image), name)

            return JSONResponse(await run_in_threadpool(answer))

    @api.post(
        "/video",
        status_code=202,
        summary="Start reading a video",
        openapi_extra=_body("video"),
        responses={
            202: {"model": VideoKey, "description": "Accepted; it is read after those before it."},
            413: _limit("video", MAX_VIDEO_BYTES),
            503: {"model": Problem, "description": f"{MAX_JOBS} videos are waiting or kept already."},
            **problems,
        },
    )
    async def video(
        request: Request,
        every_s: Annotated[
            float, Query(ge=0, allow_inf_nan=False, description="Seconds between frames; 0 for all.")
        ] = 0.0,
        weights: Name = None,
        detector: Name = None,
        head: Name = None,
    ) -> Response:
        """Send the bytes of the video, or a form with one file; then ask for its state under the id."""
        await run_in_threadpool(
            analyzers.get, weights, detector, head=head, live=True
        )  # reject wrong names before the upload
        key, job = await receive_video(request, jobs, "video")
        jobs.start(job, partial(analyzers.get, weights, detector, head=head, live=True), every_s=every_s)
        return JSONResponse({"id": key}, 202, {"Location": f"video/{key}"})

    gone = problems | {404: {"model": Problem, "description": "There is no such video any more."}}

    @api.get(
        "/video/{key}",
        summary="Ask for the state or the timeline of a video",
        responses={200: {"model": VideoState, "description": "Known."}, **gone},
    )
    def state(key: str) -> Response:
        """Ask every second or so; a finished video is kept for an hour."""
        return JSONResponse(_describe(_found(jobs, key)))

    @api.delete(
        "/video/{key}",
        status_code=204,
        summary="Delete a video",
        responses={204: {"description": "Deleted."}, **gone},
    )
    def drop(key: str) -> Response:
        """Stop reading it and delete its files."""
        _found(jobs, key)
        jobs.drop(key)
        return Response(status_code=204)

    @api.get("/openapi.json", include_in_schema=False)
    def schema() -> dict[str, Any]:
        # Relative to this document, so that it is correct behind a proxy that adds a path prefix.
        return api.openapi() | {"servers": [{"url": "../api"}]}

    @api.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return HTMLResponse(docs_page(api.openapi(), _limits()))

    return api


def _describe(job: VideoJob) -> dict[str, Any]:
    timeline = None
    if job.state == "finished":
        try:
            timeline = json.loads((job.folder / "timeline.json").read_text(encoding="utf-8"))
        except FileNotFoundError:  # deleted a moment ago
            raise HTTPException(404, _GONE) from None
    return {
        "state": job.state,
        "share": job.share,
        "left_s": job.left_s,
        "problem": job.problem,
        "timeline": timeline,
    }


def _found(jobs: VideoJobs, key: str) -> VideoJob:
    job = jobs.get(key)
    if job is None:
        raise HTTPException(404, _GONE)
    return job


def _body(kind: str) -> dict[str, Any]:
    """Return the schema of the request body: two ways to send one file."""
    binary = {"type": "string", "format": "binary"}
    form = {"type": "object", "properties": {kind: binary}, "required": [kind]}
    media_type = "image/*" if kind == "photo" else f"{kind}/*"
    schemas = {media_type: binary, "application/octet-stream": binary, "multipart/form-data": form}
    content = {media: {"schema": schema} for media, schema in schemas.items()}
    return {"requestBody": {"required": True, "content": content}}


def _limit(kind: str, most_bytes: int) -> dict[str, Any]:
    return {"model": Problem, "description": f"The {kind} is larger than {most_bytes >> 20} MB."}


def _limits() -> list[str]:
    return [
        f"A photo has at most {MAX_PHOTO_BYTES >> 20} MB.",
        f"A video has at most {MAX_VIDEO_BYTES >> 20} MB and {MAX_LENGTH_S / 60:.0f} minutes.",
        f"At most {MAX_JOBS} videos wait or are kept; one at a time is read.",
        "Pages of other sites are refused; programs that are no browsers are not.",
    ]
