"""ASGI middleware that guards a web page: trusted hosts, same origin, login, security headers."""

import asyncio
import base64
import hmac
import ipaddress
import re
import secrets
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final
from urllib.parse import urlsplit

from fer.passwords import is_right
from fer.translation import catalogues, request_language

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

SECURITY_HEADERS: Final[Mapping[str, str]] = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "same-origin",
    # Gradio and Streamlit need inline scripts and eval; nothing is loaded from or sent to other servers.
    "Content-Security-Policy": (
        "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
        "style-src 'self' 'unsafe-inline'; object-src 'none'; base-uri 'self'; form-action 'self'; "
        "frame-ancestors 'self'"
    ),
}

_ORIGIN: Final = re.compile(r"https?://[a-z0-9.-]+(:\d+)?")
READING_METHODS: Final = ("GET", "HEAD", "OPTIONS")
_COOKIE: Final = "kv-visitor"
_MOST_CHECKS: Final = 2
"""Passwords checked concurrently: each check takes 16 MB and briefly a whole core."""


class Door:
    """Middleware that passes requests to a page or rejects them with one sentence.

    IP addresses, ``localhost`` and this machine's name are trusted hosts; any other name could be one that
    a hostile site has pointed at this machine (DNS rebinding). WebSockets and requests that change
    something must come from the page itself. Clients other than browsers send no ``Origin``.

    Args:
        app: The page.
        trusted_hosts: Further host names, such as a reverse proxy's; ``*.example.org`` includes subdomains.
        users: Hash lines of a password file; None for no login.
        local_only: Whether, without users, only visitors on this machine are admitted.
        framed_by: Origins of other sites that may embed the page, such as ``https://example.org``.

    Raises:
        ValueError: An entry of ``framed_by`` is not an origin.
    """

    def __init__(
        self,
        app: App,
        trusted_hosts: Iterable[str] = (),
        users: Mapping[str, str] | None = None,
        *,
        local_only: bool = False,
        framed_by: Iterable[str] = (),
    ) -> None:
        self._security_headers = _security_headers(tuple(framed_by))
        own = socket.gethostname().lower()
        names = [name.lower().rstrip(".") for name in trusted_hosts]
        self._app = app
        self._given_names = frozenset(names)
        self._names = self._given_names | {"localhost", own, f"{own}.local"}
        self._users = users
        self._local_only = local_only and users is None
        self._secret = secrets.token_bytes(32)
        self._checks = asyncio.Semaphore(_MOST_CHECKS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request or WebSocket."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await _answer(scope, receive, send, 403, refusal)
            return
        cookie = None
        if self._users is not None and not self._is_known(headers):
            if not await self._may_enter(headers):
                await _answer(scope, receive, send, 401, "a name and a password are needed")
                return
            cookie = self._cookie(scope)

        async def send_guarded(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.accept"):
                present = {name.lower() for name, _ in message.get("headers", ())}
                added = [
                    (name.lower().encode(), value.encode())
                    for name, value in self._security_headers.items()
                    if name.lower().encode() not in present
                ]
                if cookie is not None:
                    added.append((b"set-cookie", cookie.encode()))
                message = {**message, "headers": [*message.get("headers", ()), *added]}
            await send(message)

        await self._app(scope, receive, send_guarded)

    def _refusal(self, scope: Scope, headers: Mapping[str, str]) -> str | None:
        host = headers.get("host", "")
        if not self._is_trusted(host):
            return (
                f"this page is not meant to be reached as {host[:80]!r}; "
                "start it with --trusted-host NAME to allow that name"
            )
        if self._local_only and not _is_local(scope, headers):
            return "this page is open to its own machine only; start it with --auth FILE to let others in"
        is_reading = scope["type"] == "http" and scope["method"] in READING_METHODS
        if not is_reading and not self._is_same_origin(headers):
            return "this was sent by another site's page; open the page itself"
        return None

    def _is_trusted(self, host: str) -> bool:
        try:
            parts = urlsplit(f"//{host}")
            name, _ = (parts.hostname or "").rstrip("."), parts.port
        except ValueError:
            return False
        if not name or parts.netloc != host or "@" in host:
            return False
        return _is_address(name) or _is_among(name, self._names)

    def _is_same_origin(self, headers: Mapping[str, str]) -> bool:
        origin = headers.get("origin")
        if origin is None:
            return headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")
        try:
            parts = urlsplit(origin)
            default = {"http": 80, "https": 443}.get(parts.scheme)
            asked = (parts.hostname, parts.port or default)
            # Pages of other sites cannot set X-Forwarded-Host: only a reverse proxy does.
            hosts = [headers.get("host", ""), headers.get("x-forwarded-host", "").split(",")[0].strip()]
            own = [urlsplit(f"//{host}") for host in hosts if host]
            answers = [(host.hostname, host.port or default) for host in own]
        except ValueError:
            return False
        if parts.hostname is None or default is None:
            return False
        return asked in answers or _is_among(parts.hostname, self._given_names)

    def _is_known(self, headers: Mapping[str, str]) -> bool:
        """Return whether a browser has logged in before; WebSockets cannot prompt for a password."""
        try:
            cookie = SimpleCookie(headers.get("cookie", ""))
        except CookieError:
            return False
        return _COOKIE in cookie and hmac.compare_digest(
            cookie[_COOKIE].value.encode(), self._token().encode()
        )

    async def _may_enter(self, headers: Mapping[str, str]) -> bool:
        scheme, _, coded = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            user, _, password = base64.b64decode(coded, validate=True).decode().partition(":")
        except ValueError:
            return False
        async with self._checks:
            return await asyncio.to_thread(is_right, self._users or {}, user, password)

    def _token(self) -> str:
        return hmac.digest(self._secret, b"let in", "sha256").hex()

    def _cookie(self, scope: Scope) -> str:
        secure = "; Secure" if scope.get("scheme") in ("https", "wss") else ""
        return f"{_COOKIE}={self._token()}; HttpOnly; SameSite=Strict; Path=/{secure}"


def _security_headers(framed_by: tuple[str, ...]) -> Mapping[str, str]:
    if not framed_by:
        return SECURITY_HEADERS
    for origin in framed_by:
        if _ORIGIN.fullmatch(origin) is None:
            raise ValueError(f"expected an origin such as https://example.org, got {origin!r}")
    headers = {name: value for name, value in SECURITY_HEADERS.items() if name != "X-Frame-Options"}
    headers["Content-Security-Policy"] += f" {' '.join(framed_by)}"  # it ends with frame-ancestors
    return headers


def _is_among(name: str, names: Iterable[str]) -> bool:
    return any(name == known or (known.startswith("*.") and name.endswith(known[1:])) for known in names)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_local(scope: Scope, headers: Mapping[str, str]) -> bool:
    """Return whether a visitor is on this machine; requests forwarded by a proxy are not."""
    if any(name in headers for name in ("forwarded", "x-forwarded-for", "x-real-ip", "x-forwarded-host")):
        return False
    client = scope.get("client")
    return client is None or (_is_address(client[0]) and ipaddress.ip_address(client[0]).is_loopback)


async def _answer(scope: Scope, receive: Receive, send: Send, status: int, sentence: str) -> None:
    """Refuse a request with a sentence, a WebSocket before it is accepted."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": sentence[:120]})
        return
    language = request_language(scope["headers"], scope.get("query_string", b""))
    body = catalogues()[language].translate(sentence).encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    headers += [(name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]
    if status == 401:
        headers.append((b"www-authenticate", b'Basic realm="KV FaceRecognition", charset="UTF-8"'))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
