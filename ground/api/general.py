"""The ground itself: health, metrics."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from ground import metrics
from ground.api.common import Segment

__all__ = ["router"]

router = APIRouter(tags=["ground"])


@router.get("/health")
async def get_health(segment: Segment, request: Request) -> dict[str, Any]:
    """Whether the ground works, and which it is."""
    return {
        "status": "ok",
        "instance": request.app.state.instance,
        "mission_time_seconds": segment.clock.now(),
        "rate": segment.clock.rate,
        "is_connected": segment.link.connected,
    }


@router.get("/metrics", response_class=Response)
async def get_metrics(segment: Segment) -> Response:
    """Metrics for Prometheus."""
    text = await metrics.exposition(segment)
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")
