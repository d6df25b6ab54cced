"""Requests over the bus."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import zmq

from flight.bus import Bus, Endpoints, Header, RequestRefused, RequestTimeout
from flight.bus.contract import rpc_named
from skyrack import virtual
from skyrack.clock import Anchor, MissionClock
from skyrack.v1.common_pb2 import CommandResult, PingRequest, PingResponse
from skyrack.v1.power_pb2 import PowerStatus, SetLoadSwitchRequest

EPOCH = 1_781_000_000.0
SET = rpc_named("power", "SetLoadSwitch")
PING = rpc_named("power", "Ping")


class Pair:
    """compute, which asks, and power, which answers."""

    def __init__(self, context: zmq.Context[Any]) -> None:
        self.clock = MissionClock.starting_at(EPOCH)
        self.endpoints = Endpoints.inproc("test")
        self.context = context
        self.compute = self.bus("compute")
        self.power = self.bus("power")

    def bus(self, name: str, incarnation: int = 1) -> Bus:
        return Bus(name, self.endpoints, self.clock, incarnation, self.context)


def fly(test: Callable[[Pair], Awaitable[None]]) -> None:
    async def main() -> None:
        with zmq.Context(0) as context:
            pair = Pair(context)
            await pair.compute.open()
            try:
                await test(pair)
            finally:
                await pair.compute.close()
                await pair.power.close()

    virtual.run(main)


def switch(load: str = "node-1") -> SetLoadSwitchRequest:
    return SetLoadSwitchRequest(load=load, closed=False)


def test_sync_and_async_handlers_answer() -> None:
    async def test(pair: Pair) -> None:
        async def slowly(request: SetLoadSwitchRequest, header: Header) -> CommandResult:
            await pair.clock.sleep(2.0)
            return CommandResult(ok=True, reason=f"{request.load} for {header.source}")

        pair.power.serve(SET, slowly)
        pair.power.serve(PING, lambda request, header: PingResponse(nonce=request.nonce))
        await pair.power.open()
        assert await pair.compute.request("power", switch(), 5.0) == CommandResult(ok=True, reason="node-1 for compute")
        assert await pair.compute.request("power", PingRequest(nonce=7), 5.0) == PingResponse(nonce=7)
        assert pair.clock.now() == pytest.approx(EPOCH + 2.0)

    fly(test)


def test_answers_find_their_requests() -> None:
    async def test(pair: Pair) -> None:
        async def backwards(request: PingRequest, header: Header) -> PingResponse:
            await pair.clock.sleep(10.0 - request.nonce / 100)
            return PingResponse(nonce=request.nonce)

        pair.power.serve(PING, backwards)
        await pair.power.open()
        answers = await asyncio.gather(*(pair.compute.request("power", PingRequest(nonce=n), 20.0) for n in range(300)))
        assert [answer.nonce for answer in answers] == list(range(300))  # type: ignore[attr-defined]

    fly(test)


def test_a_dead_service_is_a_timeout_in_mission_time_and_nothing_hangs() -> None:
    async def test(pair: Pair) -> None:
        with pytest.raises(RequestTimeout, match=r"power did not answer Ping within 3 s.*not running"):
            await pair.compute.request("power", PingRequest(), 3.0)
        assert pair.clock.now() == pytest.approx(EPOCH + 3.0)
        assert pair.compute.counters.requests_timed_out == 1

    fly(test)


def test_a_hung_handler_is_a_timeout() -> None:
    async def test(pair: Pair) -> None:
        async def hang(request: PingRequest, header: Header) -> PingResponse:
            await asyncio.Event().wait()
            raise AssertionError

        pair.power.serve(PING, hang)
        await pair.power.open()
        with pytest.raises(RequestTimeout, match="it was reached"):
            await pair.compute.request("power", PingRequest(), 3.0)

    fly(test)


def test_an_answer_that_came_while_the_process_did_not_run_counts() -> None:
    async def main() -> None:
        with zmq.Context(0) as context:
            pair = Pair(context)

            def stall(request: PingRequest, _header: Header) -> PingResponse:
                time.sleep(0.2)
                return PingResponse(nonce=request.nonce)

            pair.power.serve(PING, stall)
            await pair.compute.open()
            await pair.power.open()
            try:
                assert await pair.compute.request("power", PingRequest(nonce=7), 0.1) == PingResponse(nonce=7)
            finally:
                await pair.compute.close()
                await pair.power.close()

    asyncio.run(main())


def test_a_request_waits_for_a_service_that_is_about_to_start() -> None:
    async def test(pair: Pair) -> None:
        pair.power.serve(PING, lambda request, header: PingResponse(nonce=request.nonce))
        asking = asyncio.ensure_future(pair.compute.request("power", PingRequest(nonce=3), 5.0))
        await pair.clock.sleep(2.0)
        await pair.power.open()
        assert await asking == PingResponse(nonce=3)
        assert pair.clock.now() < EPOCH + 2.1

    fly(test)


def test_a_request_to_a_service_that_starts_is_answered_when_it_has_and_not_refused() -> None:
    async def test(pair: Pair) -> None:
        await pair.power.open()
        pair.power.hold_unknown_requests(True)
        asked = asyncio.ensure_future(pair.compute.request("power", switch(), 60.0))
        given_up = asyncio.ensure_future(pair.compute.request("power", switch("node-2"), 5.0))
        await pair.clock.sleep(10.0)
        loads: list[str] = []

        def answer(request: SetLoadSwitchRequest, _header: Header) -> CommandResult:
            loads.append(request.load)
            return CommandResult(ok=True)

        pair.power.serve(SET, answer)
        pair.power.hold_unknown_requests(False)
        assert (await asked) == CommandResult(ok=True)
        with pytest.raises(RequestTimeout):
            await given_up
        assert loads == ["node-1"], "what was given up is not executed"
        with pytest.raises(RequestRefused, match="no command Ping"):
            await pair.compute.request("power", PingRequest(), 5.0)

    fly(test)


def test_a_request_that_was_given_up_is_never_executed() -> None:
    async def test(pair: Pair) -> None:
        done: list[str] = []

        def note(request: SetLoadSwitchRequest, _header: Header) -> CommandResult:
            done.append(request.load)
            return CommandResult(ok=True)

        pair.power.serve(SET, note)
        with pytest.raises(RequestTimeout):
            await pair.compute.request("power", switch("early"), 1.0)
        await pair.power.open()
        await pair.compute.request("power", switch("late"), 1.0)
        assert done == ["late"]

    fly(test)


def test_a_request_that_arrives_after_its_deadline_is_not_executed() -> None:
    async def test(pair: Pair) -> None:
        done: list[str] = []

        def note(request: SetLoadSwitchRequest, _header: Header) -> CommandResult:
            done.append(request.load)
            return CommandResult(ok=True)

        pair.power.serve(SET, note)
        await pair.power.open()
        with pytest.raises(RequestTimeout):
            await pair.compute.request("power", switch(), -1.0)
        await pair.clock.sleep(1.0)
        assert done == []
        assert pair.power.counters.requests_expired + pair.compute.counters.requests_timed_out >= 1

    fly(test)


def test_after_a_restart_requests_are_answered_again() -> None:
    async def test(pair: Pair) -> None:
        for incarnation in range(1, 5):
            pair.power = pair.bus("power", incarnation)
            answer = PingResponse(incarnation=incarnation)
            pair.power.serve(PING, lambda request, header, answer=answer: answer)  # type: ignore[misc]
            await pair.power.open()
            assert await pair.compute.request("power", PingRequest(), 1.0) == PingResponse(incarnation=incarnation)
            await pair.power.close()
            with pytest.raises(RequestTimeout):
                await pair.compute.request("power", PingRequest(), 1.0)

    fly(test)


def test_refusals_carry_the_reason() -> None:
    async def test(pair: Pair) -> None:
        errors: list[tuple[str, Exception]] = []
        pair.power.on_error = lambda where, error: errors.append((where, error))

        def handle(request: SetLoadSwitchRequest, header: Header) -> CommandResult:
            if request.load == "refuse":
                raise RequestRefused("the load does not exist; known are node-1")
            if request.load == "raise":
                raise KeyError(request.load)
            return PingResponse()  # type: ignore[return-value]

        pair.power.serve(SET, handle)
        await pair.power.open()
        with pytest.raises(RequestRefused, match="the load does not exist; known are node-1"):
            await pair.compute.request("power", switch("refuse"), 1.0)
        assert errors == []
        with pytest.raises(RequestRefused, match="power failed at SetLoadSwitch: KeyError"):
            await pair.compute.request("power", switch("raise"), 1.0)
        with pytest.raises(RequestRefused, match="PingResponse, not CommandResult"):
            await pair.compute.request("power", switch("wrong"), 1.0)
        assert [where for where, _ in errors] == ["SetLoadSwitch", "SetLoadSwitch"]
        assert pair.power.counters.handler_errors == 2
        with pytest.raises(RequestRefused, match=r"power has no command Ping; it has SetLoadSwitch"):
            await pair.compute.request("power", PingRequest(), 1.0)
        with pytest.raises(LookupError, match=r"thermal has no command that takes a skyrack.v1.SetLoadSwitchRequest"):
            await pair.compute.request("thermal", switch(), 1.0)

    fly(test)


@pytest.mark.parametrize("frames", [[b""], [b"x", b"y", b"z"], [b"x" * 16, b"Ping", b"\xff", b""], [b"x", b"y"] * 5])
def test_malformed_requests_are_counted_told_and_dropped(frames: list[bytes]) -> None:
    async def test(pair: Pair) -> None:
        told: list[str] = []
        pair.power.on_malformed = lambda source, reason: told.append(reason)
        pair.power.serve(PING, lambda request, header: PingResponse())
        await pair.power.open()
        with pair.context.socket(zmq.DEALER) as rogue:
            rogue.connect(pair.endpoints.req("power"))
            rogue.send_multipart(frames)
            await pair.clock.sleep(1.0)
        assert await pair.compute.request("power", PingRequest(), 1.0) == PingResponse()
        assert pair.power.counters.malformed == len(told) == 1

    fly(test)


def test_no_request_hangs_however_sends_and_arrivals_interleave(tmp_path: Path) -> None:
    """A send swallows the edge of the descriptor: without another look after it, most of these would hang."""

    async def main() -> None:
        clock = MissionClock(Anchor.utc())
        endpoints = Endpoints.ipc(tmp_path)
        compute, power = (Bus(name, endpoints, clock, 1) for name in ("compute", "power"))
        last = 0

        def on_status(message: PowerStatus, header: Header, key: str) -> None:
            nonlocal last
            last = header.sequence

        def answer(request: PingRequest, header: Header) -> PingResponse:
            power.publish(PowerStatus())
            return PingResponse(nonce=request.nonce)

        power.serve(PING, answer)
        compute.subscribe("power", PowerStatus, on_status)
        await compute.open()
        await power.open()

        async def ask(worker: int) -> None:
            for index in range(200):
                nonce = worker * 1000 + index
                assert await compute.request("power", PingRequest(nonce=nonce), 30.0) == PingResponse(nonce=nonce)

        await asyncio.gather(*(ask(worker) for worker in range(10)))
        async with asyncio.timeout(10):
            while last < 2000:  # noqa: ASYNC110 - nothing tells but the count
                await asyncio.sleep(0.01)
        assert compute.counters.missed == 0
        await compute.close()
        await power.close()

    asyncio.run(main())
