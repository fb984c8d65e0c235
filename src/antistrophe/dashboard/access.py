"""Who may see and do what: the token, the cookies, the token of a form, and the headers of every answer."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

FORM_FIELD = "csrf_token"
FORM_COOKIE = "antistrophe_form"
MOST_FORM_BYTES = 1 << 20
MOST_FIELDS = 5_000
_LOGIN_S = 12 * 3_600
_WITHOUT_TOKEN = ("/login", "/static/")
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self';"
        " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class RefusedError(Exception):
    """The request may not do this; the text says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Access:
    """What is needed. ``token``: of every request; None: no token. ``local_only``: the Host header must name this
    machine, so that a page of another host can't have its own name lead here. ``secret`` signs the tokens of forms."""

    token: str | None = None
    local_only: bool = False
    user_header: str | None = None
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32))

    @property
    def cookie(self) -> str:
        """The name of the cookie that a login sets: dashboards of one host with different tokens don't share it."""
        return f"antistrophe_login_{_digest(self.token or '').hex()[:8]}"

    def knows(self, headers: Mapping[str, str], cookies: Mapping[str, str]) -> bool:
        """Whether the request brings the token, or the cookie of a login."""
        if self.token is None:
            return True
        kind, _, value = headers.get("authorization", "").partition(" ")
        given = value.strip() if kind.casefold() == "bearer" else headers.get("x-antistrophe-token", "")
        return self.is_token(given) or self._is_login(cookies.get(self.cookie, ""))

    def is_token(self, given: str) -> bool:
        """Whether it is the token, compared in constant time."""
        return self.token is not None and hmac.compare_digest(_digest(given), _digest(self.token))

    def login(self) -> str:
        """The value of the cookie that a login sets; it holds for twelve hours."""
        until = str(int(time.time()) + _LOGIN_S)
        return f"{until}.{self._signed(until)}"

    def _is_login(self, value: str) -> bool:
        until, _, signed = value.partition(".")
        fresh = until.isascii() and until.isdigit() and len(until) < 15 and int(until) > time.time()
        return fresh and hmac.compare_digest(signed.encode(), self._signed(until).encode())

    def _signed(self, until: str) -> str:
        return hmac.new(_digest(self.token or ""), f"login {until}".encode(), hashlib.sha256).hexdigest()

    def form_token(self, cookie: str) -> str:
        """The token of the forms in pages for a browser that has this cookie."""
        return hmac.new(self.secret, f"form {cookie}".encode(), hashlib.sha256).hexdigest()

    def user(self, request: Request, process_user: str) -> str:
        """Who acts: the name in the header that the operator trusts, else the user of this process."""
        named = "" if self.user_header is None else request.headers.get(self.user_header, "").strip()
        return named[:200] or process_user


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


async def posted(request: Request, access: Access) -> dict[str, list[str]]:
    """The fields of a form that a page of this application has made. Raises RefusedError for any other."""
    origin = request.headers.get("origin")
    site = request.headers.get("sec-fetch-site", "same-origin")
    if (origin is not None and urlsplit(origin).netloc != request.headers.get("host", "")) or site == "cross-site":
        raise RefusedError("this order comes from a page of another host, so nothing was done")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_FORM_BYTES:
            raise RefusedError(f"a form may have {MOST_FORM_BYTES:,} bytes; nothing was done")
    found: dict[str, list[str]] = {}
    try:
        fields = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise RefusedError(f"a form may have {MOST_FIELDS:,} fields; nothing was done") from None
    for name, value in fields:
        found.setdefault(name, []).append(value)
    given = request.headers.get("x-csrf-token", "") or found.get(FORM_FIELD, [""])[0]
    cookie = request.cookies.get(FORM_COOKIE, "")
    expected = access.form_token(cookie)
    if not cookie or not hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected.encode()):
        raise RefusedError(
            "this order does not have the token of a page of this dashboard (its cookies may be blocked, or it was"
            " started anew since): open the page again and repeat the order; nothing was done"
        )
    return found


class Guard:
    """Stands before every request: the host, the token, and the headers of the answer. ``ask_token`` answers a request
    that does not bring the token."""

    def __init__(self, application: ASGIApp, access: Access, ask_token: Callable[[Request], Response]) -> None:
        self._application = application
        self._access = access
        self._ask_token = ask_token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await (self._refusal(Request(scope)) or self._application)(scope, receive, with_headers)

    def _refusal(self, request: Request) -> Response | None:
        if self._access.local_only and _host(request.headers.get("host", "")) not in _LOCAL:
            text = "this dashboard has no token, so it answers only to the names of this machine (127.0.0.1, localhost)"
            return PlainTextResponse(f"{text}\n", status_code=421)
        path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
        if path.startswith(_WITHOUT_TOKEN) or self._access.knows(request.headers, request.cookies):
            return None
        return self._ask_token(request)


def _host(value: str) -> str:
    return (urlsplit(f"//{value}").hostname or "").casefold()
