"""Alarms: what stands, what became of each, and what people do with them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from pydantic import Field

from ground.api.common import Model, Operator, Segment, Viewer, about
from ground.store.alarms import AlarmRecord

__all__ = ["AlarmAcknowledgement", "AlarmShelving", "router"]

router = APIRouter(tags=["alarms"])

AlarmId = Annotated[int, Path(ge=1, lt=1 << 62)]


class AlarmAcknowledgement(Model):
    """Somebody has seen an alarm, and says what they make of it."""

    comment: str = Field("", max_length=500)


class AlarmShelving(Model):
    """An alarm is to trouble nobody for a while. One of ``until_seconds`` and ``for_seconds`` is needed."""

    reason: str = Field(min_length=1, max_length=500)
    until_seconds: float = Field(0, ge=0, le=1e12, allow_inf_nan=False, description="Mission seconds")
    for_seconds: float = Field(0, ge=0, le=1e9, allow_inf_nan=False, description="Mission seconds from now on")


@router.get("/v1/alarms")
async def list_alarms(
    segment: Segment,
    _: Viewer,
    satellite: str = "",
    with_cleared: Annotated[bool, Query(description="Also those that are over and acknowledged")] = False,
) -> list[AlarmRecord]:
    """Alarms: what needs somebody first, the severest of these first."""
    if satellite:
        segment.known_satellite(satellite)
    return segment.telemetry_service.alarms.records(satellite, with_cleared=with_cleared)


@router.get("/v1/alarms/{alarm_id}")
async def get_alarm(alarm_id: AlarmId, segment: Segment, _: Viewer) -> AlarmRecord:
    """An alarm with its history."""
    return await segment.telemetry_service.alarms.record(alarm_id)


@router.post("/v1/alarms/{alarm_id}/acknowledge")
async def acknowledge_alarm(
    alarm_id: AlarmId, acknowledgement: AlarmAcknowledgement, request: Request, segment: Segment, person: Operator
) -> AlarmRecord:
    """Say that somebody has seen it; once more changes nothing."""
    about(request, f"acknowledge alarm {alarm_id}")
    return await segment.telemetry_service.alarms.acknowledge(
        alarm_id, person.name, acknowledgement.comment, segment.clock.now()
    )


@router.post("/v1/alarms/{alarm_id}/shelve")
async def shelve_alarm(
    alarm_id: AlarmId, shelving: AlarmShelving, request: Request, segment: Segment, person: Operator
) -> AlarmRecord:
    """Trouble nobody with it for a while."""
    about(request, f"shelve alarm {alarm_id}")
    now = segment.clock.now()
    until = shelving.until_seconds or now + shelving.for_seconds
    return await segment.telemetry_service.alarms.shelve(alarm_id, until, person.name, shelving.reason, now)


@router.post("/v1/alarms/{alarm_id}/unshelve")
async def unshelve_alarm(alarm_id: AlarmId, request: Request, segment: Segment, person: Operator) -> AlarmRecord:
    """Trouble people with it again."""
    about(request, f"unshelve alarm {alarm_id}")
    return await segment.telemetry_service.alarms.unshelve(alarm_id, person.name, segment.clock.now())
