"""Both pages behind a password in a real browser: they work and load nothing from other sites."""

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from fer.passwords import add_user

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.golden]

PAGES = {
    "page": ["app.py", "--port"],
    "dashboard": [
        *("-m", "streamlit", "run", "streamlit_app.py", "--server.headless", "true"),
        *("--server.fileWatcherType", "none", "--server.port"),
    ],
}


@pytest.fixture(scope="module")
def browser(playwright_session, chromium):
    browser = playwright_session.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
    yield browser
    browser.close()


@pytest.fixture(params=sorted(PAGES))
def server(request, repository, tmp_path):
    """Name and address of a real server that lets only ann in."""
    add_user(tmp_path / "users", "ann", "correct horse")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    own = ["--", "--runs", str(tmp_path / "runs")] if request.param == "dashboard" else []
    command = [sys.executable, *PAGES[request.param], str(port), *own, "--auth", str(tmp_path / "users")]
    address = f"http://localhost:{port}/"
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=repository, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 90
        while status_of(address) is None:
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.3)
        yield request.param, address
    finally:
        process.terminate()
        process.wait(20)


def status_of(address, **headers):
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return None


def test_the_page_works_behind_its_door(server, browser):
    name, address = server
    assert status_of(address) == 401
    assert status_of(address, Host="evil.example") == 403
    with browser.new_context(http_credentials={"username": "ann", "password": "correct horse"}) as context:
        page = context.new_page()
        said, sockets = [], []
        page.on("console", lambda message: said.append(message.text))
        page.on("websocket", lambda line: sockets.append(line))
        page.goto(address)
        page.get_by_role("heading", level=1).wait_for(timeout=60_000)
        if name == "page":
            page.get_by_role("tab", name="Live").click(timeout=60_000)
            opened = page.evaluate(
                "() => new Promise(done => { const s = new WebSocket(new URL('kv/live', document.baseURI)"
                ".href.replace('http', 'ws')); s.onopen = () => done(true); s.onerror = () => done(false); })"
            )
            assert opened
        assert sockets
        assert [text for text in said if "Content Security Policy" in text] == []
        fetched = page.evaluate("() => fetch('https://example.org/').then(() => true, () => false)")
        assert not fetched
        assert any("Content Security Policy" in text for text in said), "the policy itself refuses others"
