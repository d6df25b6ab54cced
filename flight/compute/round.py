"""What one look at nodes and jobs calls for, and how it is carried out."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import NamedTuple

from flight.compute.jobs import Jobs
from flight.compute.lifecycle import Change, Intent, JobRecord
from flight.compute.planner import Placement
from flight.hal import RackNode, WorkReport
from skyrack.jobs import JobCause


class Ask(NamedTuple):
    """A job that is to be stopped, and why."""

    record: JobRecord
    intent: Intent
    cause: JobCause
    reason: str


class Round(NamedTuple):
    """All that is to be done, in this order. ``strays`` are node and id of work that is nobody's.

    ``buried`` are ids of such work that has ended.
    """

    ended: list[tuple[JobRecord, Change, WorkReport | None]]
    strays: list[tuple[str, str]]
    buried: list[str]
    asked: list[Ask]
    caps: list[Placement]
    begun: list[tuple[JobRecord, Placement]]
    progressed: list[tuple[JobRecord, WorkReport]]


async def carry_out(
    decided: Round, jobs: Jobs, nodes: Mapping[str, RackNode], caps: MutableMapping[str, float]
) -> None:
    """Do it, except where a command has changed a job since; ``caps`` are the caps in force, by node."""
    for record, change, report in decided.ended:
        if jobs.is_open(record, running=True):
            await jobs.end(record, change, report)
    for node, work_id in decided.strays:
        jobs.replaced.add(work_id)
        await nodes[node].stop(work_id)
    for work_id in decided.buried:
        await jobs.bury(work_id)
    for ask in decided.asked:
        await jobs.ask(*ask)
    await _power(decided, jobs, nodes, caps)
    for record, report in decided.progressed:
        if jobs.is_open(record, running=True):
            await jobs.tell_progress(record, report)


async def _power(decided: Round, jobs: Jobs, nodes: Mapping[str, RackNode], caps: MutableMapping[str, float]) -> None:
    # Caps first: what one job gives up, another may be about to use.
    for item in decided.caps:
        caps[item.node] = item.cap_watts
        await nodes[item.node].set_power_cap(item.cap_watts)
    for record, item in decided.begun:
        if jobs.is_open(record, running=False):
            caps[item.node] = item.cap_watts
            await jobs.begin(record, item.node, item.cap_watts)
