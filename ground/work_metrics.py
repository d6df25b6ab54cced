"""For Prometheus: contact, queues of commands, sequences, jobs by satellite, and how long jobs ran."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from ground.connection import Connection
from ground.run_times import BOUNDS
from ground.segment import GroundSegment
from ground.stages import stage_name
from ground.store import command_queue, job_queue, sequences
from skyrack.v1.backhaul_pb2 import TelecommandStage

__all__ = ["STAGES", "Work", "look", "work"]

STAGES: Final = tuple(stage_name(number) for number in TelecommandStage.values() if number)
"""All of them are shown from the start, at 0."""


@dataclass(frozen=True, slots=True)
class Work:
    """What the database says, in one look."""

    waiting: dict[str, int]
    held: frozenset[str]
    sequences: dict[str, int]
    open_jobs: dict[str, int]
    run_counts: list[int]
    run_seconds: float


def look(connection: Connection) -> Work:
    """Ask the database once."""
    waiting: dict[str, int] = {}
    for row in connection.execute("SELECT satellite, count(*) FROM command_queue GROUP BY satellite").fetchall():
        waiting[row[0]] = row[1]
    bounds = ", ".join(
        f"sum(CASE WHEN finished_seconds - started_seconds <= {bound} THEN 1 ELSE 0 END)" for bound in BOUNDS
    )
    *counts, count, total = connection.execute(
        f"SELECT {bounds}, count(*), sum(finished_seconds - started_seconds) FROM jobs "  # noqa: S608 - numbers
        "WHERE is_open = 0 AND started_seconds IS NOT NULL AND finished_seconds IS NOT NULL"
    ).fetchone()
    return Work(
        waiting=waiting,
        held=frozenset(command_queue.holds(connection)),
        sequences=sequences.totals(connection),
        open_jobs=job_queue.open_by_satellite(connection),
        run_counts=[int(number or 0) for number in (*counts, count)],
        run_seconds=float(total or 0.0),
    )


async def work(segment: GroundSegment) -> Collector:
    """A collector of one scrape. Raises ``StorageError``."""
    found = await segment.database.read(look)
    segment.run_times.take(found.run_counts, found.run_seconds)
    return _Work(segment, found)


class _Work(Collector):
    def __init__(self, segment: GroundSegment, found: Work) -> None:
        self._segment = segment
        self._found = found

    def describe(self) -> Iterable[Metric]:
        """Nothing: collecting once tells it all."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Metric families."""
        names = self._segment.picture.names
        found = self._found
        reach = {name: float(self._segment.in_reach(name)) for name in names}
        yield _gauge("satellite_in_reach", "What is handed to delivery would leave now", "satellite", reach)
        waiting = {name: float(found.waiting.get(name, 0)) for name in names}
        yield _gauge("command_queue_items", "Commands and sequences that have not left", "satellite", waiting)
        held = {name: float(name in found.held) for name in names}
        yield _gauge("command_queue_held", "Somebody holds the queue of commands", "satellite", held)
        stages = {stage: float(found.sequences.get(stage, 0)) for stage in STAGES}
        yield _gauge("sequences", "Sequences of commands by stage", "stage", stages)
        open_jobs = {name: float(found.open_jobs.get(name, 0)) for name in names}
        yield _gauge("jobs_open", "Jobs that a satellite holds", "satellite", open_jobs)
        times = self._segment.run_times
        bounds = [f"{bound:g}" for bound in BOUNDS] + ["+Inf"]
        yield HistogramMetricFamily(
            "skyrack_ground_job_run_seconds",
            "Mission time from a job's first start to its end",
            buckets=list(zip(bounds, times.counts, strict=True)),
            sum_value=times.sum_seconds,
        )


def _gauge(name: str, text: str, label: str, values: dict[str, float]) -> Metric:
    family = GaugeMetricFamily(f"skyrack_ground_{name}", text, labels=[label])
    for key, value in sorted(values.items()):
        family.add_metric([key], value)
    return family
