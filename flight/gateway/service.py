"""The gateway's shell: the bus on one side, the backhaul on the other."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Sequence
from typing import ClassVar, Final

from google.protobuf.message import Message

from flight.context import ServiceContext
from flight.gateway import choice, work
from flight.gateway.agreement import Agreement
from flight.gateway.chores import Chore
from flight.gateway.connections import Connections, connectors_for
from flight.gateway.downlink import RefusedError
from flight.gateway.files import Files
from flight.gateway.keys import Believed
from flight.gateway.ledger import ledger_of
from flight.gateway.orders import OrderDesk
from flight.gateway.packages import GROUND, Packages
from flight.gateway.recorder import Recorder
from flight.gateway.sequencer import Sequencer
from flight.gateway.telemetry import TelemetryDownlink
from flight.gateway.worker import Worker
from flight.identity import satellite_key
from flight.service import Service, command, every, subscribe
from flight.throttle import Throttle
from skyrack.backhaul import down_topic
from skyrack.database import StorageError
from skyrack.delivery import TWIN_SETTINGS, Delivered, DeliverySettings, Endpoint, Link, OutboxFullError, Refusal
from skyrack.signing import Right
from skyrack.v1.backhaul_pb2 import Payload
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
from skyrack.v1.options_pb2 import STREAM_BULK, STREAM_STATUS

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
        self._database = context.disk.database("gateway.db")
        self._desk = OrderDesk(
            satellite,
            self._believed,
            self.clock,
            self._enqueue_status,
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
        packages = Packages(state_dir / "packages" if state_dir else None, context.mount.shelf("packages", set()))
        self._files = Files(
            self._endpoint,
            self._database,
            packages,
            state_dir,
            context.mount,
            lambda: self._jobs.come(),  # noqa: PLW0108 - it is made later
            self._refused,
        )
        self._worker = Worker(
            satellite,
            context.services,
            self._database,
            self.clock,
            self.request,
            self._enqueue_status,
            self._committed,
            packages,
        )
        self._sequencer = Sequencer(
            context.services,
            self._database,
            self.clock,
            self._worker.call,
            self._enqueue_status,
            lambda: self._endpoint.kick(GROUND, STREAM_STATUS),
            self.spawn,
            lambda: self.parameters_active.sequence_lateness_seconds,
        )
        connectors = connectors_for(attachments, satellite)
        self._chooser = choice.LinkChooser(connectors, max(1.0, 5 / rate), max(1.0, 5 / rate))
        link = Link(self._endpoint, lambda _, stream: down_topic(satellite, stream), presence=satellite)
        self._connections = Connections(link, connectors, self._chooser, self._link_changed)
        recorder = Recorder(state_dir / "recorder" if state_dir else None, context.mount.shelf("recorder", deque()))
        self._telemetry = TelemetryDownlink(
            self._endpoint, self.clock, recorder, lambda: self.parameters_active, self._refused
        )
        self._lasers = choice.Lasers()
        self._refusals = Throttle(60.0 * max(1.0, rate))
        self._agreement = Agreement(self._database, self._endpoint, self.request, rate)
        self._telecommands = Chore(self._do_telecommands, self._refused, self.failed)
        self._jobs = Chore(self._worker.jobs, self._refused, self.failed)
        self._questions = Chore(self._agreement.answer, self._refused, self.failed)

    async def on_start(self) -> None:
        """Open the store, and take up what earlier lives left to do."""
        await self._database.migrate("gateway", work.SCHEMA)
        await self._endpoint.open()
        self._endpoint.peer(GROUND)
        await self._files.sweep()
        await self._sequencer.open()
        address = self.context.attachments.get("metrics.port")
        if address:
            self._telemetry.serve_metrics(self.context.satellite, str(address))
        self.bus.subscribe_raw(self.context.services, self._telemetry.hear)
        self._telecommands.come()
        self._jobs.come()
        self.spawn(self._telecommands.run(), "telecommands")
        self.spawn(self._jobs.run(), "jobs")
        self.spawn(self._questions.run(), "agreement")
        self.spawn(self._connections.run(), "connections")
        self.spawn(self._sequencer.run(), "sequences")

    async def on_stop(self) -> None:
        """Store the telemetry that still gathers, and close."""
        await self._telemetry.put_away()
        await self._files.exchange.close()
        await self._database.close()
        self._telemetry.close()

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
            self._telecommands.come()
            self._jobs.come()
            self._sequencer.came()
            if self._agreement.heard(items):
                self._questions.come()
        else:
            self._files.exchange.changed()
            self._jobs.come()

    async def _do_telecommands(self) -> bool:
        await self._worker.telecommands()
        return False

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

    def _enqueue_status(self, connection: sqlite3.Connection, payload: Payload) -> None:
        self._enqueue(connection, STREAM_STATUS, payload.SerializeToString())

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

    @every(seconds=5)
    async def record(self) -> None:
        """Put what has gathered for the recorder onto the disk."""
        await self._telemetry.record()

    @command
    async def backfill(self, request: BackfillRequest) -> BackfillResponse:
        """Send recorded samples again: they are in the outbox when this returns."""
        return await self._telemetry.backfill(request)

    @every(seconds=1)
    async def flush(self) -> None:
        """Close the batches that are full or have waited long enough."""
        await self._telemetry.flush()

    # The link.

    @subscribe(LaserStatus)
    def on_laser(self, status: LaserStatus) -> None:
        """Prefer the optical link while a laser communicates."""
        self._lasers.hear(status.terminal, status.state == LASER_STATE_COMMUNICATE, self.clock.now())

    @every(seconds=1)
    def choose_link(self) -> None:
        """Go over to a better link if there is one."""
        communicating = self._lasers.communicating(self.clock.now())
        self._chooser.laser(communicating, asyncio.get_running_loop().time())
        self._telemetry.thin(not (self._connections.connected and self._connections.current == choice.OPTICAL))
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
