"""What changes, as server-sent events: one stream of all that a reader asks for.

Nothing is kept for a reader. The ground looks what is newer than the reader's place each time that the reader has taken
what there was, so that a slow one skips what was overtaken and costs no memory. The place is the ``id`` of each event;
a reader that comes back with it (``Last-Event-ID``) goes on there.

A new kind of news is a ``Source`` or a ``Snapshot`` in ``SOURCES`` or ``SNAPSHOTS``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import StreamingResponse

from ground.api.common import Segment, Viewer
from ground.api.events import severity_number
from ground.segment import GroundSegment
from ground.store import changes
from ground.telemetry.values import values
from skyrack.errors import UserError
from skyrack.files import suggest

__all__ = ["SNAPSHOTS", "SOURCES", "Filter", "Snapshot", "Source", "news", "router"]

router = APIRouter(tags=["stream"])

_BATCH: Final = 100
# Wall seconds: between two looks, between two looks at snapshots, and of silence.
_PAUSE_SECONDS: Final = 0.1
_SNAPSHOT_SECONDS: Final = 1.0
_KEEP_ALIVE_SECONDS: Final = 10.0
_PLACE_LIMIT: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class Filter:
    """What a reader wants to hear of; empty and 0 are all."""

    satellite: str = ""
    severity: int = 0


@dataclass(frozen=True, slots=True)
class Source:
    """News that have a place in an order: (place, record) after a place, and the newest place."""

    later: Callable[[GroundSegment, int, Filter], Awaitable[Sequence[tuple[int, Any]]]]
    newest: Callable[[GroundSegment], Awaitable[int]]


Snapshot = Callable[[GroundSegment, Filter], Awaitable[Mapping[Any, Any]]]
"""News without a place: what there is now, by key; what differs from before is told."""


async def _jobs(segment: GroundSegment, after: int, wanted: Filter) -> Sequence[tuple[int, Any]]:
    return await segment.database.read(
        lambda connection: changes.changed_jobs(connection, after, _BATCH, wanted.satellite)
    )


async def _telecommands(segment: GroundSegment, after: int, wanted: Filter) -> Sequence[tuple[int, Any]]:
    return await segment.database.read(
        lambda connection: changes.changed_telecommands(connection, after, _BATCH, wanted.satellite)
    )


async def _events(segment: GroundSegment, after: int, wanted: Filter) -> Sequence[tuple[int, Any]]:
    return await segment.database.read(
        lambda connection: changes.later_events(connection, after, _BATCH, wanted.satellite, wanted.severity)
    )


async def _revision(segment: GroundSegment) -> int:
    return await segment.database.read(changes.newest_revision)


async def _event(segment: GroundSegment) -> int:
    return await segment.database.read(changes.newest_event)


async def _satellites(segment: GroundSegment, wanted: Filter) -> Mapping[Any, Any]:
    found = await segment.satellites()
    return {record.name: record for record in found if wanted.satellite in ("", record.name)}


async def _alarms(segment: GroundSegment, wanted: Filter) -> Mapping[Any, Any]:
    found = segment.telemetry_service.alarms.records(wanted.satellite, with_cleared=True)
    least = wanted.severity
    return {record.id: record for record in found if severity_number(record.severity) >= least}


async def _telemetry(segment: GroundSegment, wanted: Filter) -> Mapping[Any, Any]:
    names = [wanted.satellite] if wanted.satellite else segment.picture.names
    return {
        (name, value.field, *value.labels.values()): {"satellite": name, **msgspec.to_builtins(value)}
        for name in names
        for value in values(segment, name)
    }


SOURCES: Final[dict[str, Source]] = {
    "job": Source(_jobs, _revision),
    "telecommand": Source(_telecommands, _revision),
    "event": Source(_events, _event),
}
SNAPSHOTS: Final[dict[str, Snapshot]] = {"satellite": _satellites, "telemetry": _telemetry, "alarm": _alarms}
# Every value of every satellite each second is for who asks for it by name.
_UNASKED: Final = frozenset({"job", "telecommand", "event", "satellite", "alarm"})


@router.get(
    "/v1/stream",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Server-sent events. `event` is the kind, `data` its record as JSON, `id` the place.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        }
    },
)
async def stream(
    segment: Segment,
    person: Viewer,
    request: Request,
    kinds: Annotated[
        str,
        Query(
            max_length=200,
            description="Comma-separated: job, telecommand, event, satellite, alarm, telemetry. Else all but the last",
        ),
    ] = "",
    satellite: Annotated[str, Query(max_length=64, description="Only of this satellite")] = "",
    severity: Annotated[str, Query(max_length=16, description="The least of events: INFO, WARNING…")] = "",
    last_event_id: Annotated[str, Header(max_length=400, description="Go on after this place")] = "",
) -> StreamingResponse:
    """What changes from now on, or from a place, without end."""
    known = {*SOURCES, *SNAPSHOTS}
    wanted = {kind.strip() for kind in kinds.split(",") if kind.strip()} or known & _UNASKED
    for kind in sorted(wanted - known):
        raise UserError(f'kinds: there is no "{kind}"; {suggest(kind, sorted(known))}')
    if satellite:
        segment.telemetry(satellite)  # an unknown one is refused before the stream begins
    chosen = Filter(satellite, severity_number(severity))
    places = _places(last_event_id)
    keeper = request.app.state.keeper
    for kind in sorted(wanted & set(SOURCES)):
        if kind not in places:
            places[kind] = await SOURCES[kind].newest(segment)
    return StreamingResponse(
        news(segment, wanted, chosen, places, lambda: keeper is None or keeper.book.is_current(person)),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def news(
    segment: GroundSegment,
    kinds: set[str],
    wanted: Filter,
    places: dict[str, int],
    is_allowed: Callable[[], bool] = lambda: True,
) -> AsyncIterator[bytes]:
    """The lines of a stream; ends when the ground closes, or when its reader's token is over."""
    loop = asyncio.get_running_loop()
    told: dict[str, dict[Any, bytes]] = {kind: {} for kind in kinds if kind in SNAPSHOTS}
    ordered = [kind for kind in SOURCES if kind in kinds]
    places = {kind: places[kind] for kind in ordered}
    spoke = loop.time()
    snapshots_due = 0.0
    yield b": this is all that changes\nretry: 1000\n\n"
    while not segment.is_closing and is_allowed():
        waiter = segment.changed.waiter()
        try:
            is_news = False
            for kind in ordered:
                for place, record in await SOURCES[kind].later(segment, places[kind], wanted):
                    places[kind] = place
                    is_news = True
                    yield _line(kind, msgspec.json.encode(record), places)
            if loop.time() >= snapshots_due:
                snapshots_due = loop.time() + _SNAPSHOT_SECONDS
                for kind, data in await _differing(segment, wanted, told):
                    is_news = True
                    yield _line(kind, data, places)
            if is_news:
                spoke = loop.time()
            elif loop.time() - spoke > _KEEP_ALIVE_SECONDS:
                spoke = loop.time()
                yield b": still here\n\n"
            if not is_news:
                await asyncio.wait([waiter], timeout=_SNAPSHOT_SECONDS if told else _KEEP_ALIVE_SECONDS)
            await asyncio.sleep(_PAUSE_SECONDS)
        finally:
            waiter.cancel()


async def _differing(
    segment: GroundSegment, wanted: Filter, told: Mapping[str, dict[Any, bytes]]
) -> list[tuple[str, bytes]]:
    """What differs from what was told; notes that it is told now."""
    found = []
    for kind, before in told.items():
        for key, record in (await SNAPSHOTS[kind](segment, wanted)).items():
            data = msgspec.json.encode(record)
            if before.get(key) != data:
                before[key] = data
                found.append((kind, data))
    return found


def _line(kind: str, data: bytes, places: Mapping[str, int]) -> bytes:
    place = ",".join(f"{name}:{at}" for name, at in places.items())
    head = f"event: {kind}\nid: {place}\n" if place else f"event: {kind}\n"
    return b"%sdata: %s\n\n" % (head.encode(), data)


def _places(text: str) -> dict[str, int]:
    """Where a reader was; what cannot be read is left out, and begins at the present."""
    found = {}
    for part in text.split(","):
        kind, _, place = part.partition(":")
        if kind in SOURCES and place.isascii() and place.isdigit() and int(place) < _PLACE_LIMIT:
            found[kind] = int(place)
    return found
