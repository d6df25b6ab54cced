from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq

from hil.plant import wire
from hil.plant.client import RemotePlantLink
from hil.plant.link import PlantKeyError, plant_link
from hil.plant.local import LocalPlantLink
from hil.plant.plant import Plant
from hil.plant.runner import run_plant
from hil.plant.server import PlantServer
from skyrack.clock import Anchor, MissionClock, write_anchor
from skyrack.virtual import run as run_virtually

MakePlant = Callable[..., Plant]


@pytest.fixture
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"ipc://{tmp_path_factory.mktemp('p')}/plant"


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    yield context
    context.term()


async def stepped(plant: Plant) -> None:
    """Wait until the plant has gone on, with its frame sent."""
    before = plant.time
    while plant.time == before:  # noqa: ASYNC110 - the plant announces its steps to sockets only
        await asyncio.sleep(0.002)


def test_frames_and_actuations_survive_the_wire() -> None:
    frame = wire.encode_frame("sat-1", 12.5, {"array.watts": 3.0}, {"gnss.stuck": 1.0}, 7)
    assert frame.startswith(wire.topic("sat-1"))
    assert wire.decode_frame(frame) == (12.5, {"array.watts": 3.0}, {"gnss.stuck": 1.0}, 7)
    assert wire.decode_actuation(wire.encode_actuation("a", {"b": 1.0})) == ("a", {"b": 1.0})
    for bad in (b"", b"sat-1\0\xff", b"sat-1\0\x91\x01"):
        with pytest.raises(wire.WireError):
            wire.decode_frame(bad)
        with pytest.raises(wire.WireError):
            wire.decode_actuation(bad)


def test_endpoints() -> None:
    assert wire.endpoints("ipc:///r/plant") == ("ipc:///r/plant.sensors", "ipc:///r/plant.actuators")
    assert wire.endpoints("tcp://127.0.0.1:5000") == ("tcp://127.0.0.1:5000", "tcp://127.0.0.1:5001")


def test_sensors_come_and_actuators_go_over_sockets(
    make_plant: MakePlant, url: str, context: zmq.Context[zmq.Socket[bytes]]
) -> None:
    async def test() -> None:
        plant = make_plant()
        server = PlantServer(plant, MissionClock.starting_at(plant.time, rate=200.0), url, context)
        await server.open()
        link = RemotePlantLink(url, context)
        first = link.read("sat-1", "array.watts")
        assert math.isnan(first.value)
        assert first.mission_time_seconds == -math.inf
        running = asyncio.create_task(server.run())
        async with asyncio.timeout(20):
            while link.read("sat-2", "load.node-1.watts").value != 400.0:
                link.actuate("sat-2", {"node.node-1.draw_watts": 400.0, "fault.device.gnss.stuck": 1.0})
                await stepped(plant)
            assert link.device_faults("sat-2") == {"gnss.stuck": 1.0}
            with pytest.raises(PlantKeyError, match="no sensor"):
                link.read("sat-2", "nonsense")
            link.actuate("sat-2", {"nonsense": 1.0})
            link._actuators.send(b"rubbish")
            while (server.counters.refused, server.counters.malformed) != (1, 1):
                await stepped(plant)
        assert link.read("sat-2", "array.watts").mission_time_seconds > plant.time - 100.0
        running.cancel()
        link.close()
        await server.close()

    asyncio.run(test())


def test_a_plant_that_was_started_anew_is_told_what_was_set(
    make_plant: MakePlant, url: str, context: zmq.Context[zmq.Socket[bytes]]
) -> None:
    async def test() -> None:
        link = RemotePlantLink(url, context)
        link.actuate("sat-1", {"node.node-1.draw_watts": 400.0})
        link.actuate("sat-1", {"node.node-1.draw_watts": 300.0, "pump.duty_ratio": 0.25})
        for _ in range(2):
            plant = make_plant()
            server = PlantServer(plant, MissionClock.starting_at(plant.time, rate=200.0), url, context)
            await server.open()
            running = asyncio.create_task(server.run())
            async with asyncio.timeout(20):
                while plant.read("sat-1", "load.node-1.watts") != 300.0:
                    link.read("sat-1", "array.watts")
                    await stepped(plant)
            assert plant.read("sat-1", "pump.duty_ratio") == 0.25
            running.cancel()
            await server.close()
        link.close()

    asyncio.run(test())


def test_the_plant_keeps_up_with_virtual_time(make_plant: MakePlant) -> None:
    plant = make_plant()
    start = plant.time
    groups = []

    async def test() -> None:
        clock = MissionClock.starting_at(start)
        running = asyncio.create_task(run_plant(plant, clock, after_step=lambda: groups.append(plant.time)))
        await clock.sleep(100.5)
        assert plant.time == start + 100.0
        running.cancel()

    run_virtually(test)
    assert len(groups) == 100


def test_a_late_plant_catches_up(make_plant: MakePlant) -> None:
    plant = make_plant()
    start = plant.time

    async def test() -> None:
        clock = MissionClock.starting_at(start + 1000.0)
        running = asyncio.create_task(run_plant(plant, clock))
        await clock.sleep(2.0)
        assert plant.time >= start + 1001.0
        running.cancel()

    run_virtually(test)


def test_links_are_found_by_attachment(make_plant: MakePlant) -> None:
    local = LocalPlantLink(make_plant())
    assert plant_link({"plant": local}) is local
    with pytest.raises(LookupError, match='attachment "plant"'):
        plant_link({})


def test_the_process_says_when_it_is_ready_and_ends_when_told(tmp_path: Path, url: str) -> None:
    write_anchor(tmp_path / "clock.json", Anchor.here(1_774_000_000.0, rate=60.0))
    ready = tmp_path / "ready.json"
    command = [sys.executable, "-m", "hil.plant", "--constellation", "demo", "--bind", url]
    command += ["--clock", str(tmp_path / "clock.json"), "--broker", "127.0.0.1:1", "--ready", str(ready)]
    (tmp_path / "faults.toml").write_text(
        '[[faults]]\nkind = "pump-stop"\nsatellite = "sat-1"\nat_seconds = 0\n', encoding="utf-8"
    )
    command += ["--faults", str(tmp_path / "faults.toml")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ)
    link = RemotePlantLink(url)
    try:
        deadline = _Deadline(30.0)
        while not ready.exists() or math.isnan(link.read("sat-1", "array.watts").value):
            assert process.poll() is None, process.stderr
            deadline.wait()
        while link.read("sat-1", "pump.duty_ratio").value != 0.0:
            deadline.wait()
        gates = json.loads(ready.read_text(encoding="utf-8"))["gates"]
        assert sorted(gates) == ["sat-1", "sat-2"]
        assert all(0 < port < 65536 for gate in gates.values() for port in gate.values())
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.communicate()
        link.close()


class _Deadline:
    def __init__(self, seconds: float) -> None:
        self._left = seconds

    def wait(self) -> None:
        assert self._left > 0.0
        self._left -= 0.05
        asyncio.run(asyncio.sleep(0.05))


def test_a_file_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "hil.plant",
        "--constellation",
        "nowhere",
        "--bind",
        "ipc:///tmp/x",
        "--clock",
        "c",
    ]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert "nowhere" in ended.stderr
