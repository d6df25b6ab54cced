"""States of a job, and the one table of transitions that satellite and ground both obey.

A job is tried in attempts. Each attempt's statuses carry a version that grows by one with every status. What comes
late, twice, or from an attempt that has been replaced is *stale* and changes nothing; what the table does not allow
is *illegal*, which means that somebody has a defect or tells stories.

    SUBMITTED -> PLACED -> ACCEPTED -> RUNNING <-> PREEMPTED
                    |          |          |            |
                    +----------+----------+------------+--> COMPLETED, FAILED, EXPIRED, CANCELLED, REJECTED
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from skyrack.v1 import job_pb2

__all__ = [
    "DIRECT",
    "FINAL",
    "REACHABLE",
    "RETRYABLE",
    "JobCause",
    "JobState",
    "Standing",
    "Verdict",
    "advance",
    "may_retry",
    "standing_of",
]


class JobState(enum.IntEnum):
    """State of an attempt; the numbers are those of the contract's ``JobState``."""

    SUBMITTED = job_pb2.JOB_STATE_SUBMITTED
    """The ground has it, no satellite yet."""
    PLACED = job_pb2.JOB_STATE_PLACED
    """A satellite was chosen and a lease given."""
    ACCEPTED = job_pb2.JOB_STATE_ACCEPTED
    """The satellite holds it durably and will run it."""
    RUNNING = job_pb2.JOB_STATE_RUNNING
    PREEMPTED = job_pb2.JOB_STATE_PREEMPTED
    """Stopped by the satellite, checkpoint kept; goes on later in the same attempt."""
    COMPLETED = job_pb2.JOB_STATE_COMPLETED
    FAILED = job_pb2.JOB_STATE_FAILED
    EXPIRED = job_pb2.JOB_STATE_EXPIRED
    """Its deadline or its lease ended before it did."""
    CANCELLED = job_pb2.JOB_STATE_CANCELLED
    REJECTED = job_pb2.JOB_STATE_REJECTED
    """The satellite can never run it; the reason says why."""

    @property
    def final(self) -> bool:
        """Whether the attempt is over."""
        return self in FINAL


class JobCause(enum.IntEnum):
    """Why an attempt is in its state, for programs; the status' ``reason`` says it to people."""

    NONE = job_pb2.JOB_CAUSE_UNSPECIFIED
    EXIT_CODE = job_pb2.JOB_CAUSE_EXIT_CODE
    SIGNAL = job_pb2.JOB_CAUSE_SIGNAL
    TIME_LIMIT = job_pb2.JOB_CAUSE_TIME_LIMIT
    MEMORY_LIMIT = job_pb2.JOB_CAUSE_MEMORY_LIMIT
    DISK_LIMIT = job_pb2.JOB_CAUSE_DISK_LIMIT
    NODE_LOST = job_pb2.JOB_CAUSE_NODE_LOST
    BUDGET = job_pb2.JOB_CAUSE_BUDGET
    DEADLINE = job_pb2.JOB_CAUSE_DEADLINE
    LEASE = job_pb2.JOB_CAUSE_LEASE
    DOES_NOT_FIT = job_pb2.JOB_CAUSE_DOES_NOT_FIT
    DRAINING = job_pb2.JOB_CAUSE_DRAINING
    BAD_PACKAGE = job_pb2.JOB_CAUSE_BAD_PACKAGE
    CANCELLED = job_pb2.JOB_CAUSE_CANCELLED
    SAFE_MODE = job_pb2.JOB_CAUSE_SAFE_MODE
    INTERNAL = job_pb2.JOB_CAUSE_INTERNAL


_S = JobState
_ENDS: Final = frozenset({_S.COMPLETED, _S.FAILED, _S.EXPIRED, _S.CANCELLED})

FINAL: Final = _ENDS | {_S.REJECTED}
"""States that end an attempt."""

DIRECT: Final[dict[JobState, frozenset[JobState]]] = {
    _S.SUBMITTED: frozenset({_S.SUBMITTED, _S.PLACED, _S.EXPIRED, _S.CANCELLED, _S.REJECTED}),
    _S.PLACED: frozenset({_S.PLACED, _S.ACCEPTED, _S.FAILED, _S.EXPIRED, _S.CANCELLED, _S.REJECTED}),
    _S.ACCEPTED: frozenset({_S.ACCEPTED, _S.RUNNING, _S.FAILED, _S.EXPIRED, _S.CANCELLED}),
    _S.RUNNING: frozenset({_S.RUNNING, _S.PREEMPTED}) | _ENDS,
    _S.PREEMPTED: frozenset({_S.PREEMPTED, _S.RUNNING, _S.FAILED, _S.EXPIRED, _S.CANCELLED}),
    **{state: frozenset() for state in FINAL},
}
"""What may follow at once. A state that follows itself carries progress, not a change."""


def _closure() -> dict[JobState, frozenset[JobState]]:
    reachable: dict[JobState, frozenset[JobState]] = {}
    for state in JobState:
        found: set[JobState] = set()
        ahead = set(DIRECT[state])
        while ahead:
            step = ahead.pop()
            if step not in found:
                found.add(step)
                ahead |= DIRECT[step]
        reachable[state] = frozenset(found)
    return reachable


REACHABLE: Final = _closure()
"""What may follow at all, for a receiver that has not seen the statuses between."""

RETRYABLE: Final = frozenset(
    {
        JobCause.NODE_LOST,
        JobCause.LEASE,
        JobCause.DOES_NOT_FIT,
        JobCause.DRAINING,
        JobCause.BAD_PACKAGE,
        JobCause.SAFE_MODE,
        JobCause.INTERNAL,
    }
)
"""Causes that lie with the satellite, not with the job: another attempt elsewhere may succeed."""

_SPARE_ATTEMPTS: Final = 8


class Verdict(enum.Enum):
    """What to do with a status."""

    ACCEPTED = "accepted"
    STALE = "stale"
    ILLEGAL = "illegal"


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a job stands: its attempt, the version of the last status of it, and the state."""

    state: JobState
    attempt: int = 0
    version: int = 0


def advance(current: Standing, incoming: Standing) -> Verdict:
    """Judge a status that says ``incoming`` of a job that stands at ``current``.

    ``ACCEPTED``: take it; the job now stands at ``incoming``. ``STALE``: a duplicate, late, or of a replaced
    attempt; acknowledge and forget it. ``ILLEGAL``: no such transition exists; count it, report it, forget it.

    A greater attempt begins only with SUBMITTED or PLACED, and never after COMPLETED or CANCELLED: the party that
    places jobs makes attempts, nobody else. Within an attempt, versions that follow one another must follow the
    table; where versions are missing between (they may yet arrive, and will be stale), any path through it will do.
    """
    if incoming.attempt < current.attempt:
        return Verdict.STALE
    if incoming.attempt > current.attempt:
        begins = incoming.state in (JobState.SUBMITTED, JobState.PLACED)
        over = current.state in (JobState.COMPLETED, JobState.CANCELLED)
        return Verdict.ACCEPTED if begins and not over else Verdict.ILLEGAL
    if incoming.version <= current.version and not _is_own_placement(current, incoming):
        return Verdict.STALE
    table = DIRECT if incoming.version <= current.version + 1 else REACHABLE
    return Verdict.ACCEPTED if incoming.state in table[current.state] else Verdict.ILLEGAL


def _is_own_placement(current: Standing, incoming: Standing) -> bool:
    """SUBMITTED -> PLACED happens on the ground, before an attempt has any version."""
    return (
        incoming.version == current.version == 0
        and current.state is JobState.SUBMITTED
        and incoming.state is not JobState.SUBMITTED
    )


def standing_of(status: job_pb2.JobStatus) -> Standing:
    """Where a status says that its job stands.

    Raises:
        ValueError: its state is none that we know.
    """
    return Standing(JobState(status.state), status.attempt, status.version)


def may_retry(state: JobState, cause: JobCause, attempt: int, attempts: int) -> bool:
    """Whether the ground may place another attempt after this final status.

    ``attempts`` is how many the submitter allows for failures of the job itself (at least 1). Failures that lie with
    the satellite do not use them up, within reason.
    """
    if state not in (JobState.FAILED, JobState.EXPIRED, JobState.REJECTED):
        return False
    if cause in RETRYABLE:
        return attempt < max(1, attempts) + _SPARE_ATTEMPTS
    return state is JobState.FAILED and attempt < max(1, attempts)
