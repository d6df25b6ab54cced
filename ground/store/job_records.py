"""Jobs as people see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from sqlalchemy import ColumnElement, bindparam, func, literal, select, tuple_

from ground.connection import Connection
from ground.records import JobOutput, JobRecord, JobStep
from ground.store.schema import IS_OPEN, job_history, jobs, results
from skyrack.jobs import JobState
from skyrack.v1 import job_pb2

__all__ = ["EVERYTHING", "JobFilter", "list_jobs", "load", "totals"]

_RECORD: Final = select(
    jobs.c.job_id,
    jobs.c.spec,
    jobs.c.state,
    jobs.c.attempt,
    jobs.c.satellite,
    jobs.c.lease_end_seconds,
    jobs.c.reason,
    jobs.c.cancel_reason,
    jobs.c.status,
    jobs.c.submitted_seconds,
    jobs.c.placed_seconds,
    jobs.c.started_seconds,
    jobs.c.finished_seconds,
    jobs.c.changed_seconds,
    jobs.c.revision,
    results.c.sha256,
    results.c.size_bytes,
    results.c.received_seconds,
    results.c.problem,
    jobs.c.signed_by,
).select_from(jobs.outerjoin(results, results.c.job_id == jobs.c.job_id))
_NEWEST: Final = (jobs.c.submitted_seconds.desc(), jobs.c.job_id.desc())
_ONE: Final = _RECORD.where(jobs.c.job_id == bindparam("job_id"))
_STEPS: Final = (
    select(
        job_history.c.attempt,
        job_history.c.version,
        job_history.c.state,
        job_history.c.satellite,
        job_history.c.node,
        job_history.c.reason,
        job_history.c.progress_ratio,
        job_history.c.mission_time_seconds,
        job_history.c.received_seconds,
        job_history.c.is_applied,
    )
    .where(job_history.c.job_id == bindparam("job_id"))
    .order_by(job_history.c.id)
)


def totals(connection: Connection) -> dict[str, int]:
    """Number of jobs by the name of their state."""
    counts = select(jobs.c.state, func.count()).group_by(jobs.c.state).order_by(jobs.c.state)
    return {JobState(state).name: count for state, count in connection.execute(counts)}


def load(connection: Connection, job_id: str) -> JobRecord | None:
    """A job with all of its history, or None."""
    row = connection.execute(_ONE, {"job_id": job_id}).first()
    if row is None:
        return None
    history = tuple(_step(step) for step in connection.execute(_STEPS, {"job_id": job_id}))
    return _record(row, history)


def _step(row: Sequence[Any]) -> JobStep:
    attempt, version, state, satellite, node, reason, progress, at, received, is_applied = row
    name = JobState(state).name
    return JobStep(attempt, version, name, satellite, node, reason, progress, at, received, bool(is_applied))


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs are wanted; empty and None are all. Times in mission seconds."""

    state: str = ""
    submitter: str = ""
    satellite: str = ""
    submitted_from_seconds: float | None = None
    submitted_until_seconds: float | None = None
    # In one of these states.
    states: tuple[str, ...] = ()
    # Every one of these stands in its name, id, satellite, submitter or state; lower case.
    words: tuple[str, ...] = ()
    # Only jobs before this place in the order of submission: (submitted_seconds, job_id).
    before: tuple[float, str] | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """What a row must be; name and submitter stand in the specification only."""
        found: list[ColumnElement[bool]] = []
        if self.state:
            found.append(jobs.c.state == int(JobState[self.state]))
        if self.states:
            found.append(jobs.c.state.in_([int(JobState[state]) for state in self.states]))
        if self.satellite:
            found.append(jobs.c.satellite == self.satellite)
        if self.submitted_from_seconds is not None:
            found.append(jobs.c.submitted_seconds >= self.submitted_from_seconds)
        if self.submitted_until_seconds is not None:
            found.append(jobs.c.submitted_seconds < self.submitted_until_seconds)
        if self.before is not None:
            found.append(tuple_(jobs.c.submitted_seconds, jobs.c.job_id) < tuple_(*map(literal, self.before)))
        return found

    @property
    def asks_specification(self) -> bool:
        """Whether a row alone does not tell."""
        return bool(self.submitter or self.words)

    def takes(self, job_id: str, spec: job_pb2.JobSpec, state: int, satellite: str) -> bool:
        """Whether a job is wanted whose row is."""
        if self.submitter and spec.submitter != self.submitter:
            return False
        text = f"{spec.name} {job_id} {satellite} {spec.submitter} {JobState(state).name}".lower()
        return all(word in text for word in self.words)


EVERYTHING: Final = JobFilter()


def list_jobs(
    connection: Connection, limit: int, *, only_open: bool = False, wanted: JobFilter = EVERYTHING
) -> list[JobRecord]:
    """The newest jobs, newest last."""
    conditions = [*wanted.conditions(), *([IS_OPEN] if only_open else [])]
    if wanted.asks_specification:
        conditions = [jobs.c.job_id.in_(_matching(connection, limit, wanted, conditions))]
    rows = connection.execute(_RECORD.where(*conditions).order_by(*_NEWEST).limit(limit)).fetchall()
    return [_record(row) for row in reversed(rows)]


def _matching(
    connection: Connection, limit: int, wanted: JobFilter, conditions: Sequence[ColumnElement[bool]]
) -> list[str]:
    """Ids of the newest jobs that a filter takes, by their specifications alone."""
    statement = select(jobs.c.job_id, jobs.c.spec, jobs.c.state, jobs.c.satellite).where(*conditions)
    rows = connection.execute(statement.order_by(*_NEWEST)).fetchall()
    found = (row[0] for row in rows if wanted.takes(row[0], job_pb2.JobSpec.FromString(row[1]), row[2], row[3]))
    return list(islice(found, limit))


def _record(row: Sequence[Any], history: tuple[JobStep, ...] = ()) -> JobRecord:
    spec = job_pb2.JobSpec.FromString(row[1])
    state = JobState(row[2])
    status = job_pb2.JobStatus.FromString(row[8])
    return JobRecord(
        job_id=row[0],
        name=spec.name,
        submitter=spec.submitter,
        command=tuple(spec.command),
        power_watts=spec.resources.power_watts,
        cores=spec.resources.cores,
        priority=spec.priority,
        deadline_seconds=spec.deadline_seconds,
        state=state.name,
        is_final=state.final,
        attempt=row[3],
        satellite=row[4],
        node=status.node,
        lease_end_seconds=row[5],
        reason=row[6],
        cancel_requested=row[7] is not None,
        progress_ratio=status.progress_ratio,
        energy_joules=status.energy_joules,
        run_seconds=status.run_seconds,
        preemptions=status.preemptions,
        exit_code=status.exit_code,
        stderr_tail=status.stderr_tail,
        outputs=tuple(JobOutput(out.path, out.size_bytes, out.sha256.hex()) for out in status.outputs),
        package_sha256=spec.package_sha256.hex(),
        package_bytes=spec.package_bytes,
        result_sha256=(row[15] or b"").hex(),
        result_bytes=row[16] or 0,
        result_received_seconds=row[17],
        result_problem=row[18] or "",
        signed_by=row[19],
        is_verified=bool(status.receipt),
        submitted_seconds=row[9],
        placed_seconds=row[10],
        started_seconds=row[11],
        finished_seconds=row[12],
        changed_seconds=row[13],
        revision=row[14],
        history=history,
    )
