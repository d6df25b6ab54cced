"""Pages of long lists: a cursor that says where a page ended, and the link to the next (RFC 8288).

A page is a place in an order that never changes, time and then id: what comes meanwhile moves nothing.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Sequence
from typing import Annotated, Any, Final

from fastapi import Query, Request, Response

from skyrack.errors import UserError

__all__ = ["NEXT_LINK", "Cursor", "link_next", "place_of"]

Cursor = Annotated[
    str, Query(max_length=200, description="Go on where another page ended: as its `Link` header with rel=next says")
]

NEXT_LINK: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "headers": {
            "Link": {"description": "The next page, rel=next, where there may be one", "schema": {"type": "string"}}
        }
    }
}
"""What a route with pages declares."""


def place_of(cursor: str) -> tuple[float, str] | None:
    """The place that a cursor names; None without one.

    Raises:
        UserError: the cursor is none of ours.
    """
    if not cursor:
        return None
    try:
        seconds, name = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        if isinstance(name, str) and "\0" not in name and math.isfinite(seconds):
            return float(seconds), name.encode("utf-8").decode()
    except (ValueError, TypeError, binascii.Error):
        pass
    raise UserError("cursor: this is none; take it as the link to the next page says it")


def link_next(request: Request, response: Response, page: Sequence[Any], limit: int, place: tuple[float, str]) -> None:
    """Say where the next page is, if this one is full; ``place`` is where it ended."""
    if len(page) < limit:
        return
    cursor = base64.urlsafe_b64encode(json.dumps(place).encode()).decode()
    url = request.url.remove_query_params(["after_revision", "wait_seconds"]).include_query_params(cursor=cursor)
    response.headers["Link"] = f'<{url.path}?{url.query}>; rel="next"'
