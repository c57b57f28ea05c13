"""Reduce Gradio's server to what the page needs: few addresses, small requests, no tracebacks."""

import logging
from typing import Any, Final

import gradio as gr
from fastapi import HTTPException

from fer.door import App, Message, Receive, Scope, Send
from webapp.languages import PageBlocks
from webapp.limits import answer_busy, answer_plainly

ADDRESSES: Final = frozenset(
    {
        *("api", "call", "cancel", "queue", "reset", "run"),
        *("app_id", "info", "openapi.json", "startup-events", "theme.css"),
        *("heartbeat", "upload", "upload_progress"),
        *("login_check", "token", "user"),
    }
)
"""Gradio's addresses below ``/gradio_api`` that are served.

Its others edit screen recordings with FFmpeg, forward requests, stream media or call functions of components:
the page uses none of them.
"""

MAX_ARGUMENT_BYTES: Final = 1 << 20
"""Arguments of an endpoint are names and numbers; files have an address of their own."""

MAX_STREAMS: Final = 200
"""Answers that stay open until the visitor leaves: fewer than connections, so that none of them is needed."""

_PREFIX: Final = "/gradio_api/"
_CLOSED: Final = "/monitoring"
_STREAMS: Final = frozenset({"call", "heartbeat", "queue", "upload_progress"})
_LOG: Final = logging.getLogger(__name__)


class GradioGuard:
    """Middleware that refuses what the page does not need of Gradio's server.

    Args:
        app: The page.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._streams = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request or socket."""
        path = scope.get("path", "")
        is_closed = path == _CLOSED or path.startswith(f"{_CLOSED}/")
        if scope["type"] != "http" or not (path.startswith(_PREFIX) or is_closed):
            await self._app(scope, receive, send)
            return
        word = path.removeprefix(_PREFIX).split("/")[0].split("=")[0]
        if is_closed or word not in ADDRESSES:
            await answer_plainly(send, 404, "there is nothing at this address; see /api/docs")
            return
        if word != "upload":
            receive = _limited(receive)
        is_stream = scope["method"] == "GET" and word in _STREAMS
        if is_stream and self._streams >= MAX_STREAMS:
            await answer_busy(send)
            return
        self._streams += is_stream
        try:
            await self._answer(scope, receive, send)
        finally:
            self._streams -= is_stream

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; its mistakes become a line of the log instead of a traceback."""
        is_answered = is_complete = False

        async def send_noted(message: Message) -> None:
            nonlocal is_answered, is_complete
            is_answered = True
            is_complete = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        try:
            await self._app(scope, receive, send_noted)
        except Exception as error:  # noqa: BLE001 - raised by Gradio for requests that it does not expect
            _LOG.warning("Gradio cannot answer %r (%s)", scope["path"][:80], type(error).__name__)
            _LOG.debug("the cause", exc_info=error)
            if not is_answered:
                await answer_plainly(send, 400, "expected a request as in /api/docs, got another one")
            elif not is_complete:
                await send({"type": "http.response.body", "body": b""})


def _limited(receive: Receive) -> Receive:
    """Refuse the rest of a large request."""
    received = 0

    async def receive_little() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > MAX_ARGUMENT_BYTES:
            sentence = f"expected at most {MAX_ARGUMENT_BYTES >> 20} MB of arguments, got more"
            raise HTTPException(413, sentence, {"Connection": "close"})
        return message

    return receive_little


class GuardedBlocks(PageBlocks):
    """Blocks that tell a caller about wrong arguments in one sentence and print nothing."""

    async def preprocess_data(self, *args: Any, **kwargs: Any) -> Any:
        """Check and convert the arguments of an endpoint.

        Raises:
            gr.Error: They are not as the endpoint describes them.
        """
        try:
            return await super().preprocess_data(*args, **kwargs)
        except gr.Error:
            raise
        except Exception as error:
            raise gr.Error(
                "expected a file that was uploaded and values as /gradio_api/info describes them, got others",
                print_exception=False,
            ) from error
