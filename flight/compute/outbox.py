"""Hands statuses and results to the gateway, in order, again and again until it has committed them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from flight.bus import BusError
from flight.compute.store import JobStore, Outgoing
from skyrack.clock import Clock
from skyrack.database import StorageError
from skyrack.v1 import gateway_pb2, job_pb2
from skyrack.v1.options_pb2 import STREAM_STATUS

REQUEST_SECONDS = 5.0
BACKOFF_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0)
"""Host time, like all that waits for another process."""


class Outbox:
    """Sends what the store has kept for the gateway."""

    def __init__(self, store: JobStore, clock: Clock, request: Callable[[str, Message, float], Awaitable[Any]]) -> None:
        self._store = store
        self._clock = clock
        self._request = request
        self._more = asyncio.Event()
        self._more.set()
        self.on_taken: Callable[[Outgoing], None] = lambda _item: None

    def wake(self) -> None:
        """There is something new in the store."""
        self._more.set()

    async def run(self) -> None:
        """Send for ever; a store that fails, as on a full disk, is asked again later."""
        while True:
            await self._more.wait()
            self._more.clear()
            try:
                await self._send_all()
            except StorageError:
                self._more.set()
                await self._clock.sleep(BACKOFF_SECONDS[-1] * self._clock.rate)

    async def _send_all(self) -> None:
        failures = 0
        while items := await self._store.outbox():
            for item in items:
                while not await self._hand_over(item):
                    wait = BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)]
                    failures += 1
                    await self._clock.sleep(wait * self._clock.rate)
                failures = 0
                await self._store.taken([item.row])
                self.on_taken(item)

    async def _hand_over(self, item: Outgoing) -> bool:
        request = gateway_pb2.SendDownRequest(
            stream=STREAM_STATUS,
            message_type=job_pb2.JobStatus.DESCRIPTOR.full_name,
            payload=item.payload,
            key=item.key,
            file_path=_existing(item.file_path),
            job_id=item.job_id,
            attempt=item.attempt,
            file_content=item.file_content,
        )
        try:
            answer = await self._request("gateway", request, REQUEST_SECONDS * self._clock.rate)
        except BusError:
            return False
        return bool(answer.ok)


def _existing(path: str) -> str:
    """A result that the disk has lost must not hold up what stands behind it: its status still tells of it."""
    return path if path and Path(path).is_file() else ""
