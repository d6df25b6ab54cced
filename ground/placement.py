"""Which satellite gets a job, until when, and what follows when an attempt ends. Pure: no clock, no store.

A satellite is worth, to a job, the joules that it could spend on it between its next contact and the end of the
horizon: the energy and the heat that its budgets still have to spare, and how soon it can be told, in one number.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from skyrack.jobs import JobCause, JobState, may_retry

__all__ = [
    "After",
    "Choice",
    "Need",
    "NodeSize",
    "PlacementSettings",
    "Profile",
    "SatelliteView",
    "after_attempt",
    "after_lease",
    "choose",
    "fits_somewhere",
    "lease_end",
    "obstacle_for_all",
    "spare_energy",
]

Profile = Sequence[tuple[float, float]]
"""(start in mission seconds, watts) from there to the next start, sorted."""


@dataclass(frozen=True, slots=True)
class PlacementSettings:
    """How the ground places. Times in mission seconds."""

    horizon_seconds: float = 5400.0
    """How far ahead a satellite's power and heat are looked at, at least."""
    reachable_seconds: float = 120.0
    """A satellite heard this recently is in contact now."""
    unreachable_seconds: float = 12_000.0
    """A satellite not heard for this long gets no jobs: two orbits."""
    least_power_ratio: float = 0.5
    """A satellite whose budgets never reach this part of the job's watts cannot run it, capped or not."""
    unknown_contact_seconds: float = 3000.0
    """When a silent satellite is expected back, if it has not said when: half an orbit."""
    waiting_per_satellite: int = 2
    """Jobs that a satellite may hold beyond those for which it has a free node."""
    lease_seconds: float = 10_800.0
    """How long a lease lasts from the next contact, or from its renewal: nearly two orbits, so that a satellite which
    misses one contact keeps its jobs. One that is lost gives its jobs back so long, and a margin, after the last."""
    lease_renewal_ratio: float = 0.75
    """A lease of which less than this part is left is renewed when its satellite says that the job runs."""
    lease_margin_seconds: float = 900.0
    """How long after a lease's end a status may still arrive before another satellite gets the job."""
    rejections_maximum: int = 12
    """Attempts that may end for reasons that lie with satellites before the job is given up."""
    retry_seconds: float = 60.0
    """Before the next attempt after one that failed; doubles with each."""
    retry_maximum_seconds: float = 3600.0


@dataclass(frozen=True, slots=True)
class NodeSize:
    """What one rack node of a satellite can take."""

    peak_watts: float
    cores: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Need:
    """What a job asks of a satellite."""

    power_watts: float
    cores: int = 1
    memory_bytes: int = 0
    expected_seconds: float = 0.0
    limit_seconds: float = 0.0
    deadline_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class SatelliteView:
    """What the ground knows of a satellite."""

    name: str
    nodes: tuple[NodeSize, ...]
    heard_seconds: float | None = None
    """When it last said anything; None is never."""
    next_contact_seconds: float | None = None
    """Start of the next contact that it has forecast."""
    accepts_jobs: bool = True
    power: Profile = ()
    heat: Profile = ()
    budget_end_seconds: float = 0.0
    free_nodes: int = 0
    committed_watts: float = 0.0
    """Draw of the jobs that have been placed there and are not over."""
    jobs_open: int = 0
    jobs_unstarted: int = 0
    """Of those: not yet counted in free_nodes."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Where a job goes, or, with an empty satellite, why nowhere yet."""

    satellite: str
    reason: str
    spare_joules: float = 0.0


class After(enum.Enum):
    """What follows the end of an attempt."""

    END = "end"
    """The job ends in the attempt's state."""
    AGAIN = "again"
    """The job waits for its next attempt."""
    EXPIRE = "expire"
    CANCEL = "cancel"
    GIVE_UP = "give up"
    """No satellite would run it: the job ends as rejected."""


def fits_somewhere(need: Need, satellites: Iterable[SatelliteView]) -> str:
    """Why no satellite could ever run the job; empty when one could."""
    nodes = [node for satellite in satellites for node in satellite.nodes]
    if not nodes:
        return "there are no satellites"
    checks = (
        ("watts", need.power_watts, max(node.peak_watts for node in nodes)),
        ("cores", need.cores, max(node.cores for node in nodes)),
        ("bytes of memory", need.memory_bytes, max(node.memory_bytes for node in nodes)),
    )
    for unit, wanted, largest in checks:
        if wanted > largest:
            return f"it needs {wanted:,.10g} {unit}, the largest rack node has {largest:,.10g}"
    if not any(_fits(need, node) for node in nodes):
        return "no rack node has its watts, cores and memory together"
    return ""


def _fits(need: Need, node: NodeSize) -> bool:
    return need.power_watts <= node.peak_watts and need.cores <= node.cores and need.memory_bytes <= node.memory_bytes


def choose(
    need: Need,
    satellites: Iterable[SatelliteView],
    now: float,
    settings: PlacementSettings,
    avoid: frozenset[str] = frozenset(),
) -> Choice:
    """Choose the satellite with most energy and heat to spare for the job, soonest reached.

    ``avoid`` are satellites that have had the job and gave it back: they are taken only if no other can.
    """
    candidates: list[tuple[bool, bool, float, str]] = []
    reasons: list[str] = []
    for satellite in satellites:
        problem = _obstacle(need, satellite, now, settings)
        if problem:
            reasons.append(f"{satellite.name} {problem}")
            continue
        joules = spare_energy(need, satellite, now, settings)
        has_room = satellite.free_nodes > satellite.jobs_unstarted
        candidates.append((satellite.name not in avoid, has_room, joules, satellite.name))
    if not candidates:
        return Choice("", "; ".join(sorted(reasons)) or "there are no satellites")
    # Of equals the first by name, so that the choice does not depend on anybody's order.
    best = min(candidates, key=lambda candidate: (not candidate[0], not candidate[1], -candidate[2], candidate[3]))
    return Choice(best[3], f"{best[2]:,.0f} J to spare", best[2])


def _obstacle(need: Need, satellite: SatelliteView, now: float, settings: PlacementSettings) -> str:
    """Why a satellite cannot be given the job now; empty when it can."""
    if not any(_fits(need, node) for node in satellite.nodes):
        return "has no rack node large enough"
    if problem := obstacle_for_all(satellite, now, settings):
        return problem
    contact = contact_seconds(satellite, now, settings)
    if need.deadline_seconds and contact + need.expected_seconds > need.deadline_seconds:
        return "cannot finish it before its deadline"
    best = max(watts for _, watts in _minimum(satellite.power, satellite.heat))
    if best < need.power_watts * settings.least_power_ratio:
        return f"has {best:,.0f} W at best, it needs {need.power_watts:,.0f} W"
    return ""


def obstacle_for_all(satellite: SatelliteView, now: float, settings: PlacementSettings) -> str:
    """Why a satellite cannot be given any job now; empty when it can."""
    if satellite.heard_seconds is None:
        return "has not been heard yet"
    if now - satellite.heard_seconds > settings.unreachable_seconds:
        return f"was last heard {now - satellite.heard_seconds:,.0f} s ago"
    if not satellite.accepts_jobs:
        return "accepts no jobs"
    if not satellite.power or not satellite.heat:
        return "has not told its budget yet"
    if satellite.jobs_unstarted >= satellite.free_nodes + settings.waiting_per_satellite:
        return "holds as many jobs as it should"
    return ""


def contact_seconds(satellite: SatelliteView, now: float, settings: PlacementSettings) -> float:
    """When a satellite can next be told something."""
    if satellite.heard_seconds is not None and now - satellite.heard_seconds <= settings.reachable_seconds:
        return now
    if satellite.next_contact_seconds is not None:
        return max(now, satellite.next_contact_seconds)
    return now + settings.unknown_contact_seconds


def spare_energy(need: Need, satellite: SatelliteView, now: float, settings: PlacementSettings) -> float:
    """Joules that the satellite could spend on the job between its next contact and the horizon."""
    start = contact_seconds(satellite, now, settings)
    end = now + max(settings.horizon_seconds, 2 * need.expected_seconds)
    if start >= end:
        return 0.0
    budget = _minimum(satellite.power, satellite.heat)
    joules = 0.0
    covered = start
    for index, (begin, watts) in enumerate(budget):
        last = budget[index + 1][0] if index + 1 < len(budget) else max(satellite.budget_end_seconds, begin)
        low, high = max(begin, start), min(last, end)
        if high > low:
            joules += max(0.0, watts - satellite.committed_watts) * (high - low)
            covered = high
    if covered < end and budget:
        # Beyond what was told, the orbit repeats: the mean goes on.
        mean = sum(watts for _, watts in budget) / len(budget)
        joules += max(0.0, mean - satellite.committed_watts) * (end - covered)
    return joules


def _minimum(one: Profile, other: Profile) -> list[tuple[float, float]]:
    """The lesser of two profiles; before a profile begins, its first value holds."""
    if not one or not other:
        return []
    result: list[tuple[float, float]] = []
    i = j = 0
    for start in sorted({start for start, _ in one} | {start for start, _ in other}):
        while i + 1 < len(one) and one[i + 1][0] <= start:
            i += 1
        while j + 1 < len(other) and other[j + 1][0] <= start:
            j += 1
        result.append((start, min(one[i][1], other[j][1])))
    return result


def lease_end(need: Need, contact: float, settings: PlacementSettings) -> float:
    """Until when a satellite may work on a job that it will hear of at ``contact``; never beyond the deadline.

    However long the job runs: its lease is renewed while it does.
    """
    end = contact + settings.lease_seconds
    return min(end, need.deadline_seconds) if need.deadline_seconds else end


def after_attempt(  # noqa: PLR0913 - all that the decision rests on
    state: JobState,
    cause: JobCause,
    *,
    failures: int,
    rejections: int,
    attempts: int,
    deadline_seconds: float,
    is_cancelled: bool,
    now: float,
    settings: PlacementSettings,
) -> After:
    """What follows a final status. ``failures`` and ``rejections`` count the earlier attempts."""
    if state in (JobState.COMPLETED, JobState.CANCELLED):
        return After.END
    if is_cancelled:
        return After.CANCEL
    if deadline_seconds and now >= deadline_seconds:
        return After.EXPIRE
    if not may_retry(state, cause, failures + 1, attempts):
        return After.END
    is_failure_of_job = state is JobState.FAILED and not may_retry(state, cause, attempts, attempts)
    if not is_failure_of_job and rejections + 1 >= settings.rejections_maximum:
        return After.END if state is JobState.FAILED else After.GIVE_UP
    return After.AGAIN


def after_lease(*, deadline_seconds: float, is_cancelled: bool, now: float) -> After:
    """What follows when a lease and its margin are over and nothing final was heard."""
    if is_cancelled:
        return After.CANCEL
    if deadline_seconds and now >= deadline_seconds:
        return After.EXPIRE
    return After.AGAIN


def retry_delay(tries: int, settings: PlacementSettings) -> float:
    """Seconds to wait before the next attempt, after ``tries`` that failed."""
    return min(settings.retry_maximum_seconds, settings.retry_seconds * 2.0 ** max(0, min(tries, 30) - 1))
