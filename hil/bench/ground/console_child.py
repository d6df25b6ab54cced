"""A ground with a full house, for the bench of its console: 100 satellites that report, 10,000 jobs."""

from __future__ import annotations

import asyncio
import random
import socket
import sys
from datetime import UTC, datetime

import uvicorn
from fastapi.responses import HTMLResponse
from google.protobuf.message import Message

from ground import console
from ground.api import make_app
from ground.segment import SUBSCRIPTIONS, GroundSegment
from skyrack import files, logging
from skyrack.backhaul.memory import MemoryHub
from skyrack.clock import MissionClock
from skyrack.dictionary import telemetry
from skyrack.jobs import JobState
from skyrack.orbits import geodetic, propagate, satellite_satrec, sidereal_angle_radians, sun_position
from skyrack.orbits.eclipse import sunlit_ratio
from skyrack.satellite import ConstellationFile, RelayShell, Satellite, load_satellite
from skyrack.signing import SigningKey, seeded_ring
from skyrack.v1 import (
    backhaul_pb2,
    compute_pb2,
    executive_pb2,
    gateway_pb2,
    job_pb2,
    navigation_pb2,
    power_pb2,
    thermal_pb2,
)

SATELLITES = 100
JOBS = 10_000
_RATE = 60.0
_STATES = (JobState.COMPLETED,) * 17 + (JobState.FAILED, JobState.CANCELLED, JobState.SUBMITTED)
# A page with nothing in it, from the same server: what any page costs.
_EMPTY = "<!doctype html><title>empty</title><p id=hello>hello</p>"


def constellation() -> ConstellationFile:
    """Ten planes of ten satellites, under a shell of relays."""
    satellites = tuple(
        Satellite(
            name=f"sat-{number + 1}",
            file="pathfinder",
            altitude_meters=550_000,
            inclination_degrees=53,
            raan_degrees=36.0 * (number % 10),
            mean_anomaly_degrees=(36.0 * (number // 10) + 3.6 * (number % 10)) % 360,
        )
        for number in range(SATELLITES)
    )
    relays = (RelayShell(altitude_meters=550_000, inclination_degrees=53, planes=12, satellites_per_plane=10),)
    epoch = datetime(2026, 3, 20, tzinfo=UTC)
    return ConstellationFile(name="full-house", epoch=epoch, satellites=satellites, relays=relays)


async def main() -> None:
    """Serve until killed; the port is the one line of output."""
    made = constellation()
    clock = MissionClock.starting_at(made.epoch_seconds, _RATE)
    rng = random.Random(1)
    design = load_satellite(files.shipped("satellites", "pathfinder"))
    names = [satellite.name for satellite in made.satellites]
    logging.configure(now=clock.now, level="error", service="bench")
    hub = MemoryHub(rng)
    segment = GroundSegment(
        dict.fromkeys(names, design),
        key=SigningKey.from_seed(1, "ground"),
        ring=seeded_ring(1, names),
        clock=clock,
        rng=rng,
        new_id=lambda: f"{rng.getrandbits(48):012x}",
        connector=hub.connector("ground", SUBSCRIPTIONS),
    )
    await segment.open()
    await _fill(segment)
    app = make_app(segment, "full-house")
    app.add_route("/empty", lambda _: HTMLResponse(_EMPTY))
    console.attach(app, segment, made)
    reporting = asyncio.create_task(_report(segment, made))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="on"))
        sys.stdout.write(f"{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        await server.serve(sockets=[listener])
    reporting.cancel()


async def _fill(segment: GroundSegment) -> None:
    ids = []
    for number in range(JOBS):
        resources = job_pb2.JobResources(power_watts=200, cores=1, expected_seconds=600)
        spec = job_pb2.JobSpec(name=f"job-{number % 50}", command=["python3"], resources=resources, attempts=1)
        ids.append((await segment.submit(spec, submitter="bench")).job_id)
    statement = "UPDATE jobs SET state = :state, is_open = :is_open, satellite = :satellite WHERE job_id = :job_id"

    def settle(connection: object) -> None:
        for number, job_id in enumerate(ids):
            state = _STATES[number % len(_STATES)]
            values = {
                "state": int(state),
                "is_open": int(not state.final),
                "satellite": f"sat-{number % SATELLITES + 1}",
                "job_id": job_id,
            }
            connection.execute(statement, values)  # type: ignore[attr-defined]

    await segment.database.write(settle)


async def _report(segment: GroundSegment, made: ConstellationFile) -> None:
    orbits = [(satellite.name, satellite_satrec(made, satellite.name)) for satellite in made.satellites]
    while True:
        now = segment.clock.now()
        for number, (name, satrec) in enumerate(orbits):
            messages = _messages(number, now, propagate(satrec, now))
            samples = [
                backhaul_pb2.TelemetrySample(
                    message_type=message.DESCRIPTOR.full_name,
                    source=telemetry()[message.DESCRIPTOR.name].publisher,
                    mission_time_seconds=now,
                    payload=message.SerializeToString(),
                )
                for message in messages
            ]
            segment.picture.update(name, backhaul_pb2.TelemetryBatch(samples=samples, rate=_RATE))
            segment.picture.heard(name, now)
        await asyncio.sleep(1.0)


def _messages(number: int, now: float, orbit: tuple[tuple[float, ...], tuple[float, ...]]) -> list[Message]:
    r, v = orbit
    position = (r[0], r[1], r[2])
    place = geodetic(position, sidereal_angle_radians(now))
    lit = sunlit_ratio(position, sun_position(now))
    watts = 1400.0 if lit else 300.0
    charge = 0.6 + 0.39 * ((number * 37 + int(now / 60)) % 100) / 100
    ahead, end = [power_pb2.BudgetSlice(start_seconds=now, watts=watts)], now + 6000
    return [
        navigation_pb2.OrbitState(
            mission_time_seconds=now,
            position_meters=navigation_pb2.Vector3(x=r[0], y=r[1], z=r[2]),
            velocity_meters_per_second=navigation_pb2.Vector3(x=v[0], y=v[1], z=v[2]),
            sunlit_ratio=lit,
            latitude_degrees=place.latitude_degrees,
            longitude_degrees=place.longitude_degrees,
        ),
        power_pb2.PowerStatus(mission_time_seconds=now, state_of_charge_ratio=charge),
        power_pb2.PowerBudget(end_seconds=end, compute=ahead, compute_now_watts=watts),
        thermal_pb2.ThermalBudget(end_seconds=end, compute=ahead, compute_now_watts=watts),
        thermal_pb2.ThermalStatus(mission_time_seconds=now, chip_maximum_celsius=20 + 60 * (number % 11) / 10),
        compute_pb2.ComputeStatus(mission_time_seconds=now, draw_watts=watts * 0.7, free_nodes=number % 3),
        executive_pb2.SatelliteStatus(mission_time_seconds=now, mode=executive_pb2.MODE_NOMINAL),
        gateway_pb2.LinkStatus(mission_time_seconds=now, connected=True, link="optical"),
    ]


if __name__ == "__main__":
    asyncio.run(main())
