"""Queues of commands: held, released, withdrawn, and what becomes of a satellite out of contact."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ground.command_queue import MAXIMUM_WAITING
from ground.errors import ConflictError, UnknownError
from ground.store import command_queue, events
from skyrack import virtual
from skyrack.backhaul.memory import MemoryHub
from skyrack.clock import MissionClock
from skyrack.errors import UserError
from skyrack.v1.compute_pb2 import SetDrainRequest
from skyrack.v1.executive_pb2 import MODE_SAFE, SetModeRequest

DRAIN = SetDrainRequest(draining=True)


def fly(kit: Any, scenario: Callable[[Any], Awaitable[None]], **options: Any) -> None:
    async def main() -> None:
        async with kit.fly(**options) as world:
            await world.clock.sleep(60)
            await scenario(world)

    virtual.run(main)


async def send(world: Any, command_id: str, **fields: Any) -> Any:
    return await world.ground.send("sat-1", "SetDrain", DRAIN, command_id=command_id, submitter="alice", **fields)


async def stages(world: Any, command_id: str) -> list[str]:
    return [stage.stage for stage in (await world.ground.telecommand(command_id)).stages]


async def told(world: Any) -> list[tuple[str, str]]:
    return [(event.name, event.text) for event in await world.ground.events() if event.source == "ground"]


def test_a_command_leaves_at_once_when_its_satellite_is_in_reach(kit: Any) -> None:
    async def scenario(world: Any) -> None:
        await send(world, "c1")
        assert (await world.ground.command_desk.queue("sat-1")).waiting == ()
        await world.clock.sleep(30)
        assert await stages(world, "c1") == ["QUEUED", "SENT", "ACCEPTED", "COMPLETED"]

    fly(kit, scenario)


def test_what_waits_for_a_satellite_out_of_contact_can_be_held_withdrawn_and_released(kit: Any) -> None:
    async def scenario(world: Any) -> None:
        desk = world.ground.command_desk
        world.is_up = False
        await world.clock.sleep(300)
        for number in range(3):
            await send(world, f"c{number}")
        queue = await desk.queue("sat-1")
        assert [waiting.id for waiting in queue.waiting] == ["c0", "c1", "c2"]
        assert (queue.waiting[0].name, queue.waiting[0].submitter) == ("compute.SetDrain", "alice")
        assert not queue.is_reachable

        held = await desk.hold("sat-1", "bob", "solar storm")
        assert (held.is_held, held.held_by, held.reason) == (True, "bob", "solar storm")
        await send(world, "c3")
        record = await world.ground.telecommand("c3")
        assert (record.stage, record.reason) == ("HELD", "by bob: solar storm")

        await desk.withdraw("c1", "alice", "not needed")
        record = await world.ground.telecommand("c1")
        assert (record.stage, record.is_final, record.reason) == ("WITHDRAWN", True, "by alice: not needed")

        world.is_up = True
        await world.clock.sleep(600)
        assert world.satellites["sat-1"].commands == []
        assert [waiting.id for waiting in (await desk.queue("sat-1")).waiting] == ["c0", "c2", "c3"]

        released = await desk.release("sat-1", "bob")
        assert not released.is_held
        await world.clock.sleep(60)
        assert [command.command_id for command in world.satellites["sat-1"].commands] == ["c0", "c2", "c3"]
        assert await stages(world, "c0") == ["HELD", "QUEUED", "SENT", "ACCEPTED", "COMPLETED"]
        assert [found for found in await told(world) if found[0].startswith("command_")] == [
            ("command_queue_held", "held by bob: solar storm"),
            ("command_withdrawn", "telecommand c1 (compute.SetDrain) withdrawn by alice: not needed"),
            ("command_queue_released", "released by bob"),
        ]

    fly(kit, scenario)


def test_other_satellites_do_not_wait_for_one_that_is_held(kit: Any) -> None:
    async def scenario(world: Any) -> None:
        await world.ground.command_desk.hold("sat-1", "bob")
        await send(world, "c1")
        await world.ground.send("sat-2", "SetDrain", DRAIN, command_id="c2")
        await world.clock.sleep(60)
        assert await stages(world, "c1") == ["QUEUED", "HELD"]
        assert (await stages(world, "c2"))[-1] == "COMPLETED"

    fly(kit, scenario)


def test_what_has_left_is_not_withdrawn(kit: Any) -> None:
    async def scenario(world: Any) -> None:
        desk = world.ground.command_desk
        await send(world, "c1")
        await world.clock.sleep(60)
        with pytest.raises(ConflictError, match="c1 is COMPLETED: it does not wait here any more"):
            await desk.withdraw("c1", "alice")
        with pytest.raises(UnknownError, match="there is no telecommand c9"):
            await desk.withdraw("c9", "alice")
        with pytest.raises(ConflictError, match="not held"):
            await desk.release("sat-1", "bob")
        await desk.hold("sat-1", "bob", "a reason")
        with pytest.raises(ConflictError, match="held already: by bob: a reason"):
            await desk.hold("sat-1", "carol")
        with pytest.raises(UnknownError, match="there is no satellite sat-9"):
            await desk.hold("sat-9", "bob")

    fly(kit, scenario)


def test_what_waits_too_long_expires_and_never_leaves(kit: Any) -> None:
    async def scenario(world: Any) -> None:
        await world.ground.command_desk.hold("sat-1", "bob")
        await send(world, "c1", lifetime_seconds=100)
        await world.clock.sleep(200)
        record = await world.ground.telecommand("c1")
        assert (record.stage, record.reason) == ("EXPIRED", "its time ended before it could leave")
        await world.ground.command_desk.release("sat-1", "bob")
        await world.clock.sleep(60)
        assert world.satellites["sat-1"].commands == []

    fly(kit, scenario)


def test_a_queue_has_an_end(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(world: Any) -> None:
        await world.ground.command_desk.hold("sat-1", "bob")
        await send(world, "c1")
        (row,) = await world.ground.database.read(command_queue.waiting)
        monkeypatch.setattr(command_queue, "waiting", lambda *_: [row] * MAXIMUM_WAITING)
        with pytest.raises(UserError, match="1,000 commands wait for sat-1"):
            await send(world, "c2")

    fly(kit, scenario)


def test_a_critical_command_waits_for_a_second_signature_before_it_is_queued(kit: Any) -> None:
    async def scenario(world: Any) -> None:
        record = await world.ground.send("sat-1", "SetMode", SetModeRequest(mode=MODE_SAFE), command_id="c1")
        assert record.stage == "NEEDS_SIGNATURE"
        assert (await world.ground.command_desk.queue("sat-1")).waiting == ()

    fly(kit, scenario)


def test_a_held_queue_outlives_the_ground(kit: Any, tmp_path: Path) -> None:
    async def main() -> None:
        clock = MissionClock.starting_at(kit.start)
        for life in range(2):
            ground = kit.make_ground(clock, MemoryHub(random.Random(1)).connector("ground", []), tmp_path)
            await ground.open()
            task = asyncio.create_task(ground.run())
            if life == 0:
                await ground.command_desk.hold("sat-1", "bob", "storm")
                await ground.send("sat-1", "SetDrain", DRAIN, command_id="c1")
            else:
                queue = await ground.command_desk.queue("sat-1")
                assert queue.is_held
                assert [waiting.id for waiting in queue.waiting] == ["c1"]
                found = await ground.database.read(partial(events.list_events, after_id=-1, limit=10))
                assert [event.name for event in found] == ["command_queue_held"]
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await ground.close()

    virtual.run(main)
