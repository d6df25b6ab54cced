"""Telemetry of the bus: batched for the ground, recorded on board, and sent again when the ground asks for it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from flight.gateway.backfill import Recording
from flight.gateway.batching import Batcher
from flight.gateway.packages import GROUND
from flight.gateway.recorder import Recorder
from skyrack import dictionary
from skyrack.clock import Clock
from skyrack.database import StorageError
from skyrack.delivery import Endpoint, OutboxFullError
from skyrack.v1.backhaul_pb2 import Payload, TelemetrySample
from skyrack.v1.common_pb2 import Header
from skyrack.v1.gateway_pb2 import BackfillRequest, BackfillResponse, GatewayParameters
from skyrack.v1.options_pb2 import STREAM_BULK, STREAM_EVENTS, STREAM_HOUSEKEEPING, STREAM_STATUS, STREAM_UNSPECIFIED

if TYPE_CHECKING:
    from flight.gateway.exporter import Exporter

_EVENT_LIFETIME_SECONDS: Final = 30 * 86_400.0


class TelemetryDownlink:
    """Takes what is published and puts it into the outbox; ``on_problem(kind, text)`` hears what could not be kept."""

    def __init__(
        self,
        endpoint: Endpoint[sqlite3.Connection],
        clock: Clock,
        recorder: Recorder,
        parameters: Callable[[], GatewayParameters],
        on_problem: Callable[[str, str], None],
    ) -> None:
        """``parameters()`` are those in force."""
        self._endpoint = endpoint
        self._clock = clock
        self._parameters = parameters
        self._on_problem = on_problem
        self._batcher = Batcher(clock.rate)
        self._recorder = recorder
        self._recording = Recording(self._recorder)
        self._exporter: Exporter | None = None
        self._downlinked = {
            message.full_name.encode(): message
            for message in dictionary.telemetry().values()
            if message.stream not in (STREAM_UNSPECIFIED, STREAM_STATUS)
        }

    def serve_metrics(self, satellite: str, address: str) -> None:
        """Let Prometheus scrape the latest of everything at ``[host:]port``. Raises ``UserError``."""
        from flight.gateway.exporter import Exporter  # most boards have none, and are spared its libraries

        self._exporter = Exporter(satellite)
        self._exporter.serve(address)

    def thin(self, is_thinning: bool) -> None:
        """Keep only the newest of each in a batch: a slow link has no room for more, nor a long silence."""
        self._batcher.thinning = is_thinning

    def hear(self, topic: bytes, header: bytes, payload: bytes) -> None:
        """Take what was published, as it came over the bus."""
        name, _, key = topic.partition(b"/")
        message = self._downlinked.get(name)
        if message is None:
            return
        head = Header.FromString(header)
        now = self._clock.now()
        if self._exporter is not None:
            self._exporter.update(topic, message.type, payload, head.mission_time_seconds)
        sample = TelemetrySample(
            message_type=message.full_name,
            key=key[:-1].decode(),
            source=head.source,
            mission_time_seconds=head.mission_time_seconds,
            payload=payload,
            sequence=head.sequence,
            incarnation=head.incarnation,
        )
        if message.stream != STREAM_EVENTS:
            self._recorder.add(sample, now)
        self._batcher.add(message.stream, sample, now)

    async def flush(self) -> None:
        """Close the batches that are full or have waited long enough."""
        active = self._parameters()
        waits: dict[int, float] = {
            STREAM_EVENTS: 0.0,
            STREAM_HOUSEKEEPING: active.batch_seconds,
            STREAM_BULK: active.batch_seconds,
        }
        await self._store(self._batcher.due(self._clock.now(), waits, int(active.batch_samples)))

    async def record(self, *, all_of_it: bool = False) -> None:
        """Put what has gathered for the recorder onto the disk, when it is time."""
        active = self._parameters()
        try:
            await self._recording.flush(
                self._clock.now(), active.recorder_bytes, active.recorder_seconds, all_of_it=all_of_it
            )
        except OSError as error:
            self._on_problem("storage", f"the recorder: {error}")

    async def backfill(self, request: BackfillRequest) -> BackfillResponse:
        """Send recorded samples again: they are in the outbox when this returns."""
        await self.record(all_of_it=True)
        try:
            found, oldest = await self._recording.find(request, self._clock.rate)
            lifetime = self._parameters().housekeeping_lifetime_seconds
            for batch in found.batches:
                data = Payload(telemetry=batch).SerializeToString()
                await self._endpoint.send(GROUND, STREAM_BULK, data, lifetime_seconds=lifetime)
        except (StorageError, OutboxFullError, OSError, ValueError) as error:
            return BackfillResponse(ok=False, reason=str(error))
        return BackfillResponse(
            ok=True,
            samples=found.samples,
            bytes=found.size_bytes,
            oldest_seconds=oldest,
            truncated=found.truncated,
        )

    async def put_away(self) -> None:
        """Store what still gathers. The database is still needed until this returns."""
        await self._store(self._batcher.due(float("inf"), {}, 0))
        await self.record(all_of_it=True)

    def close(self) -> None:
        """Answer no more scrapes."""
        if self._exporter is not None:
            self._exporter.close()

    async def _store(self, streams: Sequence[int]) -> None:
        for stream in streams:
            batch = self._batcher.take(stream)
            if batch is None:
                continue
            events = stream == STREAM_EVENTS
            lifetime = _EVENT_LIFETIME_SECONDS if events else self._parameters().housekeeping_lifetime_seconds
            try:
                data = Payload(telemetry=batch).SerializeToString()
                await self._endpoint.send(GROUND, stream, data, lifetime_seconds=lifetime)
            except (StorageError, OutboxFullError) as error:
                self._batcher.put_back(stream, batch, self._clock.now())
                self._on_problem("storage", str(error))
            except ValueError as error:
                self._on_problem("telemetry", str(error))
