"""Whether a job can ever run here; if not, the sentence that says why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flight.compute.planner import JobView, NodeView, Settings, suits
from flight.compute.profile import Profile
from skyrack.jobs import JobCause

LONG_HORIZON_SECONDS = 3000.0
"""A budget that looks this far ahead has seen the better part of an orbit: what it never offers will not come."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a job is rejected."""

    cause: JobCause
    reason: str


def refuse(
    job: JobView,
    *,
    now: float,
    lease_end_seconds: float,
    nodes: Sequence[NodeView],
    budget: Profile | None,
    settings: Settings,
    draining: bool,
) -> Refusal | None:
    """``None`` when the job can be accepted."""
    if draining:
        return Refusal(JobCause.DRAINING, "the satellite is draining and accepts no new jobs")
    if 0 < lease_end_seconds <= now:
        return Refusal(JobCause.LEASE, f"its lease ended {now - lease_end_seconds:.0f} s ago")
    if 0 < job.deadline_seconds <= now:
        return Refusal(JobCause.DEADLINE, f"its deadline was {now - job.deadline_seconds:.0f} s ago")
    fitting = [node for node in nodes if suits(job, node)]
    if not fitting:
        return Refusal(JobCause.DOES_NOT_FIT, _too_large(job, nodes))
    if budget is not None and budget.end - now >= LONG_HORIZON_SECONDS:
        idle = sum(node.idle_watts for node in nodes)
        most = budget.highest(now) * (1.0 - settings.margin_ratio) - idle
        least = min(max(0.0, job.power_watts - node.idle_watts) for node in fitting) * settings.least_power_ratio
        if least > most:
            minutes = (budget.end - now) / 60
            reason = (
                f"it needs {job.power_watts:.0f} W, at least {least:.0f} W beyond the nodes' idle draw; "
                f"the budget of the next {minutes:.0f} min never leaves more than {max(0.0, most):.0f} W"
            )
            return Refusal(JobCause.DOES_NOT_FIT, reason)
    return None


def _too_large(job: JobView, nodes: Sequence[NodeView]) -> str:
    """Name the first resource that no node has enough of."""
    cores = max((node.cores for node in nodes), default=0)
    memory = max((node.memory_bytes for node in nodes), default=0)
    watts = max((node.peak_watts for node in nodes), default=0.0)
    if job.cores > cores:
        return f"it needs {job.cores} cores; the largest node has {cores}"
    if job.memory_bytes > memory:
        return f"it needs {job.memory_bytes:,} bytes of memory; the largest node has {memory:,}"
    if job.power_watts > watts:
        return f"it needs {job.power_watts:g} W; the largest node draws {watts:g} W at most"
    return "no node has all of the cores, memory and watts that it needs"
