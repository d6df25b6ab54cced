"""What the planner is shown of records and nodes."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence

from flight.compute.lifecycle import Intent, JobRecord
from flight.compute.planner import JobView, NodeView
from flight.hal import NodeState
from skyrack.jobs import JobState
from skyrack.satellite import RackNode
from skyrack.v1 import compute_pb2


def job_view(record: JobRecord, rate: float) -> JobView:
    """A job as the planner sees it."""
    spec = record.placement.spec
    return JobView(
        job_id=record.job_id,
        priority=spec.priority,
        deadline_seconds=spec.deadline_seconds,
        sequence=record.sequence,
        power_watts=spec.resources.power_watts,
        cores=max(1, spec.resources.cores),
        memory_bytes=spec.resources.memory_bytes,
        stop_seconds=spec.grace_seconds * rate,
        node=record.node if record.state is JobState.RUNNING else "",
        not_before_seconds=record.not_before_seconds or -math.inf,
    )


def node_views(
    designs: Sequence[RackNode],
    states: Mapping[str, NodeState],
    records: Iterable[JobRecord],
    silent: Collection[str] = (),
) -> list[NodeView]:
    """Nodes as the planner sees them; one whose work is ending, or is not ours, is blocked, and so is a silent one.

    What runs on a node that is silent for a while runs on; but nothing can be begun there.
    """
    expected = {
        record.work_id for record in records if record.state is JobState.RUNNING and record.intent is Intent.NONE
    }
    return [
        NodeView(
            name=node.name,
            idle_watts=node.idle_watts,
            peak_watts=node.peak_watts,
            cores=node.cores,
            memory_bytes=node.memory_bytes,
            powered=node.name in states and states[node.name].powered,
            blocked=node.name in states
            and (
                not expected.issuperset(states[node.name].running)
                or (node.name in silent and not states[node.name].running)
            ),
            draw_watts=states[node.name].draw_watts if node.name in states else 0.0,
        )
        for node in designs
    ]


def node_status(name: str, state: NodeState | None, job_id: str) -> compute_pb2.RackNodeStatus:
    """A node as it is told."""
    if state is None:
        return compute_pb2.RackNodeStatus(node=name)
    return compute_pb2.RackNodeStatus(
        node=name,
        powered=state.powered,
        draw_watts=state.draw_watts,
        cap_watts=state.cap_watts,
        job_id=job_id,
        jobs_running=len(state.running),
    )
