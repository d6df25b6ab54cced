"""How fast the twin flies, beside the same messages between services that do nothing."""

from __future__ import annotations

import gc
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import zmq

from flight.board import SERVICES
from flight.bus import Bus, Endpoints
from flight.bus.wire import split_topic
from flight.process import EXECUTIVE, service_class
from flight.service import ALL, registry
from hil.twin.world import World
from skyrack import dictionary, files, logging, virtual
from skyrack.clock import MissionClock
from skyrack.satellite import load_constellation
from skyrack.v1.common_pb2 import Header

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from skyrack.satellite import ConstellationFile, SatelliteFile

MISSION_SECONDS = 1200.0
REPETITIONS = 3
MANY = 8
TARGET_SPEED = 500.0
TARGET_RATIO = 0.4
NAMES = (EXECUTIVE, *SERVICES)


@dataclass(frozen=True, slots=True)
class Published:
    """A message as it was published: when, by whom, under which key."""

    time_seconds: float
    service: str
    message: Message
    key: str


def constellation_of(count: int) -> tuple[ConstellationFile, dict[str, SatelliteFile]]:
    """The demo's first satellite, so many times, spread over its orbit."""
    constellation, designs = load_constellation(files.shipped("constellations", "demo"))
    first = constellation.satellites[0]
    satellites = tuple(
        msgspec.structs.replace(
            first, name=f"sat-{i + 1}", mean_anomaly_degrees=(first.mean_anomaly_degrees + 360.0 * i / count) % 360.0
        )
        for i in range(count)
    )
    design = designs[first.name]
    return msgspec.structs.replace(constellation, satellites=satellites), dict.fromkeys(
        (satellite.name for satellite in satellites), design
    )


def fly(count: int, heard: list[Published] | None = None) -> float:
    """Host seconds that ``count`` satellites with all services need for :data:`MISSION_SECONDS`."""
    constellation, designs = constellation_of(count)

    async def main() -> float:
        world = World(constellation, designs)
        if heard is not None:
            world.extra_taps = (lambda topic, header, payload: heard.append(_published(topic, header, payload)),)
        async with world.running():
            # Services start, find each other and acquire their links in the first minute.
            await world.clock.sleep(60.0)
            if heard is not None:
                heard.clear()
            gc.collect()
            begun = time.perf_counter()
            await world.clock.sleep(MISSION_SECONDS)
            return time.perf_counter() - begun

    return virtual.run(main)


def play(published: list[Published]) -> float:
    """Host seconds that the same messages need between services whose handlers are empty."""

    async def main() -> float:
        start = published[0].time_seconds
        clock = MissionClock.starting_at(start)
        context: zmq.Context[Any] = zmq.Context(io_threads=0)
        endpoints = Endpoints.inproc("bench")
        buses = {name: Bus(name, endpoints, clock, 1, context) for name in NAMES}
        for name, bus in buses.items():
            _subscribe(name, bus)
            await bus.open()
        await clock.sleep(1.0)
        gc.collect()
        offset = clock.now() - start
        begun = time.perf_counter()
        for item in published:
            if clock.now() < item.time_seconds + offset:
                await clock.sleep_until(item.time_seconds + offset)
            buses[item.service].publish(item.message, item.key)
        await clock.sleep(1.0)
        elapsed = time.perf_counter() - begun
        for bus in buses.values():
            await bus.close()
        context.destroy(linger=0)
        return elapsed

    return virtual.run(main)


def _subscribe(name: str, bus: Bus) -> None:
    for subscription in registry[name].declarations.subscriptions:
        sources = NAMES if subscription.sources == (ALL,) else subscription.sources
        for source in sources:
            bus.subscribe(source, subscription.message_type, lambda *_: None, subscription.key)
    if name in ("executive", "gateway"):
        bus.subscribe_raw(NAMES, lambda *_: None)


def _published(topic: bytes, header: bytes, payload: bytes) -> Published:
    name, key = split_topic(topic)
    read = Header.FromString(header)
    message = dictionary.message_type(name.removeprefix("skyrack.v1.")).FromString(payload)
    return Published(read.mission_time_seconds, read.source, message, key)


def run_bench() -> dict[str, Any]:
    """Measure, interleaved; medians of the repetitions."""
    logging.silence()
    for name in NAMES:
        service_class(name)
    heard: list[Published] = []
    fly(1, heard)
    one, many, empty = [], [], []
    for _ in range(REPETITIONS):
        one.append(fly(1))
        empty.append(play(heard))
        many.append(fly(MANY))
    speed = MISSION_SECONDS / statistics.median(one)
    return {
        "mission_seconds": MISSION_SECONDS,
        "messages_per_mission_second": len(heard) / MISSION_SECONDS,
        "speed_one_satellite": speed,
        "target_speed": TARGET_SPEED,
        "speed_empty_handlers": MISSION_SECONDS / statistics.median(empty),
        "ratio_to_empty_handlers": statistics.median(empty) / statistics.median(one),
        "target_ratio": TARGET_RATIO,
        "satellites": MANY,
        "cost_of_many_over_one": statistics.median(many) / statistics.median(one),
        "target_cost": float(MANY),
    }

