"""Stands before everything that the ground serves: the interface, the console's pages, its websockets.

Who shows no token that is in force gets no further than ``/health``. A browser shows its token once (``/?token=…`` or
the page that asks for it) and keeps a session in a cookie that no script can read. Browsers send cookies without being
asked, to every port of the host; so what changes something, and every websocket, must say that it comes from our own
pages (``Origin``).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from fastapi import Request, Response
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ground.access import EVERYBODY, Person, Throttle, TokenBook
from ground.api.problems import problem
from ground.audit import Audit
from skyrack.database import StorageError

__all__ = ["Guard", "Keeper"]

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_LOGIN: Final = "/login"
_FORM_LIMIT_BYTES: Final = 4096
_COOKIE_SECONDS: Final = 7 * 86_400
_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", b"frame-ancestors 'none'"),
    (b"referrer-policy", b"same-origin"),
)
"""Of every answer: it is what it says, no page may frame it, and no other site learns its address."""
_PAGE: Final = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Skyrack</title>
<meta name="viewport" content="width=device-width">
<style>body{font:16px system-ui;max-width:30rem;margin:20vh auto;padding:0 1rem}input,button{font:inherit;width:100%;
padding:.5rem;margin:.5rem 0;box-sizing:border-box}</style>
<h1>Skyrack</h1><p role="alert">PROBLEM</p>
<form method="post" action="/login"><label>Token <input name="token" type="password" autocomplete="current-password"
autofocus required></label><button>Sign in</button></form>
<p>The address that <code>skyrack up</code> prints holds one; <code>skyrack tokens new</code> makes one.</p></html>"""


@dataclass(slots=True)
class Keeper:
    """What the guard goes by."""

    book: TokenBook
    audit: Audit
    throttle: Throttle = field(default_factory=lambda: Throttle(asyncio.get_running_loop().time))


class Guard:
    """ASGI middleware; without a keeper, everybody who can call the app is its administrator."""

    def __init__(self, app: ASGIApp, keeper: Keeper | None) -> None:
        self._app = app
        self._keeper = keeper

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        send = _with_headers(send)
        state = scope.setdefault("state", {})
        if self._keeper is None:
            state["person"] = EVERYBODY
            await self._app(scope, receive, send)
            return
        answer = await self._admit(self._keeper, HTTPConnection(scope), receive)
        if answer is not None:
            # A websocket that is answered like this is refused with 403.
            await (answer(scope, receive, send) if scope["type"] == "http" else send({"type": "websocket.close"}))
        elif scope["type"] == "http" and scope["method"] not in _SAFE and scope["path"].startswith("/v1/"):
            witness = _Witness(self._keeper, scope, send)
            try:
                await self._app(scope, receive, witness)
            except Exception:
                await witness.write(500)
                raise
        else:
            await self._app(scope, receive, send)

    async def _admit(self, keeper: Keeper, asked: HTTPConnection, receive: Receive) -> Response | None:
        """Note who asks, or answer in place of the app."""
        scope = asked.scope
        method = scope.get("method", "GET")
        path = scope["path"]
        if path == "/health" and method in _SAFE:
            scope["state"]["person"] = None
            return None
        address = asked.client.host if asked.client else ""
        token, kind = await _shown(asked, receive)
        if not token:
            if path == "/metrics" and method in _SAFE and _is_loopback(address):
                return None
            return _unknown(asked, "a token is needed: Authorization: Bearer …")
        if kind == "cookie":
            return await self._admit_session(keeper, asked, token)
        return await self._admit_token(keeper, asked, token, opens_session=kind != "header")

    async def _admit_token(
        self, keeper: Keeper, asked: HTTPConnection, token: str, *, opens_session: bool
    ) -> Response | None:
        address = asked.client.host if asked.client else ""
        person = keeper.book.person(token)
        if person is None:
            # Only who is wrong waits: 256 bits are not guessed, and nobody can lock out who shares an address.
            wait_seconds = keeper.throttle.wait_seconds(address)
            if wait_seconds:
                answer = problem(429, "too many wrong tokens", f"wait {wait_seconds:.0f} s before the next")
                answer.headers["Retry-After"] = f"{max(1.0, wait_seconds):.0f}"
                return answer
            keeper.throttle.refused(address)
            await _log(keeper, asked, "sign_in", "this is no token, or it is over")
            return _unknown(asked, "the token is wrong, over or revoked")
        asked.scope["state"]["person"] = person
        return _signed_in(asked, keeper.book.begin_session(token) or "") if opens_session else None

    async def _admit_session(self, keeper: Keeper, asked: HTTPConnection, session: str) -> Response | None:
        """The same for a browser that has signed in. A session that is over is no guess, and is not counted."""
        scope = asked.scope
        person = keeper.book.person_of_session(session)
        if person is None:
            return _unknown(asked, "the session is over; show the token again")
        changes = scope["type"] == "websocket" or scope["method"] not in _SAFE
        if changes and not _is_ours(asked):
            await _log(keeper, asked, "cross_site", f"from {asked.headers.get('origin', 'nowhere')}", person)
            return problem(403, "refused", "this did not come from the console's own pages")
        scope["state"]["person"] = person
        return None


class _Witness:
    """Passes an answer on once the audit log holds what was done."""

    def __init__(self, keeper: Keeper, scope: Scope, send: Send) -> None:
        self._keeper = keeper
        self._scope = scope
        self._send = send
        self._is_replaced = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            try:
                await self.write(int(message["status"]))
            except StorageError as error:
                self._is_replaced = True
                answer = problem(503, "storage failed", f"the audit log cannot be written: {error}")
                await answer(self._scope, _nothing, self._send)
        if not self._is_replaced:
            await self._send(message)

    async def write(self, status: int) -> None:
        """Add the row of this request; raises ``StorageError`` where something was done that must have one."""
        scope, state = self._scope, self._scope["state"]
        route = scope.get("route")
        outcome = "done" if status < 400 else "refused" if status in (401, 403, 429) else "failed"
        try:
            await self._keeper.audit.add(
                state.get("person"),
                route.name if route is not None else scope["method"],
                state.get("subject", scope["path"]),
                outcome=outcome,
                detail=state.get("problem", "") if status >= 400 else "",
                address=scope["client"][0] if scope.get("client") else "",
            )
        except StorageError:
            # What could not be done for the same reason needs no row; what was done must have one.
            if status < 500:
                raise


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = list(message.get("headers", ()))
            names = {name.lower() for name, _ in given}
            message["headers"] = given + [header for header in _HEADERS if header[0] not in names]
        await send(message)

    return sending


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


async def _shown(asked: HTTPConnection, receive: Receive) -> tuple[str, str]:
    """The token or session that was shown, and where."""
    scheme, _, bearer = asked.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return bearer.strip(), "header"
    method = asked.scope.get("method")
    if method == "GET" and asked.query_params.get("token"):
        return asked.query_params["token"], "address"
    if method == "POST" and asked.scope["path"] == _LOGIN:
        body = bytearray()
        async for piece in Request(asked.scope, receive).stream():
            body += piece
            if len(body) > _FORM_LIMIT_BYTES:
                return "", ""
        return dict(parse_qsl(body.decode("utf-8", "replace"))).get("token", "").strip(), "form"
    return asked.cookies.get(_cookie_name(asked), ""), "cookie"


def _signed_in(asked: HTTPConnection, session: str) -> Response:
    """Back to the page that was wanted, with a session and without the token."""
    query = [(name, value) for name, value in parse_qsl(asked.url.query) if name != "token"]
    path = "/" if asked.scope["path"] == _LOGIN else "/" + asked.scope["path"].lstrip("/")
    answer = RedirectResponse(path + (f"?{urlencode(query)}" if query else ""), 303)
    answer.headers["Referrer-Policy"] = "no-referrer"
    answer.headers["Cache-Control"] = "no-store"
    answer.set_cookie(
        _cookie_name(asked),
        session,
        max_age=_COOKIE_SECONDS,
        httponly=True,
        samesite="strict",
        secure=asked.url.scheme in ("https", "wss"),
    )
    return answer


def _unknown(asked: HTTPConnection, sentence: str) -> Response:
    if asked.scope.get("method") in ("GET", "POST") and "text/html" in asked.headers.get("accept", ""):
        said = sentence if "token is wrong" in sentence else "Who are you?"
        return HTMLResponse(_PAGE.replace("PROBLEM", said), 401)
    answer = problem(401, "who are you?", sentence)
    answer.headers["WWW-Authenticate"] = 'Bearer realm="skyrack"'
    return answer


async def _log(keeper: Keeper, asked: HTTPConnection, action: str, detail: str, person: Person | None = None) -> None:
    address = asked.client.host if asked.client else ""
    await keeper.audit.add(person, action, asked.scope["path"], outcome="refused", detail=detail, address=address)


def _cookie_name(asked: HTTPConnection) -> str:
    """Browsers do not tell ports of a host apart: each has a cookie of its own."""
    return f"skyrack-{urlsplit(f'//{_host(asked)}').port or 0}"


def _host(asked: HTTPConnection) -> str:
    return asked.headers.get("host", "")


def _is_ours(asked: HTTPConnection) -> bool:
    origin = asked.headers.get("origin", "")
    return bool(origin) and origin.partition("://")[2] == _host(asked)


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False
