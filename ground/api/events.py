"""What happened, on board and on the ground."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from ground.api.common import Limit, Segment, Viewer, Wait, newer
from ground.records import EventRecord
from skyrack.errors import UserError
from skyrack.v1.common_pb2 import Severity

__all__ = ["router", "severity_number"]

router = APIRouter(tags=["events"])


def severity_number(name: str) -> int:
    """The number of a severity that a person names; 0 for none.

    Raises:
        UserError: there is no such severity.
    """
    if not name:
        return 0
    known = [item.removeprefix("SEVERITY_") for item in Severity.keys()]  # noqa: SIM118 - no mapping
    if name.upper() not in known:
        raise UserError(f'severity is "{name}", must be one of {", ".join(known[1:])}')
    return int(Severity.Value(f"SEVERITY_{name.upper()}"))


@router.get("/v1/events")
async def list_events(
    segment: Segment,
    _: Viewer,
    after_id: Annotated[int, Query(ge=-1, lt=1 << 62, description="Only events after this one")] = -1,
    limit: Limit = 100,
    satellite: str = "",
    severity: Annotated[str, Query(description="The least that is wanted: INFO, WARNING...")] = "",
    wait_seconds: Wait = 0,
) -> list[EventRecord]:
    """Events, oldest first; without ``after_id`` the newest."""
    least = severity_number(severity)
    return await newer(
        segment,
        lambda: segment.events(after_id=after_id, limit=limit, satellite=satellite, severity=least),
        bool,
        wait_seconds,
    )
