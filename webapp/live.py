"""The tab that analyses the webcam live."""

import asyncio
import json
import struct
import time
from collections.abc import MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import cv2
import numpy as np
from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from fer.detection import FaceDetector
from fer.faces import Face
from fer.images import RgbImage, UnreadableImageError, read_image
from fer.json_values import build as build_object
from fer.json_values import parse_json
from fer.model_card import UnknownModelError, WeightsMismatchError
from fer.palette import label_styles
from fer.reports import face_to_dict
from fer.streams.resting import RestingFaceError, RestStatus
from fer.streams.search import BudgetSearch, FrameSearch
from fer.streams.smoothing import Steadiness
from fer.streams.stream import StreamAnalyzer
from webapp.analyzers import Analyzers
from webapp.limits import live_limiter, run_live
from webapp.page import Tab, add_part

MAX_VISITORS: Final = 32
"""Maximum number of live pages at once, as each takes memory and processor time."""

MAX_PIXELS: Final = 4096 * 2304
"""Maximum frame size: cameras send less, and the frames of all visitors together fit into memory."""

MAX_SILENCE_S: Final = 60.0
"""Time without a message after which a socket is closed; the page reconnects when it has a frame."""

GIVES_WAY_AFTER_S: Final = 10.0
"""Idle time after which a socket is closed for a new visitor if no slot is free; the longest idle first."""

_TIME: Final = struct.Struct("<d")
_DARK: Final = 45.0
_SMALL_SHARE: Final = 0.09


@dataclass(frozen=True, slots=True)
class LiveSettings:
    """A visitor's settings.

    Attributes:
        detector: Name of a detector on the page's list; None for the default.
        weights: Name of weights on the page's list; None for the default.
        head: One of the model's heads; None for the default.
        steadiness: From 0, no smoothing, to 1, where a change needs four times the usual evidence.
        threshold: Confidence below which a prediction is unsure; None for the model's own threshold.
    """

    detector: str | None = None
    weights: str | None = None
    head: str | None = None
    steadiness: float = 0.5
    threshold: float | None = None

    def __post_init__(self) -> None:
        numbers = (self.steadiness, 0.0 if self.threshold is None else self.threshold)
        if not all(isinstance(number, int | float) and 0 <= number <= 1 for number in numbers):
            raise ValueError(f"expected steadiness and threshold in [0, 1], got {numbers}")

    def as_steadiness(self) -> Steadiness:
        """Return the parameters of the smoother; 0.5 gives the library's defaults."""
        middle = Steadiness()
        return Steadiness(
            time_constant_s=2 * middle.time_constant_s * self.steadiness,
            evidence_per_s=middle.evidence_per_s * 4 ** (1 - 2 * self.steadiness),
            hold_s=2 * middle.hold_s * self.steadiness,
        )


class LiveSession:
    """One visitor's stream; used by one thread at a time, discarded when the socket closes.

    Args:
        analyzers: The page's analyzers.

    Attributes:
        is_crowded: Whether other visitors' frames wait, so that this one's should be quick.
    """

    def __init__(self, analyzers: Analyzers) -> None:
        self.is_crowded = False
        self._analyzers = analyzers
        self._stream: StreamAnalyzer | None = None

    def configure(self, settings: LiveSettings) -> dict[str, Any]:
        """Apply the visitor's settings; tracks keep their numbers.

        Raises:
            UnknownModelError: Detector or model are not on the page's list, or a file is missing.
        """
        analyzer = self._analyzers.get(settings.weights, settings.detector, head=settings.head, live=True)
        stream = self._ready_stream()
        now = stream.analyzer
        if analyzer.detector is not now.detector or analyzer.classifier is not now.classifier:
            stream.change_analyzer(analyzer)
        stream.tracker.change_steadiness(settings.as_steadiness())
        stream.unsure_below = settings.threshold
        head = analyzer.classifier.head
        return {"kind": "ready", "threshold": head.unsure_below, "labels": label_styles(head.emotions)}

    def _ready_stream(self) -> StreamAnalyzer:
        if self._stream is None:
            self._stream = StreamAnalyzer(self._analyzers.get(live=True), self._make_search)
        return self._stream

    def _make_search(self, detector: FaceDetector) -> FrameSearch:
        return BudgetSearch(detector, is_crowded=lambda: self.is_crowded)

    def rest(self, order: str) -> dict[str, Any]:
        """Learn the resting face of the person in view, or discard it; nothing is stored.

        Args:
            order: ``learn`` or ``undo``.

        Returns:
            The state, which the answers to the following frames also contain.

        Raises:
            ValueError: Any other order.
        """
        tracker = self._ready_stream().tracker
        if order == "learn":
            with suppress(RestingFaceError):  # reported in the state
                tracker.learn_rest()
        elif order == "undo":
            tracker.forget_rest()
        else:
            raise ValueError(f"expected 'learn' or 'undo' for a resting face, got {order!r}")
        return {"kind": "rest", "rest": _rest_as_dict(tracker.rest)}

    def read(self, message: bytes) -> dict[str, Any]:
        """Analyse one frame.

        Args:
            message: Capture time in seconds as a little-endian double, then the encoded image.

        Raises:
            UnreadableImageError: The message does not contain a time and an image.
        """
        if len(message) <= _TIME.size:
            raise UnreadableImageError(f"expected a time and a picture, got {len(message)} bytes")
        (timestamp_s,) = _TIME.unpack_from(message)
        if not np.isfinite(timestamp_s):
            raise UnreadableImageError(f"expected a finite time in seconds, got {timestamp_s}")
        frame = read_image(message[_TIME.size :], MAX_PIXELS)
        stream = self._ready_stream()
        people = stream.read(frame, timestamp_s)
        cost = stream.cost
        return {
            "kind": "frame",
            "time": timestamp_s,
            "width": frame.shape[1],
            "height": frame.shape[0],
            "faces": [face_to_dict(person) for person in people],
            "hint": _hint(frame, people),
            "rest": _rest_as_dict(stream.tracker.rest),
            "server_ms": 1000 * (cost.detect_s + cost.classify_s + cost.track_s),
        }


def routes(analyzers: Analyzers) -> APIRouter:
    """Build ``live``, a WebSocket that takes one frame at a time and returns its faces; nothing is kept."""
    router = APIRouter()
    sessions: dict[LiveSession, WebSocket] = {}
    heard: dict[LiveSession, float] = {}

    async def make_way() -> bool:
        """Close the socket that has been idle longest; return False if all are in use."""
        silent = min(heard, key=lambda session: heard[session], default=None)
        if silent is None or time.monotonic() - heard[silent] < GIVES_WAY_AFTER_S:
            return False
        heard.pop(silent)
        socket = sessions.pop(silent)
        await socket.close(1013, "other visitors wait for this place; try again later")
        return True

    @router.get("/live/count")
    def count() -> dict[str, int]:
        return {"sessions": len(sessions)}

    @router.websocket("/live")
    async def live(socket: WebSocket) -> None:
        await socket.accept()
        if len(sessions) >= MAX_VISITORS and not await make_way():
            await socket.close(1013, "too many live pages are open; try again later")
            return
        session = LiveSession(analyzers)
        heard[session] = time.monotonic()
        sessions[session] = socket
        try:
            while True:
                async with asyncio.timeout(MAX_SILENCE_S):
                    message = await socket.receive()
                if message["type"] == "websocket.disconnect":
                    break
                session.is_crowded = live_limiter().statistics().tasks_waiting > 0
                answer = await run_live(partial(_answer, session, message))
                await socket.send_text(json.dumps(answer))
                if session in heard:
                    heard[session] = time.monotonic()
        except TimeoutError:
            await socket.close(1001, "nothing was sent for a while")
        except (WebSocketDisconnect, RuntimeError):
            pass  # the visitor left before the answer, or the slot went to a new visitor
        finally:
            sessions.pop(session, None)
            heard.pop(session, None)

    return router


def _answer(session: LiveSession, message: MutableMapping[str, Any]) -> dict[str, Any]:
    """Answer a message, JSON settings or a binary frame; errors become part of the answer."""
    try:
        if message.get("bytes") is not None:
            return session.read(message["bytes"])
        words = parse_json(message.get("text") or "{}")
        if isinstance(words, dict) and words.keys() == {"rest"}:
            return session.rest(words["rest"])
        return session.configure(build_object(LiveSettings, words, "the settings"))
    except (UnreadableImageError, UnknownModelError, WeightsMismatchError) as error:
        return {"kind": "problem", "text": str(error)}
    except (cv2.error, MemoryError) as error:
        return {"kind": "problem", "text": f"this frame cannot be read ({type(error).__name__})"}
    except (ValueError, TypeError, ArithmeticError) as error:
        return {"kind": "problem", "text": f"these settings cannot be used: {error}"}


def _rest_as_dict(status: RestStatus) -> dict[str, Any]:
    return {"state": status.state, "track_ids": status.track_ids, "problem": status.problem}


def _hint(frame: RgbImage, people: list[Face]) -> str | None:
    """Return the obstacle to good predictions: ``dark``, ``small``, ``none`` (no face); None without one."""
    if not people:
        return "dark" if frame[::8, ::8].mean() < _DARK else "none"
    largest = people[0].detection.box
    return "small" if max(largest.width, largest.height) < _SMALL_SHARE * max(frame.shape[:2]) else None


def build(_: Analyzers) -> None:
    """Lay out the tab."""
    add_part("live")


TAB: Final = Tab("Live", build, routes)
