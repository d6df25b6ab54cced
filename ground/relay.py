"""The ground's engine: takes in what satellites say, places jobs, keeps all of it in one database.

What it decides stands in ``placement`` and ``lifecycle``; what it must not lose is in the database before anybody
hears that it was taken.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from ground import dispatch, intake, results
from ground.agreement import Agreement
from ground.command_desk import CommandDesk
from ground.command_queue import CommandQueue
from ground.database import Connection, Database, StorageError
from ground.lifecycle import Note, note
from ground.orders import Orders
from ground.picture import Picture
from ground.placement import PlacementSettings
from ground.pulse import Pulse
from ground.run_times import RunTimes
from ground.sequences import SequenceDesk
from ground.store import alarms, batches, chunks, events, files, job_queue, jobs, migration, sequences, telecommands
from ground.telemetry.service import TelemetryService, TelemetrySettings
from ground.transfers import Transfers
from ground.vault import Vault
from skyrack.backhaul import Connector, down_topic, state_topic, up_topic
from skyrack.clock import Clock
from skyrack.delivery import TWIN_SETTINGS, Delivered, DeliverySettings, Endpoint, Link, OutboxFullError
from skyrack.logging import get_logger
from skyrack.satellite import SatelliteFile
from skyrack.signing import KeyRing, Right, SigningKey
from skyrack.v1 import backhaul_pb2, common_pb2, gateway_pb2
from skyrack.v1.options_pb2 import STREAM_EVENTS, STREAM_STATUS

__all__ = ["SUBSCRIPTIONS", "GroundCounters", "GroundSettings", "Relay"]

SUBSCRIPTIONS: Final = (down_topic("+", "+"), state_topic("+"))
"""What the ground's connector subscribes to."""

T = TypeVar("T")

_HOUR: Final = 3600.0


@dataclass(frozen=True, slots=True)
class GroundSettings:
    """How the ground works; times in mission seconds."""

    placement: PlacementSettings = field(default_factory=PlacementSettings)
    step_seconds: float = 10.0
    """Longest time between two looks at what waits."""
    archive_seconds: float = 7 * 86_400.0
    """Telemetry that came earlier is forgotten."""
    events_maximum: int = 1_000_000
    records_seconds: float = 30 * 86_400.0
    """Jobs that were over earlier are forgotten, with their results, and so are telecommands."""
    packages_seconds: float = 86_400.0
    """A package that no job needs is forgotten so long after it last came."""
    telecommand_lifetime_seconds: float = 86_400.0
    """For telecommands whose sender gives no end."""
    telemetry: TelemetrySettings = field(default_factory=TelemetrySettings)


IN_MEMORY: Final = GroundSettings(archive_seconds=3600.0, events_maximum=100_000)
"""For the twin, where what is kept is kept in memory."""


@dataclass(slots=True)
class GroundCounters:
    """What the ground did since its start."""

    refused: Counter[str] = field(default_factory=Counter)
    items: Counter[str] = field(default_factory=Counter)
    steps: int = 0
    storage_errors: int = 0


class Relay:
    """``open`` it, ``run`` it until cancelled, ``close`` it.

    Without ``state_dir`` everything lives in memory, and settings are those of the twin. ``database`` is a file,
    the URL of a PostgreSQL server, or an open one; without one, it is a file in ``state_dir``. ``new_id`` makes ids for
    what comes without one.
    """

    def __init__(  # noqa: PLR0913 - what it stands on
        self,
        designs: Mapping[str, SatelliteFile],
        *,
        key: SigningKey,
        ring: KeyRing,
        clock: Clock,
        rng: random.Random,
        new_id: Callable[[], str],
        connector: Connector,
        state_dir: Path | None = None,
        database: Path | str | Database = "",
        vault: Vault | None = None,
        settings: GroundSettings | None = None,
        delivery: DeliverySettings | None = None,
        name: str = "ground",
    ) -> None:
        self.name = name
        self.clock = clock
        self.settings = settings or (GroundSettings() if state_dir else IN_MEMORY)
        self.new_id = new_id
        self.orders = Orders(key, ring, clock.now, new_id)
        self.keyring_file: Path | None = None
        """Where the ring is kept; without one, in memory only."""
        self.picture = Picture(designs)
        if isinstance(database, Database):
            self.database = database
        else:
            self.database = Database(database or (state_dir / "ground.db" if state_dir else None))
        self.vault = vault or Vault(state_dir / "files" if state_dir else None)
        self.counters = GroundCounters()
        self.run_times = RunTimes()
        self.changed = Pulse()
        """Beats when a job, a telecommand or an event changed."""
        self.waiting_reasons: dict[str, str] = {}
        """Why jobs that wait on the ground do, by id: those that the last step looked at."""
        self.others_wait = ""
        """Why all others that wait do."""
        self._resume: job_queue.Place | None = None
        self.command_queue = CommandQueue(self.database, clock, self.in_reach, self.enqueue, self.kick, self.changed)
        self.endpoint = Endpoint(
            name,
            key=key,
            ring=ring,
            peer_right=Right.SATELLITE,
            database=self.database,
            clock=clock,
            on_item=self._on_item,
            after_commit=self._after_commit,
            on_refused=self._on_refused,
            on_contact=self._on_contact,
            on_sent=self.command_queue.left,
            settings=delivery or (DeliverySettings() if state_dir else TWIN_SETTINGS),
        )
        self.transfers = Transfers(self.endpoint, self.vault, state_dir, self.work_came, self._on_refused)
        self.link = Link(self.endpoint, lambda satellite, _stream: up_topic(satellite), on_presence=self._on_presence)
        self.command_desk = CommandDesk(
            self.command_queue, self.database, clock, self.picture.names, self.in_reach, self.changed
        )
        self.agreement = Agreement(self.database, self.orders, self.settings.placement, self.enqueue)
        self.sequence_desk = SequenceDesk(
            self.database,
            clock,
            self.picture.names,
            self.orders,
            self.command_queue,
            self.command_desk,
            self.changed,
            self.settings.telecommand_lifetime_seconds,
        )
        self.is_closing = False
        self._connector = connector
        self._rng = rng
        self._work = Pulse()
        self.telemetry_service = TelemetryService(
            self.picture,
            self.database,
            clock,
            self.settings.telemetry,
            self.changed.beat,
            self.ask_backfill,
            state_dir,
        )
        self._telemetry: dict[tuple[str, int, int, int], tuple[int | None, backhaul_pb2.TelemetryBatch]] = {}
        self._answers: dict[tuple[str, int, int, int], backhaul_pb2.OpenJobs] = {}
        self._refusals: dict[str, tuple[int, str]] = {}
        self._present: dict[str, bool] = {}
        self._last_trim = clock.now()
        self._log = get_logger("ground")

    async def open(self) -> None:
        """Open the database and pick up what an earlier life left.

        Raises:
            StorageError: the database cannot be used.
        """
        await migration.prepare(self.database)
        await self.endpoint.open()
        receiving = await self.database.read(self.transfers.receiving)
        await self.in_thread(partial(self.transfers.sweep, receiving))
        await self.command_queue.open()
        for satellite in self.picture.names:
            self.endpoint.peer(satellite)
        await self.telemetry_service.open()
        self._log.info("ground_opened", incarnation=self.endpoint.identity.incarnation, satellites=self.picture.names)

    async def run(self) -> None:
        """Relay and place until cancelled; ``open`` came before."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.link.serve(self._connector, self._rng), name="ground link")
            group.create_task(self._work_loop(), name="ground work")
            group.create_task(self.telemetry_service.run(), name="telemetry")
            group.create_task(self.command_queue.run(), name="command queue")

    def closing(self) -> None:
        """The end is near: who waits for news gets what there is."""
        self.is_closing = True
        self.changed.beat()

    async def close(self) -> None:
        """Finish what is being written, and close the database."""
        self.closing()
        await self.transfers.exchange.close()
        await self.database.close()

    async def in_thread(self, function: Callable[[], T]) -> T:
        """Run what touches files beside the loop; inline in virtual time."""
        return await asyncio.get_running_loop().run_in_executor(None, function)

    async def ask_backfill(self, satellite: str, request: gateway_pb2.BackfillRequest) -> None:
        """Ask a satellite for telemetry that is missing: done by the ground that sends telecommands."""

    def work_came(self) -> None:
        """There is something to place or to put together: look soon."""
        self._work.beat()

    def enqueue(
        self, connection: Connection, satellite: str, stream: int, payload: bytes, not_after_seconds: float
    ) -> None:
        """Into the outbox of a satellite, in the caller's transaction."""
        self.endpoint.enqueue(connection, satellite, stream, payload, not_after_seconds=not_after_seconds)

    def _vouch(self, row: jobs.JobRow) -> bytes:
        return self.orders.job(row.spec).data

    def kick(self, satellites: Sequence[str], streams: Sequence[int]) -> None:
        """Something was put into outboxes and committed: send it."""
        for satellite in satellites:
            for stream in streams:
                self.endpoint.kick(satellite, stream)

    def _on_item(self, connection: Connection, item: Delivered) -> None:
        """In the database's thread, in the transaction that records the item's receipt."""
        payload = intake.take(
            connection,
            item.source,
            item.stream,
            item.payload,
            self.clock.now(),
            self.settings.placement,
            self.orders.ring,
        )
        kind = payload.WhichOneof("kind") or ""
        self.counters.items[kind] += 1
        if kind == "telemetry":
            batch = payload.telemetry
            number = None
            if item.stream != STREAM_EVENTS:
                number = batches.add(connection, item.source, batch, item.payload, self.clock.now())
            self._telemetry[item.source, item.stream, item.epoch, item.sequence] = (number, batch)
        elif kind == "file_offer":
            self.transfers.take_offer(connection, item.source, payload.file_offer, self.clock.now())
        elif kind == "file_receipt":
            self.transfers.take_receipt(connection, item.source, payload.file_receipt, self.clock.now())
        elif kind == "open_jobs":
            self._answers[item.source, item.stream, item.epoch, item.sequence] = payload.open_jobs

    def _after_commit(self, items: Sequence[Delivered]) -> None:
        now = self.clock.now()
        is_news = False
        for item in items:
            self.picture.heard(item.source, now)
            self.command_queue.heard(item.source)
            taken = self._telemetry.pop((item.source, item.stream, item.epoch, item.sequence), None)
            answer = self._answers.pop((item.source, item.stream, item.epoch, item.sequence), None)
            if answer is not None:
                self.agreement.answered(item, answer)
                self._work.beat()
            elif taken is None:
                is_news = True
                self._work.beat()
            elif item.stream != STREAM_EVENTS:
                self.telemetry_service.take(item.source, *taken, now)
            else:
                is_news = True
        if is_news:
            self.transfers.committed()
            self.changed.beat()

    def _on_refused(self, kind: str, detail: str) -> None:
        """Counted at once, told once a step: a hostile broker must not fill the disk with events."""
        if kind == "storage":
            self.counters.storage_errors += 1
        else:
            self.counters.refused[kind] += 1
        count, _ = self._refusals.get(kind, (0, ""))
        self._refusals[kind] = (count + 1, detail)

    def _heard(self, satellite: str) -> float | None:
        return self.picture.heard_seconds(satellite) if satellite in self.picture else None

    def in_reach(self, satellite: str) -> bool:
        """Whether what is handed to delivery for a satellite would leave now."""
        peer = self.endpoint.peers.get(satellite)
        if peer is None or not (self.link.connected and peer.reachable):
            return False
        heard = self._heard(satellite)
        is_heard = heard is not None and self.clock.now() - heard <= self.settings.placement.reachable_seconds
        return is_heard or self._present.get(satellite, False)

    def _on_presence(self, satellite: str, is_present: bool) -> None:
        self._present[satellite] = is_present
        self.command_queue.heard(satellite)

    def _on_contact(self, satellite: str) -> None:
        self.agreement.contact(satellite)
        self._work.beat()

    async def _work_loop(self) -> None:
        while True:
            waiter = self._work.waiter()
            try:
                await self.step()
            except (StorageError, OutboxFullError, OSError) as error:
                self.counters.storage_errors += 1
                self._log.error("ground_storage_failed", problem=str(error))
                self.telemetry_service.storage_failed(str(error), self.clock.now())
            with suppress(TimeoutError):
                async with self.clock.timeout(self.settings.step_seconds):
                    await waiter

    async def step(self) -> None:
        """Place what waits, end what is over, put results together, forget what is old. Raises ``StorageError``."""
        self.counters.steps += 1
        now = self.clock.now()
        await self._tell_refusals(now)
        todo = await self.database.read(job_queue.todo)
        if todo.waiting_jobs or todo.is_due(now, self.settings.placement.lease_margin_seconds):
            views = [self.picture.view(name, now) for name in self.picture.names] if todo.waiting_jobs else []
            uplink = dispatch.Uplink(self.enqueue, self._vouch, self.transfers.offer_package)
            outcome = await self.database.write(
                lambda connection: dispatch.step(
                    connection, views, now, self.settings.placement, self.vault, uplink, self._resume
                )
            )
            self.waiting_reasons = outcome.waiting
            self.others_wait = outcome.others_wait
            self._resume = outcome.resume
            self.kick(sorted(outcome.placed_on), dispatch.STREAMS)
            self.transfers.committed()
            if outcome.changed:
                self.changed.beat()
        told, is_agreed = await self.agreement.step(now, self._heard)
        self.kick(sorted(told), [STREAM_STATUS])
        if is_agreed:
            self.changed.beat()
        if todo.expected_results and await self.database.write(lambda connection: results.collect(connection, now)):
            self.changed.beat()
        if self.transfers.exchange.incoming():
            await self.database.write(self.transfers.drop_strays)
            self.transfers.committed()
        await self.telemetry_service.step(now, is_connected=self.link.connected)
        if now - self._last_trim >= _HOUR:
            self._last_trim = now
            await self.database.write(lambda connection: self._trim(connection, now))
            # After the records: a file may be missed by nobody.
            await self.database.write(
                lambda connection: self.vault.keep_only(files.wanted(connection) | self.transfers.wanted(connection))
            )

    def _trim(self, connection: Connection, now: float) -> None:
        chunks.trim(connection, now - self.settings.archive_seconds)
        unsent = batches.trim(connection, now - self.settings.archive_seconds - _HOUR)
        if unsent:
            text = f"{unsent} batches could not be sent to Prometheus before their time was over"
            note(connection, Note("remote_write_gave_up", common_pb2.SEVERITY_ERROR, text), now)
        alarms.trim(connection, now - self.settings.records_seconds)
        events.trim(connection, self.settings.events_maximum)
        self.transfers.drop_strays(connection)
        self.transfers.drop_offers(connection)
        jobs.trim(connection, now - self.settings.records_seconds)
        telecommands.trim(connection, now - self.settings.records_seconds)
        sequences.trim(connection, now - self.settings.records_seconds)
        files.drop_packages(connection, now - self.settings.packages_seconds, jobs.packages_in_use(connection))

    async def _tell_refusals(self, now: float) -> None:
        if not self._refusals:
            return
        refusals, self._refusals = self._refusals, {}

        def transaction(connection: Connection) -> None:
            for kind, (count, detail) in refusals.items():
                text = detail if count == 1 else f"{count} times, the last: {detail}"
                note(connection, Note("frame_refused", common_pb2.SEVERITY_WARNING, text), now, kind=kind)

        await self.database.write(transaction)
        self.changed.beat()
