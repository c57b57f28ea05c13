"""Answers of Gradio's named endpoints and of ``/api``: their types, and ``{"error": "one sentence"}``."""

from typing import Any, NotRequired

import cv2
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from typing_extensions import TypedDict  # required by FastAPI before Python 3.12, and installed with it

from fer.images import UnreadableImageError
from fer.model_card import UnknownModelError, WeightsMismatchError
from webapp.limits import RETRY_AFTER_S, BusyError


class FaceRecord(TypedDict):
    """One face: box (left, top, right, bottom) and landmarks in pixels, angles in degrees."""

    box: list[float]
    score: float
    emotion: str
    confidence: float
    unsure: bool
    other: float
    turned_away: bool
    roll: float
    yaw: float | None
    pitch: float | None
    landmarks: list[list[float]] | None
    probabilities: dict[str, float]


class PhotoAnswer(TypedDict):
    """Size of a photo in pixels with its faces, largest first; ``notes`` if its file is unusual."""

    width: int
    height: int
    faces: list[FaceRecord]
    notes: NotRequired[list[str]]


class PhotoRecord(PhotoAnswer):
    """A photo under the name that was sent along."""

    path: str


class PersonSummary(TypedDict):
    """Summary of one person in a video; of everybody where ``track_id`` is null."""

    track_id: int | None
    start_s: float
    end_s: float
    seen_s: float
    shares: dict[str, float]
    change_count: int
    mean_confidence: float


class TimelineRecord(TypedDict):
    """Expressions over time: one row for each face in each frame, and a summary for each person."""

    frame_count: int
    duration_s: float
    summary: list[PersonSummary]
    rows: list[dict[str, Any]]


def say_problems(server: FastAPI) -> None:
    """Make a server answer bad requests with an error sentence."""
    for refused in (UnreadableImageError, UnknownModelError, WeightsMismatchError):
        server.add_exception_handler(refused, _say)
    for failed in (cv2.error, MemoryError):
        server.add_exception_handler(failed, _say_failure)
    server.add_exception_handler(BusyError, _say_busy)
    server.add_exception_handler(OSError, _say_full)
    server.add_exception_handler(ClientDisconnect, lambda *_: JSONResponse({"error": "broken off"}, 400))
    server.add_exception_handler(RequestValidationError, _say_invalid)


def say_statuses(server: FastAPI) -> None:
    """Make a server answer every other status of 400 or more with an error sentence, too."""
    server.add_exception_handler(HTTPException, _say_status)


def _say(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"error": str(error)}, 422)


def _say_failure(_: Request, error: Exception) -> JSONResponse:
    sentence = f"this picture cannot be read ({type(error).__name__}); save it in another size"
    return JSONResponse({"error": sentence}, 422)


def _say_busy(_: Request, error: Exception) -> JSONResponse:
    """Tell the client when to retry."""
    return JSONResponse({"error": str(error)}, 503, {"Retry-After": str(RETRY_AFTER_S)})


def _say_full(_: Request, error: Exception) -> JSONResponse:
    reason = getattr(error, "strerror", None) or "its disk does not answer"
    return JSONResponse({"error": f"the server cannot keep the file: {reason}; try again later"}, 507)


def _say_status(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": str(error.detail)}, error.status_code, error.headers)


def _say_invalid(_: Request, error: Exception) -> JSONResponse:
    """Name the first invalid parameter of a request."""
    problems = error.errors() if isinstance(error, RequestValidationError) else []
    first = problems[0] if problems else {"loc": (), "msg": "cannot be used", "type": "missing"}
    name = ".".join(str(part) for part in first["loc"] if part not in ("query", "path", "body"))
    got = "none" if first["type"] == "missing" else f"{str(first['input'])[:40]!r} ({first['msg']})"
    return JSONResponse({"error": f"expected a value for {name or 'the request'}, got {got}"}, 422)
