"""Sequences of commands on board: the gateway between a hub and a bus, in virtual time, killed and started again."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from flight.gateway.sequencer import MAXIMUM_RUNNING, Sequencer
from flight.gateway.service import Gateway
from flight.service import command
from skyrack import orders
from skyrack.signing import SigningKey
from skyrack.v1 import backhaul_pb2
from skyrack.v1.backhaul_pb2 import CommandSequence, Payload, SequenceStep, Telecommand
from skyrack.v1.common_pb2 import CommandResult, ParameterValue, SetParametersRequest
from skyrack.v1.compute_pb2 import SetDrainRequest
from skyrack.v1.gateway_pb2 import AbortSequenceRequest
from skyrack.v1.options_pb2 import STREAM_STATUS


def _bench() -> Any:
    """The satellite and the ground of the gateway's own tests."""
    spec = importlib.util.spec_from_file_location("gateway_bench", Path(__file__).with_name("test_gateway_service.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


bench = _bench()
Compute, START = bench.Compute, bench.START


def drain(on: bool = True) -> Telecommand:
    return Telecommand(service="compute", method="SetDrain", request=SetDrainRequest(draining=on).SerializeToString())


def step(telecommand: Telecommand | None = None, *, after: float = 0.0, **fields: Any) -> SequenceStep:
    if "at" in fields:
        return SequenceStep(telecommand=telecommand or drain(), mission_time_seconds=fields.pop("at"), **fields)
    return SequenceStep(telecommand=telecommand or drain(), after_seconds=after, **fields)


async def send(setup: Any, sequence_id: str, *steps: SequenceStep, not_after: float = 0.0, **fields: Any) -> None:
    order = orders.sequence_order(
        sequence_id,
        bench.SATELLITE,
        CommandSequence(steps=steps, **fields),
        signed_seconds=setup.clock.now(),
        not_after_seconds=not_after or setup.clock.now() + 86_400,
        submitter="alice",
    )
    signed = orders.sign(order, SigningKey.from_seed(1, "ground"))
    await setup.ground.send(bench.SATELLITE, STREAM_STATUS, Payload(order=signed).SerializeToString())


def name(stage: int) -> str:
    return backhaul_pb2.TelecommandStage.Name(stage).removeprefix("TELECOMMAND_STAGE_")


def whole(setup: Any, sequence_id: str) -> list[tuple[str, str]]:
    return [
        (name(report.stage), report.reason) for report in setup.of("order_report") if report.order_id == sequence_id
    ]


def steps_of(setup: Any, sequence_id: str) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for report in setup.of("telecommand_report"):
        owner, _, number = report.command_id.partition("/")
        if owner == sequence_id and number:
            found.setdefault(int(number), []).append(report)
    return found


class Asked(list[Any]):
    """What compute was asked, with the time."""

    def __init__(self, setup: Any) -> None:
        self.setup = setup
        self.times: list[float] = []

    def append(self, request: Any) -> None:
        super().append(request)
        self.times.append(self.setup.clock.now())


def fly(scenario: Callable[[Any], Awaitable[None]], state_dir: Path | None = None) -> None:
    async def with_times(setup: Any) -> None:
        Compute.asked = Asked(setup)
        await scenario(setup)

    bench.fly(with_times, state_dir)


def test_steps_run_at_their_times_and_each_is_reported() -> None:
    async def scenario(setup: Any) -> None:
        async with setup.flying(Compute, Gateway):
            await asyncio.sleep(60)
            await send(setup, "s1", step(after=90), step(drain(False), at=START + 300), step(after=60))
            await asyncio.sleep(600)
            assert [request.draining for request in Compute.asked] == [True, False, True]
            first, second, third = Compute.asked.times
            assert 150 <= first - START < 152
            assert START + 300 <= second < START + 302
            assert second + 60 <= third < second + 62
            assert whole(setup, "s1") == [("ACCEPTED", ""), ("STARTED", ""), ("COMPLETED", "")]
            told = steps_of(setup, "s1")
            assert {number: [name(report.stage) for report in reports] for number, reports in told.items()} == {
                number: ["STARTED", "COMPLETED"] for number in (1, 2, 3)
            }

    fly(scenario)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (step(Telecommand(service="compute", method="Explode")), "compute has no command 'Explode'"),
        (step(Telecommand(service="thermal", method="SetPump")), "there is no service 'thermal' here"),
        (step(Telecommand(service="compute", method="SetDrain")), "draining is missing"),
        (step(at=START - 1), "lies before the earliest end of step 9"),
    ],
)
def test_one_bad_step_of_ten_and_nothing_runs(bad: SequenceStep, words: str) -> None:
    async def scenario(setup: Any) -> None:
        async with setup.flying(Compute, Gateway):
            await send(setup, "s1", *[step()] * 9, bad)
            await asyncio.sleep(300)
            assert Compute.asked == []
            *_, (stage, reason) = whole(setup, "s1")
            assert stage == "FAILED"
            assert reason.startswith("step 10: ")
            assert words in reason
            told = steps_of(setup, "s1")
            assert sorted(told) == list(range(1, 11))
            assert all(name(reports[-1].stage) == "FAILED" for reports in told.values())
            assert told[1][-1].reason.startswith("not run: step 10: ")

    fly(scenario)


def test_a_sequence_whose_time_has_passed_is_refused_whole() -> None:
    async def scenario(setup: Any) -> None:
        async with setup.flying(Compute, Gateway):
            await send(setup, "past", step(at=START - 10), step(after=5))
            await send(setup, "late", step(), not_after=START + 1)
            await asyncio.sleep(300)
            stage, reason = whole(setup, "past")[-1]
            assert stage == "FAILED"
            assert "lies before its submission" in reason
            assert [stage for stage, _ in whole(setup, "late")] == ["EXPIRED"]
            assert Compute.asked == []

    fly(scenario)


@pytest.mark.parametrize(
    ("fields", "asked", "end"),
    [
        ({}, 1, ("FAILED", "step 1 failed")),
        ({"continue_on_failure": True}, 3, ("COMPLETED", "3 of 3 steps failed")),
    ],
)
def test_a_failed_step_ends_it_or_not(fields: dict[str, Any], asked: int, end: tuple[str, str]) -> None:
    async def scenario(setup: Any) -> None:
        class Refusing(Compute):  # type: ignore[misc, valid-type]
            name = "compute"

            @command
            async def set_drain(self, request: SetDrainRequest) -> CommandResult:
                self.asked.append(request)
                return CommandResult(ok=False, reason="no")

        async with setup.flying(Refusing, Gateway):
            await send(setup, "s1", step(), step(), step(), **fields)
            await asyncio.sleep(300)
            assert len(Compute.asked) == asked
            assert whole(setup, "s1")[-1] == end
            told = steps_of(setup, "s1")
            assert told[1][-1].reason == "no"
            assert told[3][-1].reason == ("no" if asked == 3 else "not run: step 1 failed")

    fly(scenario)


def test_a_sequence_is_aborted_by_a_command_and_that_by_a_second_sequence_too() -> None:
    async def scenario(setup: Any) -> None:
        abort = AbortSequenceRequest(sequence_id="s1", reason="the pass was cancelled")
        stop = Telecommand(service="gateway", method="AbortSequence", request=abort.SerializeToString())
        async with setup.flying(Compute, Gateway):
            await send(setup, "s1", step(), step(after=3600), step(after=1))
            await send(setup, "s2", step(stop, after=120), step(stop, after=10))
            await asyncio.sleep(400)
            assert len(Compute.asked) == 1
            assert whole(setup, "s1")[-1] == ("FAILED", "aborted: the pass was cancelled")
            first, second = steps_of(setup, "s2").values()
            assert first[-1].reason == "no further step of s1 will run"
            assert second[-1].reason == "the sequence s1 is over"
            assert steps_of(setup, "s1")[2][-1].reason == "not run: aborted: the pass was cancelled"

    fly(scenario)


def test_several_run_at_once_up_to_a_limit() -> None:
    async def scenario(setup: Any) -> None:
        async with setup.flying(Compute, Gateway):
            for number in range(MAXIMUM_RUNNING + 1):
                await send(setup, f"s{number}", step(after=300))
            await asyncio.sleep(600)
            assert len(Compute.asked) == MAXIMUM_RUNNING
            ends = [whole(setup, f"s{number}")[-1] for number in range(MAXIMUM_RUNNING + 1)]
            assert [stage for stage, _ in ends].count("COMPLETED") == MAXIMUM_RUNNING
            (refused,) = [reason for stage, reason in ends if stage == "FAILED"]
            assert refused == "16 sequences run here, the most at once: wait until one is over, or abort one"

    fly(scenario)


def test_a_step_that_an_outage_made_late_is_failed_with_its_reason(tmp_path: Path) -> None:
    async def scenario(setup: Any) -> None:
        lateness = SetParametersRequest(values=[ParameterValue(name="sequence_lateness_seconds", value=30)])
        set_lateness = Telecommand(service="gateway", method="SetParameters", request=lateness.SerializeToString())
        async with setup.flying(Compute, Gateway):
            await send(
                setup,
                "s1",
                step(set_lateness),
                step(after=100, continue_on_failure=True),
                step(after=100),
                step(at=START + 900),
            )
            await asyncio.sleep(60)
        await asyncio.sleep(200)
        async with setup.flying(Compute, Gateway):
            await asyncio.sleep(900)
        told = steps_of(setup, "s1")
        assert told[2][-1].reason.startswith("not run: it was due ")
        assert [name(told[number][-1].stage) for number in (1, 2, 3, 4)] == [
            "COMPLETED",
            "FAILED",
            "COMPLETED",
            "COMPLETED",
        ]
        assert whole(setup, "s1")[-1] == ("COMPLETED", "1 of 4 steps failed")
        assert len(Compute.asked) == 2

    fly(scenario, tmp_path)


@pytest.mark.parametrize("is_written", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("write", range(8))
def test_a_gateway_that_dies_at_any_write_runs_no_step_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: int, is_written: bool
) -> None:
    """A sequence of three steps writes eight times: checked, begun and ended thrice, over."""

    async def scenario(setup: Any) -> None:
        writes = 0
        original = Sequencer._write

        async def dying(self: Sequencer, transaction: Any) -> None:
            nonlocal writes
            writes += 1
            if writes - 1 == write and not is_written:
                await asyncio.Event().wait()
            await original(self, transaction)
            if writes - 1 == write:
                await asyncio.Event().wait()

        async with setup.flying(Compute):
            with monkeypatch.context() as patched:
                patched.setattr(Sequencer, "_write", dying)
                async with setup.flying(Gateway):
                    await asyncio.sleep(60)
                    await send(
                        setup,
                        "s1",
                        *[step(drain(number % 2 == 0), after=5) for number in range(3)],
                        continue_on_failure=True,
                    )
                    await asyncio.sleep(40)
            assert writes == write + 1
            async with setup.flying(Gateway):
                await asyncio.sleep(400)
        asked = [request.draining for request in Compute.asked]
        assert len(asked) <= 3
        assert asked in ([True, False, True], [False, True], [True, True], [True, False])
        stage, reason = whole(setup, "s1")[-1]
        assert stage == "COMPLETED"
        told = {number: reports[-1] for number, reports in steps_of(setup, "s1").items()}
        assert sorted(told) == [1, 2, 3]
        unknown = [report for report in told.values() if "not known" in report.reason]
        begun_unfinished = (write in (1, 3, 5) and is_written) or (write in (2, 4, 6) and not is_written)
        assert len(unknown) == int(begun_unfinished)
        assert reason == ("1 of 3 steps failed" if begun_unfinished else "")

    fly(scenario, tmp_path)
