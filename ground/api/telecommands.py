"""Telecommands: sending them, and the stages that they reach."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from ground.api.common import Limit, Model, Operator, Revision, Segment, Viewer, Wait, about, newer
from ground.api.paging import NEXT_LINK, Cursor, link_next, place_of
from ground.records import TelecommandRecord
from skyrack.dictionary import build_request, command_named

__all__ = ["TelecommandSubmission", "router"]

router = APIRouter(tags=["telecommands"])


class TelecommandSubmission(Model):
    """A command of the dictionary; arguments as a person types them."""

    satellite: str
    method: str
    service: str = ""
    arguments: dict[str, str] = Field(default_factory=dict)
    lifetime_seconds: float = Field(0, ge=0, allow_inf_nan=False)


@router.put("/v1/telecommands/{command_id}")
async def send_telecommand(
    command_id: str, submission: TelecommandSubmission, segment: Segment, person: Operator, request: Request
) -> TelecommandRecord:
    """Send a command under an id of the client's choice; the same again changes nothing."""
    about(
        request, f"{command_id}: {submission.satellite} {submission.service}.{submission.method} {submission.arguments}"
    )
    command = command_named(submission.method)
    return await segment.send(
        submission.satellite,
        command.name,
        build_request(command, submission.arguments),
        service=submission.service,
        command_id=command_id,
        submitter=person.name,
        lifetime_seconds=submission.lifetime_seconds,
    )


@router.get("/v1/telecommands", responses=NEXT_LINK)
async def list_telecommands(
    segment: Segment,
    _: Viewer,
    request: Request,
    response: Response,
    limit: Limit = 200,
    satellite: Annotated[str, Query(max_length=64, description="Only to this satellite")] = "",
    cursor: Cursor = "",
) -> list[TelecommandRecord]:
    """The newest telecommands, newest last; the next page holds older ones."""
    found = await segment.telecommands(limit, satellite, before=place_of(cursor))
    if found:
        link_next(request, response, found, limit, (found[0].created_seconds, found[0].command_id))
    return found


@router.get("/v1/telecommands/{command_id}")
async def get_telecommand(
    command_id: str, segment: Segment, _: Viewer, after_revision: Revision = -1, wait_seconds: Wait = 0
) -> TelecommandRecord:
    """A telecommand with its stages."""
    return await newer(
        segment,
        lambda: segment.telecommand(command_id),
        lambda record: record.revision > after_revision,
        wait_seconds,
    )
