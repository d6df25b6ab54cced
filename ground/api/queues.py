"""Queues of commands: what waits for each satellite, held back or let go, and withdrawn before it leaves."""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import Field

from ground.api.common import Model, Operator, Segment, Viewer, about
from ground.command_records import QueueRecord
from ground.records import TelecommandRecord

__all__ = ["Why", "router"]

router = APIRouter(tags=["telecommands"])


class Why(Model):
    """Why somebody does this, for whoever asks later."""

    reason: str = Field("", max_length=256)


@router.get("/v1/queues")
async def list_queues(segment: Segment, _: Viewer) -> list[QueueRecord]:
    """What waits for each satellite, and whether it is held."""
    return await segment.command_desk.queues()


@router.get("/v1/queues/{satellite}")
async def get_queue(satellite: str, segment: Segment, _: Viewer) -> QueueRecord:
    """What waits for one satellite."""
    return await segment.command_desk.queue(satellite)


@router.post("/v1/queues/{satellite}/hold")
async def hold_queue(satellite: str, why: Why, segment: Segment, person: Operator, request: Request) -> QueueRecord:
    """Let no command leave for a satellite; what left before is not called back."""
    about(request, f"{satellite}: {why.reason}")
    return await segment.command_desk.hold(satellite, person.name, why.reason)


@router.post("/v1/queues/{satellite}/release")
async def release_queue(satellite: str, segment: Segment, person: Operator, request: Request) -> QueueRecord:
    """Let what waits for a satellite leave again."""
    about(request, satellite)
    return await segment.command_desk.release(satellite, person.name)


@router.post("/v1/telecommands/{command_id}/withdraw")
async def withdraw_telecommand(
    command_id: str, why: Why, segment: Segment, person: Operator, request: Request
) -> TelecommandRecord:
    """Take back a telecommand that has not left yet."""
    about(request, f"{command_id}: {why.reason}")
    await segment.command_desk.withdraw(command_id, person.name, why.reason)
    return await segment.telecommand(command_id)
