from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from skyrack import virtual
from skyrack.virtual import DeadlockError, RefusedInVirtualTimeError, VirtualLoop

DAY_SECONDS = 86400.0


def test_a_year_passes_at_once() -> None:
    async def main() -> float:
        await asyncio.sleep(365 * DAY_SECONDS)
        return asyncio.get_running_loop().time()

    begin = time.monotonic()
    assert virtual.run(main, start=5.0) == 365 * DAY_SECONDS + 5.0
    assert time.monotonic() - begin < 5.0


def test_timers_run_exactly_when_due_and_in_order() -> None:
    async def main() -> list[tuple[float, int]]:
        loop = asyncio.get_running_loop()
        seen: list[tuple[float, int]] = []
        for index, when in enumerate([0.3, 0.1, 0.1 + 1e-12, 7e8 + 0.1, 0.2]):
            loop.call_at(when, lambda number: seen.append((loop.time(), number)), index)
        await asyncio.sleep(8e8)
        return seen

    assert virtual.run(main) == [(0.1, 1), (0.1 + 1e-12, 2), (0.2, 4), (0.3, 0), (7e8 + 0.1, 3)]


def test_time_stands_still_while_something_is_ready() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        loop.call_later(1.0, lambda: None)
        for _ in range(1000):
            await asyncio.sleep(0)
        return loop.time()

    assert virtual.run(main) == 0.0


def test_a_deadlock_is_raised_and_names_who_waits() -> None:
    async def wait_for_the_ground() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        await asyncio.gather(asyncio.create_task(wait_for_the_ground(), name="uplink"))

    with pytest.raises(DeadlockError, match=r"uplink .*wait_for_the_ground"):
        virtual.run(main)


def test_executor_calls_run_here_and_now() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(None, threading.get_ident)
        assert future.done()
        assert await future == threading.get_ident()
        assert await asyncio.to_thread(lambda: 7) == 7
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 / 0)

    virtual.run(main)


@pytest.mark.parametrize(
    "start",
    [
        lambda loop: asyncio.create_subprocess_exec("true"),
        lambda loop: asyncio.create_subprocess_shell("true"),
        lambda loop: loop.getaddrinfo("localhost", 80),
        lambda loop: asyncio.open_connection("localhost", 80),
        lambda loop: asyncio.start_server(lambda *_: None, "127.0.0.1", 0),
        lambda loop: loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0)),
    ],
)
def test_what_belongs_to_the_host_is_refused(start: Callable[[Any], Awaitable[Any]]) -> None:
    async def main() -> None:
        with pytest.raises(RefusedInVirtualTimeError, match="cannot run in virtual time"):
            await start(asyncio.get_running_loop())

    virtual.run(main)


def test_network_sockets_cannot_be_watched() -> None:
    async def main() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as network, pytest.raises(RefusedInVirtualTimeError):
            asyncio.get_running_loop().add_reader(network.fileno(), lambda: None)

    virtual.run(main)


def test_ready_descriptors_are_served_in_the_order_of_registration() -> None:
    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        pipes = [os.pipe() for _ in range(20)]
        order = [13, 2, 7, 19, 0, 5, 11, 3, 17, 1]
        seen: list[int] = []

        def on_ready(index: int) -> None:
            os.read(pipes[index][0], 1)
            seen.append(index)

        for index in order:
            loop.add_reader(pipes[index][0], on_ready, index)
        for index in sorted(order):
            os.write(pipes[index][1], b"x")
        await asyncio.sleep(1.0)
        for index in order:
            loop.remove_reader(pipes[index][0])
        for read, write in pipes:
            os.close(read)
            os.close(write)
        assert seen == order
        return seen

    virtual.run(main)


def test_a_descriptor_goes_before_the_next_timer() -> None:
    async def main() -> list[tuple[str, float]]:
        loop = asyncio.get_running_loop()
        read, write = os.pipe()
        seen: list[tuple[str, float]] = []

        def on_ready() -> None:
            os.read(read, 1)
            seen.append(("descriptor", loop.time()))

        loop.add_reader(read, on_ready)
        loop.call_later(1.0, lambda: seen.append(("timer", loop.time())))
        os.write(write, b"x")
        await asyncio.sleep(2.0)
        loop.remove_reader(read)
        os.close(read)
        os.close(write)
        return seen

    assert virtual.run(main) == [("descriptor", 0.0), ("timer", 1.0)]


def test_what_main_raises_comes_out_and_tasks_are_cancelled() -> None:
    ended: list[str] = []

    async def forever() -> None:
        try:
            await asyncio.sleep(1e9)
        finally:
            ended.append("cancelled")

    async def main() -> None:
        task = asyncio.create_task(forever())
        await asyncio.sleep(1.0)
        assert not task.done()
        raise KeyError("out")

    with pytest.raises(KeyError, match="out"):
        virtual.run(main)
    assert ended == ["cancelled"]


def test_the_loop_closes_twice() -> None:
    loop = VirtualLoop()
    loop.close()
    loop.close()


def test_two_processes_do_the_same_in_the_same_order() -> None:
    program = """
import asyncio, random
from skyrack import virtual
async def worker(name, rng, out):
    for _ in range(50):
        await asyncio.sleep(rng.random())
        out.append(f"{name} {asyncio.get_running_loop().time()!r}")
async def main():
    rng, out = random.Random(3), []
    async with asyncio.TaskGroup() as group:
        for name in "abcdef":
            group.create_task(worker(name, rng, out))
    print("\\n".join(out))
virtual.run(main)
"""
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("0", "1", "random")
    }
    assert len(outputs) == 1
    assert outputs.pop().count(b"\n") == 300
