"""The page behind a reverse proxy, under a path prefix."""

import socket
import threading
from contextlib import suppress
from socketserver import StreamRequestHandler, ThreadingTCPServer
from urllib.parse import urlsplit

import pytest
from conftest import Page, visitor_of
from page_fakes import encoded

PREFIX = "/faces"

pytestmark = [pytest.mark.browser, pytest.mark.golden, pytest.mark.slow]


class PrefixProxy(ThreadingTCPServer):
    """Hands on what lies below the prefix, as docs/deploy.md has nginx do; notes what does not."""

    daemon_threads = True

    def __init__(self, port):
        super().__init__(("127.0.0.1", 0), HandOn)
        self.port, self.outside = port, []
        self.address = f"http://127.0.0.1:{self.server_address[1]}{PREFIX}/"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        """A browser that breaks off is no fault."""


class HandOn(StreamRequestHandler):
    def handle(self):
        lines = list(iter(self.rfile.readline, b"\r\n"))
        if not lines or not lines[-1]:
            return
        method, target, version = lines[0].decode().split()
        if not target.startswith(f"{PREFIX}/"):
            self.server.outside.append(target)
            self.wfile.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        headers = lines[1:]
        if not any(line.lower().startswith(b"upgrade:") for line in headers):  # one request a connection
            headers = [line for line in headers if not line.lower().startswith(b"connection:")]
            headers.append(b"Connection: close\r\n")
        host = next(line for line in headers if line.lower().startswith(b"host:"))
        headers += [b"X-Forwarded-" + host, b"X-Forwarded-Proto: http\r\n"]
        first = f"{method} {target.removeprefix(PREFIX)} {version}\r\n".encode()
        with socket.create_connection(("127.0.0.1", self.server.port)) as inner:
            inner.sendall(b"".join([first, *headers, b"\r\n"]))
            threading.Thread(target=self.send_rest, args=(inner,), daemon=True).start()
            while part := inner.recv(1 << 16):
                self.wfile.write(part)

    def send_rest(self, inner):
        with suppress(OSError, ValueError):
            while part := self.rfile.read1(1 << 16):
                inner.sendall(part)


def test_nothing_is_asked_for_outside_of_the_prefix(
    page_server, playwright_session, chromium, astronaut, moving_clip, tmp_path, monkeypatch
):
    monkeypatch.setenv("GRADIO_ROOT_PATH", PREFIX)
    server = Page(page_server.repository, tmp_path).start()
    try:
        with (
            PrefixProxy(server.port) as proxy,
            visitor_of(proxy, playwright_session, chromium)(moving_clip) as page,
        ):
            page.click(".kv-live [data-part=start]:enabled")  # over a WebSocket
            page.wait_for_selector(".kv-live .kv-face")
            page.get_by_role("tab", name="Photo").click()
            page.wait_for_selector(".kv-photo [data-part=choose]:enabled", state="attached")
            image = {"name": "a.png", "mimeType": "image/png", "buffer": encoded(astronaut)}
            page.set_input_files(".kv-photo [data-part=file]", image)
            page.wait_for_selector(".kv-photo .kv-face")
            page.get_by_role("tab", name="Video").click()
            page.wait_for_function(
                "document.querySelector('.kv-video [data-part=limits]').innerText.includes('MB')"
            )
            page.get_by_role("tab", name="About").click()
            page.wait_for_load_state("networkidle")
            assert urlsplit(page.url).path.startswith(f"{PREFIX}/")
            proxy.shutdown()
            # Browsers may look for an icon at the root by themselves.
            assert [path for path in proxy.outside if path != "/favicon.ico"] == []
    finally:
        server.stop()
