"""The gateway between a bus and a hub, in virtual time, with a ground that is only an endpoint."""

from __future__ import annotations

import asyncio
import hashlib
import random
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest
import zmq

from flight.bus import Endpoints
from flight.context import ServiceContext
from flight.devices import DeviceRegistry
from flight.gateway.service import Gateway
from flight.gateway.worker import Worker
from flight.hal import DeviceEnvironment
from flight.meter import NullMeter
from flight.service import Service, command
from skyrack import orders, virtual
from skyrack.backhaul import OFFLINE, LinkState, Will, down_topic, state_topic, up_topic
from skyrack.backhaul.memory import Impairments, MemoryHub, Way
from skyrack.clock import MissionClock
from skyrack.database import Database
from skyrack.delivery import TWIN_SETTINGS, Delivered, Endpoint, Link, reconcile
from skyrack.delivery.blocks import FileExchange, MemorySpool, describe
from skyrack.files import shipped
from skyrack.satellite import load_constellation
from skyrack.signing import Right, SigningKey, seeded_ring
from skyrack.v1 import backhaul_pb2
from skyrack.v1.backhaul_pb2 import Frame, Order, Payload, SignedFrame, Telecommand
from skyrack.v1.common_pb2 import CommandResult, Event, Severity
from skyrack.v1.compute_pb2 import CancelJobRequest, ComputeStatus, PlaceJobRequest, SetDrainRequest
from skyrack.v1.gateway_pb2 import SendDownRequest
from skyrack.v1.job_pb2 import (
    JOB_CAUSE_BAD_PACKAGE,
    JOB_STATE_COMPLETED,
    JOB_STATE_REJECTED,
    JobCancel,
    JobPlacement,
    JobSpec,
    JobStatus,
)
from skyrack.v1.options_pb2 import STREAM_STATUS

START = 1.8e9
SATELLITE = "sky-a"


class Compute(Service):
    """Stands in for compute: writes down what it is asked."""

    name = "compute"
    publishes: ClassVar = (ComputeStatus,)
    asked: ClassVar[list[Any]] = []
    answer: ClassVar[CommandResult] = CommandResult(ok=True, reason="fine")

    @command
    async def place_job(self, request: PlaceJobRequest) -> CommandResult:
        self.asked.append(request)
        return self.answer

    @command
    async def cancel_job(self, request: CancelJobRequest) -> CommandResult:
        self.asked.append(request)
        return self.answer

    @command
    async def set_drain(self, request: SetDrainRequest) -> CommandResult:
        self.asked.append(request)
        return CommandResult(ok=True, reason="drained")


class Setup:
    """Hub, ground endpoint and satellite services."""

    def __init__(self, state_dir: Path | None, impairments: Impairments | None) -> None:
        Compute.asked = []
        Compute.answer = CommandResult(ok=True, reason="fine")
        self.clock = MissionClock.starting_at(START)
        self.hub = MemoryHub(random.Random(5), impairments)
        self.state_dir = state_dir
        self.links = {"optical": True, "antenna": True}
        self.down: list[Payload] = []
        self.ring = seeded_ring(1, [SATELLITE])
        self.board_ring = self.ring.copy()
        self.services: tuple[str, ...] = ("compute", "gateway")
        self.ground = Endpoint(
            "ground",
            key=SigningKey.from_seed(1, "ground"),
            ring=self.ring,
            peer_right=Right.SATELLITE,
            database=Database(None),
            clock=self.clock,
            on_item=self._take,
            after_commit=self._took,
            settings=TWIN_SETTINGS,
        )
        self.came: dict[bytes, bytes] = {}
        self.files = FileExchange(self.ground, MemorySpool(self.came.__setitem__, self.came.__contains__))
        self.last_block: int | None = None
        """Later blocks of files are lost on their way, if set."""
        self.hub.filters.append(self._lose_blocks)
        self.endpoints = Endpoints.inproc(SATELLITE)
        self.zmq = zmq.Context(io_threads=0)
        self.constellation, designs = load_constellation(shipped("constellations", "demo"))
        self.design = next(iter(designs.values()))

    def _take(self, connection: sqlite3.Connection, item: Delivered) -> None:
        payload = Payload.FromString(item.payload)
        if payload.HasField("file_offer"):
            self.files.book.take_offer(connection, item.source, payload.file_offer, self.clock.now())
        elif payload.HasField("file_receipt"):
            self.files.book.take_receipt(connection, item.source, payload.file_receipt)

    def _took(self, items: Sequence[Delivered]) -> None:
        self.down += [Payload.FromString(item.payload) for item in items]
        self.files.changed()

    def _lose_blocks(self, topic: str, payload: bytes) -> bytes | None:
        if self.last_block is not None and topic == up_topic(SATELLITE):
            frame = Frame.FromString(SignedFrame.FromString(payload).frame)
            return None if any(block.index > self.last_block for block in frame.blocks) else payload
        return payload

    async def place(self, job_id: str, package: bytes = b"", sha256: bytes | None = None) -> None:
        await self.ground.send(SATELLITE, STREAM_STATUS, place(job_id, package, sha256).SerializeToString())

    async def offer(self, job_id: str, package: bytes, sha256: bytes | None = None) -> None:
        described = describe([package])
        if sha256 is not None:
            described = replace(described, layout=replace(described.layout, sha256=sha256))
        await self.ground.database.write(
            lambda connection: self.files.book.offer(connection, SATELLITE, described, job_id, 1, content=package)
        )
        self.files.changed()

    async def held(self) -> int:
        """Files that the ground still holds for the satellite."""
        rows = await self.ground.database.read(
            lambda connection: connection.execute("SELECT 1 FROM files_offered").fetchall()
        )
        return len(rows)

    def of(self, kind: str) -> list[Any]:
        return [getattr(payload, kind) for payload in self.down if payload.WhichOneof("kind") == kind]

    def way(self, link: str) -> Way:
        return Way(self.hub, lambda: LinkState(self.links[link], 1e6, 0.01))

    def context(self) -> ServiceContext:
        rng = random.Random(9)
        attachments = {
            "signing.key": SigningKey.from_seed(1, SATELLITE),
            "signing.ring": self.board_ring,
            "backhaul.optical": self.way("optical"),
            "backhaul.antenna": self.way("antenna"),
        }
        environment = DeviceEnvironment(SATELLITE, self.clock, rng, None, attachments)
        return ServiceContext(
            satellite=SATELLITE,
            satellite_file=self.design,
            constellation=self.constellation,
            clock=self.clock,
            endpoints=self.endpoints,
            devices=DeviceRegistry(environment, {}, {}),
            rng=rng,
            zmq_context=self.zmq,
            meter=NullMeter(),
            state_dir=self.state_dir,
            attachments=attachments,
            services=self.services,
        )

    @asynccontextmanager
    async def flying(self, *services: type[Service]) -> AsyncIterator[list[Service]]:
        made = [service(self.context()) for service in services]
        for service in made:
            await service.start()
        try:
            yield made
        finally:
            for service in reversed(made):
                await service.stop()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        await self.ground.open()
        self.ground.peer(SATELLITE)
        link = Link(self.ground, lambda name, _: up_topic(name))
        connector = self.hub.connector("ground", [down_topic("+", "+"), state_topic("+")])
        task = asyncio.create_task(link.serve(connector, random.Random(3)))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def command(self, command_id: str, drain: SetDrainRequest, **fields: Any) -> None:
        values: dict[str, Any] = {
            "command_id": command_id,
            "service": "compute",
            "method": "SetDrain",
            "request": drain.SerializeToString(),
            **fields,
        }
        order = orders.telecommand_order(SATELLITE, Telecommand(**values), signed_seconds=START)
        await self.order(order)

    async def order(self, order: Order, *signers: str) -> None:
        """Send an order; by default the ground signs it."""
        signed = orders.sign(order, *(SigningKey.from_seed(1, name) for name in signers or ("ground",)))
        await self.ground.send(SATELLITE, STREAM_STATUS, Payload(order=signed).SerializeToString())


def fly(
    scenario: Callable[[Setup], Awaitable[None]], state_dir: Path | None = None, impairments: Impairments | None = None
) -> None:
    async def main() -> None:
        setup = Setup(state_dir, impairments)
        try:
            async with setup.listening():
                await scenario(setup)
        finally:
            setup.zmq.destroy(linger=0)

    virtual.run(main)


def stages(setup: Setup, command_id: str) -> list[str]:
    return [
        backhaul_pb2.TelecommandStage.Name(report.stage).removeprefix("TELECOMMAND_STAGE_")
        for report in setup.of("telecommand_report")
        if report.command_id == command_id
    ]


@pytest.mark.parametrize("impairments", [None, Impairments(0.2, 0.2, 0.2)], ids=["clean", "lossy"])
def test_a_telecommand_is_carried_out_once_and_reported(impairments: Impairments | None) -> None:
    async def scenario(setup: Setup) -> None:
        async with setup.flying(Compute, Gateway):
            await setup.command("c1", SetDrainRequest(draining=True))
            await setup.command("c1", SetDrainRequest(draining=True))  # the ground says it again
            await asyncio.sleep(900)
            assert Compute.asked == [SetDrainRequest(draining=True)]
            assert sorted(stages(setup, "c1")) == ["ACCEPTED", "COMPLETED", "STARTED"]

    fly(scenario, impairments=impairments)


@pytest.mark.parametrize(
    ("fields", "stage", "words"),
    [
        ({"service": "kitchen"}, "FAILED", "no service 'kitchen'"),
        ({"method": "Explode"}, "FAILED", "no command 'Explode'"),
        ({"method": "PlaceJob"}, "FAILED", "no command 'PlaceJob'"),
        ({"request": b"\xff\xff"}, "FAILED", "not a SetDrainRequest"),
        ({"not_after_seconds": START - 1}, "EXPIRED", "mission time ago"),
    ],
)
def test_a_telecommand_that_makes_no_sense_is_reported_and_not_passed_on(
    fields: dict[str, object], stage: str, words: str
) -> None:
    async def scenario(setup: Setup) -> None:
        async with setup.flying(Compute, Gateway):
            await setup.command("c1", SetDrainRequest(draining=False), **fields)
            await asyncio.sleep(120)
            last = setup.of("telecommand_report")[-1]
            assert stages(setup, "c1")[-1] == stage
            assert words in last.reason
            assert Compute.asked == []

    fly(scenario)


def place(job_id: str, package: bytes = b"", sha256: bytes | None = None) -> Payload:
    spec = JobSpec(job_id=job_id, command=["run"], package_bytes=len(package))
    spec.package_sha256 = hashlib.sha256(package).digest() if sha256 is None else sha256
    signed = orders.sign(orders.job_order(spec, signed_seconds=START), SigningKey.from_seed(1, "ground"))
    placement = JobPlacement(signed_order=signed.SerializeToString(), attempt=1, lease_end_seconds=START + 5000)
    return Payload(job_placement=placement)


def test_a_job_reaches_compute_when_its_package_is_whole(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        package = random.Random(1).randbytes(95_000)
        contents: list[bytes] = []
        async with setup.flying(Compute, Gateway) as (compute, _):
            setup.last_block = 2
            await setup.place("j1", package)
            await setup.offer("j1", package)
            await asyncio.sleep(120)
            assert Compute.asked == []
            Compute.answer = CommandResult(ok=True)
            seen = asyncio.Event()

            class Look(list[Any]):
                def append(self, request: PlaceJobRequest) -> None:
                    contents.append(Path(request.package_path).read_bytes())
                    seen.set()

            Compute.asked = Look()
            setup.last_block = None
            await asyncio.wait_for(seen.wait(), 600)
            assert contents == [package]
            await asyncio.sleep(60)
            assert list((tmp_path / "packages").iterdir()) == []
            assert list((tmp_path / "incoming").iterdir()) == []
            assert await setup.held() == 0
            assert compute.bus.is_open

    fly(scenario, tmp_path)


@pytest.mark.parametrize("last_block", [1, None], ids=["some blocks", "all blocks"])
def test_a_package_that_two_jobs_share_comes_once_and_stays_until_both_have_it(
    tmp_path: Path, last_block: int | None
) -> None:
    async def scenario(setup: Setup) -> None:
        package = random.Random(1).randbytes(95_000)

        def jobs() -> list[str]:
            return [request.placement.spec.job_id for request in Compute.asked]

        async with setup.flying(Compute, Gateway):
            setup.last_block = last_block
            await setup.offer("second", package)
            await asyncio.sleep(200)
            setup.last_block = None
            await setup.place("first", package)
            await setup.offer("first", package)
            await asyncio.sleep(400)
            assert jobs() == ["first"]
            await setup.place("second", package)
            await asyncio.sleep(200)
            assert jobs() == ["first", "second"]
            assert list((tmp_path / "packages").iterdir()) == []
            assert await setup.held() == 0
            if last_block is None:
                assert setup.files.counters.sent == 4

    fly(scenario, tmp_path)


def test_a_package_whose_placement_never_comes_is_dropped_in_the_end(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        package = bytes(50)
        async with setup.flying(Compute, Gateway):
            for job_id in ("never", "first"):
                await setup.offer(job_id, package)
            await setup.place("first", package)
            await asyncio.sleep(80_000)
            assert len(list((tmp_path / "packages").iterdir())) == 1
            await asyncio.sleep(12_000)
            assert list((tmp_path / "packages").iterdir()) == []

    fly(scenario, tmp_path)


def test_a_damaged_package_is_rejected(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        wrong = hashlib.sha256(b"other").digest()
        async with setup.flying(Compute, Gateway):
            await setup.place("j1", b"x" * 50, wrong)
            await setup.offer("j1", b"x" * 50, wrong)
            await asyncio.sleep(120)
            (status,) = setup.of("job_status")
            assert (status.state, status.cause, status.job_id) == (JOB_STATE_REJECTED, JOB_CAUSE_BAD_PACKAGE, "j1")
            assert "SHA-256" in status.reason
            assert Compute.asked == []
            assert await setup.held() == 0

    fly(scenario, tmp_path)


def test_a_package_that_the_ground_lost_ends_its_job(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        package = random.Random(1).randbytes(95_000)
        async with setup.flying(Compute, Gateway):
            setup.last_block = 0
            await setup.place("j1", package)
            await setup.offer("j1", package)
            await asyncio.sleep(100)
            await setup.ground.database.write(
                lambda connection: connection.execute("DELETE FROM files_offered").rowcount
            )
            setup.files.changed()
            await asyncio.sleep(1500)
            (status,) = setup.of("job_status")
            assert (status.state, status.cause) == (JOB_STATE_REJECTED, JOB_CAUSE_BAD_PACKAGE)
            assert "not offered any more" in status.reason
            assert list((tmp_path / "incoming").iterdir()) == []

    fly(scenario, tmp_path)


def test_a_cancelled_job_fetches_its_package_no_more(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        package = random.Random(1).randbytes(95_000)
        async with setup.flying(Compute, Gateway):
            setup.last_block = 0
            await setup.place("j1", package)
            await setup.offer("j1", package)
            await asyncio.sleep(100)
            cancel = JobCancel(job_id="j1", attempt=1)
            await setup.order(
                orders.cancel_order("c1", SATELLITE, cancel, signed_seconds=START, not_after_seconds=START + 5000)
            )
            await asyncio.sleep(100)
            assert await setup.held() == 0
            assert list((tmp_path / "incoming").iterdir()) == []

    fly(scenario, tmp_path)


def test_what_is_over_leaves_nothing_behind(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        (tmp_path / "packages").mkdir()
        (tmp_path / "packages" / f"{'ab' * 32}.tar").write_bytes(b"of an earlier life")
        async with setup.flying(Compute, Gateway) as (_, gateway):
            assert list((tmp_path / "packages").iterdir()) == []
            drain = SetDrainRequest(draining=True)
            await setup.command("old", drain, not_after_seconds=START - 100_000)
            await setup.command("young", drain, not_after_seconds=START + 100_000)
            await asyncio.sleep(3700)
            assert isinstance(gateway, Gateway)
            rows = await gateway._database.read(
                lambda connection: connection.execute("SELECT key FROM gateway_work").fetchall()
            )
            assert [key.partition("/")[2] for (key,) in rows] == ["young"]

    fly(scenario, tmp_path)


def test_an_error_over_one_thing_that_came_up_leaves_the_satellite_commandable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario(setup: Setup) -> None:
        async def fail(_self: Worker) -> None:
            raise KeyError("a defect")

        async with setup.flying(Compute, Gateway):
            with monkeypatch.context() as patched:
                patched.setattr(Worker, "telecommands", fail)
                await setup.command("c1", SetDrainRequest(draining=True))
                await asyncio.sleep(60)
                assert Compute.asked == []
            await asyncio.sleep(60)
            assert Compute.asked == [SetDrainRequest(draining=True)]

    fly(scenario)


def test_a_job_waits_for_a_compute_that_is_dead(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        async with setup.flying(Gateway):
            await setup.ground.send(SATELLITE, STREAM_STATUS, place("j1").SerializeToString())
            await asyncio.sleep(200)
        async with setup.flying(Gateway):
            await asyncio.sleep(100)
            async with setup.flying(Compute):
                await asyncio.sleep(100)
                assert [request.placement.spec.job_id for request in Compute.asked] == ["j1"]

    fly(scenario, tmp_path)


def test_what_services_hand_over_goes_down_once_with_its_file(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        content = random.Random(2).randbytes(70_000)
        output = tmp_path / "output.tar"
        output.write_bytes(content)
        status = JobStatus(job_id="j1", attempt=1, version=4, state=JOB_STATE_COMPLETED)
        request = SendDownRequest(
            message_type="skyrack.v1.JobStatus",
            payload=status.SerializeToString(),
            key="j1/1/4",
            file_path=str(output),
            job_id="j1",
            attempt=1,
        )
        setup.links = {"optical": False, "antenna": False}
        async with setup.flying(Compute, Gateway) as (compute, _):
            for _ in range(3):
                answer = await compute.request("gateway", request)
                assert answer.ok, answer.reason
            assert not (await compute.request("gateway", SendDownRequest(payload=b"x"))).ok
            missing = SendDownRequest(job_id="j2", file_path=str(tmp_path / "none"), key="j2")
            assert not (await compute.request("gateway", missing)).ok
        output.unlink()
        setup.links = {"optical": True, "antenna": True}
        async with setup.flying(Gateway):
            await asyncio.sleep(200)
        assert setup.of("job_status") == [status]
        (offer,) = setup.of("file_offer")
        assert (offer.job_id, offer.attempt, offer.total_bytes) == ("j1", 1, 70_000)
        assert setup.came[offer.sha256] == content
        assert list((tmp_path / "results").iterdir()) == []

    fly(scenario, tmp_path)


def test_telemetry_and_events_come_down_in_batches_over_outages() -> None:
    async def scenario(setup: Setup) -> None:
        async with setup.flying(Compute, Gateway) as (compute, _):
            await asyncio.sleep(1)  # the bus makes its connections
            for second in range(600):
                up = not 100 <= second < 300
                setup.links = {"optical": up, "antenna": up}
                compute.publish(ComputeStatus(mission_time_seconds=setup.clock.now(), jobs_queued=second))
                if second % 50 == 0:
                    compute.event("tick", Severity.SEVERITY_INFO, second=second)
                await asyncio.sleep(1)
            await asyncio.sleep(600)
            events, statuses = [], []
            for batch in setup.of("telemetry"):
                for sample in batch.samples:
                    if sample.message_type == "skyrack.v1.Event" and sample.source == "compute":
                        events.append(sample)
                    if sample.message_type == "skyrack.v1.ComputeStatus":
                        statuses.append(ComputeStatus.FromString(sample.payload))
            assert len(events) == 12
            assert 80 < len(statuses) <= 600
            assert statuses[-1].jobs_queued == 599
            assert setup.of("telemetry")[0].rate == 1.0

    fly(scenario)


def test_the_antenna_takes_over_when_the_optical_link_dies() -> None:
    async def scenario(setup: Setup) -> None:
        async with setup.flying(Compute, Gateway):
            await asyncio.sleep(60)
            setup.links["optical"] = False
            await setup.command("c1", SetDrainRequest(draining=True))
            await asyncio.sleep(300)
            assert stages(setup, "c1")[-1] == "COMPLETED"

    fly(scenario)


def test_forged_replayed_and_broken_frames_are_events_and_change_nothing() -> None:
    async def scenario(setup: Setup) -> None:
        frames: list[bytes] = []
        setup.hub.filters.append(lambda topic, payload: frames.append(payload) or payload)  # type: ignore[func-returns-value]
        async with setup.flying(Compute, Gateway):
            await setup.command("c1", SetDrainRequest(draining=True))
            await asyncio.sleep(60)
            upward = [frame for frame in frames if frame not in (b"online", OFFLINE) and b"SetDrain" in frame]
            forged = SignedFrame.FromString(upward[0])
            forged.signature = bytes(64)
            broken = bytearray(upward[0])
            broken[20] ^= 1
            attacks = [upward[-1], forged.SerializeToString(), bytes(broken), b"\xff" * 50, bytes(300_000)]
            async with setup.hub.connector("mallory", [], Will("x", b""))() as mallory:
                for attack in attacks:
                    await mallory.publish(up_topic(SATELLITE), attack)
            await setup.command("c2", SetDrainRequest(draining=False))
            await asyncio.sleep(120)
            assert len(Compute.asked) == 2
            names = {
                event.name
                for batch in setup.of("telemetry")
                for sample in batch.samples
                if sample.message_type == "skyrack.v1.Event"
                for event in [Event.FromString(sample.payload)]
            }
            assert {"backhaul_replayed", "backhaul_forged", "backhaul_malformed", "backhaul_oversized"} <= names

    fly(scenario)


def test_both_ledgers_agree_in_the_end() -> None:
    async def scenario(setup: Setup) -> None:
        async with setup.flying(Compute, Gateway) as (compute, gateway):
            for second in range(300):
                compute.event("tick", Severity.SEVERITY_INFO, second=second)
                await asyncio.sleep(1)
            await asyncio.sleep(200)
            sent, received = await cast("Gateway", gateway)._endpoint.ledgers()
            ground_sent, ground_received = await setup.ground.ledgers()
            assert reconcile(sent, ground_received) == []
            assert reconcile(ground_sent, received) == []
            events = next(row for row in sent if row.stream == "events")
            assert events.accepted > 100
            assert events.delivered == events.accepted

    fly(scenario, impairments=Impairments(0.1, 0.1, 0.1))
