"""The ground against satellites that play their part, over a backhaul that may fail, in virtual time."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ground.errors import ConflictError, UnknownError
from ground.placement import PlacementSettings
from ground.pulse import Pulse
from ground.segment import GroundSettings
from ground.store import batches
from skyrack import virtual
from skyrack.backhaul.memory import Impairments, MemoryHub
from skyrack.clock import MissionClock
from skyrack.database import StorageError
from skyrack.delivery import OutboxFullError, reconcile
from skyrack.delivery.blocks import describe
from skyrack.errors import UserError
from skyrack.v1 import (
    backhaul_pb2,
    common_pb2,
    compute_pb2,
    executive_pb2,
    job_pb2,
    options_pb2,
    power_pb2,
)

SHORT = GroundSettings(placement=PlacementSettings(lease_seconds=1000, lease_margin_seconds=100))


def flying(kit: Any, scenario: Callable[[Any], Awaitable[None]], **values: Any) -> None:
    async def whole() -> None:
        async with kit.fly(**values) as world:
            await scenario(world)

    virtual.run(whole)


def test_a_job_goes_up_runs_and_comes_back(kit: Any) -> None:
    async def scenario(world: Any) -> None:
        package = b"p" * 70_000
        submitted = await world.ground.submit(kit.spec_of(), package, job_id="one", submitter="ada")
        assert submitted.state == "SUBMITTED"
        record = await world.settled("one")
        assert record.state == "COMPLETED"
        assert record.energy_joules == 1234.0
        satellite = world.satellites[record.satellite]
        assert satellite.package("one") == package
        assert await world.ground.result("one") == satellite.result
        states = [step.state for step in record.history]
        assert states == ["SUBMITTED", "PLACED", "ACCEPTED", "RUNNING", "COMPLETED"]
        assert satellite.placements[0].spec.package_sha256 == hashlib.sha256(package).digest()

    flying(kit, scenario)


@pytest.mark.parametrize("seed", [1, 2])
def test_loss_duplication_and_reordering_lose_nothing_and_double_nothing(kit: Any, seed: int) -> None:
    async def scenario(world: Any) -> None:
        for number in range(12):
            content = f"package {number}".encode() * 3000
            await world.ground.submit(kit.spec_of(expected_seconds=300.0), content, job_id=f"job-{number}")
        outages = 3
        for _ in range(outages):
            await world.clock.sleep(400)
            world.is_up = False
            await world.clock.sleep(300)
            world.is_up = True
        for number in range(12):
            record = await world.settled(f"job-{number}", 100_000)
            assert record.state == "COMPLETED", record
            assert record.attempt == 1, [step.reason for step in record.history]
            applied = [step.state for step in record.history if step.is_applied]
            assert applied.count("COMPLETED") == 1
        placed = [p.spec.job_id for satellite in world.satellites.values() for p in satellite.placements]
        assert sorted(placed) == sorted(f"job-{number}" for number in range(12))
        await world.clock.sleep(1000)
        sent, received = await world.ground.ledgers()
        for satellite in world.satellites.values():
            theirs, ours = await satellite.endpoint.ledgers()
            assert reconcile([row for row in sent if row.destination == satellite.name], ours) == []
            assert reconcile(theirs, [row for row in received if row.source == satellite.name]) == []
        counters = world.hub.counters
        assert counters.lost
        assert counters.duplicated
        assert counters.blocked

    impairments = Impairments(loss=0.15, duplication=0.1, reordering=0.2)
    flying(kit, scenario, impairments=impairments, seed=seed)


def test_a_stale_attempt_never_gives_a_second_result(kit: Any) -> None:
    async def scenario(world: Any) -> None:
        world.silence()
        await world.ground.submit(kit.spec_of(), b"package", job_id="one")

        async def is_placed_again() -> bool:
            return bool((await world.ground.job("one")).attempt == 2)

        await world.until(is_placed_again)
        first, second = sorted(world.satellites.values(), key=lambda s: s.placements[0].attempt)
        late, fresh = first.placements[0], second.placements[0]
        assert first.name != second.name
        assert world.clock.now() > late.lease_end_seconds + 100

        wrong = await first.send_result(late, b"too late" * 1000)
        await first.status(late, 1, job_pb2.JOB_STATE_ACCEPTED)
        await first.status(late, 2, job_pb2.JOB_STATE_RUNNING)
        await first.status(late, 3, job_pb2.JOB_STATE_COMPLETED, result_sha256=wrong, result_bytes=8000)
        await world.clock.sleep(200)
        assert (await world.ground.job("one")).state == "PLACED"

        right = await second.send_result(fresh, b"in time" * 1000)
        await second.status(fresh, 1, job_pb2.JOB_STATE_ACCEPTED)
        await second.status(fresh, 2, job_pb2.JOB_STATE_RUNNING)
        await second.status(fresh, 3, job_pb2.JOB_STATE_COMPLETED, result_sha256=right, result_bytes=7000)
        await second.status(fresh, 4, job_pb2.JOB_STATE_FAILED, reason="no, it failed")
        await world.settled("one")
        await world.clock.sleep(200)
        record = await world.ground.job("one")
        assert record.state == "COMPLETED"
        assert await world.ground.result("one") == b"in time" * 1000
        completed = [step for step in record.history if step.state == "COMPLETED"]
        assert [(step.attempt, step.is_applied) for step in completed] == [(1, False), (2, True)]

    flying(kit, scenario, settings=SHORT)


def test_a_satellite_speaks_for_its_own_jobs_only(kit: Any) -> None:
    async def scenario(world: Any) -> None:
        world.silence()
        await world.ground.submit(kit.spec_of(), b"package", job_id="one")
        holder = await world.holder()
        other = next(s for s in world.satellites.values() if s is not holder)
        placement = holder.placements[0]
        await other.status(placement, 1, job_pb2.JOB_STATE_COMPLETED, result_sha256=b"x" * 32, result_bytes=1)
        await other.send_result(placement, b"forged")
        placement.spec.job_id = "never-submitted"
        await other.status(placement, 1, job_pb2.JOB_STATE_FAILED)
        await world.clock.sleep(200)
        assert (await world.ground.job("one")).state == "PLACED"
        names = [event.name for event in await world.ground.events()]
        assert names.count("job_status_refused") == 2
        assert "job_result_unwanted" in names
        with pytest.raises(UnknownError, match="it has no result yet"):
            await world.ground.result("one")

    flying(kit, scenario)


def test_impossible_statuses_change_nothing_and_are_told(kit: Any) -> None:
    async def scenario(world: Any) -> None:
        world.silence()
        await world.ground.submit(kit.spec_of(), b"package", job_id="one")
        holder = await world.holder()
        placement = holder.placements[0]
        await holder.status(placement, 1, job_pb2.JOB_STATE_COMPLETED)
        await holder.status(placement, 2, 77)
        await holder.send(options_pb2.STREAM_STATUS, job_placement=placement)
        await holder.endpoint.send("ground", options_pb2.STREAM_STATUS, b"\xff\xff\xff")
        await world.clock.sleep(100)
        assert (await world.ground.job("one")).state == "PLACED"
        await holder.status(placement, 3, job_pb2.JOB_STATE_ACCEPTED)
        await world.clock.sleep(100)
        assert (await world.ground.job("one")).state == "ACCEPTED"
        names = {event.name for event in await world.ground.events()}
        assert names >= {"job_status_illegal", "job_status_refused", "frame_refused"}

    flying(kit, scenario)


def test_a_damaged_result_is_refused_and_told(kit: Any) -> None:
    async def scenario(world: Any) -> None:
        world.silence()
        await world.ground.submit(kit.spec_of(), b"package", job_id="one")
        holder = await world.holder()
        placement = holder.placements[0]
        for version, state in enumerate((job_pb2.JOB_STATE_ACCEPTED, job_pb2.JOB_STATE_RUNNING), 1):
            await holder.status(placement, version, state)
        promised = hashlib.sha256(b"good").digest()
        values = {"result_sha256": promised, "result_bytes": 4}
        await holder.status(placement, 3, job_pb2.JOB_STATE_COMPLETED, **values)
        evil = describe([b"evil"])
        lie = replace(evil, layout=replace(evil.layout, sha256=promised))
        await holder.endpoint.database.write(
            lambda connection: holder.files.book.offer(connection, "ground", lie, "one", 1, content=b"evil")
        )
        holder.files.changed()

        async def is_refused() -> str:
            return str((await world.ground.job("one")).result_problem)

        assert "the SHA-256 of the whole is not" in await world.until(is_refused)
        with pytest.raises(UnknownError, match="the SHA-256 of the whole"):
            await world.ground.result("one")

    flying(kit, scenario)


def test_pieces_of_results_that_nobody_waits_for_are_forgotten(kit: Any) -> None:
    async def scenario(world: Any) -> None:
        world.silence()
        for name in ("runs", "failed"):
            await world.ground.submit(kit.spec_of(name), b"package", job_id=name)

        def placements() -> dict[str, tuple[Any, Any]]:
            return {p.spec.job_id: (s, p) for s in world.satellites.values() for p in s.placements}

        async def are_placed() -> bool:
            return len(placements()) == 2

        await world.until(are_placed)
        for satellite, placement in placements().values():
            await satellite.status(placement, 1, job_pb2.JOB_STATE_ACCEPTED)
            await satellite.status(placement, 2, job_pb2.JOB_STATE_RUNNING)
            await satellite.send_result(placement, placement.spec.job_id.encode())
        await world.clock.sleep(100)
        satellite, placement = placements()["failed"]
        await satellite.status(placement, 3, job_pb2.JOB_STATE_FAILED, reason="it broke")
        await world.settled("failed")

        await world.ground.database.write(world.ground.transfers.drop_strays)
        rows = await world.ground.database.read(
            lambda connection: connection.execute("SELECT job_id FROM files_wanted_for").fetchall()
        )
        assert [job_id for (job_id,) in rows] == ["runs"]

    flying(kit, scenario)


def failing(cause: Any, state: Any = job_pb2.JOB_STATE_FAILED) -> Callable[[Any], job_pb2.JobStatus]:
    return lambda _: job_pb2.JobStatus(state=state, cause=cause, reason="it broke", exit_code=3)


def test_a_job_that_fails_is_tried_as_often_as_its_submitter_allows(kit: Any) -> None:
    async def scenario(world: Any) -> None:
        for satellite in world.satellites.values():
            satellite.outcome = failing(job_pb2.JOB_CAUSE_EXIT_CODE)
        await world.ground.submit(kit.spec_of(attempts=3), b"package", job_id="one")
        await world.ground.submit(kit.spec_of(attempts=1), b"package", job_id="once")
        record = await world.settled("one")
        assert (record.state, record.attempt, record.exit_code) == ("FAILED", 3, 3)
        assert (await world.settled("once")).attempt == 1

    flying(kit, scenario)


def test_a_job_that_one_satellite_rejects_goes_to_another(kit: Any) -> None:
    async def scenario(world: Any) -> None:
        world.satellites["sat-1"].watts = 1200.0  # the ground likes it better
        world.satellites["sat-1"].outcome = failing(job_pb2.JOB_CAUSE_DRAINING, job_pb2.JOB_STATE_EXPIRED)
        await world.ground.submit(kit.spec_of(), b"package", job_id="one")
        record = await world.settled("one")
        assert (record.state, record.satellite, record.attempt) == ("COMPLETED", "sat-2", 2)
        assert any("it will be tried again" in step.reason for step in record.history)

    flying(kit, scenario)


def test_cancelling_while_it_waits_and_while_it_runs(kit: Any) -> None:
    async def scenario(world: Any) -> None:
        world.silence()
        await world.ground.submit(kit.spec_of(), b"package", job_id="waits")
        cancelled = await world.ground.cancel("waits", "changed my mind")
        assert (cancelled.state, cancelled.reason) == ("CANCELLED", "changed my mind")
        await world.ground.submit(kit.spec_of(), b"package", job_id="runs")
        holder = await world.holder()
        asked = await world.ground.cancel("runs", "too dear")
        assert asked.state == "PLACED"
        assert asked.cancel_requested
        await world.ground.cancel("runs", "again")
        await world.clock.sleep(100)
        assert [order.job_id for order in holder.cancels] == ["runs"]
        # The satellite never answers: at the end of the lease the ground knows that nothing runs any more.
        assert (await world.settled("runs")).state == "CANCELLED"
        assert (await world.ground.cancel("runs")).state == "CANCELLED"

    flying(kit, scenario, settings=SHORT)


def test_a_deadline_that_passes_on_the_ground(kit: Any) -> None:
    async def scenario(world: Any) -> None:
        await world.ground.submit(kit.spec_of(lifetime_seconds=500.0), b"package", job_id="one")
        assert "has not been heard yet" in (await world.until(lambda: _waiting_reason(world, "one")))
        record = await world.settled("one")
        assert record.state == "EXPIRED"
        assert record.finished_seconds - record.deadline_seconds < 20

    flying(kit, scenario, is_up=False)


def test_a_full_outbox_holds_up_nothing_else(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(world: Any) -> None:
        ground, full = world.ground, {"sat-1", "sat-2"}
        offer = ground.transfers.offer_package

        def refusing(connection: Any, satellite: str, *rest: Any) -> None:
            if satellite in full:
                raise OutboxFullError(f"too much waits for {satellite}")
            offer(connection, satellite, *rest)

        monkeypatch.setattr(ground.transfers, "offer_package", refusing)
        await world.clock.sleep(300)
        await ground.submit(kit.spec_of(priority=90), b"package", job_id="large")
        await ground.submit(kit.spec_of(lifetime_seconds=3000.0), b"package", job_id="late")
        await ground.submit(kit.spec_of(priority=10), job_id="small")
        assert "too much waits for" in await world.until(lambda: _waiting_reason(world, "large"))
        assert (await world.settled("small")).state == "COMPLETED"
        assert (await world.settled("late")).state == "EXPIRED"
        assert (await ground.job("large")).state == "SUBMITTED"
        full.discard("sat-2")
        record = await world.settled("large")
        assert (record.state, record.attempt, record.satellite) == ("COMPLETED", 1, "sat-2")
        placed = [p.spec.job_id for satellite in world.satellites.values() for p in satellite.placements]
        assert sorted(placed) == ["large", "small"]

    flying(kit, scenario)


@pytest.mark.parametrize("on_disk", [False, True])
def test_what_is_over_is_forgotten_in_the_end_and_what_is_open_never(
    kit: Any, tmp_path: Path, *, on_disk: bool
) -> None:
    settings = GroundSettings(records_seconds=86_400.0, packages_seconds=18_000.0)

    async def scenario(world: Any) -> None:
        ground = world.ground
        if on_disk:
            ground.vault._directory = tmp_path
        package, other = b"package" * 100, b"another" * 100
        done = await ground.submit(kit.spec_of(), package, job_id="done")
        result = hashlib.sha256(world.satellites["sat-1"].result).digest()
        sent = await ground.send("sat-1", "SetDrain", compute_pb2.SetDrainRequest(draining=False))
        await world.settled("done")
        world.is_up = False
        await ground.submit(kit.spec_of(power_watts=301.0), other, job_id="open")
        stray = await ground.keep_package(b"for nobody")
        await world.clock.sleep(10_000)
        assert ground.vault.has(bytes.fromhex(done.package_sha256))
        assert ground.vault.has(stray)
        await world.clock.sleep(20_000)
        assert not ground.vault.has(bytes.fromhex(done.package_sha256))
        assert not ground.vault.has(stray)
        assert await ground.result("done")
        assert (await ground.telecommand(sent.command_id)).is_final
        # It may come again.
        assert ground.vault.has(await ground.keep_package(package))
        await world.clock.sleep(2 * 86_400)
        with pytest.raises(UnknownError):
            await ground.job("done")
        with pytest.raises(UnknownError):
            await ground.telecommand(sent.command_id)
        assert not ground.vault.has(result)
        assert ground.vault.has(hashlib.sha256(other).digest())
        assert (await ground.job("open")).history

    flying(kit, scenario, settings=settings)


async def _waiting_reason(world: Any, job_id: str) -> str:
    return str((await world.ground.job(job_id)).waiting_reason)


def test_submitting_twice_is_submitting_once(kit: Any) -> None:
    async def scenario(world: Any) -> None:
        for _ in range(3):
            await world.ground.submit(kit.spec_of(lifetime_seconds=9000.0), b"package", job_id="one")
            await world.clock.sleep(20)
        with pytest.raises(ConflictError, match="another job has the id one"):
            await world.ground.submit(kit.spec_of("other"), b"package", job_id="one")
        assert (await world.settled("one")).attempt == 1
        assert sum(len(satellite.placements) for satellite in world.satellites.values()) == 1

    flying(kit, scenario)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"power_watts": -5.0}, "power_watts is -5"),
        ({"power_watts": float("nan")}, "power_watts is nan"),
        ({"power_watts": 9000.0}, "it needs 9,000 watts, the largest rack node has 700"),
        ({"cores": 0}, "cores is 0"),
        ({"priority": 101}, "priority is 101"),
        ({"lifetime_seconds": -1.0}, "lifetime_seconds"),
    ],
)
def test_a_job_that_cannot_be_is_refused_at_once(kit: Any, values: dict[str, Any], why: str) -> None:
    async def scenario(world: Any) -> None:
        with pytest.raises(UserError, match=why):
            await world.ground.submit(kit.spec_of(**values), b"package", job_id="one")
        with pytest.raises(UserError, match="its package is not here"):
            await world.ground.submit(kit.spec_of(package_sha256=b"s" * 32, package_bytes=5), job_id="one")
        with pytest.raises(UserError, match="id "):
            await world.ground.submit(kit.spec_of(), b"package", job_id="../one")
        assert await world.ground.jobs() == []

    flying(kit, scenario)


def test_telecommands_reach_their_stages(kit: Any) -> None:
    async def scenario(world: Any) -> None:
        request = power_pb2.SetLoadSwitchRequest(load="node-1", closed=False)
        first = await world.ground.send("sat-1", "SetLoadSwitch", request, command_id="c1", submitter="ada")
        again = await world.ground.send("sat-1", "SetLoadSwitch", request, command_id="c1", submitter="ada")
        assert (first.stage, again.command_id) == ("QUEUED", "c1")
        world.satellites["sat-2"].is_silent = True
        await world.ground.send("sat-2", "SetLoadSwitch", request, command_id="c2", lifetime_seconds=300)
        await world.clock.sleep(60)
        done = await world.ground.telecommand("c1")
        assert [stage.stage for stage in done.stages] == ["QUEUED", "SENT", "ACCEPTED", "COMPLETED"]
        assert [command.service for command in world.satellites["sat-1"].commands] == ["power"]
        await world.clock.sleep(1500)
        lost = await world.ground.telecommand("c2")
        assert (lost.stage, lost.reason) == ("EXPIRED", "its time ended and nothing was heard of it")
        with pytest.raises(ConflictError):
            await world.ground.send("sat-2", "SetLoadSwitch", request, command_id="c1")
        with pytest.raises(UserError, match="load is missing"):
            await world.ground.send("sat-1", "SetLoadSwitch", power_pb2.SetLoadSwitchRequest())
        with pytest.raises(UserError, match="every service takes it"):
            await world.ground.send("sat-1", "GetParameters", common_pb2.GetParametersRequest())
        with pytest.raises(UserError, match="there is no satellite sat-9; did you mean"):
            await world.ground.send("sat-9", "SetLoadSwitch", request)

    flying(kit, scenario)


def test_events_and_telemetry_are_kept(kit: Any) -> None:
    async def scenario(world: Any) -> None:
        satellite = world.satellites["sat-1"]
        event = common_pb2.Event(name="load_tripped", severity=common_pb2.SEVERITY_ERROR, source="power")
        event.fields.add(name="load", value="node-1")
        limit = executive_pb2.LimitViolation(field="PowerStatus.x", value=0.1, level="red_low")
        await world.clock.sleep(1)
        await satellite.telemetry(event, limit, stream=options_pb2.STREAM_EVENTS)
        start = world.clock.now()
        await world.clock.sleep(300)
        found = {event.name: event for event in await world.ground.events(satellite="sat-1")}
        assert found["load_tripped"].fields == {"load": "node-1"}
        assert found["load_tripped"].severity == "ERROR"
        assert found["limit_violation"].text == "PowerStatus.x is red low at 0.1"
        samples = await world.ground.history("sat-1", "skyrack.v1.PowerStatus", start, start + 200)
        times = [sample.mission_time_seconds for sample in samples]
        assert times == sorted(times)
        assert len(times) in (20, 21)
        newest = {message.DESCRIPTOR.name: at for at, _, message in world.ground.telemetry("sat-1")}
        assert start + 250 < newest["PowerStatus"] <= world.clock.now()
        await satellite.telemetry(common_pb2.Health(service="power"), source="power")
        await satellite.telemetry(common_pb2.Health(service="thermal"), source="thermal")
        await world.clock.sleep(60)
        services = {m.service for _, _, m in world.ground.telemetry("sat-1") if isinstance(m, common_pb2.Health)}
        assert services == {"power", "thermal"}
        (first, _) = await world.ground.satellites()
        assert first.state_of_charge_ratio == pytest.approx(0.8)
        assert first.is_reachable

    flying(kit, scenario)


def test_a_ground_that_starts_again_goes_on_where_it_was(kit: Any, tmp_path: Path) -> None:
    async def scenario() -> None:
        clock = MissionClock.starting_at(kit.start)
        hub = MemoryHub(random.Random(1))
        connector = hub.connector("ground", ())
        first = kit.make_ground(clock, connector, tmp_path)
        await first.open()
        await first.submit(kit.spec_of(), b"package", job_id="one")
        sample = backhaul_pb2.TelemetrySample(
            message_type="skyrack.v1.ComputeStatus",
            mission_time_seconds=clock.now(),
            payload=compute_pb2.ComputeStatus(free_nodes=2).SerializeToString(),
        )
        batch = backhaul_pb2.TelemetryBatch(samples=[sample])
        payload = backhaul_pb2.Payload(telemetry=batch)
        data = payload.SerializeToString()
        await first.database.write(lambda connection: batches.add(connection, "sat-1", batch, data, clock.now()))
        await first.close()

        second = kit.make_ground(clock, connector, tmp_path)
        await second.open()
        assert [record.job_id for record in await second.jobs()] == ["one"]
        assert second.vault.get(hashlib.sha256(b"package").digest()) == b"package"
        assert second.picture.heard_seconds("sat-1") == pytest.approx(clock.now(), abs=5)
        assert second.endpoint.identity.incarnation > first.endpoint.identity.incarnation
        await second.close()

    asyncio.run(scenario())


def test_many_waiters_all_hear_one_beat(kit: Any) -> None:
    async def scenario() -> None:
        pulse = Pulse()
        waiters = [pulse.waiter() for _ in range(3)]
        waiters[0].cancel()
        pulse.beat()
        await waiters[1]
        await waiters[2]
        assert not pulse.waiter().done()

    virtual.run(scenario)


def test_a_full_disk_refuses_a_package_in_words_and_takes_the_job_when_there_is_room(kit: Any) -> None:
    async def scenario(world: Any) -> None:
        world.ground.vault.is_full = True
        with pytest.raises(StorageError, match=r"cannot keep the package \(No space left on device\)"):
            await world.ground.submit(kit.spec_of(), b"package", job_id="one")
        with pytest.raises(UnknownError):
            await world.ground.job("one")
        world.ground.vault.is_full = False
        await world.ground.submit(kit.spec_of(), b"package", job_id="one")
        assert (await world.settled("one")).state == "COMPLETED"

    flying(kit, scenario)
