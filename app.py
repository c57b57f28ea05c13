"""Start the web page: ``python app.py``."""

import os
import socket
import sys
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Annotated, Final

import tyro

from fer.passwords import PasswordFileError, read_users

TABS: Final = (
    "webapp.live",
    "webapp.photo",
    "webapp.video",
    "webapp.about",
)
"""The modules of the tabs, in order; each has a ``TAB``."""

_LAST_PORT: Final = 65535

Flag = Annotated[bool, tyro.conf.FlagCreatePairsOff]


@dataclass(frozen=True)
class AppOptions:
    """Read facial expressions in the browser, from photos and the webcam; images stay on this machine.

    Attributes:
        host: Address to listen on. The default admits this machine only, 0.0.0.0 the whole network.
        port: Port to listen on; 0 picks a free one.
        weights: Name of shipped weights, or path of a weights folder.
        detector: Name of a face detector.
        head: Head of the weights to use, such as seven; visitors can choose another.
        auth: Password file, made by 'python -m fer password FILE'; by default no login is needed.
        trusted_host: Further host names of the page, such as a reverse proxy's.
        framed_by: Other sites that may embed the page in a frame, such as https://example.org.
        https: Serve over HTTPS with a self-signed certificate; phones require HTTPS for the camera.
        open: Open the page in the browser.
        demo: Play a moving photo instead of the camera, to try the page without one.
        no_api: Disable the HTTP API under /api; the page itself is not affected.
    """

    host: str = field(default_factory=lambda: os.environ.get("GRADIO_SERVER_NAME") or "127.0.0.1")
    port: int = field(default_factory=lambda: _port_setting(os.environ.get("GRADIO_SERVER_PORT")))
    weights: str | None = None
    detector: str | None = None
    head: str | None = None
    auth: Path | None = None
    trusted_host: tuple[str, ...] = ()
    framed_by: tuple[str, ...] = ()
    https: Flag = False
    open: Flag = False
    demo: Flag = False
    no_api: Flag = False


def main() -> None:
    """Parse the command line, start the server and run it until it is stopped."""
    options = tyro.cli(AppOptions, description=AppOptions.__doc__)
    if not 0 <= options.port <= _LAST_PORT:
        sys.exit(f"expected a --port from 0 to {_LAST_PORT}, got {options.port}")
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    from webapp.serving import import_gradio  # noqa: PLC0415 - options are checked before the slow imports

    users = None
    if options.auth is not None:
        try:
            users = read_users(options.auth)
        except PasswordFileError as error:
            sys.exit(str(error))
    try:
        listener = _listen(options.host, options.port)
    except OSError as error:
        sys.exit(f"cannot listen on {options.host}:{options.port} ({error}); choose another --port or --host")
    from webapp.server_folder import server_folder  # noqa: PLC0415

    try:
        os.environ.setdefault("GRADIO_TEMP_DIR", str(server_folder() / "uploads"))
    except OSError as error:
        sys.exit(f"the temporary folder cannot be written ({error}); set TMPDIR to a writable folder")
    import_gradio()
    from fer.door import Door  # noqa: PLC0415
    from webapp.analyzers import AnalyzerShelf  # noqa: PLC0415
    from webapp.page import build_server  # noqa: PLC0415
    from webapp.serving import serve  # noqa: PLC0415

    analyzers = AnalyzerShelf(options.weights, options.detector, options.head)
    try:
        analyzers.get(head=options.head)  # report missing weights now, not to the first visitor
    except (LookupError, ValueError) as error:
        sys.exit(str(error.args[0] if error.args else error))
    tabs = [import_module(name).TAB for name in TABS]
    server = build_server(tabs, analyzers, with_api=not options.no_api, is_demo=options.demo)
    try:
        door = Door(server, (*options.trusted_host, options.host), users, framed_by=options.framed_by)
    except ValueError as error:
        sys.exit(str(error))
    serve(door, listener, https=options.https, open_browser=options.open)


def _port_setting(text: str | None) -> int:
    """Return the port set in the environment, 7860 by default."""
    if not text:
        return 7860
    if not (text.isdecimal() and int(text) <= _LAST_PORT):
        sys.exit(f"expected GRADIO_SERVER_PORT to be a number from 0 to {_LAST_PORT}, got {text!r}")
    return int(text)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)  # Ctrl+C is how the page is meant to be stopped
