"""The gateway's shell: the bus on one side, the backhaul on the other."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, Final

from google.protobuf.message import Message

from flight.context import ServiceContext
from flight.gateway import choice, work
from flight.gateway.agreement import Agreement
from flight.gateway.backfill import Recording
from flight.gateway.batching import Batcher
from flight.gateway.connections import Connections, connector_for, tls_files
from flight.gateway.downlink import RefusedError
from flight.gateway.files import Files
from flight.gateway.keys import Believed
from flight.gateway.ledger import ledger_of
from flight.gateway.orders import OrderDesk
from flight.gateway.packages import GROUND, Packages
from flight.gateway.recorder import Recorder
from flight.gateway.sequencer import Sequencer
from flight.gateway.worker import Worker
from flight.identity import satellite_key
from flight.service import Service, command, every, subscribe
from flight.throttle import Throttle
from skyrack import dictionary
from skyrack.backhaul import down_topic
from skyrack.database import Database, StorageError
from skyrack.delivery import TWIN_SETTINGS, Delivered, DeliverySettings, Endpoint, Link, OutboxFullError, Refusal
from skyrack.signing import Right
from skyrack.v1.backhaul_pb2 import Payload, TelemetrySample
from skyrack.v1.common_pb2 import CommandResult, Header, Severity
from skyrack.v1.gateway_pb2 import (
    AbortSequenceRequest,
    BackfillRequest,
    BackfillResponse,
    GatewayParameters,
    GetLedgerRequest,
    GetLedgerResponse,
    LinkStatus,
    SendDownRequest,
)
from skyrack.v1.laser_pb2 import LASER_STATE_COMMUNICATE, LaserStatus
from skyrack.v1.options_pb2 import STREAM_BULK, STREAM_EVENTS, STREAM_HOUSEKEEPING, STREAM_STATUS, STREAM_UNSPECIFIED

if TYPE_CHECKING:
    from flight.gateway.exporter import Exporter

_KEEPALIVE_SECONDS: Final = {choice.OPTICAL: 5, choice.ANTENNA: 15}
_LASER_SILENT_SECONDS: Final = 15.0
_EVENT_LIFETIME_SECONDS: Final = 30 * 86_400.0
_RETRY_SECONDS: Final = 5.0
_PRUNE_SECONDS: Final = 86_400.0


class Gateway(Service):
    """Keeps the satellite in touch with the ground."""

    name = "gateway"
    publishes: ClassVar[tuple[type[Message], ...]] = (LinkStatus,)
    parameters = GatewayParameters

    def __init__(self, context: ServiceContext) -> None:
        super().__init__(context)
        state_dir, attachments = context.state_dir, context.attachments
        satellite, rate = context.satellite, context.clock.rate
        self._believed = Believed(satellite, attachments, state_dir)
        settings = attachments.get("delivery.settings")
        if not isinstance(settings, DeliverySettings):
            settings = TWIN_SETTINGS if state_dir is None else DeliverySettings()
        self._database = Database(state_dir / "gateway.db" if state_dir else None)
        self._desk = OrderDesk(
            satellite,
            self._believed,
            self.clock,
            lambda connection, payload: self._enqueue(connection, STREAM_STATUS, payload.SerializeToString()),
            lambda *sequence: self._sequencer.take(*sequence),  # noqa: PLW0108 - it is made later
            self._take_unsigned,
        )
        self._endpoint = Endpoint(
            satellite,
            key=satellite_key(satellite, attachments),
            ring=self._believed.ring,
            peer_right=Right.RELAY,
            database=self._database,
            clock=self.clock,
            on_item=self._desk.take,
            after_commit=self._took,
            on_refused=self._refused,
            settings=settings,
        )
        packages = Packages(state_dir / "packages" if state_dir else None)
        self._files = Files(
            self._endpoint,
            self._database,
            packages,
            state_dir,
            lambda: self._jobs_came.set(),  # noqa: PLW0108 - it is made later
            self._refused,
        )
        self._worker = Worker(
            satellite,
            context.services,
            self._database,
            self.clock,
            self.request,
            lambda connection, payload: self._enqueue(connection, STREAM_STATUS, payload.SerializeToString()),
            self._committed,
            packages,
        )
        self._sequencer = Sequencer(
            context.services,
            self._database,
            self.clock,
            self._worker.call,
            lambda connection, payload: self._enqueue(connection, STREAM_STATUS, payload.SerializeToString()),
            lambda: self._endpoint.kick(GROUND, STREAM_STATUS),
            self.spawn,
            lambda: self.parameters_active.sequence_lateness_seconds,
        )
        tls = tls_files(attachments)
        connectors = {
            link: connector_for(attachments[f"backhaul.{link}"], satellite, _KEEPALIVE_SECONDS[link], tls)
            for link in (choice.OPTICAL, choice.ANTENNA)
            if attachments.get(f"backhaul.{link}")
        }
        self._chooser = choice.LinkChooser(connectors, max(1.0, 5 / rate), max(1.0, 5 / rate))
        link = Link(self._endpoint, lambda _, stream: down_topic(satellite, stream), presence=satellite)
        self._connections = Connections(link, connectors, self._chooser, self._link_changed)
        self._batcher = Batcher(rate)
        self._recorder = Recorder(state_dir / "recorder" if state_dir else None)
        self._recording = Recording(self._recorder)
        self._downlinked = {
            message.full_name.encode(): message
            for message in dictionary.telemetry().values()
            if message.stream not in (STREAM_UNSPECIFIED, STREAM_STATUS)
        }
        self._lasers: dict[str, tuple[float, bool]] = {}
        self._refusals = Throttle(60.0 * max(1.0, rate))
        self._commands_came = asyncio.Event()
        self._jobs_came = asyncio.Event()
        self._question_came = asyncio.Event()
        self._agreement = Agreement(self._database, self._endpoint, self.request, rate)
        self._exporter: Exporter | None = None

    async def on_start(self) -> None:
        """Open the store, and take up what earlier lives left to do."""
        await self._database.migrate("gateway", work.SCHEMA)
        await self._endpoint.open()
        self._endpoint.peer(GROUND)
        await self._files.sweep()
        await self._sequencer.open()
        address = self.context.attachments.get("metrics.port")
        if address:
            from flight.gateway.exporter import Exporter  # most boards have none, and are spared its libraries

            self._exporter = Exporter(self.context.satellite)
            self._exporter.serve(str(address))
        self.bus.subscribe_raw(self.context.services, self._on_telemetry)
        self._commands_came.set()
        self._jobs_came.set()
        self.spawn(self._work(self._commands_came, self._telecommands), "telecommands")
        self.spawn(self._work(self._jobs_came, self._worker.jobs), "jobs")
        self.spawn(self._work(self._question_came, self._agreement.answer), "agreement")
        self.spawn(self._connections.run(), "connections")
        self.spawn(self._sequencer.run(), "sequences")

    async def on_stop(self) -> None:
        """Store the telemetry that still gathers, and close."""
        await self._flush(self._batcher.due(float("inf"), {}, 0))
        await self.record(all_of_it=True)
        await self._files.exchange.close()
        await self._database.close()
        if self._exporter is not None:
            self._exporter.close()

    # Up.

    def _take_unsigned(self, connection: sqlite3.Connection, payload: Payload, item: Delivered) -> bool:
        now = self.clock.now()
        return self._files.take(connection, payload, item, now) or work.take_unsigned(connection, payload)

    def _committed(self) -> None:
        self._endpoint.kick(GROUND, STREAM_STATUS)
        self._files.committed()

    def _took(self, items: Sequence[Delivered]) -> None:
        for reason in self._desk.told(items):
            self._refused("order", reason)
        if any(item.stream != STREAM_BULK for item in items):
            self._endpoint.kick(GROUND, STREAM_STATUS)
            self._commands_came.set()
            self._jobs_came.set()
            self._sequencer.came()
            if self._agreement.heard(items):
                self._question_came.set()
        else:
            self._files.exchange.changed()
            self._jobs_came.set()

    async def _telecommands(self) -> bool:
        await self._worker.telecommands()
        return False

    async def _work(self, came: asyncio.Event, step: Callable[[], Awaitable[bool]]) -> None:
        """Take a step whenever something came, and again a little later while something is left."""
        loop = asyncio.get_running_loop()
        while True:
            await came.wait()
            came.clear()
            try:
                left = await step()
            except (StorageError, OutboxFullError, OSError) as error:
                self._refused("storage", str(error))
                left = True
            except Exception as error:  # noqa: BLE001 - whatever one thing that came up breaks, the next may be the remedy
                self.failed("work", error)
                left = True
            if left:
                loop.call_later(_RETRY_SECONDS, came.set)

    def _refused(self, kind: str, detail: str) -> None:
        told, untold = self._refusals.admit(kind, self.clock.now())
        if told:
            severity = Severity.SEVERITY_ERROR if kind in ("storage", "handler") else Severity.SEVERITY_WARNING
            self.event(f"backhaul_{kind}", severity, detail, untold=untold)

    @every(seconds=3600)
    async def prune(self) -> None:
        """Drop the replay guards of what could not be valid any more, and packages that nobody asks for."""
        now = self.clock.now()
        await self._database.write(lambda connection: work.prune(connection, now - _PRUNE_SECONDS))
        await self._files.prune(now - _PRUNE_SECONDS)
        await self._database.write(lambda connection: self._sequencer.prune(connection, now))

    @command
    async def abort_sequence(self, request: AbortSequenceRequest) -> CommandResult:
        """Run no further step of a sequence; a step that was begun is not recalled."""
        try:
            return await self._sequencer.abort(request.sequence_id, request.reason)
        except StorageError as error:
            return CommandResult(ok=False, reason=str(error))

    # Down.

    def _enqueue(self, connection: sqlite3.Connection, stream: int, payload: bytes) -> None:
        self._endpoint.enqueue(connection, GROUND, stream, payload)

    @command
    async def send_down(self, request: SendDownRequest, header: Header) -> CommandResult:
        """Take responsibility for an item, and its file: it is in the outbox when this returns."""
        now = self.clock.now()
        try:
            new = await self._files.send_down(request, header.source, now, self._enqueue)
        except (StorageError, OutboxFullError, RefusedError, OSError, ValueError) as error:
            return CommandResult(ok=False, reason=str(error))
        for stream in (STREAM_STATUS, STREAM_BULK, request.stream):
            if stream:
                self._endpoint.kick(GROUND, stream)
        return CommandResult(ok=True, reason="stored" if new else "stored already")

    @command
    async def get_ledger(self, request: GetLedgerRequest) -> GetLedgerResponse:
        """What delivery sent and received, for the ground to compare with its own."""
        return await ledger_of(self._endpoint)

    def _on_telemetry(self, topic: bytes, header: bytes, payload: bytes) -> None:
        name, _, key = topic.partition(b"/")
        message = self._downlinked.get(name)
        if message is None:
            return
        head = Header.FromString(header)
        now = self.clock.now()
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

    @every(seconds=5)
    async def record(self, *, all_of_it: bool = False) -> None:
        """Put what has gathered for the recorder onto the disk."""
        active = self.parameters_active
        try:
            await self._recording.flush(
                self.clock.now(), active.recorder_bytes, active.recorder_seconds, all_of_it=all_of_it
            )
        except OSError as error:
            self._refused("storage", f"the recorder: {error}")

    @command
    async def backfill(self, request: BackfillRequest) -> BackfillResponse:
        """Send recorded samples again: they are in the outbox when this returns."""
        await self.record(all_of_it=True)
        try:
            found, oldest = await self._recording.find(request, self.clock.rate)
            lifetime = self.parameters_active.housekeeping_lifetime_seconds
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

    @every(seconds=1)
    async def flush(self) -> None:
        """Close the batches that are full or have waited long enough."""
        active = self.parameters_active
        waits: dict[int, float] = {
            STREAM_EVENTS: 0.0,
            STREAM_HOUSEKEEPING: active.batch_seconds,
            STREAM_BULK: active.batch_seconds,
        }
        due = self._batcher.due(self.clock.now(), waits, int(active.batch_samples))
        if due:
            await self._flush(due)

    async def _flush(self, streams: Sequence[int]) -> None:
        for stream in streams:
            batch = self._batcher.take(stream)
            if batch is None:
                continue
            events = stream == STREAM_EVENTS
            lifetime = _EVENT_LIFETIME_SECONDS if events else self.parameters_active.housekeeping_lifetime_seconds
            try:
                data = Payload(telemetry=batch).SerializeToString()
                await self._endpoint.send(GROUND, stream, data, lifetime_seconds=lifetime)
            except (StorageError, OutboxFullError) as error:
                self._batcher.put_back(stream, batch, self.clock.now())
                self._refused("storage", str(error))
            except ValueError as error:
                self._refused("telemetry", str(error))

    # The link.

    @subscribe(LaserStatus)
    def on_laser(self, status: LaserStatus) -> None:
        """Prefer the optical link while a laser communicates."""
        self._lasers[status.terminal] = (self.clock.now(), status.state == LASER_STATE_COMMUNICATE)

    @every(seconds=1)
    def choose_link(self) -> None:
        """Go over to a better link if there is one."""
        now = self.clock.now()
        fresh = [on for at, on in self._lasers.values() if now - at < _LASER_SILENT_SECONDS]
        self._chooser.laser(any(fresh) if fresh else None, asyncio.get_running_loop().time())
        self._batcher.thinning = not (self._connections.connected and self._connections.current == choice.OPTICAL)
        self._connections.reconsider()

    def _link_changed(self, link: str, reason: str) -> None:
        if reason:
            self.event("link_lost", Severity.SEVERITY_INFO, f"{link}: {reason}", link=link)
            return
        rate = self.context.satellite_file.antenna.rate_bits_per_second
        sender = self._endpoint.peer(GROUND).sender
        full = self._endpoint.settings.window_bytes
        sender.window_bytes = min(full, choice.window_bytes(rate * self.clock.rate)) if link == choice.ANTENNA else full
        self.event("link_up", Severity.SEVERITY_INFO, f"the ground is in reach over the {link} link", link=link)
        if self._believed.problem:
            # Not at the start, when nobody listens yet.
            self.event("key_list_damaged", Severity.SEVERITY_ERROR, self._believed.problem)
            self._believed.problem = ""

    @every(seconds=5)
    async def publish_status(self) -> None:
        """How the backhaul is."""
        counters = self._endpoint.counters
        totals = await self._endpoint.totals()
        refused = counters.refused
        connected = self._connections.connected
        self.publish(
            LinkStatus(
                mission_time_seconds=self.clock.now(),
                connected=connected,
                link=self._connections.current if connected else "",
                outbox_items=totals.waiting_items,
                outbox_bytes=totals.waiting_bytes,
                frames_sent_total=counters.frames_sent,
                frames_received_total=counters.frames_received,
                frames_rejected_total=sum(refused.values()) - refused[Refusal.REPLAYED],
                frames_duplicate_total=refused[Refusal.REPLAYED],
                items_shed_total=totals.given_up,
                reconnects_total=counters.sessions,
                key_list_version=self._believed.ring.version,
            )
        )
