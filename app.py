"""Opens the web page: ``python app.py``."""

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
    """Read facial expressions in the browser, from photos and the webcam; pictures stay on this machine.

    Attributes:
        host: Address to listen on. The default lets only this machine in; 0.0.0.0 lets the whole network in.
        port: Port to listen on; 0 takes a free one.
        weights: Name of shipped weights, or path of a weights folder.
        detector: Name of a face detector.
        head: Which answer of the weights to give unless a visitor chooses another, such as seven.
        auth: File with the users who are let in, made by 'python -m fer password FILE'; all are by default.
        trusted_host: Further names under which the page may be reached, such as a reverse proxy's.
        framed_by: Other sites that may show the page in a frame, such as https://example.org.
        https: Serve over https with a certificate made here; phones give their camera to https only.
        open: Open the page in the browser.
        demo: Play a photograph that moves in place of the camera, to look around without one.
        no_api: Do not answer other programs under /api; the page itself stays as it is.
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
    """Read the command line, start the server, wait until it is stopped."""
    options = tyro.cli(AppOptions, description=AppOptions.__doc__)
    if not 0 <= options.port <= _LAST_PORT:
        sys.exit(f"expected a --port from 0 to {_LAST_PORT}, got {options.port}")
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    from webapp.serving import import_gradio  # noqa: PLC0415 - the words are checked before the slow imports

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
        sys.exit(f"the temporary folder cannot be written ({error}); set TMPDIR to one that can")
    import_gradio()
    from fer.door import Door  # noqa: PLC0415
    from webapp.analyzers import AnalyzerShelf  # noqa: PLC0415
    from webapp.page import build_server  # noqa: PLC0415
    from webapp.serving import serve  # noqa: PLC0415

    analyzers = AnalyzerShelf(options.weights, options.detector, options.head)
    try:
        analyzers.get(head=options.head)  # what is missing is said now, not to the first visitor
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
    """The port of the environment; 7860 where it names none."""
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
