from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from hil.gate import Gate, LinkModel
from skyrack.backhaul import LinkState

FAST = LinkState(up=True, rate_bits_per_second=1e9)
DOWN = LinkState(up=False)


def test_bytes_take_their_time_at_the_rate_and_then_the_delay() -> None:
    model = LinkModel()
    slow = LinkState(up=True, rate_bits_per_second=8000.0, delay_seconds=0.5)
    assert model.arrival(10.0, 1000, slow) == pytest.approx(11.5)
    # The second waits for the first to leave, not to arrive.
    assert model.arrival(10.0, 500, slow) == pytest.approx(12.0)
    assert model.arrival(20.0, 1000, slow) == pytest.approx(21.5)


def test_mission_time_that_runs_faster_carries_more_in_a_second() -> None:
    slow = LinkState(up=True, rate_bits_per_second=8000.0, delay_seconds=0.6)
    assert LinkModel().arrival(0.0, 60_000, slow, rate=60.0) == pytest.approx(1.0 + 0.01)


class Sky:
    def __init__(self) -> None:
        self.state = FAST

    def __call__(self) -> LinkState:
        return self.state


@asynccontextmanager
async def echo_behind(sky: Sky, patience: float = 30.0) -> AsyncIterator[Gate]:
    """A gate before a broker that sends everything back."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    broker = await asyncio.start_server(echo, "127.0.0.1", 0)
    gate = Gate(sky, broker.sockets[0].getsockname()[:2], patience_seconds=patience)
    await gate.open()
    try:
        yield gate
    finally:
        await gate.close()
        broker.close()


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await test()

    asyncio.run(bounded())


def test_bytes_pass_both_ways_in_order() -> None:
    async def test() -> None:
        async with echo_behind(Sky()) as gate:
            reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
            sent = bytes(range(256)) * 2000
            writer.write(sent)
            writer.write_eof()
            assert await reader.read(-1) == sent
            assert (gate.counters.bytes_up, gate.counters.bytes_down) == (len(sent), len(sent))
            writer.close()

    run(test)


def test_a_slow_link_is_slow() -> None:
    async def test() -> None:
        sky = Sky()
        sky.state = LinkState(up=True, rate_bits_per_second=1e6, delay_seconds=0.1)
        async with echo_behind(sky) as gate:
            loop = asyncio.get_running_loop()
            reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
            began = loop.time()
            writer.write(bytes(25_000))
            await reader.readexactly(25_000)
            # There and back: 0.2 s of bits each way, in pieces that overlap, and twice the delay.
            assert loop.time() - began >= 0.4
            writer.close()

    run(test)


def test_a_short_outage_holds_bytes_and_keeps_the_connection() -> None:
    async def test() -> None:
        sky = Sky()
        async with echo_behind(sky) as gate:
            reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
            writer.write(b"before")
            assert await reader.readexactly(6) == b"before"
            sky.state = DOWN
            gate.update()
            writer.write(b"during")
            answer = asyncio.create_task(reader.readexactly(6))
            done, _ = await asyncio.wait([answer], timeout=0.2)
            assert not done
            assert gate.counters.bytes_down == 6
            sky.state = FAST
            gate.update()
            assert await answer == b"during"
            writer.close()

    run(test)


def test_a_long_outage_aborts_connections_and_refuses_new_ones() -> None:
    async def test() -> None:
        sky = Sky()
        async with echo_behind(sky, patience=0.0) as gate:
            reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
            writer.write(b"x")
            await reader.readexactly(1)
            sky.state = DOWN
            gate.update()
            with pytest.raises(ConnectionResetError):
                await reader.readexactly(1)
            assert gate.counters.aborted == 1
            late, late_writer = await asyncio.open_connection("127.0.0.1", gate.port)
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                await late.readexactly(1)
            assert gate.counters.refused == 1
            sky.state = FAST
            gate.update()
            again, again_writer = await asyncio.open_connection("127.0.0.1", gate.port)
            again_writer.write(b"y")
            assert await again.readexactly(1) == b"y"
            for end in (writer, late_writer, again_writer):
                end.close()

    run(test)


def test_without_a_broker_connections_are_refused() -> None:
    async def test() -> None:
        closed = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        address = closed.sockets[0].getsockname()[:2]
        closed.close()
        await closed.wait_closed()
        gate = Gate(Sky(), address)
        await gate.open()
        reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        assert gate.counters.refused == 1
        writer.close()
        await gate.close()

    run(test)


def test_flipped_bits_are_flipped_once() -> None:
    async def test() -> None:
        async with echo_behind(Sky()) as gate:
            reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
            gate.flip_bits(1)
            for expected in (b"ab\x73d", b"abcd"):
                writer.write(b"abcd")
                assert await reader.readexactly(4) == expected
            writer.close()

    run(test)
