"""Fly a twin for some hours and report."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hil.fault_watch import FaultWatch
from hil.twin.observe import WATCH_SECONDS, Moment, Observer, TwinReport, fates
from hil.twin.workload import Workload, arrivals
from hil.twin.world import TwinSettings, World
from skyrack import logging, virtual
from skyrack.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from ground.records import JobRecord

ALL_JOBS = 1000
"""As many as the ground lists at once."""

Progress = Callable[[float, World], None]
"""Told every few mission seconds: how many have passed, and the world."""


@dataclass(frozen=True, slots=True)
class Flight:
    """What to fly."""

    constellation: Path
    hours: float
    settings: TwinSettings = field(default_factory=TwinSettings)
    workload: Workload = field(default_factory=Workload)
    satellites: int | None = None
    """Only the first so many of the constellation."""
    record: Path | None = None
    """Keep every message that services publish in this file."""


def _unobserved(_seconds: float, _world: World) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Flown:
    """A flight that is over: its report, the truth of every satellite over time, and all jobs with their histories."""

    report: TwinReport
    start_seconds: float
    traces: dict[str, list[Moment]]
    jobs: list[JobRecord]


def fly(flight: Flight, progress: Progress = _unobserved) -> Flown:
    """Fly, and say how it went.

    Raises:
        FileError: constellation or satellite file do not add up.
        Exception: whatever ended the world early, such as a defect in a service.
    """
    logging.silence()
    world_of = World.loader(flight.constellation, flight.settings, flight.satellites, flight.record)
    return virtual.run(lambda: _fly(world_of, flight, progress))


async def _fly(world_of: Callable[[], World], flight: Flight, progress: Progress) -> Flown:
    world = world_of()
    observer = Observer(world.plant)
    start = world.clock.now()
    if flight.settings.faults:
        world.watch = FaultWatch(flight.settings.faults, world.designs, start)
    end = start + flight.hours * 3600.0
    peak = min(node.peak_watts for design in world.designs.values() for node in design.nodes)
    # Who submits jobs is not on any satellite: draws of its own, so that more satellites do not change the jobs.
    coming = list(arrivals(flight.workload, random.Random(f"{flight.settings.seed}/workload"), start, end, peak))
    coming.reverse()
    begun = time.perf_counter()  # how fast the twin flies is measured on the host; nothing is decided by it
    async with world.running():
        while world.clock.now() < end:
            while coming and coming[-1].time_seconds <= world.clock.now():
                arrival = coming.pop()
                with contextlib.suppress(UserError):
                    await world.ground.submit(arrival.spec, arrival.package)
            await world.clock.sleep(min(WATCH_SECONDS, end - world.clock.now()))
            observer.look()
            progress(world.clock.now() - start, world)
        records = [await world.ground.job(record.job_id) for record in await world.ground.jobs(limit=ALL_JOBS)]
        digest, messages = world.digest.hex(), world.digest.messages
    report = TwinReport(
        constellation=world.constellation.name,
        seed=flight.settings.seed,
        mission_seconds=end - start,
        host_seconds=time.perf_counter() - begun,
        messages=messages,
        digest=digest,
        jobs=fates(records),
        preemptions=sum(record.preemptions for record in records),
        satellites=observer.satellites(),
        faults=world.watch.outcomes() if world.watch is not None else (),
    )
    return Flown(report, start, observer.traces(), records)
