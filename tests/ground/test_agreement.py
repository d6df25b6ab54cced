"""Ground and satellites that agree on open jobs after a silence, over a hub, in virtual time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ground.agreement import Agreement, Settled
from ground.placement import PlacementSettings
from ground.segment import GroundSettings
from skyrack import virtual
from skyrack.backhaul.memory import Impairments
from skyrack.delivery import Delivered
from skyrack.v1 import backhaul_pb2, job_pb2, options_pb2

SHORT = GroundSettings(placement=PlacementSettings(lease_seconds=2000, lease_margin_seconds=100))


def flying(kit: Any, scenario: Callable[[Any], Awaitable[None]], **values: Any) -> None:
    async def whole() -> None:
        async with kit.fly(**values) as world:
            await scenario(world)

    virtual.run(whole)


async def running(world: Any, kit: Any, seconds: float = 50_000.0) -> Any:
    """Submit a long job; the satellite that runs it."""
    await world.ground.submit(kit.spec_of(expected_seconds=seconds), b"package", job_id="one")

    async def runs() -> bool:
        return bool((await world.ground.job("one")).state == "RUNNING")

    await world.until(runs)
    return world.satellites[(await world.ground.job("one")).satellite]


async def again_in_contact(world: Any) -> None:
    world.is_up = False
    await world.clock.sleep(300)
    world.is_up = True


async def events(world: Any) -> list[str]:
    return [event.name for event in await world.ground.events(limit=1000)]


@pytest.mark.parametrize("impairments", [None, Impairments(0.2, 0.2, 0.2)], ids=["clean", "lossy"])
def test_a_job_that_its_satellite_has_forgotten_is_placed_again_at_once(
    kit: Any, impairments: Impairments | None
) -> None:
    async def scenario(world: Any) -> None:
        holder = await running(world, kit)
        lease_end = (await world.ground.job("one")).lease_end_seconds
        holder.forget()
        await again_in_contact(world)

        async def moved() -> Any:
            record = await world.ground.job("one")
            return record if record.attempt == 2 else None

        record = await world.until(moved)
        assert world.clock.now() < lease_end - 5000
        assert record.satellite != holder.name
        assert "forgot" in next(step.reason for step in record.history if "forgot" in step.reason)
        assert "job_forgotten" in await events(world)
        await world.clock.sleep(60)
        # Fenced: whatever the old attempt still says is of no account, and what is left of it was told to stop.
        assert [(order.job_id, order.attempt) for order in holder.cancels] == [("one", 1)]
        await holder.status(holder.placements[0], 9, job_pb2.JOB_STATE_COMPLETED)
        await world.clock.sleep(60)
        assert not (await world.ground.job("one")).is_final

    flying(kit, scenario, impairments=impairments)


def test_a_placement_on_its_way_and_a_status_on_its_way_are_not_taken_for_lost(kit: Any) -> None:
    async def scenario(world: Any) -> None:
        for number in range(4):
            await world.ground.submit(kit.spec_of(expected_seconds=900.0), b"package", job_id=f"job-{number}")
        for _ in range(40):  # a link that comes and goes, while jobs come and end
            await world.clock.sleep(97)
            world.is_up = not world.is_up
        world.is_up = True
        for number in range(4):
            record = await world.settled(f"job-{number}")
            assert (record.state, record.attempt) == ("COMPLETED", 1)
        assert "job_forgotten" not in await events(world)
        assert all(not satellite.cancels for satellite in world.satellites.values())
        assert any(satellite.questions for satellite in world.satellites.values())

    flying(kit, scenario, impairments=Impairments(0.1, 0.1, 0.3))


def test_what_the_ground_no_longer_wants_is_stopped(kit: Any) -> None:
    async def scenario(world: Any) -> None:
        holder = await running(world, kit)
        stray = backhaul_pb2.OpenJob(job_id="stray", attempt=3, version=2, state=job_pb2.JOB_STATE_RUNNING)
        holder.told["stray"] = stray
        await again_in_contact(world)

        async def stopped() -> bool:
            return bool(holder.cancels)

        await world.until(stopped)
        (order,) = holder.cancels
        assert (order.job_id, order.attempt) == ("stray", 3)
        assert "no record" in order.reason
        assert "job_stopped_on_board" in await events(world)
        assert (await world.ground.job("one")).state == "RUNNING"

    flying(kit, scenario)


def test_a_last_status_that_was_lost_is_asked_for_again(kit: Any) -> None:
    async def scenario(world: Any) -> None:
        holder = await running(world, kit)
        placement = holder.placements[0]
        # Compute had ended it; the gateway lost its store, and with it the word of it.
        told = holder.told["one"]
        told.state, told.version = job_pb2.JOB_STATE_FAILED, 3
        await again_in_contact(world)

        async def asked() -> bool:
            return any(job.tell_again for question in holder.questions for job in question.jobs)

        await world.until(asked)
        assert not holder.cancels
        await holder.status(placement, 3, job_pb2.JOB_STATE_FAILED, reason="exit code 3")
        record = await world.settled("one")
        assert (record.state, record.reason) == ("FAILED", "exit code 3")

    flying(kit, scenario)


def test_a_lease_is_renewed_while_the_job_runs_and_its_end_moves_the_job_only_after_the_margin(kit: Any) -> None:
    async def scenario(world: Any) -> None:
        holder = await running(world, kit)
        ends = set()
        for _ in range(40):
            await world.clock.sleep(200)
            ends.add((await world.ground.job("one")).lease_end_seconds)
            assert holder.told["one"].lease_end_seconds > world.clock.now()
        assert len(ends) > 3
        record = await world.ground.job("one")
        assert (record.state, record.attempt) == ("RUNNING", 1)
        holder.is_silent = True  # it says nothing of its jobs any more: no lease is renewed
        await world.clock.sleep(30)
        end = (await world.ground.job("one")).lease_end_seconds
        assert holder.told["one"].lease_end_seconds <= end  # the ground waits at least as long as the satellite runs

        async def moved() -> Any:
            record = await world.ground.job("one")
            return record if record.attempt == 2 else None

        record = await world.until(moved)
        placed = next(step for step in record.history if step.state == "PLACED" and step.attempt == 2)
        assert placed.mission_time_seconds > end + 100
        assert placed.satellite != holder.name
        assert "job_lease_ended" in await events(world)

    flying(kit, scenario, settings=SHORT)


def test_an_answer_waits_for_what_was_said_before_it(kit: Any) -> None:
    async def scenario(world: Any) -> None:
        holder = await running(world, kit)
        holder.is_silent = True
        await world.clock.sleep(30)
        endpoint = holder.endpoint
        status = job_pb2.JobStatus(job_id="one", attempt=1, version=3, state=job_pb2.JOB_STATE_PREEMPTED)
        payloads = [
            backhaul_pb2.Payload(job_status=status),
            backhaul_pb2.Payload(
                open_jobs=backhaul_pb2.OpenJobs(jobs=[backhaul_pb2.OpenJob(job_id="one", attempt=1)], complete=True)
            ),
        ]
        # The answer overtakes a status that is still to come.
        sequences = [
            await endpoint.database.write(
                lambda connection, payload=payload: endpoint.enqueue(
                    connection, "ground", options_pb2.STREAM_STATUS, payload.SerializeToString()
                )
            )
            for payload in payloads
        ]
        sender = endpoint.peer("ground").sender
        due = sender.due

        def overtaking(now: float) -> Any:
            for stream, rows in due(now):
                sender.sent(stream, [row for row in rows if row.sequence == sequences[0]], now)  # lost on the way
                if rest := [row for row in rows if row.sequence != sequences[0]]:
                    yield stream, rest

        sender.due = overtaking
        endpoint.kick("ground", options_pb2.STREAM_STATUS)
        await world.clock.sleep(100)
        assert (await world.ground.job("one")).attempt == 1
        sender.due = due
        endpoint.kick("ground", options_pb2.STREAM_STATUS)

        async def given_up() -> bool:
            return "job_forgotten" in await events(world)

        await world.until(given_up)
        states = [step.state for step in (await world.ground.job("one")).history]
        assert "PREEMPTED" in states

    flying(kit, scenario)


def test_an_answer_that_comes_while_another_is_settled_is_settled_too() -> None:
    async def scenario() -> None:
        settled: list[int] = []

        class Busy:
            async def read(self, _query: Any) -> dict[str, int]:
                return {}

            async def write(self, _transaction: Any) -> Settled:
                settled.append(len(settled))
                if len(settled) == 1:
                    agreement.answered(answer(2), backhaul_pb2.OpenJobs())
                return Settled()

        agreement = Agreement(Busy(), None, PlacementSettings(), None)  # type: ignore[arg-type]
        agreement.answered(answer(1), backhaul_pb2.OpenJobs())
        for _ in range(3):
            await agreement.step(1.0, lambda _: None)
        assert settled == [0, 1]

    virtual.run(scenario)


def answer(sequence: int) -> Delivered:
    return Delivered("sat-1", options_pb2.STREAM_STATUS, 1, sequence, b"", 0.0, 0.0, "")
