"""Error responses of the page and of ``/api``: ``{"error": "one sentence"}``."""

import cv2
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from fer.images import UnreadableImageError
from fer.model_card import UnknownModelError, WeightsMismatchError
from webapp.limits import RETRY_AFTER_S, BusyError


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
