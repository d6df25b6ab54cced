"""How fast the plant is, alone, at one-second steps: satellite-seconds per second of the host."""

from __future__ import annotations

import statistics
import time
from typing import Any

import msgspec

from hil.plant.plant import Plant
from skyrack import files
from skyrack.satellite import load_constellation

SATELLITES = (1, 100, 1000)
STEPS = {1: 3000, 100: 1000, 1000: 300}
# Basilisk 2.12 (C++), one satellite, orbit, eclipse, panel, battery and one thermal node: REFERENCE figures.
BASILISK_SATELLITE_SECONDS_PER_SECOND = (67_000.0, 89_000.0)


def make_plant(satellites: int) -> Plant:
    """The demo's satellite, so many times, spread over the sky."""
    constellation, designs = load_constellation(files.shipped("constellations", "demo"))
    first = constellation.satellites[0]
    spread = tuple(
        msgspec.structs.replace(
            first,
            name=f"sat-{number}",
            raan_degrees=360.0 * number / satellites,
            mean_anomaly_degrees=(137.5 * number) % 360.0,
        )
        for number in range(satellites)
    )
    grown = msgspec.structs.replace(constellation, satellites=spread)
    return Plant(grown, {satellite.name: designs[first.name] for satellite in spread})


def run_bench(repetitions: int = 3) -> dict[str, Any]:
    """Measure at each size, interleaved; medians of the repetitions."""
    plants = {satellites: make_plant(satellites) for satellites in SATELLITES}
    seconds: dict[int, list[float]] = {satellites: [] for satellites in SATELLITES}
    for plant in plants.values():
        plant.step()
    for _ in range(repetitions):
        for satellites, plant in plants.items():
            began = time.perf_counter()
            for _ in range(STEPS[satellites]):
                plant.step()
            seconds[satellites].append(time.perf_counter() - began)
    figures = {
        str(satellites): satellites * STEPS[satellites] / statistics.median(seconds[satellites])
        for satellites in SATELLITES
    }
    return {
        "satellite_seconds_per_second": figures,
        "microseconds_per_step": {size: 1e6 * int(size) / figure for size, figure in figures.items()},
        "target_at_1000": 500_000.0,
        "basilisk_one_satellite": list(BASILISK_SATELLITE_SECONDS_PER_SECOND),
    }
