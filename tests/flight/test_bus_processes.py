"""The bus over ipc, between real processes."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flight.bus import Bus, BusError, EndpointError, Endpoints, Header, RequestTimeout
from skyrack.clock import Anchor, MissionClock
from skyrack.v1.common_pb2 import PingRequest, PingResponse
from skyrack.v1.power_pb2 import PowerStatus

PUBLISHER = """
import asyncio, sys
from flight.bus import Bus, Endpoints
from flight.bus.contract import rpc_named
from skyrack.clock import Anchor, MissionClock
from skyrack.v1.common_pb2 import PingResponse
from skyrack.v1.power_pb2 import PowerStatus

async def main(directory, incarnation):
    bus = Bus("power", Endpoints.ipc(directory), MissionClock(Anchor.utc()), incarnation)
    bus.serve(rpc_named("power", "Ping"), lambda request, header: PingResponse(incarnation=incarnation))
    await bus.open()
    bus.publish(PowerStatus(state_of_charge_ratio=incarnation / 8))
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


@contextlib.contextmanager
def publisher(directory: Path, incarnation: int) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-c", PUBLISHER, str(directory), str(incarnation)], stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def subscriber(directory: Path, name: str = "compute") -> tuple[Bus, asyncio.Queue[tuple[int, float]]]:
    bus = Bus(name, Endpoints.ipc(directory), MissionClock(Anchor.utc()), 1)
    heard: asyncio.Queue[tuple[int, float]] = asyncio.Queue()

    def on_status(message: PowerStatus, header: Header, key: str) -> None:
        heard.put_nowait((header.incarnation, message.state_of_charge_ratio))

    bus.subscribe("power", PowerStatus, on_status)
    return bus, heard


async def soon(queue: asyncio.Queue[tuple[int, float]]) -> tuple[int, float]:
    async with asyncio.timeout(20):
        return await queue.get()


def test_a_killed_publisher_comes_back_with_its_state_and_its_answers(tmp_path: Path) -> None:
    async def main() -> None:
        bus, heard = subscriber(tmp_path)
        await bus.open()
        for incarnation in (1, 2, 3):
            with publisher(tmp_path, incarnation) as process:
                assert await soon(heard) == (incarnation, incarnation / 8)
                assert await bus.request("power", PingRequest(), 20.0) == PingResponse(incarnation=incarnation)
                process.send_signal(signal.SIGKILL)
                process.wait()
                with pytest.raises(RequestTimeout):
                    await bus.request("power", PingRequest(), 0.2)
            assert (tmp_path / "power.pub").is_socket(), "a stale socket is left, and must not hinder the restart"
        assert bus.counters.missed == bus.counters.malformed == 0
        assert heard.empty()
        await bus.close()

    asyncio.run(main())


def test_a_newcomer_and_only_the_newcomer_gets_the_last_value(tmp_path: Path) -> None:
    async def main() -> None:
        with publisher(tmp_path, 1):
            first, first_heard = subscriber(tmp_path, "compute")
            await first.open()
            assert await soon(first_heard) == (1, 0.125)
            second, second_heard = subscriber(tmp_path, "thermal")
            await second.open()
            assert await soon(second_heard) == (1, 0.125)
            await first.request("power", PingRequest(), 20.0)
            assert first_heard.empty()
            assert first.counters.duplicates == 0
            await first.close()
            await second.close()

    asyncio.run(main())


def test_a_stopped_publisher_is_a_timeout_not_a_hang(tmp_path: Path) -> None:
    async def main() -> None:
        with publisher(tmp_path, 1) as process:
            bus, heard = subscriber(tmp_path)
            await bus.open()
            await soon(heard)
            process.send_signal(signal.SIGSTOP)
            with pytest.raises(RequestTimeout):
                await bus.request("power", PingRequest(), 0.3)
            process.send_signal(signal.SIGCONT)
            assert await bus.request("power", PingRequest(), 20.0) == PingResponse(incarnation=1)
            await bus.close()

    asyncio.run(main())


def test_socket_paths_that_are_too_long_are_said_in_a_sentence() -> None:
    directory = Path("/tmp") / ("x" * 120)
    with pytest.raises(EndpointError, match="more than the 107 that the kernel takes; choose a run directory"):
        Endpoints.ipc(directory).pub("power")
    room = 107 - len("/tmp//navigation.pub")
    assert Endpoints.ipc(Path("/tmp") / ("x" * room)).pub("navigation").endswith(".pub")
    with pytest.raises(EndpointError):
        Endpoints.ipc(Path("/tmp") / ("x" * (room + 1))).pub("navigation")
    with pytest.raises(EndpointError, match="not a name for a service"):
        Endpoints.ipc("/tmp").pub("a/b")


def test_a_directory_that_is_not_there_is_said_in_a_sentence(tmp_path: Path) -> None:
    async def main() -> None:
        bus, _ = subscriber(tmp_path / "absent")
        with pytest.raises(BusError, match=r"compute cannot bind ipc:.*its directory must exist"):
            await bus.open()
        await bus.close()

    asyncio.run(main())
