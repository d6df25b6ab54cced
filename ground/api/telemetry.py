"""Telemetry over time: values of fields, files of all of it, and what is missing."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse

from ground.api.common import Segment, Viewer
from ground.telemetry.export import MEDIA_TYPES, Format, export
from ground.telemetry.query import POINTS_MAXIMUM, TelemetryHistory, history_of, types_of
from ground.telemetry.service import GapRecord

__all__ = ["router"]

router = APIRouter(tags=["telemetry"])

Fields = Annotated[list[str], Query(description="Fields of the dictionary: PowerStatus.state_of_charge_ratio")]
Start = Annotated[float, Query(ge=-1e12, le=1e12, allow_inf_nan=False, description="Mission seconds; 0 is the oldest")]
End = Annotated[float, Query(ge=-1e12, le=1e12, allow_inf_nan=False, description="Mission seconds; 0 is now")]
Step = Annotated[float, Query(ge=0, le=1e9, allow_inf_nan=False, description="Mission seconds; 0 is every value")]


@router.get("/v1/satellites/{satellite}/telemetry/history", response_model=TelemetryHistory)
async def get_telemetry_history(
    satellite: str,
    segment: Segment,
    _: Viewer,
    field: Fields,
    start_seconds: Start = 0,
    end_seconds: End = 0,
    step_seconds: Step = 0,
    limit: Annotated[int, Query(ge=1, le=POINTS_MAXIMUM, description="At most so many points of a field")] = 10_000,
) -> Response:
    """Values of fields by on-board time; with a step the least, the greatest and the mean of each step."""
    segment.known_satellite(satellite)
    service = segment.telemetry_service
    end = end_seconds or segment.clock.now()
    found = await history_of(
        service.archiver,
        satellite,
        field,
        service.pipelines[satellite].limits,
        start_seconds or end - 3600.0,
        end,
        step_seconds,
        limit,
    )
    # Written by hand: checking hundreds of thousands of numbers against the model again would take longer than reading.
    return Response(msgspec.json.encode(found), media_type="application/json")


@router.get("/v1/satellites/{satellite}/telemetry/gaps")
async def list_telemetry_gaps(satellite: str, segment: Segment, _: Viewer) -> list[GapRecord]:
    """What is missing of a satellite's telemetry, and what was filled, by topic."""
    segment.known_satellite(satellite)
    return segment.telemetry_service.gaps(satellite)


@router.get("/v1/telemetry/export", response_class=StreamingResponse)
async def export_telemetry(
    segment: Segment,
    _: Viewer,
    satellite: Annotated[str, Query(description="A satellite; without one, all")] = "",
    format: Annotated[Format, Query(description="parquet or csv")] = "parquet",  # noqa: A002 - the parameter's name
    field: Annotated[list[str] | None, Query(description="Only these fields of the dictionary")] = None,
    start_seconds: Start = 0,
    end_seconds: End = 0,
) -> StreamingResponse:
    """A file with one row for each value, streamed."""
    if satellite:
        segment.known_satellite(satellite)
    fields = frozenset().union(*types_of(field).values()) if field else None
    satellites = [satellite] if satellite else segment.picture.names
    end = end_seconds or segment.clock.now()
    pieces: AsyncIterator[bytes] = export(
        segment.telemetry_service.archiver, satellites, format, start_seconds or -1e12, end, fields
    )
    name = re.sub(r"[^A-Za-z0-9._-]", "_", satellite or "all")
    headers = {"Content-Disposition": f'attachment; filename="telemetry-{name}.{format}"'}
    return StreamingResponse(pieces, media_type=MEDIA_TYPES[format], headers=headers)
