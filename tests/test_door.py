"""Access to the pages: hosts, origins and passwords, on a fake page and on the real ones."""

import asyncio
import base64
import io
import os
import stat
import subprocess
import sys
import threading

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from fer.__main__ import main
from fer.door import SECURITY_HEADERS, Door
from fer.passwords import PasswordFileError, add_user, is_right, read_users


async def hello(request):
    return PlainTextResponse("hello")


async def line(socket):
    await socket.accept()
    await socket.send_text("hello")
    await socket.close()


PAGE = Starlette(routes=[Route("/", hello, methods=["GET", "POST", "DELETE"]), WebSocketRoute("/line", line)])


def visitor(host="127.0.0.1:7860", client="127.0.0.1", scheme="http", **settings):
    door = Door(PAGE, **settings)
    return TestClient(door, base_url=f"{scheme}://{host}", client=(client, 50000))


def basic(user, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.fixture
def users(tmp_path):
    add_user(tmp_path / "users", "ann", "correct horse")
    return read_users(tmp_path / "users")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:7860", 200),
        ("localhost:7860", 200),
        ("LOCALHOST", 200),
        ("192.168.1.20:7860", 200),
        ("[::1]:7860", 200),
        ("[fe80::1]:7860", 200),
        ("faces.example.org", 200),
        ("faces.example.org:8443", 200),
        ("a.cloud.example", 200),
        ("evil.example:7860", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("cloud.example.evil.example", 403),
        ("faces.example.org.evil.example", 403),
        ("evil.example@127.0.0.1", 403),
        ("127.0.0.1:port", 403),
        ("127.0.0.1/evil", 403),
        ("", 403),
    ],
)
def test_only_trusted_hosts_are_served(host, status):
    page = visitor(trusted_hosts=("faces.example.org", "*.cloud.example"))
    answer = page.get("/", headers={"Host": host})
    assert answer.status_code == status
    assert ("--trusted-host" in answer.text) == (status == 403)


@pytest.mark.parametrize(
    ("origin", "is_let_in"),
    [
        (None, True),
        ("http://127.0.0.1:7860", True),
        ("https://faces.example.org", True),
        ("http://evil.example", False),
        ("http://localhost:3000", False),
        ("http://127.0.0.1:3000", False),
        ("http://127.0.0.1", False),
        ("null", False),
        ("file://", False),
        ("http://127.0.0.1:7860.evil.example", False),
        ("http://[", False),
    ],
)
@pytest.mark.parametrize("way", ["POST", "DELETE", "socket"])
def test_other_sites_cannot_post_or_open_sockets(origin, is_let_in, way):
    page = visitor(trusted_hosts=("faces.example.org",))
    headers = {} if origin is None else {"Origin": origin}
    if way != "socket":
        answer = page.request(way, "/", headers=headers)
        assert answer.status_code == (200 if is_let_in else 403)
        assert is_let_in or answer.text == "this was sent by another site's page; open the page itself"
    elif is_let_in:
        with page.websocket_connect("ws://127.0.0.1:7860/line", headers=headers) as socket:
            assert socket.receive_text() == "hello"
    else:
        with (
            pytest.raises(WebSocketDisconnect),
            page.websocket_connect("ws://127.0.0.1:7860/line", headers=headers) as socket,
        ):
            socket.receive_text()


def test_other_sites_may_link_to_the_page():
    assert visitor().get("/", headers={"Origin": "http://evil.example"}).status_code == 200


def test_a_post_that_says_it_comes_from_elsewhere_is_refused_without_origin():
    assert visitor().post("/", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403


@pytest.mark.parametrize("said", ["faces.example.org", "faces.example.org, inner.example"])
def test_a_proxy_that_says_its_name_needs_no_option(said):
    headers = {"Origin": "https://faces.example.org", "X-Forwarded-Host": said}
    assert visitor().post("/", headers=headers).status_code == 200


def test_only_named_sites_may_show_the_page_in_a_frame():
    answer = visitor(framed_by=["https://example.org"]).get("/")
    assert answer.headers["Content-Security-Policy"].endswith("frame-ancestors 'self' https://example.org")
    assert "X-Frame-Options" not in answer.headers  # it cannot name another site
    with pytest.raises(ValueError, match="expected an origin such as"):
        visitor(framed_by=["https://example.org; script-src *"])


@pytest.mark.parametrize("path", ["page", "refusal"])
def test_every_answer_has_the_security_headers(path):
    answer = visitor().get("/", headers={} if path == "page" else {"Host": "evil.example"})
    assert {name: answer.headers.get(name) for name in SECURITY_HEADERS} == SECURITY_HEADERS


@pytest.mark.parametrize(
    ("client", "headers", "status"),
    [
        ("127.0.0.1", {}, 200),
        ("::1", {}, 200),
        ("192.168.1.7", {}, 403),
        ("127.0.0.1", {"X-Forwarded-For": "8.8.8.8"}, 403),
        ("127.0.0.1", {"Forwarded": "for=8.8.8.8"}, 403),
    ],
)
def test_a_page_for_its_own_machine_refuses_others(client, headers, status):
    answer = visitor(client=client, local_only=True).get("/", headers=headers)
    assert answer.status_code == status
    assert ("--auth" in answer.text) == (status == 403)


def test_with_a_password_others_are_let_in(users):
    page = visitor(host="192.168.1.20:8501", client="192.168.1.7", users=users, local_only=True)
    refused = page.get("/")
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"].startswith("Basic")
    assert page.get("/", headers=basic("ann", "wrong horse")).status_code == 401
    assert page.get("/", headers=basic("bob", "correct horse")).status_code == 401
    assert page.get("/", headers={"Authorization": "Basic ???"}).status_code == 401
    with pytest.raises(WebSocketDisconnect), page.websocket_connect("ws://192.168.1.20:8501/line"):
        pass
    answer = page.get("/", headers=basic("ann", "correct horse"))
    assert answer.text == "hello"
    assert "HttpOnly" in answer.headers["Set-Cookie"]
    assert "SameSite=Strict" in answer.headers["Set-Cookie"]
    with page.websocket_connect(
        "ws://192.168.1.20:8501/line"
    ) as socket:  # by its cookie, as browsers open sockets
        assert socket.receive_text() == "hello"


@pytest.mark.parametrize("cookie", ["kv-visitor=", "kv-visitor=00", "kv-visitor=é", "=;;", 'kv-visitor="\\'])
def test_made_up_cookies_are_worth_nothing(users, cookie):
    answer = visitor(users=users).get("/", headers={"Cookie": cookie.encode()})
    assert answer.status_code == 401


def test_the_cookie_is_for_https_only_where_there_is_https(users):
    answer = visitor(users=users, scheme="https").get("/", headers=basic("ann", "correct horse"))
    assert "; Secure" in answer.headers["Set-Cookie"]


def test_the_command_writes_a_hash_that_only_its_owner_reads(tmp_path, monkeypatch, capsys):
    path = tmp_path / "users"
    for user, password in (("ann", "correct horse"), ("bob", "battery staple"), ("ann", "new horses")):
        monkeypatch.setattr("sys.stdin", io.StringIO(password + "\n"))
        assert main(["password", str(path), "--user", user]) == 0
    assert "horse" not in path.read_text()
    assert os.name == "nt" or stat.S_IMODE(path.stat().st_mode) == 0o600
    known = read_users(path)
    assert is_right(known, "ann", "new horses")
    assert is_right(known, "bob", "battery staple")
    assert not is_right(known, "ann", "correct horse")
    assert not is_right(known, "nobody", "")


@pytest.mark.parametrize(
    ("user", "password"), [("ann", "short"), ("a:b", "long enough"), ("", "long enough")]
)
def test_bad_names_and_short_passwords_are_refused(tmp_path, user, password):
    with pytest.raises(PasswordFileError, match="expected a"):
        add_user(tmp_path / "users", user, password)
    assert not (tmp_path / "users").exists()


@pytest.mark.parametrize("text", [None, "", "ann:secret\n", "ann\n", b"\xff\xfe"])
def test_a_file_without_hashes_opens_no_page(tmp_path, text):
    path = tmp_path / "users"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(PasswordFileError, match="python -m fer password"):
        read_users(path)


def test_the_page_does_not_start_with_a_missing_password_file(repository, tmp_path):
    command = [sys.executable, "app.py", "--port", "0", "--auth", str(tmp_path / "none")]
    answer = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=60, check=False)
    assert answer.returncode == 1
    assert "python -m fer password" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_other_kinds_of_messages_pass():
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["type"])

    def run() -> None:
        asyncio.run(Door(app)({"type": "lifespan"}, None, None))

    # In a thread of its own: a browser of other tests may keep a loop in this one.
    thread = threading.Thread(target=run)
    thread.start()
    thread.join(10)
    assert seen == ["lifespan"]
