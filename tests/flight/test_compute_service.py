"""Compute in virtual time: jobs through budgets, eclipses, lost nodes, restarts, cancels and leases."""

from __future__ import annotations

import itertools
import random
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq

from flight.board import DRIVERS_OF_THE_TWIN
from flight.bus import Bus, Endpoints, RequestRefused
from flight.bus.contract import rpc_for
from flight.compute.service import ComputeManager
from flight.context import ServiceContext
from flight.devices import DeviceRegistry
from flight.hal import DeviceEnvironment
from flight.meter import NullMeter
from hil.devices.model_node import rack_node
from skyrack import files, virtual
from skyrack.clock import MissionClock
from skyrack.database import SqliteError
from skyrack.jobs import JobState, Standing, Verdict, advance, standing_of
from skyrack.satellite import RackNode, load_constellation
from skyrack.signing import SigningKey
from skyrack.v1 import common_pb2, compute_pb2, executive_pb2, gateway_pb2, job_pb2, power_pb2, thermal_pb2

S = JobState
SHIPPED = files.shipped_names("constellations")[0]
START = 1_000_000.0


class Plant:
    """Switches and draws, as a plant keeps them."""

    def __init__(self) -> None:
        self.closed: dict[str, float] = {}
        self.draw: dict[str, float] = {}

    def read(self, satellite: str, key: str) -> Any:
        del satellite
        from hil.plant.link import Sample

        return Sample(self.closed.get(key.split(".")[1], 1.0), 0.0)

    def actuate(self, satellite: str, values: dict[str, float]) -> None:
        del satellite
        for key, value in values.items():
            self.draw[key.split(".")[1]] = value


class Bench:
    """A compute service with everything around it played."""

    def __init__(self, state_dir: Path | None = None, *, gateway: bool = True) -> None:
        self.zmq: zmq.Context[Any] = zmq.Context(io_threads=0)
        self.endpoints = Endpoints.inproc("sat")
        self.clock = MissionClock.starting_at(START)
        self.constellation, designs = load_constellation(files.shipped("constellations", SHIPPED))
        nodes = tuple(
            RackNode(name=name, idle_watts=60.0, peak_watts=700.0, cores=1, memory_bytes=1 << 31)
            for name in ("node-1", "node-2")
        )
        self.design = msgspec.structs.replace(next(iter(designs.values())), devices={}, nodes=nodes)
        self.plant = Plant()
        self.state_dir = state_dir
        self.gateway_up = gateway
        self.taken: list[gateway_pb2.SendDownRequest] = []
        self.files: list[bytes] = []
        self.statuses: list[job_pb2.JobStatus] = []
        self.events: list[common_pb2.Event] = []
        self.incarnations = itertools.count(1)
        self.buses = {name: self.bus(name) for name in ("power", "thermal", "gateway", "executive", "probe")}
        self.compute: ComputeManager

    def bus(self, name: str) -> Bus:
        return Bus(name, self.endpoints, self.clock, next(self.incarnations), self.zmq)

    async def open(self) -> None:
        for bus in self.buses.values():
            await bus.open()
        self.buses["gateway"].serve(rpc_for("gateway", gateway_pb2.SendDownRequest), self._send_down)
        probe = self.buses["probe"]
        probe.subscribe("compute", job_pb2.JobStatus, lambda message, _header, _key: self.statuses.append(message))
        probe.subscribe("compute", common_pb2.Event, lambda message, _header, _key: self.events.append(message))
        await self.start()

    def _send_down(self, request: Any, _header: Any) -> common_pb2.CommandResult:
        if self.gateway_up:
            self.taken.append(request)
            self.files += [Path(request.file_path).read_bytes()] if request.file_path else []
        return common_pb2.CommandResult(ok=self.gateway_up)

    async def start(self) -> None:
        environment = DeviceEnvironment(
            "sat", self.clock, random.Random(5), self.state_dir, {"plant": self.plant}, self.design
        )
        context = ServiceContext(
            satellite="sat",
            satellite_file=self.design,
            constellation=self.constellation,
            clock=self.clock,
            endpoints=self.endpoints,
            devices=DeviceRegistry(environment, {}, DRIVERS_OF_THE_TWIN),
            rng=random.Random(6),
            zmq_context=self.zmq,
            meter=NullMeter(),
            state_dir=self.state_dir,
            incarnation=next(self.incarnations),
            attachments={"signing.key": SigningKey.from_seed(1, "sat")},
        )
        for node in self.design.nodes:
            name = f"node.{node.name}"
            context.devices._made[name] = rack_node(name, {}, environment)
        self.compute = ComputeManager(context)
        await self.compute.start()

    async def stop(self) -> None:
        await self.compute.stop()
        for bus in self.buses.values():
            await bus.close()
        self.zmq.destroy(linger=0)

    def budget(self, *steps: tuple[float, float], thermal: float = 5000.0, horizon: float = 6000.0) -> None:
        now = self.clock.now()
        slices = [power_pb2.BudgetSlice(start_seconds=now + start, watts=watts) for start, watts in steps]
        end = now + horizon
        power = power_pb2.PowerBudget(mission_time_seconds=now, end_seconds=end, compute=slices)
        self.buses["power"].publish(power)
        heat = [power_pb2.BudgetSlice(start_seconds=now, watts=thermal)]
        self.buses["thermal"].publish(
            thermal_pb2.ThermalBudget(mission_time_seconds=now, end_seconds=end, compute=heat)
        )

    async def fly(self, seconds: float, *steps: tuple[float, float]) -> None:
        """Let time pass, with a fresh budget every 15 s; steps count from the first."""
        begin = self.clock.now()
        while (now := self.clock.now()) < begin + seconds:
            self.budget(*((start - (now - begin), watts) for start, watts in steps or ((0.0, 2000.0),)))
            await self.clock.sleep(min(15.0, begin + seconds - now))

    async def ask(self, request: Any) -> common_pb2.CommandResult:
        answer = await self.buses["probe"].request("compute", request, 30.0)
        assert isinstance(answer, common_pb2.CommandResult)
        return answer

    async def place(self, job_id: str, **changes: Any) -> common_pb2.CommandResult:
        values: dict[str, Any] = {
            "power_watts": 500.0,
            "expected_seconds": 300.0,
            "attempt": 1,
            "priority": 50,
            "lease": 50_000.0,
        }
        values |= {"checkpoint": True, "deadline": 0.0, "cores": 1}
        values |= changes
        placement = job_pb2.JobPlacement(
            spec=job_pb2.JobSpec(
                job_id=job_id,
                command=["model"],
                resources=job_pb2.JobResources(
                    power_watts=values["power_watts"],
                    cores=values["cores"],
                    memory_bytes=1 << 20,
                    expected_seconds=values["expected_seconds"],
                ),
                priority=values["priority"],
                grace_seconds=5.0,
                checkpoint=values["checkpoint"],
                deadline_seconds=START + values["deadline"] if values["deadline"] else 0.0,
            ),
            attempt=values["attempt"],
            lease_end_seconds=START + values["lease"],
        )
        return await self.ask(compute_pb2.PlaceJobRequest(placement=placement))

    def states(self, job_id: str) -> list[JobState]:
        """States that the ground would come to know, repeats left out."""
        found: list[JobState] = []
        at = Standing(S.PLACED, 1)
        for item in self.taken:
            status = job_pb2.JobStatus.FromString(item.payload)
            if status.job_id != job_id:
                continue
            if status.attempt > at.attempt:
                at = Standing(S.PLACED, status.attempt)
            assert advance(at, standing_of(status)) is Verdict.ACCEPTED, (at, status)
            at = standing_of(status)
            if not found or found[-1] is not at.state:
                found.append(at.state)
        return found

    def last(self, job_id: str) -> job_pb2.JobStatus:
        told = [job_pb2.JobStatus.FromString(item.payload) for item in self.taken]
        return [status for status in told if status.job_id == job_id][-1]


def flown(story: Callable[[Bench], Awaitable[None]], *, errors_expected: bool = False, **keywords: Any) -> Bench:
    benches: list[Bench] = []

    async def main() -> None:
        bench = Bench(**keywords)
        benches.append(bench)
        await bench.open()
        try:
            await story(bench)
        finally:
            await bench.stop()

    virtual.run(main)
    failed = [event for event in benches[0].events if event.name == "handler_failed"]
    assert errors_expected or not failed, failed
    return benches[0]


def test_a_job_runs_and_its_result_reaches_the_gateway() -> None:
    async def story(bench: Bench) -> None:
        await bench.fly(30)
        assert (await bench.place("a")).ok
        await bench.fly(900)
        assert bench.states("a") == [S.ACCEPTED, S.RUNNING, S.COMPLETED]
        last = bench.last("a")
        assert last.progress_ratio == 1.0
        assert 150 < last.run_seconds < 600
        assert last.energy_joules == pytest.approx(500 * last.run_seconds, rel=0.02)
        assert bench.taken[-1].file_content
        assert last.result_bytes == len(bench.taken[-1].file_content)
        assert last.outputs[0].path == "result.json"
        assert bench.plant.draw["node-1"] == 60.0
        keys = [item.key for item in bench.taken]
        assert len(keys) == len(set(keys))

    flown(story)


def test_an_eclipse_preempts_before_the_edge_and_resumes_after_it() -> None:
    async def story(bench: Bench) -> None:
        steps = ((0.0, 2000.0), (200.0, 300.0), (900.0, 2000.0))
        await bench.fly(5, *steps)
        await bench.place("a", expected_seconds=600.0)
        begin = bench.clock.now()
        worst = 0.0
        while bench.clock.now() < begin + 2000:
            passed = bench.clock.now() - begin + 5
            bench.budget(*((start - passed, watts) for start, watts in steps))
            await bench.clock.sleep(1.0)
            if 200 < passed < 900:
                worst = max(worst, sum(bench.plant.draw.values()))
        assert worst <= 300
        assert bench.states("a") == [S.ACCEPTED, S.RUNNING, S.PREEMPTED, S.RUNNING, S.COMPLETED]
        last = bench.last("a")
        assert last.preemptions == 1
        # It went on where it was.
        assert last.run_seconds < 1.6 * 600

    flown(story)


def test_a_lost_node_is_a_preemption_and_the_job_goes_on_elsewhere() -> None:
    async def story(bench: Bench) -> None:
        await bench.fly(30)
        await bench.place("a", expected_seconds=400.0)
        await bench.fly(120)
        node = bench.last("a").node
        bench.plant.closed[node] = 0.0
        await bench.fly(800)
        states = [job_pb2.JobStatus.FromString(item.payload) for item in bench.taken]
        lost = next(status for status in states if status.state == job_pb2.JOB_STATE_PREEMPTED)
        assert lost.cause == job_pb2.JOB_CAUSE_NODE_LOST
        assert "power" in lost.reason
        assert bench.states("a")[-1] is S.COMPLETED
        assert bench.last("a").node != node

    flown(story)


def test_priority_takes_the_node_of_the_lowest() -> None:
    async def story(bench: Bench) -> None:
        await bench.fly(30)
        await bench.place("low", priority=10, expected_seconds=2000.0)
        await bench.place("middle", priority=50, expected_seconds=2000.0)
        await bench.fly(100)
        await bench.place("high", priority=90, expected_seconds=300.0)
        await bench.fly(100)
        assert bench.states("high") == [S.ACCEPTED, S.RUNNING]
        assert bench.states("low")[-1] is S.PREEMPTED
        assert bench.states("middle") == [S.ACCEPTED, S.RUNNING]
        await bench.fly(4000)
        assert {bench.states(job)[-1] for job in ("low", "middle", "high")} == {S.COMPLETED}

    flown(story)


def test_rejections_say_why() -> None:
    async def story(bench: Bench) -> None:
        await bench.fly(30)
        await bench.place("large", power_watts=5000.0)
        await bench.place("wide", cores=64)
        await bench.place("late", lease=1.0)
        await bench.ask(compute_pb2.SetDrainRequest(draining=True))
        await bench.place("drained")
        await bench.fly(20, (0.0, 200.0))
        await bench.ask(compute_pb2.SetDrainRequest(draining=False))
        await bench.place("poor")
        await bench.fly(5, (0.0, 200.0))
        told = {status.job_id: status for status in bench.statuses}
        assert all(status.state == job_pb2.JOB_STATE_REJECTED for status in told.values())
        assert "5000 W" in told["large"].reason
        assert "64 cores" in told["wide"].reason
        assert told["late"].cause == job_pb2.JOB_CAUSE_LEASE
        assert told["drained"].cause == job_pb2.JOB_CAUSE_DRAINING
        assert "never leaves more than" in told["poor"].reason
        assert not (await bench.place("../evil")).ok

    flown(story)


def test_lease_deadline_and_cancel_end_jobs() -> None:
    async def story(bench: Bench) -> None:
        await bench.fly(30)
        await bench.place("leased", lease=200.0, expected_seconds=5000.0)
        await bench.place("due", deadline=150.0, expected_seconds=5000.0)
        await bench.place("waits", priority=10, deadline=140.0, expected_seconds=100.0)
        await bench.fly(300)
        assert bench.last("leased").cause == job_pb2.JOB_CAUSE_LEASE
        assert bench.last("due").cause == job_pb2.JOB_CAUSE_DEADLINE
        assert bench.states("waits") == [S.ACCEPTED, S.EXPIRED]
        await bench.place("unwanted", expected_seconds=5000.0)
        await bench.fly(60)
        assert (await bench.ask(compute_pb2.CancelJobRequest(job_id="unwanted", reason="changed my mind"))).ok
        await bench.fly(30)
        assert bench.states("unwanted") == [S.ACCEPTED, S.RUNNING, S.CANCELLED]
        assert bench.last("unwanted").reason == "changed my mind"
        assert not (await bench.ask(compute_pb2.CancelJobRequest(job_id="unwanted"))).ok

    flown(story)


def test_safe_mode_stops_everything_and_nominal_goes_on() -> None:
    async def story(bench: Bench) -> None:
        await bench.fly(30)
        await bench.place("a", expected_seconds=600.0)
        await bench.fly(100)
        executive = bench.buses["executive"]
        executive.publish(executive_pb2.SatelliteStatus(mode=executive_pb2.MODE_SAFE))
        await bench.fly(300)
        assert bench.states("a")[-1] is S.PREEMPTED
        assert bench.last("a").cause == job_pb2.JOB_CAUSE_SAFE_MODE
        executive.publish(executive_pb2.SatelliteStatus(mode=executive_pb2.MODE_NOMINAL))
        await bench.fly(1500)
        assert bench.states("a")[-1] is S.COMPLETED

    flown(story)


def test_silent_budgets_mean_idle() -> None:
    async def story(bench: Bench) -> None:
        await bench.fly(30)
        await bench.place("a", expected_seconds=3000.0)
        await bench.fly(60)
        assert bench.states("a")[-1] is S.RUNNING
        await bench.clock.sleep(200.0)
        assert bench.states("a")[-1] is S.PREEMPTED
        await bench.fly(100)
        assert bench.states("a")[-1] is S.RUNNING

    flown(story)


def test_nothing_is_lost_while_the_gateway_is_away() -> None:
    async def story(bench: Bench) -> None:
        await bench.fly(30)
        await bench.place("a")
        await bench.fly(900)
        assert bench.taken == []
        bench.gateway_up = True
        await bench.fly(60)
        assert bench.states("a") == [S.ACCEPTED, S.RUNNING, S.COMPLETED]

    flown(story, gateway=False)


def test_a_full_disk_delays_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise SqliteError(None, error)

    async def story(bench: Bench) -> None:
        await bench.fly(30)
        await bench.place("a")
        store = bench.compute._store
        await bench.fly(60)
        for method in ("keep", "taken", "outbox"):
            monkeypatch.setattr(store, method, fail)
        await bench.fly(600)
        with pytest.raises(RequestRefused, match="the disk is full"):
            await bench.place("b")
        assert any("the disk is full" in event.text for event in bench.events)
        monkeypatch.undo()
        await bench.fly(60)
        assert bench.states("a") == [S.ACCEPTED, S.RUNNING, S.COMPLETED]
        assert (await bench.place("b")).ok
        await bench.fly(600)
        assert bench.states("b") == [S.ACCEPTED, S.RUNNING, S.COMPLETED]

    flown(story, errors_expected=True)


def test_a_repeated_placement_runs_once_and_a_newer_attempt_fences_the_older() -> None:
    async def story(bench: Bench) -> None:
        await bench.fly(30)
        await bench.place("a", expected_seconds=1000.0)
        await bench.fly(60)
        assert (await bench.place("a", expected_seconds=1000.0)).ok
        await bench.place("a", attempt=2, expected_seconds=200.0)
        await bench.fly(900)
        assert bench.last("a").attempt == 2
        assert bench.last("a").state == job_pb2.JOB_STATE_COMPLETED
        assert sum(bool(item.file_content) for item in bench.taken) == 1
        assert (await bench.place("a")).ok
        await bench.fly(400)
        assert sum(bool(item.file_content) for item in bench.taken) == 1

    flown(story)


def test_nothing_stays_of_an_attempt_that_was_replaced(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        work = tmp_path / "compute" / "work"
        await bench.fly(30)
        await bench.place("a", expected_seconds=1000.0)
        await bench.fly(60)
        (work / "a.1" / "output").mkdir(parents=True)
        (work / "a.2" / "output").mkdir(parents=True)
        await bench.place("a", attempt=2, expected_seconds=1000.0)
        await bench.fly(30)
        assert [path.name for path in work.iterdir()] == ["a.2"]
        for node in bench.compute._nodes.values():
            assert await node.report("a.1") is None
        # One is replaced, and before it has ended, compute is started again.
        (work / "a.3" / "output").mkdir(parents=True)
        await bench.place("a", attempt=3, expected_seconds=1000.0)
        await bench.compute.stop()
        await bench.start()
        await bench.fly(30)
        assert [path.name for path in work.iterdir()] == ["a.3"]
        assert (bench.last("a").attempt, bench.last("a").state) == (3, job_pb2.JOB_STATE_RUNNING)

    flown(story, state_dir=tmp_path)


def test_a_result_stays_until_the_gateway_has_it_whatever_it_took_before(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        bench.gateway_up = False
        await bench.fly(30)
        await bench.place("a", expected_seconds=300.0)
        output = tmp_path / "compute" / "work" / "a.1" / "output"
        output.mkdir(parents=True)
        (output / "found").write_bytes(b"something")
        await bench.fly(900)
        bench.gateway_up = True
        await bench.fly(60)
        assert bench.states("a") == [S.ACCEPTED, S.RUNNING, S.COMPLETED]
        assert [b"something" in content for content in bench.files] == [True]
        assert not list((tmp_path / "compute").glob("*/a.*"))

    flown(story, state_dir=tmp_path)


def test_equal_runs_publish_equal_statuses() -> None:
    async def story(bench: Bench) -> None:
        await bench.fly(30)
        for number in range(6):
            await bench.place(f"job-{number}", priority=10 * number, expected_seconds=200.0 + 50 * number)
        await bench.fly(3000, (0.0, 1500.0), (700.0, 400.0), (1200.0, 1400.0))

    first, second = flown(story), flown(story)
    assert [s.SerializeToString() for s in first.statuses] == [s.SerializeToString() for s in second.statuses]
    assert {s.job_id for s in first.statuses if s.state == job_pb2.JOB_STATE_COMPLETED} == {
        f"job-{n}" for n in range(6)
    }


def test_a_restarted_service_goes_on_with_what_runs_and_what_waits(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        await bench.fly(30)
        for number in range(3):
            await bench.place(f"job-{number}", expected_seconds=500.0)
        await bench.fly(100)
        bench.gateway_up = False
        await bench.compute.stop()
        await bench.fly(60)
        await bench.start()
        await bench.fly(1500)
        bench.gateway_up = True
        await bench.fly(60)
        for number in range(3):
            assert bench.states(f"job-{number}") == [S.ACCEPTED, S.RUNNING, S.COMPLETED]
            assert bench.last(f"job-{number}").preemptions == 0
        assert not list((tmp_path / "compute").glob("results/*"))

    flown(story, state_dir=tmp_path)


def test_draining_survives_a_restart(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        await bench.fly(30)
        assert (await bench.ask(compute_pb2.SetDrainRequest(draining=True))).ok
        await bench.compute.stop()
        await bench.start()
        await bench.place("refused")
        assert (await bench.ask(compute_pb2.SetDrainRequest(draining=False))).ok
        await bench.place("taken")
        await bench.fly(30)
        assert bench.last("refused").cause == job_pb2.JOB_CAUSE_DRAINING
        assert bench.states("taken") == [S.ACCEPTED, S.RUNNING]

    flown(story, state_dir=tmp_path)


def test_a_cancel_survives_a_restart(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        await bench.fly(30)
        await bench.place("a", expected_seconds=5000.0)
        await bench.fly(60)
        assert (await bench.ask(compute_pb2.CancelJobRequest(job_id="a", reason="no more"))).ok
        await bench.compute.stop()
        await bench.start()
        await bench.fly(60)
        assert bench.states("a")[-1] is S.CANCELLED
        assert bench.last("a").reason == "no more"

    flown(story, state_dir=tmp_path)
