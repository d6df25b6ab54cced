"""A ground in virtual time, and satellites that are nothing but an end of delivery and a little playing."""

from __future__ import annotations

import asyncio
import importlib.util
import random
import socket
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from ground.access import TokenBook
from ground.api import Keeper, make_app
from ground.audit import Audit
from ground.client import Address
from ground.segment import SUBSCRIPTIONS, GroundSegment, GroundSettings
from skyrack import files, orders, receipts
from skyrack.backhaul import OFFLINE, Connector, LinkState, Will, down_topic, state_topic, up_topic
from skyrack.backhaul.memory import Impairments, MemoryHub
from skyrack.clock import Clock, MissionClock
from skyrack.database import Database
from skyrack.delivery import TWIN_SETTINGS, Delivered, DeliverySettings, Endpoint, Link, received_all_before
from skyrack.delivery.blocks import FileExchange, MemorySpool, describe
from skyrack.dictionary import telemetry
from skyrack.jobs import JobState
from skyrack.satellite import load_satellite
from skyrack.signing import KeyRing, Right, SigningKey, seeded_ring
from skyrack.v1 import backhaul_pb2, compute_pb2, job_pb2, options_pb2, power_pb2, thermal_pb2

SEED = 7
NAMES = ("sat-1", "sat-2")
START = 1_773_964_800.0


def spec_of(name: str = "digits", **values: Any) -> job_pb2.JobSpec:
    resources: dict[str, Any] = {"power_watts": 300.0, "cores": 1, "memory_bytes": 1 << 20, "expected_seconds": 600.0}
    resources |= {key: values.pop(key) for key in list(values) if key in resources or key == "limit_seconds"}
    return job_pb2.JobSpec(
        name=name,
        command=["python3", "train.py"],
        resources=job_pb2.JobResources(**resources),
        priority=values.pop("priority", 50),
        attempts=values.pop("attempts", 1),
        **values,
    )


@dataclass
class FakeSatellite:
    """Accepts every job, runs it for its expected time, sends a result."""

    name: str
    clock: Clock
    connector: Connector
    delivery: DeliverySettings = TWIN_SETTINGS
    key: SigningKey | None = None
    ring: KeyRing | None = None
    outcome: Callable[[job_pb2.JobPlacement], job_pb2.JobStatus] | None = None
    is_silent: bool = False
    watts: float = 900.0
    free_nodes: int = 2
    placements: list[job_pb2.JobPlacement] = field(default_factory=list)
    cancels: list[job_pb2.JobCancel] = field(default_factory=list)
    commands: list[backhaul_pb2.Telecommand] = field(default_factory=list)
    contents: dict[bytes, bytes] = field(default_factory=dict)
    offers: dict[str, bytes] = field(default_factory=dict)
    result: bytes = b"r" * 100_000
    told: dict[str, backhaul_pb2.OpenJob] = field(default_factory=dict)
    questions: list[backhaul_pb2.OpenJobs] = field(default_factory=list)
    asked: tuple[Delivered, backhaul_pb2.OpenJobs] | None = None
    leases: dict[str, float] = field(default_factory=dict)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.believed = self.ring or seeded_ring(SEED, NAMES)
        self.endpoint = Endpoint(
            self.name,
            key=self.key or SigningKey.from_seed(SEED, self.name),
            ring=self.believed,
            peer_right=Right.RELAY,
            database=Database(None),
            clock=self.clock,
            on_item=self._take,
            after_commit=self._took,
            settings=self.delivery,
        )
        self.link = Link(self.endpoint, lambda _, stream: down_topic(self.name, stream), presence=self.name)
        self.files = FileExchange(
            self.endpoint, MemorySpool(self.contents.__setitem__, self.contents.__contains__), limit_bytes=64 << 20
        )

    def package(self, job_id: str) -> bytes | None:
        """What came for a job, when all of it has."""
        return self.contents.get(self.offers.get(job_id, b""))

    async def run(self) -> None:
        await self.endpoint.open()
        self.endpoint.peer("ground")
        async with asyncio.TaskGroup() as group:
            group.create_task(self.link.serve(self.connector, random.Random(SEED)))
            group.create_task(self._housekeep())

    async def send(self, stream: int, **payload: Any) -> None:
        await self.endpoint.send("ground", stream, backhaul_pb2.Payload(**payload).SerializeToString())

    async def status(self, placement: job_pb2.JobPlacement, version: int, state: Any, **values: Any) -> None:
        status = job_pb2.JobStatus(
            job_id=placement.spec.job_id,
            attempt=placement.attempt,
            version=version,
            state=state,
            satellite=self.name,
            mission_time_seconds=self.clock.now(),
            **values,
        )
        if state in list(JobState) and JobState(state).final:
            receipts.attach(status, self.key or SigningKey.from_seed(SEED, self.name))
        self.told[status.job_id] = backhaul_pb2.OpenJob(
            job_id=status.job_id,
            attempt=status.attempt,
            version=version,
            state=state,
            lease_end_seconds=self.leases.get(status.job_id, placement.lease_end_seconds),
        )
        await self.send(options_pb2.STREAM_STATUS, job_status=status)

    async def send_result(self, placement: job_pb2.JobPlacement, content: bytes) -> bytes:
        description = describe([content])
        await self.endpoint.database.write(
            lambda connection: self.files.book.offer(
                connection, "ground", description, placement.spec.job_id, placement.attempt, content=content
            )
        )
        self.files.changed()
        return description.layout.sha256

    async def telemetry(self, *messages: Any, stream: int = options_pb2.STREAM_HOUSEKEEPING, source: str = "") -> None:
        now = self.clock.now()
        samples = [
            backhaul_pb2.TelemetrySample(
                message_type=message.DESCRIPTOR.full_name,
                source=source or telemetry()[message.DESCRIPTOR.name].publisher or "test",
                mission_time_seconds=now,
                payload=message.SerializeToString(),
            )
            for message in messages
        ]
        await self.send(stream, telemetry=backhaul_pb2.TelemetryBatch(samples=samples, rate=1))

    async def _housekeep(self) -> None:
        while True:
            now = self.clock.now()
            budget = [power_pb2.BudgetSlice(start_seconds=now, watts=self.watts)]
            await self.telemetry(
                power_pb2.PowerStatus(mission_time_seconds=now, state_of_charge_ratio=0.8),
                power_pb2.PowerBudget(end_seconds=now + 6000, compute=budget, compute_now_watts=self.watts),
                thermal_pb2.ThermalBudget(end_seconds=now + 6000, compute=budget, compute_now_watts=self.watts),
                compute_pb2.ComputeStatus(mission_time_seconds=now, free_nodes=self.free_nodes),
            )
            await self.clock.sleep(10)

    def _take(self, connection: sqlite3.Connection, item: Delivered) -> None:
        payload = backhaul_pb2.Payload.FromString(item.payload)
        kind = payload.WhichOneof("kind")
        if kind == "job_placement":
            placement = payload.job_placement
            placement.spec.CopyFrom(self._believed(placement.signed_order).job)
            self.placements.append(placement)
            if not self.is_silent:
                self._start(self._work(placement))
        elif kind == "order":
            self._take_order(self._believed(payload.order.SerializeToString()))
        elif kind == "file_offer":
            self.offers[payload.file_offer.job_id] = payload.file_offer.sha256
            self.files.book.take_offer(connection, item.source, payload.file_offer, self.clock.now())
        elif kind == "file_receipt":
            self.files.book.take_receipt(connection, item.source, payload.file_receipt)
        elif kind == "open_jobs":
            self.questions.append(payload.open_jobs)
            self.asked = item, payload.open_jobs
        elif kind == "job_lease":
            lease = payload.job_lease
            self.leases[lease.job_id] = lease.lease_end_seconds
            if lease.job_id in self.told:
                self.told[lease.job_id].lease_end_seconds = lease.lease_end_seconds

    def _took(self, _items: Sequence[Delivered]) -> None:
        """A question is answered when all that was said before it has come, as on a board."""
        self.files.changed()
        if self.asked is not None and not self.is_silent:
            self._start(self._answer_in_turn())

    async def _answer_in_turn(self) -> None:
        if self.asked is None:
            return
        item, question = self.asked
        if await self.endpoint.database.read(lambda connection: received_all_before(connection, item)):
            self.asked = None
            await self._answer(question)

    def _believed(self, data: bytes) -> backhaul_pb2.Order:
        return orders.verify(data, self.believed, now=self.clock.now(), destination=self.name).order

    def _take_order(self, order: backhaul_pb2.Order) -> None:
        kind = orders.kind_of(order)
        if kind == orders.CANCEL:
            self.cancels.append(order.job_cancel)
        elif kind == orders.KEYS:
            ring = self.believed.successor(order.keys, self.clock.now())
            if ring is not None:
                self.believed.replace(ring)
            report = backhaul_pb2.OrderReport(
                order_id=order.order_id, stage=backhaul_pb2.TELECOMMAND_STAGE_COMPLETED, reason="in force"
            )
            self._start(self.send(options_pb2.STREAM_STATUS, order_report=report))
        elif kind == orders.TELECOMMAND:
            self.commands.append(order.telecommand)
            if not self.is_silent:
                self._start(self._obey(order.telecommand))

    async def _answer(self, question: backhaul_pb2.OpenJobs) -> None:
        """Tell what is held here, as compute does."""
        found: dict[str, backhaul_pb2.OpenJob] = {}
        for asked in question.jobs:
            told = self.told.get(asked.job_id)
            if told is None or told.attempt != asked.attempt:
                told = backhaul_pb2.OpenJob(job_id=asked.job_id, attempt=asked.attempt)
            found[asked.job_id] = told
        found |= {job_id: told for job_id, told in self.told.items() if not JobState(told.state).final}
        answer = backhaul_pb2.OpenJobs(
            jobs=found.values(), mission_time_seconds=question.mission_time_seconds, complete=question.complete
        )
        await self.send(options_pb2.STREAM_STATUS, open_jobs=answer)

    def forget(self) -> None:
        """Lose the store in which jobs are kept; what ran is nobody's, and stopped."""
        self.told.clear()
        for task in list(self.tasks):
            task.cancel()

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _obey(self, command: backhaul_pb2.Telecommand) -> None:
        for stage in (backhaul_pb2.TELECOMMAND_STAGE_ACCEPTED, backhaul_pb2.TELECOMMAND_STAGE_COMPLETED):
            report = backhaul_pb2.TelecommandReport(
                command_id=command.command_id, stage=stage, mission_time_seconds=self.clock.now()
            )
            await self.send(options_pb2.STREAM_STATUS, telecommand_report=report)

    async def _work(self, placement: job_pb2.JobPlacement) -> None:
        await self.status(placement, 1, job_pb2.JOB_STATE_ACCEPTED)
        if self.outcome is not None:
            end = self.outcome(placement)
            if end.state != job_pb2.JOB_STATE_REJECTED:
                await self.status(placement, 2, job_pb2.JOB_STATE_RUNNING, node="node-1")
            await self.clock.sleep(placement.spec.resources.expected_seconds)
            await self.status(placement, 3, end.state, reason=end.reason, cause=end.cause, exit_code=end.exit_code)
            return
        await self.status(placement, 2, job_pb2.JOB_STATE_RUNNING, node="node-1")
        await self.clock.sleep(placement.spec.resources.expected_seconds)
        sha256 = await self.send_result(placement, self.result)
        await self.status(
            placement,
            3,
            job_pb2.JOB_STATE_COMPLETED,
            result_sha256=sha256,
            result_bytes=len(self.result),
            package_sha256=placement.spec.package_sha256,
            energy_joules=1234.0,
        )


@dataclass
class World:
    """A ground, its satellites, and the hub between them."""

    clock: Clock
    hub: MemoryHub
    ground: GroundSegment
    satellites: dict[str, FakeSatellite]
    is_up: bool = True

    def link(self) -> LinkState:
        return LinkState(up=self.is_up, delay_seconds=0.05)

    async def until(self, condition: Callable[[], Any], seconds: float = 20_000.0) -> Any:
        """Wait, in mission time, until an awaitable condition gives something true."""
        end = self.clock.now() + seconds
        while self.clock.now() < end:
            found = await condition()
            if found:
                return found
            await self.clock.sleep(5)
        raise AssertionError("it did not come to pass")

    def silence(self) -> None:
        """Satellites take jobs and say nothing of them: the test speaks for them."""
        for satellite in self.satellites.values():
            satellite.is_silent = True

    async def holder(self) -> Any:
        """The satellite that has been given a job."""

        async def placed() -> Any:
            return next((satellite for satellite in self.satellites.values() if satellite.placements), None)

        return await self.until(placed)

    async def settled(self, job_id: str, seconds: float = 20_000.0) -> Any:
        async def look() -> Any:
            record = await self.ground.job(job_id)
            return record if record.is_settled else None

        return await self.until(look, seconds)


def make_ground(
    clock: Clock,
    connector: Connector,
    state_dir: Path | None = None,
    settings: GroundSettings | None = None,
    database: Path | str = "",
) -> GroundSegment:
    design = load_satellite(files.shipped("satellites", "pathfinder"))
    rng = random.Random(SEED)
    return GroundSegment(
        dict.fromkeys(NAMES, design),
        key=SigningKey.from_seed(SEED, "ground"),
        ring=seeded_ring(SEED, NAMES),
        clock=clock,
        rng=rng,
        new_id=lambda: f"{rng.getrandbits(48):012x}",
        connector=connector,
        state_dir=state_dir,
        database=database,
        settings=settings,
        delivery=TWIN_SETTINGS,
    )


@asynccontextmanager
async def fly(
    impairments: Impairments | None = None,
    settings: GroundSettings | None = None,
    seed: int = SEED,
    *,
    is_up: bool = True,
    rate: float = 1.0,
    database: Path | str = "",
) -> AsyncIterator[World]:
    """A world, running: in virtual time, or in real time at a rate."""
    clock = MissionClock.starting_at(START, rate)
    hub = MemoryHub(random.Random(seed), impairments)
    ground = make_ground(clock, hub.connector("ground", SUBSCRIPTIONS), settings=settings, database=database)
    world = World(clock, hub, ground, {}, is_up)
    for name in NAMES:
        connector = hub.connector(name, [up_topic(name)], Will(state_topic(name), OFFLINE), world.link)
        world.satellites[name] = FakeSatellite(name, clock, connector)
    await ground.open()
    tasks = [asyncio.create_task(ground.run())]
    tasks += [asyncio.create_task(satellite.run()) for satellite in world.satellites.values()]
    try:
        yield world
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
        await ground.close()


@asynccontextmanager
async def serve(world: World, directory: Path) -> AsyncIterator[Address]:
    """The world's ground behind a real HTTP server that asks for tokens; its address has the local one."""
    book = await TokenBook.open(world.ground.database, world.clock, directory)
    app = make_app(world.ground, "test", keeper=Keeper(book, Audit(world.ground.database, world.clock)))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off", timeout_graceful_shutdown=1))
    server.capture_signals = nullcontext  # type: ignore[method-assign,assignment]
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
                await asyncio.sleep(0)
            yield Address(f"http://127.0.0.1:{listener.getsockname()[1]}", book.local_token)
        finally:
            world.ground.closing()
            server.should_exit = True
            await serving


class Kit:
    """What tests of the ground are built from."""

    spec_of = staticmethod(spec_of)
    fly = staticmethod(fly)
    serve = staticmethod(serve)
    make_ground = staticmethod(make_ground)
    satellite = FakeSatellite
    names = NAMES
    start = START
    seed = SEED


def _beside(name: str) -> Any:
    """A module of helpers that lies beside this one."""
    loaded = importlib.util.spec_from_file_location(f"ground_{name}", Path(__file__).with_name(f"{name}.py"))
    assert loaded is not None
    assert loaded.loader is not None
    module = importlib.util.module_from_spec(loaded)
    loaded.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def postgresql(requires_tool: Callable[[str], str]) -> Iterator[Any]:
    """A PostgreSQL server of the tests' own, running."""
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'skyrack[postgresql]'")
    # Not in tmp_path: another user than this one must be able to reach it.
    directory = Path(tempfile.mkdtemp(prefix="skyrack-postgresql-", dir="/tmp"))
    server = _beside("server").PostgresqlServer(directory, requires_tool)
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """Where a ground may keep its database: an SQLite file, then a new database of a PostgreSQL server."""
    if request.param == "sqlite":
        return tmp_path / "ground.db"
    return str(request.getfixturevalue("postgresql").new_database())


@pytest.fixture(scope="session")
def kit() -> type[Kit]:
    return Kit


@pytest.fixture
def station(kit: type[Kit], tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Broker, ground and satellites in processes; the broker's kind may be given as a parameter."""
    source = Path(__file__).with_name("station.py")
    loaded = importlib.util.spec_from_file_location("ground_station", source)
    assert loaded is not None
    assert loaded.loader is not None
    module = importlib.util.module_from_spec(loaded)
    loaded.loader.exec_module(module)
    kind = getattr(request, "param", "amqtt")
    if kind == "mosquitto" and module.mosquitto() is None:
        pytest.skip("mosquitto is not installed on this machine")
    made = module.Station(tmp_path, kit, kind)
    made.eventually = module.eventually
    try:
        yield made
    finally:
        made.close()
