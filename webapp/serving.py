"""The server on its socket, over HTTP or HTTPS."""

import asyncio
import inspect
import signal
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from fer.allocator import set_thresholds
from fer.door import App
from webapp.server_folder import server_folder

_MAX_FRAME_BYTES: Final = 4 * 1024 * 1024

MAX_CONNECTIONS: Final = 500
"""Maximum number of open connections; never more than half of the process's file limit."""

MAX_SILENCE_S: Final = 15.0
"""Time after which a connection without complete request headers is closed."""

MAX_FRAGMENTS: Final = 256
"""Maximum number of WebSocket fragments and pings before a message is complete; browsers send one."""

MAX_UNREAD_S: Final = 30.0
"""Time after which a connection is closed whose client reads nothing of what it asked for."""

RETURNED_BYTES: Final = 1 << 20
"""Size from which freed memory is returned to the system at once.

The GNU C library raises this threshold up to 32 MB as images are freed. Later images are then allocated in
per-thread heaps, which keep freed memory: a gigabyte after a minute with many visitors.
"""

_KEPT_BYTES: Final = 16 << 20
"""Free memory that each heap keeps for the next image.

With a fixed size for returning, the default is 128 kB: the memory for each live frame would go back to the
system and be requested again, in about 160 page faults.
"""

_BUSY: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\nretry-after: 15\r\n"
    b"connection: close\r\n\r\ntoo many connections are open; try again in 15 seconds\n"
)


def serve(server: App, listener: socket.socket, *, https: bool = False, open_browser: bool = False) -> None:
    """Serve until interrupted.

    Args:
        server: The page's server.
        listener: A bound socket.
        https: Whether to encrypt, with a self-signed certificate.
        open_browser: Whether to open the page once it answers.

    Raises:
        OSError: No folder is writable, not even a temporary one.
    """
    certificate: Path | None = None
    key: Path | None = None
    if https:
        from webapp.certificate import find_or_make_certificate  # noqa: PLC0415 - others need no cryptography

        spare = server_folder() / "https"
        certificate, key = find_or_make_certificate(spare=spare)
        if certificate.parent == spare:
            print(
                "the certificate cannot be kept in your cache folder: browsers ask about a new one at each "
                "start; set XDG_CACHE_HOME to a folder that can be written",
                file=sys.stderr,
            )
    address = _address(listener, "https" if https else "http")
    _end_in_order()
    set_thresholds(mmap_bytes=RETURNED_BYTES, trim_bytes=_KEPT_BYTES)
    server_folder()  # removes the folders of dead servers
    config = uvicorn.Config(
        server,
        http=PatientProtocol,
        ws=PatientWebSocket,
        log_level="warning",
        ssl_certfile=certificate,
        ssl_keyfile=key,
        ws_max_size=_MAX_FRAME_BYTES,
        ws_per_message_deflate=False,  # JPEG does not compress further: trying costs milliseconds per frame
        timeout_graceful_shutdown=2,
    )
    running = _Server(config, lambda: _greet(address, open_browser))
    running.run(sockets=[listener])


class PatientProtocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """Protocol that closes idle and surplus connections before the process runs out of file handles."""

    _silence: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accept a connection, or answer that there are too many."""
        super().connection_made(transport)
        if len(self.connections) > _most_connections():
            self.transport.write(_BUSY)
            self.transport.close()
        else:
            self._watch()

    def data_received(self, data: bytes) -> None:
        """Receive a part of a request."""
        super().data_received(data)
        self._watch()

    def pause_writing(self) -> None:
        """Start the time limit for reading: the buffers between server and client are full."""
        super().pause_writing()
        self._unread = self._unread or self.loop.call_later(MAX_UNREAD_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Cancel the time limit: the client has read something."""
        super().resume_writing()
        self._forget_unread()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._forget_unread()
        super().connection_lost(exc)

    def _forget_unread(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _is_served(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _watch(self) -> None:
        """Start the time limit for a request's headers; cancel it while a request is served."""
        if self._is_served():
            if self._silence is not None:
                self._silence.cancel()
                self._silence = None
        elif self._silence is None:
            self._silence = self.loop.call_later(MAX_SILENCE_S, self._close_if_silent)

    def _close_if_silent(self) -> None:
        self._silence = None
        is_ours = self.transport.get_protocol() is self  # otherwise upgraded to a WebSocket
        if is_ours and not self._is_served() and not self.transport.is_closing():
            self.transport.close()


class PatientWebSocket(WebSocketsSansIOProtocol):
    """Protocol that drops clients who send fragments or pings without end instead of messages."""

    _fragments = 0

    def handle_cont(self, event: Any) -> None:
        """Receive a further fragment of a message."""
        self._count()
        super().handle_cont(event)

    def handle_ping(self) -> None:
        """Answer a ping."""
        self._count()
        super().handle_ping()

    def send_receive_event_to_app(self) -> None:
        """Pass a complete message on."""
        self._fragments = 0
        super().send_receive_event_to_app()

    def _count(self) -> None:
        self._fragments += 1
        if self._fragments > MAX_FRAGMENTS:
            self.transport.abort()


def _most_connections() -> int:
    """Return the maximum number of connections, which leaves file handles for everything else."""
    try:
        import resource  # noqa: PLC0415 - Windows has none
    except ImportError:
        return MAX_CONNECTIONS
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return MAX_CONNECTIONS if files == resource.RLIM_INFINITY else min(MAX_CONNECTIONS, files // 2)


def _end_in_order() -> None:
    """Turn SIGTERM and a closed terminal into a regular exit, which removes temporary files."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is not None and signal.getsignal(hangup) == signal.SIG_DFL:
        signal.signal(hangup, lambda *_: signal.raise_signal(signal.SIGTERM))


class _Server(uvicorn.Server):
    """A uvicorn server that reports when it is ready."""

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

    On import, Gradio 6 parses the source of each of its 76 components to refresh ``.pyi`` files for editors:
    1.5 of 3.3 seconds, and a write into the environment. It skips classes without a known source file.
    """
    find_file: Callable[[Any], str] = inspect.getfile

    def hide_components(thing: Any) -> str:
        if isinstance(thing, type) and thing.__module__.startswith("gradio."):
            raise OSError("type stubs are not wanted")
        return find_file(thing)

    setattr(inspect, "getfile", hide_components)  # noqa: B010 - types forbid the plain assignment
    try:
        import_module("gradio")
    finally:
        setattr(inspect, "getfile", find_file)  # noqa: B010
