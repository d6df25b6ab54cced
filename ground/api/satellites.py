"""Satellites and their newest telemetry."""

from __future__ import annotations

from fastapi import APIRouter

from ground.api.common import Segment, Viewer
from ground.records import SatelliteRecord
from ground.telemetry import values as telemetry

__all__ = ["router"]

router = APIRouter(tags=["satellites"])


@router.get("/v1/satellites")
async def list_satellites(segment: Segment, _: Viewer) -> list[SatelliteRecord]:
    """What is known of each satellite, by name."""
    return await segment.satellites()


@router.get("/v1/satellites/{satellite}/telemetry")
async def get_latest_telemetry(satellite: str, segment: Segment, _: Viewer) -> list[telemetry.TelemetryValue]:
    """The newest value of every field."""
    return telemetry.values(segment, satellite)
