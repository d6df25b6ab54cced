"""Sequences on the ground: checked whole, followed step by step, withdrawn or aborted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from ground import sequencefile
from ground.api import make_app
from ground.client import Skyrack
from ground.errors import ConflictError, UnknownError
from skyrack import files, virtual
from skyrack.errors import UserError
from skyrack.signing import ORDER, SigningKey
from skyrack.v1 import backhaul_pb2, options_pb2
from skyrack.v1.backhaul_pb2 import (
    CommandSequence,
    OrderReport,
    SequenceStep,
    SignedOrder,
    Telecommand,
    TelecommandReport,
)
from skyrack.v1.compute_pb2 import SetDrainRequest
from skyrack.v1.executive_pb2 import MODE_SAFE, SetModeRequest

DRAIN = Telecommand(service="compute", method="SetDrain", request=SetDrainRequest(draining=True).SerializeToString())
BAD = Telecommand(service="compute", method="SetDrain")
SAFE = Telecommand(service="executive", method="SetMode", request=SetModeRequest(mode=MODE_SAFE).SerializeToString())


def sequence(*commands: Telecommand) -> CommandSequence:
    return CommandSequence(name="test", steps=[SequenceStep(telecommand=command) for command in commands])


def fly(kit: Any, scenario: Callable[[Any], Awaitable[None]]) -> None:
    async def main() -> None:
        async with kit.fly() as world:
            await world.clock.sleep(60)
            await scenario(world)

    virtual.run(main)


async def report(world: Any, name: str, number: int, stage: Any, satellite: str = "sat-1") -> None:
    at = world.clock.now()
    told: Any = (
        {"telecommand_report": TelecommandReport(command_id=f"{name}/{number}", stage=stage, mission_time_seconds=at)}
        if number
        else {"order_report": OrderReport(order_id=name, stage=stage, mission_time_seconds=at)}
    )
    await world.satellites[satellite].send(options_pb2.STREAM_STATUS, **told)
    await world.clock.sleep(5)


def test_a_sequence_is_followed_step_by_step(kit: Any) -> None:
    async def scenario(world: Any) -> None:
        desk = world.ground.sequence_desk
        record = await desk.submit("s1", "sat-1", sequence(DRAIN, DRAIN), submitter="alice")
        assert (record.stage, record.name, record.submitter) == ("QUEUED", "test", "alice")
        await world.clock.sleep(10)
        assert (await desk.sequence("s1")).stage == "SENT"
        completed = backhaul_pb2.TELECOMMAND_STAGE_COMPLETED
        await report(world, "s1", 0, backhaul_pb2.TELECOMMAND_STAGE_STARTED)
        await report(world, "s1", 0, backhaul_pb2.TELECOMMAND_STAGE_ACCEPTED)  # overtaken on the way
        await report(world, "s1", 1, backhaul_pb2.TELECOMMAND_STAGE_STARTED)
        await report(world, "s1", 1, completed)
        record = await desk.sequence("s1")
        assert [step.stage for step in record.steps] == ["COMPLETED", "QUEUED"]
        assert record.steps[0].started_seconds < record.steps[0].finished_seconds
        await report(world, "s1", 2, completed, satellite="sat-2")  # not its business
        assert (await desk.sequence("s1")).steps[1].stage == "QUEUED"
        await report(world, "s1", 2, completed)
        await report(world, "s1", 0, completed)
        record = await desk.sequence("s1")
        assert record.is_final
        assert [stage.stage for stage in record.stages] == ["QUEUED", "SENT", "ACCEPTED", "STARTED", "COMPLETED"]
        await report(world, "s1", 0, backhaul_pb2.TELECOMMAND_STAGE_FAILED)
        assert (await desk.sequence("s1")).stage == "COMPLETED"
        (listed,) = await desk.sequences()
        assert (listed.sequence_id, listed.steps) == ("s1", ())

    fly(kit, scenario)


def test_one_bad_step_of_ten_and_nothing_leaves(kit: Any) -> None:
    async def scenario(world: Any) -> None:
        desk = world.ground.sequence_desk
        with pytest.raises(UserError, match="sequence test: step 10: SetDrain: draining is missing"):
            await desk.submit("s1", "sat-1", sequence(*[DRAIN] * 9, BAD))
        with pytest.raises(UnknownError, match="no satellite sat-9"):
            await desk.submit("s1", "sat-9", sequence(DRAIN))
        with pytest.raises(UserError, match='sequence id "a/b"'):
            await desk.submit("a/b", "sat-1", sequence(DRAIN))
        assert await desk.sequences() == []
        with pytest.raises(UnknownError, match="there is no sequence s1"):
            await desk.sequence("s1")

    fly(kit, scenario)


def test_the_same_again_changes_nothing_and_another_is_refused(kit: Any) -> None:
    async def scenario(world: Any) -> None:
        desk = world.ground.sequence_desk
        await desk.submit("s1", "sat-1", sequence(DRAIN))
        await world.clock.sleep(60)
        again = await desk.submit("s1", "sat-1", sequence(DRAIN))
        assert again.stage == "SENT"
        with pytest.raises(ConflictError, match="another sequence has the id s1"):
            await desk.submit("s1", "sat-1", sequence(DRAIN, DRAIN))

    fly(kit, scenario)


def test_a_sequence_in_a_held_queue_is_withdrawn_one_that_left_is_aborted_by_a_command(kit: Any) -> None:
    async def scenario(world: Any) -> None:
        ground = world.ground
        await ground.command_desk.hold("sat-1", "bob")
        await ground.sequence_desk.submit("s1", "sat-1", sequence(DRAIN))
        assert (await ground.sequence_desk.sequence("s1")).stage == "HELD"
        answer = await ground.abort_sequence("s1", "alice", "a mistake")
        assert (answer.sequence.stage, answer.command) == ("WITHDRAWN", None)
        await ground.command_desk.release("sat-1", "bob")

        await ground.sequence_desk.submit("s2", "sat-1", sequence(DRAIN))
        await world.clock.sleep(30)
        answer = await ground.abort_sequence("s2", "alice", "a mistake")
        assert (answer.command.service, answer.command.method) == ("gateway", "AbortSequence")
        assert 'reason: "by alice: a mistake"' in answer.command.arguments
        assert (await ground.abort_sequence("s1", "alice")).command is None

    fly(kit, scenario)


def test_a_critical_step_makes_the_sequence_wait_for_a_second_signature(kit: Any) -> None:
    async def scenario(world: Any) -> None:
        record = await world.ground.sequence_desk.submit("s1", "sat-1", sequence(DRAIN, SAFE), submitter="alice")
        assert record.stage == "NEEDS_SIGNATURE"
        assert (await world.ground.command_desk.queue("sat-1")).waiting == ()
        data = await world.ground.order_desk.order_of("s1")
        key = SigningKey.from_seed(kit.seed, "operator-1")
        signature = key.sign(ORDER, SignedOrder.FromString(data).order)
        answer = await world.ground.order_desk.approve("s1", key.key_id, signature)
        assert (answer.sequence.stage, answer.sequence.signed_by) == ("QUEUED", "ground for alice, operator-1")
        await world.clock.sleep(30)
        assert (await world.ground.sequence_desk.sequence("s1")).stage == "SENT"
        with pytest.raises(ConflictError, match="waits for no signature"):
            await world.ground.order_desk.approve("s1", key.key_id, signature)

    fly(kit, scenario)


def test_a_sequence_of_which_nothing_is_heard_expires(kit: Any) -> None:
    async def scenario(world: Any) -> None:
        await world.ground.sequence_desk.submit("s1", "sat-1", sequence(DRAIN), lifetime_seconds=100)
        await world.clock.sleep(900)
        record = await world.ground.sequence_desk.sequence("s1")
        assert (record.stage, record.reason) == ("EXPIRED", "its time ended and nothing was heard of it")

    fly(kit, scenario)


def test_the_client_for_asyncio_has_the_same_words(kit: Any) -> None:
    async def scenario(world: Any) -> None:
        transport = httpx.ASGITransport(make_app(world.ground))
        async with Skyrack("http://localhost", transport=transport) as sky:
            assert (await sky.hold("sat-1", "why")).reason == "why"
            record = await sky.run_sequence("sat-1", "node-power-cycle", sequence_id="s1")
            assert record.stage == "HELD"
            assert [queue.is_held for queue in await sky.queues()] == [True, False]
            command = await sky.send("sat-1", "SetDrain", draining=True)
            assert (await sky.withdraw(command, "not needed")).stage == "WITHDRAWN"
            assert not (await sky.release("sat-1")).is_held
            await world.clock.sleep(30)
            assert (await sky.sequence("s1")).stage == "SENT"
            assert (await sky.sequences())[0].sequence_id == "s1"
            assert (await sky.abort("s1", "enough")).command is not None
            for number in range(1, 5):
                await report(world, "s1", number, backhaul_pb2.TELECOMMAND_STAGE_FAILED)
            await report(world, "s1", 0, backhaul_pb2.TELECOMMAND_STAGE_FAILED)
            assert [step.number async for step in sky.watch_sequence("s1")] == [1, 2, 3, 4]

    fly(kit, scenario)


def test_over_http_a_file_is_run_and_what_is_wrong_is_told_with_its_step(kit: Any) -> None:
    async def scenario(world: Any) -> None:
        transport = httpx.ASGITransport(make_app(world.ground))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            loaded = sequencefile.load(files.find("sequences", "node-power-cycle"))
            body = loaded.submission("sat-1")
            answer = await client.put("/v1/sequences/s1", json=body)
            assert answer.status_code == 200, answer.text
            assert [step["command"] for step in answer.json()["steps"]][1] == "power.SetLoadSwitch"
            body["steps"][2]["arguments"]["closed"] = "perhaps"
            answer = await client.put("/v1/sequences/s2", json=body)
            assert answer.status_code == 422
            assert answer.json()["detail"] == 'step 3: closed is "perhaps": must be true or false'
            assert (await client.post("/v1/queues/sat-1/hold", json={"reason": "why"})).json()["is_held"]
            assert (await client.get("/v1/queues")).json()[0]["reason"] == "why"
            assert (await client.post("/v1/queues/sat-1/hold", json={})).status_code == 409
            assert (await client.get("/v1/sequences/s9")).status_code == 404
            assert (await client.post("/v1/telecommands/c9/withdraw", json={})).status_code == 404
            assert not (await client.post("/v1/queues/sat-1/release")).json()["is_held"]
            assert (await client.post("/v1/sequences/s1/abort", json={})).json()["command"]["method"]

    fly(kit, scenario)
