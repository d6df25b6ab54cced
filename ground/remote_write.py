"""Prometheus remote write: every sample that is archived goes to a Prometheus too, at its on-board time.

A cursor in the archive says how far it has come, so that nothing is lost whichever side is restarted: what was not
acknowledged is sent again, and Prometheus takes a sample that it has already. One request at a time is under way, the
next batches are read when it is done, and what cannot be sent waits in the archive. What Prometheus refuses for good
(too old for its out-of-order window, most often) is narrowed down, counted and left out.

Above rate 1 samples carry the wall time at which their mission time is, and ``skyrack_mission_time_seconds`` tells it.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from functools import cache, partial
from typing import Any, Final

import httpx

from ground import prompb
from ground.store import batches
from ground.store.batches import RawBatch
from ground.telemetry.plans import Shape, plan_of
from skyrack.clock import Anchor
from skyrack.dictionary import telemetry_fields
from skyrack.logging import get_logger
from skyrack.metrics import metric_name
from skyrack.storage import Storage, StorageError

__all__ = ["RemoteWriter", "Series", "collect", "wall_seconds"]

CURSOR: Final = "remote_write"
_BATCHES: Final = 40
_IDLE_SECONDS: Final = 1.0
_FIRST_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 60.0
_TIMEOUT_SECONDS: Final = 30.0
_REQUESTS_MAXIMUM: Final = 200
"""To find out what of one page is refused; the rest of it is given up."""

Series = dict[bytes, list[tuple[int, float]]]
"""Samples by encoded labels."""


def wall_seconds(anchor: Anchor, mission_time_seconds: float) -> float:
    """When a mission time is on the wall: the same at rate 1 on a clock that tells UTC."""
    return anchor.host_time_seconds + (mission_time_seconds - anchor.mission_time_seconds) / anchor.rate


@cache
def _columns(name: str, shape: Shape, satellite: str) -> tuple[tuple[int, bytes], ...]:
    """(place in the row, labels) of what the dictionary knows."""
    known = telemetry_fields()
    _, plan = plan_of(name)
    found = []
    for index, column in enumerate(plan.columns(shape)):
        field = known.get(column.field)
        if field is not None:
            pairs = dict(zip(field.labels, column.labels, strict=True))
            name_of = metric_name(field)
            found.append((index, prompb.labels({**pairs, "satellite": satellite, "__name__": name_of})))
    return tuple(found)


def collect(found: list[RawBatch], milliseconds: Callable[[float], int]) -> Series:
    """The samples of batches, those of a series in the order of their time, each time once."""
    gathered: dict[bytes, dict[int, float]] = {}
    for raw in found:
        clock = gathered.setdefault(
            prompb.labels({"__name__": "skyrack_mission_time_seconds", "satellite": raw.satellite}), {}
        )
        for sample in raw.batch().samples:
            at_seconds = sample.mission_time_seconds
            try:
                kind, plan = plan_of(sample.message_type)
                shape, row = plan.read(kind.FromString(sample.payload))
            except (KeyError, ValueError):
                continue  # of a newer satellite, or damaged: the archive keeps it
            if not -1e12 < at_seconds < 1e12:
                continue
            at = milliseconds(at_seconds)
            clock[at] = at_seconds
            for index, named in _columns(sample.message_type, shape, raw.satellite):
                value = float(row[index])
                if not math.isnan(value):
                    gathered.setdefault(named, {})[at] = value
    return {named: sorted(samples.items()) for named, samples in gathered.items() if samples}


class _RefusedError(Exception):
    """Prometheus will never take this request."""


class RemoteWriter:
    """Follows the archive. ``run`` goes on until cancelled; ``told(dropped, reason)`` hears of what is refused."""

    def __init__(
        self,
        url: str,
        database: Storage[Any],
        anchor: Anchor,
        told: Callable[[int, str], None],
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.url = url
        self.sent_samples = 0
        self.dropped_samples = 0
        self.retries = 0
        self.lag_batches = 0
        self._database = database
        self._anchor = anchor
        self._told = told
        self._transport = transport
        # The newest time of each series: what is older goes in a request of its own, which alone may be refused.
        self._newest: dict[bytes, int] = {}
        self._log = get_logger("ground.remote_write")

    async def run(self) -> None:
        """Send what there is, then what comes."""
        pause = _FIRST_PAUSE_SECONDS
        position = -1
        async with httpx.AsyncClient(
            timeout=_TIMEOUT_SECONDS, transport=self._transport, trust_env=False, headers=prompb.HEADERS
        ) as client:
            while True:
                try:
                    if position < 0:
                        position, self.dropped_samples = await self._database.read(
                            lambda connection: batches.cursor(connection, CURSOR)
                        )
                    moved = await self._page(client, position)
                    pause = _FIRST_PAUSE_SECONDS
                except StorageError as error:
                    self._log.warning("remote_write_waits", problem=str(error))
                    moved = position
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
                if moved == position:
                    # The far end lives in wall time, and so does this pause.
                    await asyncio.sleep(_IDLE_SECONDS)
                position = moved

    async def _page(self, client: httpx.AsyncClient, position: int) -> int:
        """Send the batches after a position; how far it has come."""
        found = await self._database.read(partial(batches.outgoing, after_id=position, limit=_BATCHES))
        self.lag_batches = len(found)
        if not found:
            return position
        loop = asyncio.get_running_loop()
        gathered = await loop.run_in_executor(None, partial(collect, found, self._milliseconds))
        fresh, late = self._split(gathered)
        left = [_REQUESTS_MAXIMUM]
        for part in (fresh, late):
            if part:
                await self._send(client, part, left)
        for named, samples in fresh.items():
            self._newest[named] = samples[-1][0]
        end, dropped = found[-1].id, self.dropped_samples

        def advance(connection: Any) -> None:
            batches.advance(connection, CURSOR, end, dropped)
            batches.drop_sent(connection, end)

        await self._database.write(advance)
        return end

    def _milliseconds(self, mission_time_seconds: float) -> int:
        return round(wall_seconds(self._anchor, mission_time_seconds) * 1000)

    def _split(self, gathered: Series) -> tuple[Series, Series]:
        fresh: Series = {}
        late: Series = {}
        for named, samples in gathered.items():
            newest = self._newest.get(named)
            if newest is None or samples[0][0] > newest:
                fresh[named] = samples
                continue
            after = [sample for sample in samples if sample[0] > newest]
            if after:
                fresh[named] = after
            late[named] = [sample for sample in samples if sample[0] <= newest]
        return fresh, late

    async def _send(self, client: httpx.AsyncClient, part: Series, left: list[int]) -> None:
        """Send; where it is refused, halve it until what is wrong stands alone, and drop that."""
        count = sum(map(len, part.values()))
        left[0] -= 1
        try:
            await self._post(client, prompb.write_request(prompb.series(*item) for item in part.items()))
        except _RefusedError as refused:
            # By time and by series in turn: what is too old, and what has a bad name, both come apart soon.
            halves = _by_time(part) if left[0] % 2 else _by_series(part)
            halves = halves or _by_series(part) or _by_time(part)
            if not halves or left[0] <= 0:
                self.dropped_samples += count
                self._told(count, str(refused))
                return
            for half in halves:
                await self._send(client, half, left)
        else:
            self.sent_samples += count

    async def _post(self, client: httpx.AsyncClient, body: bytes) -> None:
        """Until it is taken, however long that lasts. Raises ``_RefusedError``."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            wait = pause
            try:
                response = await client.post(self.url, content=body)
            except httpx.HTTPError as error:
                problem = f"{type(error).__name__} {error}".strip()
            else:
                if response.is_success:
                    return
                problem = f"{response.status_code}: {response.text[:200].strip()}"
                if response.status_code != 429 and response.status_code < 500:
                    raise _RefusedError(problem)
                wait = max(pause, _retry_after(response))
            if not self.retries % 10:
                self._log.warning("remote_write_waits", url=self.url, problem=problem)
            self.retries += 1
            await asyncio.sleep(wait)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


def _by_series(part: Series) -> list[Series]:
    """Two halves, or nothing when there is but one series."""
    items = list(part.items())
    middle = len(items) // 2
    return [dict(items[:middle]), dict(items[middle:])] if middle else []


def _by_time(part: Series) -> list[Series]:
    """The older and the newer half, or nothing when all is of one time."""
    times = sorted({at for samples in part.values() for at, _ in samples})
    if len(times) < 2:
        return []
    middle = times[len(times) // 2]
    halves: list[Series] = []
    for is_older in (True, False):
        chosen = {
            named: [sample for sample in samples if (sample[0] < middle) is is_older] for named, samples in part.items()
        }
        halves.append({named: samples for named, samples in chosen.items() if samples})
    return halves


def _retry_after(response: httpx.Response) -> float:
    try:
        return min(max(0.0, float(response.headers.get("Retry-After", "0"))), _LONGEST_PAUSE_SECONDS)
    except ValueError:
        return 0.0
