"""No body is larger than what it is for: packages and uploads have limits of their own, all others are small."""

from __future__ import annotations

from typing import Final

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ground.api.problems import problem

__all__ = ["BODY_LIMIT_BYTES", "BodyLimit"]

BODY_LIMIT_BYTES: Final = 1 << 20
_LARGE: Final = ("/v1/packages/", "/console/upload")
"""Who reads these looks who sends them, and how much, before taking any of it."""
_SENTENCE: Final = f"the body is larger than {BODY_LIMIT_BYTES:,} bytes"


class BodyLimit:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(_LARGE):
            await self._app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > BODY_LIMIT_BYTES:
            await problem(413, "too large", _SENTENCE)(scope, receive, send)
            return
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > BODY_LIMIT_BYTES:
                raise HTTPException(413, _SENTENCE)
            return message

        await self._app(scope, counted, send)
