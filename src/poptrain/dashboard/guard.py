"""Who may ask: only this machine, only with the token, only to read. Every answer forbids whatever the page does not need.

Any other web page can make a browser send requests to this machine. The check of the Host header stops a name that
was rebound to 127.0.0.1, and the token, which such a page cannot know, stops the rest. The token is passed once in the address,
and lives in a cookie that no script can read after that.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

Message = Mapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Scope = dict[str, Any]

LOCAL = {"localhost", "127.0.0.1", "::1"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
}


class Guard:
    """ASGI middleware in front of the whole application."""

    def __init__(self, app: Callable[..., Awaitable[None]], token: str, port: int):
        self.app, self.token, self.cookie = app, token, f"poptrain-{port}"

    async def __call__(self, scope: Scope, receive: Callable[[], Awaitable[Message]], send: Send) -> None:
        """Answers a request that is refused, and passes on every other one."""
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":
            return await send({"type": "websocket.close", "code": 1008})
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if not is_local(headers.get("host", "")):
            return await _refuse(send, 421, "This server answers only under the names localhost and 127.0.0.1.")
        if scope["method"] not in ("GET", "HEAD"):
            return await _refuse(send, 405, "This server only reads: use GET.")
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and scope["path"] != "/":
            return await _refuse(send, 403, "Another web page asked for this.")
        query = parse_qs(scope["query_string"].decode("latin-1"))
        if "token" in query and self._right(query["token"][0]):
            return await self._enter(scope, send, query)
        if not self._right(_bearer(headers)) and not self._right(self._from_cookie(headers)):
            why = "The token is missing or wrong: open the address that `poptrain dashboard` printed."
            return await _refuse(send, 401, why)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []), *_encoded(HEADERS)]}
            await send(message)

        await self.app(scope, receive, with_headers)

    async def _enter(self, scope: Scope, send: Send, query: dict[str, list[str]]) -> None:
        """Moves the token from the address into a cookie."""
        rest = urlencode({name: values[0] for name, values in query.items() if name != "token"})
        target = "/" + scope["path"].lstrip("/\\") + (f"?{rest}" if rest else "")
        cookie = f"{self.cookie}={self.token}; HttpOnly; SameSite=Strict; Path=/"
        await _answer(send, 303, "", {"location": target, "set-cookie": cookie})

    def _right(self, given: str) -> bool:
        return hmac.compare_digest(given.encode("utf-8", "replace"), self.token.encode())

    def _from_cookie(self, headers: Mapping[str, str]) -> str:
        try:
            found = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            return ""
        return "" if found is None else found.value


def is_local(host: str) -> bool:
    """True if a Host header names this machine itself; any port, because a tunnel may end at another one."""
    try:
        return urlsplit(f"//{host}").hostname in LOCAL
    except ValueError:
        return False


def _bearer(headers: Mapping[str, str]) -> str:
    kind, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


async def _refuse(send: Send, status: int, why: str) -> None:
    await _answer(send, status, why + "\n", {"content-type": "text/plain; charset=utf-8"})


async def _answer(send: Send, status: int, text: str, headers: Mapping[str, str]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": _encoded({**HEADERS, **headers})})
    await send({"type": "http.response.body", "body": text.encode()})


def _encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
