"""What all routes share: the segment behind them, waiting for something newer, query parameters, the base of bodies."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

from fastapi import Depends, Query, Request, Security
from fastapi.security import APIKeyCookie, HTTPBearer, SecurityScopes
from pydantic import BaseModel, ConfigDict

from ground.access import Person, Role, person_of, require
from ground.segment import GroundSegment

__all__ = [
    "Admin",
    "Limit",
    "Model",
    "Operator",
    "Researcher",
    "Revision",
    "Segment",
    "Viewer",
    "Wait",
    "about",
    "newer",
]

T = TypeVar("T")

Limit = Annotated[int, Query(ge=1, le=1000, description="At most so many")]
Wait = Annotated[float, Query(ge=0, le=60, description="Wall seconds to wait for something newer")]
Revision = Annotated[int, Query(ge=-1, description="Wait until the revision is greater than this")]


class Model(BaseModel):
    """The base of what clients send: a name that is not known is an error, not silence."""

    model_config = ConfigDict(extra="forbid")


def _segment_of(request: Request) -> GroundSegment:
    segment: GroundSegment = request.app.state.segment
    return segment


# The open segment, as an argument of a route.
Segment = Annotated[GroundSegment, Depends(_segment_of)]

_BEARER = HTTPBearer(
    scheme_name="token", description="A token of `skyrack tokens new`; the scopes are roles.", auto_error=False
)
_SESSION = APIKeyCookie(
    name="skyrack-PORT", scheme_name="session", description="What `/?token=…` gives to browsers.", auto_error=False
)


def _allowed(
    request: Request,
    needed: SecurityScopes,
    _bearer: Annotated[object, Depends(_BEARER)],
    _session: Annotated[object, Depends(_SESSION)],
) -> Person:
    """The guard found out who asks; here it is decided whether they may."""
    person = person_of(request)
    for role in needed.scopes:
        require(person, Role(role))
    return person


# Who asks, as an argument of a route. It declares the role that the route needs: every route takes one of these.
Viewer = Annotated[Person, Security(_allowed, scopes=[Role.VIEWER.value])]
Researcher = Annotated[Person, Security(_allowed, scopes=[Role.RESEARCHER.value])]
Operator = Annotated[Person, Security(_allowed, scopes=[Role.OPERATOR.value])]
Admin = Annotated[Person, Security(_allowed, scopes=[Role.ADMIN.value])]


def about(request: Request, subject: str) -> None:
    """Say what a request is about, in the words in which the audit log shall hold it."""
    request.state.subject = subject


async def newer(
    segment: GroundSegment, read: Callable[[], Awaitable[T]], is_newer: Callable[[T], bool], wait_seconds: float
) -> T:
    """What is read, as soon as it is newer, at the latest after the wait in wall seconds."""
    loop = asyncio.get_running_loop()
    end = loop.time() + wait_seconds
    while True:
        waiter = segment.changed.waiter()
        try:
            found = await read()
            left = end - loop.time()
            if left <= 0 or is_newer(found) or segment.is_closing:
                return found
            await asyncio.wait([waiter], timeout=left)
        finally:
            waiter.cancel()
