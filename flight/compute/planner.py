"""Which job runs on which rack node under which power cap.

Jobs are served in one order: priority, then deadline, then submission. Each gets its watts, or a cap not under
``least_power_ratio`` of them, where the budget allows that for as long as the job would need to stop; so a job is
stopped, lowest in the order first, before the budget falls under what runs. A node runs one job at a time.

A node without a job draws its idle watts, which no plan can avoid; a job is charged what it adds to them.
"""

from __future__ import annotations

import enum
import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from flight.compute.profile import Profile


@dataclass(frozen=True, slots=True)
class NodeView:
    """A rack node as the planner sees it. ``blocked`` by work that is still ending, which may draw ``draw_watts``."""

    name: str
    idle_watts: float
    peak_watts: float
    cores: int
    memory_bytes: int
    powered: bool = True
    blocked: bool = False
    draw_watts: float = 0.0


@dataclass(frozen=True, slots=True)
class JobView:
    """A job that waits or runs. ``power_watts`` is what its node draws while it runs at full speed.

    ``stop_seconds`` is the mission time that it may need to stop: its grace at the clock's rate.
    """

    job_id: str
    priority: int
    deadline_seconds: float
    sequence: int
    power_watts: float
    cores: int
    memory_bytes: int
    stop_seconds: float
    node: str = ""
    not_before_seconds: float = -math.inf

    @property
    def order(self) -> tuple[float, float, int]:
        """Smaller is served first."""
        return (-self.priority, self.deadline_seconds if self.deadline_seconds > 0 else math.inf, self.sequence)


@dataclass(frozen=True, slots=True)
class Settings:
    """How careful the plan is."""

    margin_ratio: float = 0.05
    lead_seconds: float = 10.0
    # A job is not begun for less than this, nor on an edge of the budget: stopping and going on costs work.
    least_run_seconds: float = 60.0
    least_power_ratio: float = 0.5
    # What a job must find free beyond its need to begin, so that a budget that trembles does not stop and start it.
    hysteresis_ratio: float = 0.03


class StopReason(enum.Enum):
    """Why the plan stops a job."""

    BUDGET = "the budget falls"
    YIELDS = "a job before it needs the node"


@dataclass(frozen=True, slots=True)
class Placement:
    """Run this job on this node, drawing at most this."""

    job_id: str
    node: str
    cap_watts: float


@dataclass(frozen=True, slots=True)
class Plan:
    """What should run from now on, and what should be stopped first."""

    run: tuple[Placement, ...]
    stop: tuple[tuple[str, StopReason], ...]


NOTHING = Plan((), ())


def suits(job: JobView, node: NodeView) -> bool:
    """Whether the node is large enough for the job."""
    return node.cores >= job.cores and node.memory_bytes >= job.memory_bytes and node.peak_watts >= job.power_watts


def plan(now: float, budget: Profile, nodes: Sequence[NodeView], jobs: Sequence[JobView], settings: Settings) -> Plan:
    """Plan from ``now`` on. Equal arguments give equal plans, in whatever order nodes and jobs come."""
    if not jobs:
        return NOTHING
    by_name = {node.name: node for node in nodes}
    idle = sum(node.idle_watts for node in nodes if node.powered)
    ending = sum(max(0.0, node.draw_watts - node.idle_watts) for node in nodes if node.blocked and node.powered)
    ordered = sorted(jobs, key=lambda job: job.order)
    holders = {job.node: job for job in ordered if job.node}
    free = sorted(
        (node for node in nodes if node.powered and not node.blocked and node.name not in holders),
        key=lambda node: (node.peak_watts, node.name),
    )
    taken = idle + ending
    run: list[Placement] = []
    stop: list[tuple[str, StopReason]] = []
    evicted: set[str] = set()
    for job in ordered:
        if job.job_id in evicted:
            stop.append((job.job_id, StopReason.YIELDS))
            continue
        running = bool(job.node)
        if not running and job.not_before_seconds > now:
            continue
        left = budget.lowest(now, now + _horizon(job, settings)) * (1.0 - settings.margin_ratio) - taken
        node = by_name.get(job.node) if running else _choose(job, free, ordered, by_name, evicted)
        if node is None:
            continue
        added = _granted(job, node, left, settings, running=running)
        if added is None:
            if running:
                stop.append((job.job_id, StopReason.BUDGET))
            continue
        if not running and node.name in holders:
            # The node's holder comes later in the order: it stops first, and the node is used when it is free.
            evicted.add(holders[node.name].job_id)
            taken += added
            continue
        taken += added
        run.append(Placement(job.job_id, node.name, node.idle_watts + added))
        if not running:
            free.remove(node)
    return Plan(tuple(run), tuple(stop))


def holds_until(now: float, budget: Profile, jobs: Sequence[JobView], settings: Settings) -> float:
    """Until when a plan made now stays the same, if nothing but time changes."""
    moments = [job.not_before_seconds for job in jobs if job.not_before_seconds > now]
    for horizon in {0.0, *(_horizon(job, settings) for job in jobs)}:
        step = bisect_right(budget.starts, now + horizon)
        if step < len(budget.starts):
            moments.append(budget.starts[step] - horizon)
    return min(moments, default=math.inf)


def _horizon(job: JobView, settings: Settings) -> float:
    """How far ahead the budget must hold for a job to run now."""
    least_run = 0.0 if job.node else settings.least_run_seconds
    return job.stop_seconds + settings.lead_seconds + least_run


def _granted(job: JobView, node: NodeView, left: float, settings: Settings, *, running: bool) -> float | None:
    """Watts that the job may add to its node's idle draw, or ``None`` when too few are left."""
    wanted = max(0.0, job.power_watts - node.idle_watts)
    least = wanted * settings.least_power_ratio
    needed = least if running else least * (1.0 + settings.hysteresis_ratio)
    if left < needed or left < 0.0:
        return None
    return min(wanted, left)


def _choose(
    job: JobView, free: list[NodeView], ordered: list[JobView], by_name: dict[str, NodeView], evicted: set[str]
) -> NodeView | None:
    """The smallest free node that suits, else the node of the last job in the order that comes after this one."""
    for node in free:
        if suits(job, node):
            return node
    for holder in reversed(ordered):
        if holder.priority >= job.priority:
            # Only a higher priority is worth the work that stopping costs.
            return None
        held = by_name.get(holder.node) if holder.node and holder.job_id not in evicted else None
        if held is not None and held.powered and not held.blocked and suits(job, held):
            return held
    return None
