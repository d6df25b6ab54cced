"""The jobs that people submit in a twin run: seeded arrivals of plausible work."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from skyrack.v1.job_pb2 import JobResources, JobSpec

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Workload:
    """Poisson arrivals; powers as a part of a rack node's peak, times in mission seconds."""

    jobs_per_hour: float = 4.0
    node_power_ratio: tuple[float, float] = (0.3, 0.9)
    expected_seconds: tuple[float, float] = (300.0, 2400.0)
    deadline_ratio: float = 0.5
    deadline_slack: tuple[float, float] = (3.0, 12.0)
    package_bytes: int = 2048


@dataclass(frozen=True, slots=True)
class Arrival:
    """A job, its package, and when it is submitted (mission seconds)."""

    time_seconds: float
    spec: JobSpec
    package: bytes


def arrivals(
    workload: Workload, rng: random.Random, start_seconds: float, end_seconds: float, node_peak_watts: float
) -> Iterator[Arrival]:
    """Draw the jobs of a run, in order of time."""
    time_seconds = start_seconds
    number = 0
    while True:
        time_seconds += rng.expovariate(workload.jobs_per_hour / 3600.0)
        if time_seconds >= end_seconds:
            return
        number += 1
        expected = rng.uniform(*workload.expected_seconds)
        deadline = 0.0
        if rng.random() < workload.deadline_ratio:
            deadline = time_seconds + expected * rng.uniform(*workload.deadline_slack)
        package = rng.randbytes(workload.package_bytes)
        spec = JobSpec(
            job_id=f"job-{number:05d}",
            name=f"model-{number}",
            submitter="twin",
            command=["model"],
            resources=JobResources(
                power_watts=round(node_peak_watts * rng.uniform(*workload.node_power_ratio)),
                cores=1,
                memory_bytes=256 << 20,
                expected_seconds=expected,
            ),
            priority=rng.choice((10, 50, 90)),
            deadline_seconds=deadline,
            grace_seconds=5.0,
            checkpoint=rng.random() < 0.8,
            package_sha256=hashlib.sha256(package).digest(),
            package_bytes=len(package),
            submitted_seconds=time_seconds,
            attempts=2,
        )
        yield Arrival(time_seconds, spec, package)
