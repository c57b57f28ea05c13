"""The tab that analyses recorded videos."""

from functools import partial
from typing import Final

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import FileResponse

from fer.anonymising import Cover
from fer.streams.resting import REST_S
from fer.timeline.export import WRITERS
from webapp.analyzers import Analyzers
from webapp.languages import current_catalogue
from webapp.page import Tab, add_part
from webapp.uploads import receive_video
from webapp.video_jobs import MAX_BYTES, VideoJob, VideoJobs
from webapp.video_reading import ANNOTATED, MAX_LENGTH_S

_FILES: Final = {ANNOTATED: "video/mp4"} | {
    f"timeline{suffix}": "application/octet-stream" for suffix in WRITERS
}


def routes(analyzers: Analyzers) -> APIRouter:
    """Build ``POST video``, which takes a file, and ``video/KEY`` for its progress, files and deletion."""
    router = APIRouter()
    jobs = VideoJobs()

    @router.get("/video-limits")
    async def limits() -> dict[str, float]:
        return {"bytes": MAX_BYTES, "length_s": MAX_LENGTH_S}

    @router.post("/video")
    async def take(
        request: Request,
        name: str = "video",
        weights: str | None = None,
        detector: str | None = None,
        head: str | None = None,
        rest: bool = False,
        cover: Cover | None = None,
    ) -> dict[str, str]:
        key, job = await receive_video(request, jobs, name)
        load = partial(analyzers.get, weights, detector, head=head, live=True)
        language = current_catalogue().code
        jobs.start(job, load, rest_s=REST_S if rest else 0.0, language=language, cover=cover)
        return {"key": key}

    @router.get("/video/{key}")
    async def state(key: str) -> Response:
        return Response(_found(jobs, key).describe(), media_type="application/json")

    @router.delete("/video/{key}")
    async def drop(key: str) -> dict[str, str]:
        jobs.drop(key)
        return {}

    @router.get("/video/{key}/{file}")
    async def read(key: str, file: str, save: bool = False) -> FileResponse:
        job = _found(jobs, key)
        if file not in _FILES or job.state != "finished":
            raise HTTPException(404, "there is no such file")
        shown = f"{job.name}_{file}" if save else None
        return FileResponse(job.folder / file, media_type=_FILES[file], filename=shown)

    return router


def _found(jobs: VideoJobs, key: str) -> VideoJob:
    job = jobs.get(key)
    if job is None:
        raise HTTPException(404, "this video is not kept any more; choose it again")
    return job


def build(_: Analyzers) -> None:
    """Lay out the tab."""
    add_part("video")


TAB: Final = Tab("Video", build, routes)
