"""How fast the twin flies, beside the same messages between services whose handlers are empty."""

from __future__ import annotations

import gc
import math
import random
import statistics
import time
from typing import TYPE_CHECKING, Any

import msgspec
import zmq

from flight.board import SERVICES
from flight.bus import Endpoints
from flight.bus.wire import split_topic, topic_of
from flight.context import ServiceContext
from flight.devices import DeviceRegistry
from flight.hal import DeviceEnvironment
from flight.meter import NullMeter
from flight.process import EXECUTIVE, service_class
from hil.bench.idle import Published, idle_class
from hil.twin.world import Digest, World
from skyrack import dictionary, files, logging, virtual
from skyrack.clock import MissionClock
from skyrack.satellite import load_constellation
from skyrack.v1.common_pb2 import Header, Health

if TYPE_CHECKING:
    from skyrack.satellite import ConstellationFile, SatelliteFile

MISSION_SECONDS = 1200.0
ACQUISITION_SECONDS = 60.0
"""Services start, find each other and acquire their links within this time."""
WARM_UP_SECONDS = 5.0
REPETITIONS = 3
MANY = 8
TARGET_SPEED = 500.0
TARGET_RATIO = 0.4
NAMES = (EXECUTIVE, *SERVICES)
HEALTH = topic_of(Health.DESCRIPTOR.full_name)


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
    """CPU seconds that ``count`` satellites with all services need for :data:`MISSION_SECONDS`.

    What the services publish meanwhile, save health, is added to ``heard``.
    """
    constellation, designs = constellation_of(count)

    def listen(topic: bytes, header: bytes, payload: bytes) -> None:
        if heard is not None and world.clock.now() >= begins and not topic.startswith(HEALTH):
            heard.append(_published(topic, header, payload))

    world: World
    begins = math.inf

    async def main() -> float:
        nonlocal world, begins
        world = World(constellation, designs)
        begins = world.clock.now() + ACQUISITION_SECONDS
        world.extra_taps = () if heard is None else (listen,)
        async with world.running():
            await world.clock.sleep(ACQUISITION_SECONDS)
            return await _flight_seconds(world.clock)

    return virtual.run(main)


def play(published: list[Published]) -> float:
    """CPU seconds that one satellite of idle services (see :mod:`hil.bench.idle`) needs for the same messages."""
    constellation, designs = constellation_of(1)
    ((satellite, design),) = designs.items()

    async def main() -> float:
        begins = published[0].time_seconds
        clock = MissionClock.starting_at(begins - WARM_UP_SECONDS)
        digest, name = Digest(), satellite.encode()
        zmq_context: zmq.Context[Any] = zmq.Context(io_threads=0)
        context = ServiceContext(
            satellite=satellite,
            satellite_file=design,
            constellation=constellation,
            clock=clock,
            endpoints=Endpoints.inproc("idle"),
            devices=DeviceRegistry(DeviceEnvironment(satellite, clock, random.Random(0), None), {}, {}),
            rng=random.Random(0),
            zmq_context=zmq_context,
            meter=NullMeter(),
            services=NAMES,
            taps=(lambda topic, header, payload: digest.add(name, topic, header, payload),),
        )
        services = [
            idle_class(service_class(name))(context, [item for item in published if item.service == name])
            for name in NAMES
        ]
        for service in services:
            await service.start()
        await clock.sleep_until(begins)
        elapsed = await _flight_seconds(clock)
        for service in reversed(services):
            await service.stop()
        zmq_context.destroy(linger=0)
        return elapsed

    return virtual.run(main)


async def _flight_seconds(clock: MissionClock) -> float:
    """CPU seconds of this process for :data:`MISSION_SECONDS`.

    Nothing in virtual time waits, and everything runs in one thread: on a core of its own this is the time it takes.
    """
    gc.collect()
    begun = time.process_time()
    await clock.sleep(MISSION_SECONDS)
    return time.process_time() - begun


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
