"""Runs the server on a socket, over http or https."""

import inspect
import socket
import threading
import webbrowser
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import uvicorn

from fer.door import App
from webapp.certificate import find_or_make_certificate

_MAX_FRAME_BYTES: Final = 4 * 1024 * 1024


def serve(server: App, listener: socket.socket, *, https: bool = False, open_browser: bool = False) -> None:
    """Serve until interrupted.

    Args:
        server: The page.
        listener: A bound socket.
        https: Whether to encrypt, with a certificate made on this machine.
        open_browser: Whether to open the page once it answers.
    """
    certificate: Path | None = None
    key: Path | None = None
    if https:
        certificate, key = find_or_make_certificate()
    address = _address(listener, "https" if https else "http")
    config = uvicorn.Config(
        server,
        log_level="warning",
        ssl_certfile=certificate,
        ssl_keyfile=key,
        ws_max_size=_MAX_FRAME_BYTES,
        ws_per_message_deflate=False,  # JPEG does not shrink: trying costs milliseconds a frame
        timeout_graceful_shutdown=2,
    )
    running = _Server(config, lambda: _greet(address, open_browser))
    running.run(sockets=[listener])


class _Server(uvicorn.Server):
    """A uvicorn server that tells when it answers."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready()


def _greet(address: str, open_browser: bool) -> None:
    print(f"The page is open at {address} (stop it with Ctrl+C)", flush=True)
    if open_browser:
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()


def _address(listener: socket.socket, scheme: str) -> str:
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"{scheme}://{host}:{port}"


def import_gradio() -> None:
    """Import Gradio without letting it write type stubs into its own folder.

    Gradio 6 parses the source of each of its 76 components while it is imported, to refresh ``.pyi`` files
    that only editors read: 1.5 of 3.3 seconds, and a write into the environment. It skips classes whose
    file cannot be told.
    """
    find_file: Callable[[Any], str] = inspect.getfile

    def hide_components(thing: Any) -> str:
        if isinstance(thing, type) and thing.__module__.startswith("gradio."):
            raise OSError("type stubs are not wanted")
        return find_file(thing)

    inspect.getfile = hide_components
    try:
        import_module("gradio")
    finally:
        inspect.getfile = find_file
