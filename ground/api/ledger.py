"""What delivery counted, and the proof that both sides agree."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from ground import ledger
from ground.api.common import Operator, Segment, Viewer, about

__all__ = ["router"]

router = APIRouter(tags=["ground"])


@router.get("/v1/ledger")
async def get_ledger(segment: Segment, _: Viewer) -> dict[str, Any]:
    """What the ground's side of delivery says of all streams, and of blocks of files since its start."""
    sent, received = await segment.ledgers()
    return {
        "sent": [asdict(row) for row in sent],
        "received": [asdict(row) for row in received],
        "blocks": asdict(segment.transfers.exchange.counters),
    }


@router.post("/v1/ledger/{satellite}/verify")
async def verify_ledger(
    satellite: str,
    segment: Segment,
    person: Operator,
    request: Request,
    wait_seconds: Annotated[float, Query(ge=0, le=60, description="Wall seconds to wait for its answer")] = 20,
) -> ledger.SatelliteVerdict:
    """Ask a satellite for its ledger, and compare it with the ground's."""
    about(request, satellite)
    return await ledger.verify(segment, satellite, person.name, wait_seconds)
