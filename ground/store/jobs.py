"""Jobs, their attempts, and every step of their lives, as placing and relaying change them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import bindparam, delete, exists, or_, select
from sqlalchemy import update as change

from ground.connection import Connection
from ground.records import JobStep
from ground.store.job_records import list_jobs, load, totals
from ground.store.revisions import next_revision
from ground.store.schema import (
    IS_EXPECTED,
    IS_OPEN,
    attempts,
    job_history,
    jobs,
    results,
)
from ground.store.upsert import insert as insert_into
from skyrack.jobs import JobState, Standing
from skyrack.orders import Verified, signer_text
from skyrack.v1 import job_pb2

__all__ = [
    "SELECT_ROW",
    "AttemptRow",
    "JobRow",
    "Place",
    "add_step",
    "attempt",
    "begin_attempt",
    "insert",
    "job_row",
    "list_jobs",
    "load",
    "next_revision",
    "open_jobs",
    "packages_in_use",
    "row_of",
    "set_attempt_state",
    "totals",
    "touch",
    "trim",
    "update",
]


Place = tuple[int, float, str]
"""(priority, submitted_seconds, job_id): where a job stands in the queue."""


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job as placement needs it."""

    job_id: str
    spec: job_pb2.JobSpec
    state: JobState
    attempt: int
    satellite: str
    lease_end_seconds: float
    failures: int
    rejections: int
    not_before_seconds: float
    cancel_reason: str | None
    submitted_seconds: float

    @property
    def place(self) -> Place:
        """Where the job stands in the queue."""
        return self.spec.priority, self.submitted_seconds, self.job_id


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """An attempt of a job on one satellite."""

    attempt: int
    satellite: str
    placed_seconds: float
    lease_end_seconds: float
    state: JobState
    version: int

    @property
    def standing(self) -> Standing:
        """Where the attempt stands in the transition table."""
        return Standing(self.state, self.attempt, self.version)


SELECT_ROW: Final = select(
    jobs.c.job_id,
    jobs.c.spec,
    jobs.c.state,
    jobs.c.attempt,
    jobs.c.satellite,
    jobs.c.lease_end_seconds,
    jobs.c.failures,
    jobs.c.rejections,
    jobs.c.not_before_seconds,
    jobs.c.cancel_reason,
    jobs.c.submitted_seconds,
)
_ONE: Final = SELECT_ROW.where(jobs.c.job_id == bindparam("job_id"))
_OPEN: Final = SELECT_ROW.where(IS_OPEN).order_by(jobs.c.submitted_seconds, jobs.c.job_id)
_ATTEMPT: Final = select(
    attempts.c.attempt,
    attempts.c.satellite,
    attempts.c.placed_seconds,
    attempts.c.lease_end_seconds,
    attempts.c.state,
    attempts.c.version,
).where(attempts.c.job_id == bindparam("job_id"), attempts.c.attempt == bindparam("attempt"))
_ADD_STEP: Final = insert_into(job_history).on_conflict_do_nothing()
_UPDATABLE: Final = frozenset(
    [
        "state",
        "attempt",
        "satellite",
        "lease_end_seconds",
        "failures",
        "rejections",
        "not_before_seconds",
        "cancel_reason",
        "reason",
        "status",
        "placed_seconds",
        "started_seconds",
        "finished_seconds",
    ]
)


def signed_order(connection: Connection, job_id: str) -> bytes:
    """The order of a job, as its submitter signed it; empty where the ground stands for the submitter."""
    return connection.execute(select(jobs.c.signed_order).where(jobs.c.job_id == job_id)).scalar() or b""


def last_status(connection: Connection, job_id: str) -> job_pb2.JobStatus | None:
    """What was last heard of a job's present attempt; None where there is no such job."""
    found = connection.execute(select(jobs.c.status).where(jobs.c.job_id == job_id)).scalar()
    return None if found is None else job_pb2.JobStatus.FromString(found)


def insert(connection: Connection, order: Verified, now: float, *, is_ours: bool) -> bool:
    """Keep a new job; False when the same job is there already.

    With ``is_ours`` the ground stands for its submitter, and signs again whenever it places the job.

    Raises:
        ValueError: another job has this id.
    """
    spec = order.order.job
    data = spec.SerializeToString(deterministic=True)
    known = connection.execute(select(jobs.c.spec).where(jobs.c.job_id == spec.job_id)).scalar()
    if known is not None:
        if _same_job(known, data):
            return False
        raise ValueError(f"another job has the id {spec.job_id}; choose a new id")
    row = {
        "job_id": spec.job_id,
        "spec": data,
        "priority": spec.priority,
        "power_watts": spec.resources.power_watts,
        "deadline_seconds": spec.deadline_seconds,
        "state": int(JobState.SUBMITTED),
        "is_open": 1,
        "status": b"",
        "submitted_seconds": now,
        "changed_seconds": now,
        "revision": next_revision(connection),
        "signed_order": None if is_ours else order.data,
        "signed_by": signer_text(order),
    }
    connection.execute(insert_into(jobs), row)
    step = JobStep(0, None, JobState.SUBMITTED.name, "", "", "", 0.0, now, now, is_applied=True)
    add_step(connection, spec.job_id, step)
    return True


def _same_job(one: bytes, other: bytes) -> bool:
    """Equal in all that the submitter said; the ground adds when it was submitted."""
    specs = [job_pb2.JobSpec.FromString(data) for data in (one, other)]
    for spec in specs:
        spec.submitted_seconds = 0
        if spec.lifetime_seconds:
            spec.deadline_seconds = 0
    return specs[0] == specs[1]


def job_row(connection: Connection, job_id: str) -> JobRow | None:
    """The job, or None."""
    row = connection.execute(_ONE, {"job_id": job_id}).first()
    return None if row is None else row_of(row)


def open_jobs(connection: Connection) -> list[JobRow]:
    """All jobs that are not over, oldest first."""
    return [row_of(row) for row in connection.execute(_OPEN)]


def row_of(row: Sequence[Any]) -> JobRow:
    """A row of ``SELECT_ROW``."""
    return JobRow(row[0], job_pb2.JobSpec.FromString(row[1]), JobState(row[2]), *row[3:])


def update(connection: Connection, job_id: str, now: float, **values: Any) -> None:
    """Change columns of a job; a final state closes it."""
    if unknown := set(values) - _UPDATABLE:
        raise ValueError(f"jobs have no column {sorted(unknown)}")
    if "state" in values:
        state = JobState(values["state"])
        values["state"], values["is_open"] = int(state), int(not state.final)
        if state.final:
            values.setdefault("finished_seconds", now)
    values |= {"changed_seconds": now, "revision": next_revision(connection)}
    connection.execute(change(jobs).where(jobs.c.job_id == job_id).values(values))


def begin_attempt(
    connection: Connection, job_id: str, number: int, satellite: str, lease_end_seconds: float, now: float
) -> None:
    """Write down a placement."""
    row = {
        "job_id": job_id,
        "attempt": number,
        "satellite": satellite,
        "placed_seconds": now,
        "lease_end_seconds": lease_end_seconds,
        "state": int(JobState.PLACED),
    }
    connection.execute(insert_into(attempts), row)
    values = {"state": JobState.PLACED, "attempt": number, "satellite": satellite, "reason": "", "status": b""}
    update(connection, job_id, now, lease_end_seconds=lease_end_seconds, placed_seconds=now, **values)
    step = JobStep(number, None, JobState.PLACED.name, satellite, "", "", 0.0, now, now, is_applied=True)
    add_step(connection, job_id, step)


def attempt(connection: Connection, job_id: str, number: int) -> AttemptRow | None:
    """One attempt of a job, or None."""
    row = connection.execute(_ATTEMPT, {"job_id": job_id, "attempt": number}).first()
    if row is None:
        return None
    number, satellite, placed, lease_end, state, version = row
    return AttemptRow(number, satellite, placed, lease_end, JobState(state), version)


def set_attempt_state(connection: Connection, job_id: str, number: int, state: JobState, version: int) -> None:
    """An attempt has come further."""
    connection.execute(
        change(attempts)
        .where(attempts.c.job_id == job_id, attempts.c.attempt == number)
        .values(state=int(state), version=version)
    )


def touch(connection: Connection, job_id: str, now: float) -> None:
    """Something about the job changed that stands elsewhere."""
    update(connection, job_id, now)


def add_step(connection: Connection, job_id: str, step: JobStep) -> bool:
    """Keep a step of a job's life; False when this status was kept before."""
    row = {
        "job_id": job_id,
        "attempt": step.attempt,
        "version": step.version,
        "state": int(JobState[step.state]),
        "satellite": step.satellite,
        "node": step.node,
        "reason": step.reason,
        "progress_ratio": step.progress_ratio,
        "mission_time_seconds": step.mission_time_seconds,
        "received_seconds": step.received_seconds,
        "is_applied": int(step.is_applied),
    }
    return connection.execute(_ADD_STEP, row).rowcount == 1


_HAS_EXPECTED: Final = exists().where(results.c.job_id == jobs.c.job_id, IS_EXPECTED)


def packages_in_use(connection: Connection) -> set[bytes]:
    """Hashes of the packages of jobs that are open, or whose result is still to come."""
    specs = connection.execute(select(jobs.c.spec).where(or_(IS_OPEN, _HAS_EXPECTED))).scalars()
    return {job_pb2.JobSpec.FromString(data).package_sha256 for data in specs}


def trim(connection: Connection, before: float) -> None:
    """Forget jobs, with all that belongs to them, that were over before the given mission time."""
    is_old = (jobs.c.changed_seconds < before) & (jobs.c.lease_end_seconds < before)
    forgotten = connection.execute(
        delete(jobs).where(jobs.c.is_open == 0, ~_HAS_EXPECTED, is_old).returning(jobs.c.job_id)
    ).scalars()
    old = [{"old": job_id} for job_id in forgotten]
    for table in (attempts, job_history, results) if old else ():
        connection.execute(delete(table).where(table.c.job_id == bindparam("old")), old)
