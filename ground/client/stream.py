"""What changes, as the ground tells it: server-sent events, and a connection that is made again when it breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx
import msgspec

from ground.client.errors import check, unreachable
from ground.records import EventRecord, JobRecord, SatelliteRecord, TelecommandRecord

__all__ = ["Change", "changes", "parse"]

_PAUSE_SECONDS: Final = 0.5
# The ground says something at least every 15 s.
_SILENCE_SECONDS: Final = 40.0
_RECORDS: Final[dict[str, type[Any]]] = {
    "job": JobRecord,
    "telecommand": TelecommandRecord,
    "event": EventRecord,
    "satellite": SatelliteRecord,
}


@dataclass(frozen=True, slots=True)
class Change:
    """Something that changed: its kind, and how it is now (a record where there is one for the kind)."""

    kind: str
    value: Any
    # Where to go on after this one.
    id: str = ""


class _Lines:
    """Takes lines of ``text/event-stream``, gives changes."""

    def __init__(self) -> None:
        self._kind = ""
        self._data: list[str] = []
        self.last_id = ""

    def take(self, line: str) -> Change | None:
        if line:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "event":
                self._kind = value
            elif name == "data":
                self._data.append(value)
            elif name == "id":
                self.last_id = value
            return None
        kind, data = self._kind, "\n".join(self._data)
        self._kind, self._data = "", []
        return parse(kind, data, self.last_id) if data else None


def parse(kind: str, data: str, last_id: str = "") -> Change:
    """A change from its JSON."""
    return Change(kind, msgspec.json.decode(data, type=_type_of(kind)), last_id)


def _type_of(kind: str) -> Any:
    if kind == "alarm":
        from ground.store.alarms import AlarmRecord  # brings the ground itself, which few clients need

        return AlarmRecord
    return _RECORDS.get(kind, Any)


async def changes(
    http: httpx.AsyncClient, url: str, kinds: Sequence[str], satellite: str, patience_seconds: float
) -> AsyncIterator[Change]:
    """All that changes, without end; raises as ``Skyrack`` does when nobody answers for as long as the patience."""
    loop = asyncio.get_running_loop()
    lines = _Lines()
    params = {"kinds": ",".join(kinds), "satellite": satellite}
    params = {name: value for name, value in params.items() if value}
    timeout = httpx.Timeout(10.0, read=_SILENCE_SECONDS)
    heard = loop.time()
    while True:
        headers = {"Last-Event-ID": lines.last_id} if lines.last_id else {}
        try:
            async with http.stream("GET", "/v1/stream", params=params, headers=headers, timeout=timeout) as response:
                if not response.is_success:
                    await response.aread()
                check(response, url)
                async for line in response.aiter_lines():
                    heard = loop.time()
                    change = lines.take(line)
                    if change is not None:
                        yield change
        except httpx.TransportError as error:
            if loop.time() - heard > patience_seconds:
                raise unreachable(url, error) from None
        await asyncio.sleep(_PAUSE_SECONDS)
