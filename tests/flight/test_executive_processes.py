"""The executive over real processes: killed, hung and broken services, its own death, a clean end."""

# ruff: noqa: ASYNC240 - files of a test are small, and nothing else runs in its loop
from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import wraps
from pathlib import Path
from typing import Any

from flight.board import Board, write_board
from flight.bus import Bus, Endpoints
from flight.executive.run import REBOOT_EXIT_STATUS
from hil.supervisor import Program, Supervisor
from skyrack.clock import Anchor, MissionClock, write_anchor
from skyrack.v1 import common_pb2, executive_pb2
from skyrack.v1.executive_pb2 import MODE_NOMINAL, MODE_SAFE, SERVICE_STATE_RUNNING

PROGRAM = Path(__file__).with_name("executive_of_fakes.py")
QUICK = {"ping_period_seconds": 0.1, "ping_deadline_seconds": 0.5, "start_deadline_seconds": 20.0}


def in_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @wraps(test)
    def run(*arguments: Any, **fixtures: Any) -> None:
        asyncio.run(test(*arguments, **fixtures))

    return run


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def children(pid: int) -> dict[str, int]:
    """Descendants of a process by name; the zygote's children are the services."""
    found = {}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        found[Path(f"/proc/{child}/comm").read_text().strip()] = int(child)
        found |= children(int(child))
    return found


class Satellite:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.status = executive_pb2.SatelliteStatus()
        self.events: list[common_pb2.Event] = []
        self.environment: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM), str(self.directory / "board.toml")],
            env={**os.environ, **self.environment},
            start_new_session=True,
        )

    async def until(self, condition: Callable[[], Any], seconds: float = 30) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not condition():  # noqa: ASYNC110 - what it waits for is in other processes
                    await asyncio.sleep(0.02)
        except TimeoutError:
            logs = "\n".join(path.read_text() for path in (self.directory / "log").iterdir())
            raise AssertionError(f"{self.status}\n{logs}") from None

    def service(self, name: str) -> executive_pb2.ManagedService:
        found = [service for service in self.status.services if service.service == name]
        return found[0] if found else executive_pb2.ManagedService()

    def event(self, name: str) -> common_pb2.Event | None:
        return next((event for event in self.events if event.name == name), None)


@asynccontextmanager
async def satellite(directory: Path, *, begin: bool = True, **board: Any) -> AsyncIterator[tuple[Satellite, Bus]]:
    # A socket's path is limited to 107 bytes, and pytest's directories are deep.
    run_dir = Path(f"/tmp/skyrack-test-{os.getpid()}-{directory.name[-12:]}")
    (directory / "state" / "parameters").mkdir(parents=True, exist_ok=True)
    (directory / "state" / "parameters" / "executive.json").write_text(json.dumps(QUICK))
    run_dir.mkdir(exist_ok=True)
    write_anchor(directory / "clock.json", Anchor.here(1e9))
    settings = {"services": ("power", "thermal"), "constellation_file": "demo", "satellite": "sat-1", **board}
    write_board(
        directory / "board.toml",
        Board(run_dir=str(run_dir), state_dir="state", log_dir="log", clock_file="clock.json", **settings),
    )
    flown = Satellite(directory)
    bus = Bus("observer", Endpoints.ipc(run_dir), MissionClock.from_file(directory / "clock.json"), 1)

    def keep(message: Any, _header: object, _key: str) -> None:
        flown.status = message

    bus.subscribe("executive", executive_pb2.SatelliteStatus, keep)
    bus.subscribe("executive", common_pb2.Event, lambda event, _header, _key: flown.events.append(event))
    await bus.open()
    try:
        if begin:
            flown.start()
            await flown.until(lambda: flown.status.services)
        yield flown, bus
    finally:
        await bus.close()
        if flown.process is not None:
            flown.process.kill()
            flown.process.wait()
        for path in run_dir.iterdir():
            path.unlink()
        run_dir.rmdir()


@in_a_loop
async def test_a_killed_service_comes_back(tmp_path: Path) -> None:
    async with satellite(tmp_path) as (flown, _):
        await flown.until(lambda: flown.status.mode == MODE_NOMINAL)
        first = children(flown.pid)["power"]
        os.kill(first, signal.SIGKILL)
        await flown.until(lambda: flown.event("service_ended"))
        event = flown.event("service_ended")
        assert event is not None
        assert "power ended (killed by SIGKILL); starts again in 0.2 s" in event.text
        await flown.until(
            lambda: flown.service("power").restarts_total == 1 and flown.service("power").state == SERVICE_STATE_RUNNING
        )
        assert children(flown.pid)["power"] != first
        assert flown.status.mode == MODE_NOMINAL


@in_a_loop
async def test_a_hung_service_is_noticed_and_restarted(tmp_path: Path) -> None:
    async with satellite(tmp_path) as (flown, bus):
        await flown.until(lambda: flown.status.mode == MODE_NOMINAL)
        os.kill(children(flown.pid)["thermal"], signal.SIGSTOP)
        await flown.until(lambda: flown.event("service_hung"))
        await flown.until(
            lambda: (
                flown.service("thermal").restarts_total == 1 and flown.service("thermal").state == SERVICE_STATE_RUNNING
            )
        )
        assert await bus.request("thermal", common_pb2.PingRequest(), 5)


@in_a_loop
async def test_parameters_outlive_the_service(tmp_path: Path) -> None:
    async with satellite(tmp_path) as (flown, bus):
        await flown.until(lambda: flown.status.mode == MODE_NOMINAL)
        value = common_pb2.ParameterValue(name="reserve_margin_ratio", value=0.25)
        await bus.request("power", common_pb2.SetParametersRequest(values=[value]), 5)
        assert (await bus.request("executive", executive_pb2.RestartServiceRequest(service="power"), 5)).ok  # type: ignore[attr-defined]
        await flown.until(
            lambda: flown.service("power").restarts_total == 1 and flown.service("power").state == SERVICE_STATE_RUNNING
        )
        answer: Any = await bus.request("power", common_pb2.GetParametersRequest(), 5)
        assert value in answer.values


@in_a_loop
async def test_nothing_outlives_a_killed_executive_and_the_mode_is_kept(tmp_path: Path) -> None:
    async with satellite(tmp_path) as (flown, bus):
        await flown.until(lambda: flown.status.mode == MODE_NOMINAL)
        assert (await bus.request("executive", executive_pb2.SetModeRequest(mode=MODE_SAFE), 5)).ok  # type: ignore[attr-defined]
        processes = children(flown.pid)
        assert set(processes) == {"sat-1.zygote", "power", "thermal"}
        os.kill(flown.pid, signal.SIGKILL)
        assert flown.process is not None
        flown.process.wait()
        await flown.until(lambda: not any(alive(pid) for pid in processes.values()), 5)
        flown.start()
        await flown.until(lambda: flown.status.boots_total == 2)
        await flown.until(lambda: flown.service("power").state == SERVICE_STATE_RUNNING)
        assert flown.status.mode == MODE_SAFE


@in_a_loop
async def test_it_ends_within_two_seconds_and_leaves_nothing(tmp_path: Path) -> None:
    async with satellite(tmp_path) as (flown, _):
        await flown.until(lambda: flown.status.mode == MODE_NOMINAL)
        processes = children(flown.pid)
        os.kill(processes["thermal"], signal.SIGSTOP)  # one that will not end by itself
        assert flown.process is not None
        flown.process.send_signal(signal.SIGTERM)
        begin = asyncio.get_running_loop().time()
        assert await asyncio.to_thread(flown.process.wait, 10) == 0
        # Two seconds, and what a busy machine may add.
        assert asyncio.get_running_loop().time() - begin < 4
        assert not any(alive(pid) for pid in processes.values())


@in_a_loop
async def test_a_dead_zygote_ends_the_executive(tmp_path: Path) -> None:
    async with satellite(tmp_path) as (flown, _):
        await flown.until(lambda: flown.status.mode == MODE_NOMINAL)
        os.kill(children(flown.pid)["sat-1.zygote"], signal.SIGKILL)
        assert flown.process is not None
        assert await asyncio.to_thread(flown.process.wait, 20) == REBOOT_EXIT_STATUS


@in_a_loop
async def test_a_supervisor_starts_the_executive_of_a_dead_zygote_again(tmp_path: Path) -> None:
    async with satellite(tmp_path, begin=False) as (flown, _):
        program = Program("executive", [sys.executable, str(PROGRAM), str(tmp_path / "board.toml")], tmp_path / "out")
        async with Supervisor([program]) as supervisor:
            await flown.until(lambda: flown.status.mode == MODE_NOMINAL)
            first = supervisor.pid("executive")
            assert first is not None
            os.kill(children(first)["sat-1.zygote"], signal.SIGKILL)
            await flown.until(lambda: flown.status.boots_total == 2 and flown.status.mode == MODE_NOMINAL)
            assert supervisor.status()["processes"][0]["restarts"] == 1


@in_a_loop
async def test_a_broken_service_says_why(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "broken").write_text("power")
    async with satellite(tmp_path) as (flown, _):
        await flown.until(lambda: flown.event("service_ended"))
        event = flown.event("service_ended")
        assert event is not None
        assert "power: its sensor is unplugged; plug it in" in event.text
        (tmp_path / "state" / "broken").unlink()
        await flown.until(lambda: flown.status.mode == MODE_NOMINAL)


@in_a_loop
async def test_systemd_and_the_watchdog_are_served(tmp_path: Path) -> None:
    address = f"/tmp/skyrack-notify-{os.getpid()}"
    device = tmp_path / "watchdog"
    device.touch()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(address)
        systemd.setblocking(False)
        try:
            said: list[str] = []
            os.environ["NOTIFY_SOCKET"] = address
            os.environ["WATCHDOG_USEC"] = "300000"
            try:
                async with satellite(tmp_path, watchdog_device=str(device)) as (flown, _):
                    for variable in ("NOTIFY_SOCKET", "WATCHDOG_USEC"):
                        del os.environ[variable]
                    loop = asyncio.get_running_loop()
                    async with asyncio.timeout(20):
                        while said.count("WATCHDOG=1") < 3 or "READY=1" not in said:
                            said.append((await loop.sock_recv(systemd, 1000)).decode())
                    flown.process.terminate()  # type: ignore[union-attr]
                    async with asyncio.timeout(5):
                        while said[-1] != "STOPPING=1":
                            said.append((await loop.sock_recv(systemd, 1000)).decode())
                    await asyncio.to_thread(flown.process.wait, 5)  # type: ignore[union-attr]
            finally:
                os.environ.pop("NOTIFY_SOCKET", None)
                os.environ.pop("WATCHDOG_USEC", None)
        finally:
            Path(address).unlink()
    assert "STATUS=nominal: every service answers" in said
    written = device.read_bytes()
    assert len(written) > 3
    assert written[:-1].strip(b"\0") == b""
    assert written[-1:] == b"V", "a clean end stops the watchdog"


@in_a_loop
async def test_an_executive_that_slept_blames_nobody(tmp_path: Path) -> None:
    async with satellite(tmp_path) as (flown, bus):
        await flown.until(lambda: flown.status.mode == MODE_NOMINAL)
        os.kill(flown.pid, signal.SIGSTOP)
        await asyncio.sleep(4 * QUICK["ping_deadline_seconds"])
        os.kill(flown.pid, signal.SIGCONT)
        await bus.request("executive", common_pb2.PingRequest(), 10)
        slept_until = flown.status.mission_time_seconds
        await flown.until(lambda: flown.status.mission_time_seconds > slept_until)
        assert flown.event("service_hung") is None
        assert [service.restarts_total for service in flown.status.services] == [0, 0]
