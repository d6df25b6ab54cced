"""Jobs, their attempts, and every step of their lives."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Any, Final

from ground.records import JobOutput, JobRecord, JobStep
from skyrack.jobs import JobState, Standing
from skyrack.v1 import job_pb2

__all__ = [
    "AttemptRow",
    "JobRow",
    "Todo",
    "add_step",
    "attempt",
    "begin_attempt",
    "insert",
    "job_row",
    "list_jobs",
    "load",
    "next_revision",
    "open_by_satellite",
    "open_jobs",
    "packages_in_use",
    "set_attempt_state",
    "todo",
    "totals",
    "touch",
    "trim",
    "update",
]


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


@dataclass(frozen=True, slots=True)
class Todo:
    """What there is to do."""

    waiting_jobs: int
    first_lease_end_seconds: float | None
    first_telecommand_end_seconds: float | None
    expected_results: int

    def is_due(self, now: float, margin_seconds: float) -> bool:
        """Whether a lease or a telecommand may be over."""
        ends = (self.first_lease_end_seconds, self.first_telecommand_end_seconds)
        return any(end is not None and now > end + margin_seconds for end in ends)


_SELECT: Final = (
    "SELECT job_id, spec, state, attempt, satellite, lease_end_seconds, failures, rejections, not_before_seconds, "
    "cancel_reason, submitted_seconds FROM jobs"
)
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


def next_revision(connection: sqlite3.Connection) -> int:
    """Count a change; the numbers order all changes and are never used twice."""
    ((revision,),) = connection.execute("UPDATE revisions SET revision = revision + 1 RETURNING revision").fetchall()
    return int(revision)


def insert(connection: sqlite3.Connection, spec: job_pb2.JobSpec, now: float) -> bool:
    """Keep a new job; False when the same job is there already.

    Raises:
        ValueError: another job has this id.
    """
    data = spec.SerializeToString(deterministic=True)
    known = connection.execute("SELECT spec FROM jobs WHERE job_id = ?", (spec.job_id,)).fetchone()
    if known is not None:
        if _same_job(known[0], data):
            return False
        raise ValueError(f"another job has the id {spec.job_id}; choose a new id")
    connection.execute(
        "INSERT INTO jobs (job_id, spec, state, is_open, submitted_seconds, changed_seconds, revision) "
        "VALUES (?, ?, ?, 1, ?, ?, ?)",
        (spec.job_id, data, int(JobState.SUBMITTED), now, now, next_revision(connection)),
    )
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


def job_row(connection: sqlite3.Connection, job_id: str) -> JobRow | None:
    """The job, or None."""
    row = connection.execute(f"{_SELECT} WHERE job_id = ?", (job_id,)).fetchone()
    return None if row is None else _job_row(row)


def open_jobs(connection: sqlite3.Connection) -> list[JobRow]:
    """All jobs that are not over, oldest first."""
    rows = connection.execute(f"{_SELECT} WHERE is_open = 1 ORDER BY submitted_seconds, job_id")
    return [_job_row(row) for row in rows]


def _job_row(row: tuple[Any, ...]) -> JobRow:
    return JobRow(row[0], job_pb2.JobSpec.FromString(row[1]), JobState(row[2]), *row[3:])


def update(connection: sqlite3.Connection, job_id: str, now: float, **values: Any) -> None:
    """Change columns of a job; a final state closes it."""
    if unknown := set(values) - _UPDATABLE:
        raise ValueError(f"jobs have no column {sorted(unknown)}")
    if "state" in values:
        state = JobState(values["state"])
        values["state"], values["is_open"] = int(state), int(not state.final)
        if state.final:
            values.setdefault("finished_seconds", now)
    columns = "".join(f"{name} = ?, " for name in values)
    connection.execute(
        f"UPDATE jobs SET {columns}changed_seconds = ?, revision = ? WHERE job_id = ?",  # noqa: S608
        (*values.values(), now, next_revision(connection), job_id),
    )


def begin_attempt(
    connection: sqlite3.Connection, job_id: str, number: int, satellite: str, lease_end_seconds: float, now: float
) -> None:
    """Write down a placement."""
    connection.execute(
        "INSERT INTO attempts VALUES (?, ?, ?, ?, ?, ?, 0)",
        (job_id, number, satellite, now, lease_end_seconds, int(JobState.PLACED)),
    )
    values = {"state": JobState.PLACED, "attempt": number, "satellite": satellite, "reason": "", "status": b""}
    update(connection, job_id, now, lease_end_seconds=lease_end_seconds, placed_seconds=now, **values)
    step = JobStep(number, None, JobState.PLACED.name, satellite, "", "", 0.0, now, now, is_applied=True)
    add_step(connection, job_id, step)


def attempt(connection: sqlite3.Connection, job_id: str, number: int) -> AttemptRow | None:
    """One attempt of a job, or None."""
    row = connection.execute(
        "SELECT attempt, satellite, placed_seconds, lease_end_seconds, state, version "
        "FROM attempts WHERE job_id = ? AND attempt = ?",
        (job_id, number),
    ).fetchone()
    if row is None:
        return None
    number, satellite, placed, lease_end, state, version = row
    return AttemptRow(number, satellite, placed, lease_end, JobState(state), version)


def set_attempt_state(connection: sqlite3.Connection, job_id: str, number: int, state: JobState, version: int) -> None:
    """An attempt has come further."""
    connection.execute(
        "UPDATE attempts SET state = ?, version = ? WHERE job_id = ? AND attempt = ?",
        (int(state), version, job_id, number),
    )


def touch(connection: sqlite3.Connection, job_id: str, now: float) -> None:
    """Something about the job changed that stands elsewhere."""
    update(connection, job_id, now)


def open_by_satellite(connection: sqlite3.Connection) -> dict[str, int]:
    """Number of jobs that satellites hold, by name."""
    rows = connection.execute(
        "SELECT satellite, count(*) FROM jobs WHERE is_open = 1 AND state != ? GROUP BY satellite",
        (int(JobState.SUBMITTED),),
    )
    return dict(rows.fetchall())


def todo(connection: sqlite3.Connection) -> Todo:
    """What there is to do, at a glance."""
    waiting, lease_end = connection.execute(
        "SELECT coalesce(sum(state = ?1), 0), min(CASE WHEN state != ?1 THEN lease_end_seconds END) "
        "FROM jobs WHERE is_open = 1",
        (int(JobState.SUBMITTED),),
    ).fetchone()
    (telecommand_end,) = connection.execute(
        "SELECT min(not_after_seconds) FROM telecommands WHERE is_open = 1 AND not_after_seconds > 0"
    ).fetchone()
    (expected,) = connection.execute(
        "SELECT count(*) FROM results WHERE received_seconds IS NULL AND problem = ''"
    ).fetchone()
    return Todo(waiting, lease_end, telecommand_end, expected)


def add_step(connection: sqlite3.Connection, job_id: str, step: JobStep) -> bool:
    """Keep a step of a job's life; False when this status was kept before."""
    done = connection.execute(
        "INSERT OR IGNORE INTO job_history (job_id, attempt, version, state, satellite, node, reason, progress_ratio, "
        "mission_time_seconds, received_seconds, is_applied) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            job_id,
            step.attempt,
            step.version,
            int(JobState[step.state]),
            step.satellite,
            step.node,
            step.reason,
            step.progress_ratio,
            step.mission_time_seconds,
            step.received_seconds,
            int(step.is_applied),
        ),
    )
    return done.rowcount == 1


def totals(connection: sqlite3.Connection) -> dict[str, int]:
    """Number of jobs by the name of their state."""
    rows = connection.execute("SELECT state, count(*) FROM jobs GROUP BY state ORDER BY state")
    return {JobState(state).name: count for state, count in rows}


_EXPECTED: Final = (
    "EXISTS (SELECT 1 FROM results r WHERE r.job_id = jobs.job_id AND r.received_seconds IS NULL AND r.problem = '')"
)


def packages_in_use(connection: sqlite3.Connection) -> set[bytes]:
    """Hashes of the packages of jobs that are open, or whose result is still to come."""
    rows = connection.execute(f"SELECT spec FROM jobs WHERE is_open = 1 OR {_EXPECTED}")  # noqa: S608 - a constant
    return {job_pb2.JobSpec.FromString(data).package_sha256 for (data,) in rows}


def trim(connection: sqlite3.Connection, before: float) -> None:
    """Forget jobs, with all that belongs to them, that were over before the given mission time."""
    rows = connection.execute(
        f"DELETE FROM jobs WHERE is_open = 0 AND NOT {_EXPECTED} "  # noqa: S608 - a constant
        "AND changed_seconds < ?1 AND lease_end_seconds < ?1 RETURNING job_id",
        (before,),
    ).fetchall()
    for table in ("attempts", "job_history", "results", "chunks"):
        connection.executemany(f"DELETE FROM {table} WHERE job_id = ?", rows)  # noqa: S608 - names of tables


_RECORD: Final = (
    "SELECT j.job_id, j.spec, j.state, j.attempt, j.satellite, j.lease_end_seconds, j.reason, j.cancel_reason, "
    "j.status, j.submitted_seconds, j.placed_seconds, j.started_seconds, j.finished_seconds, j.changed_seconds, "
    "j.revision, r.sha256, r.size_bytes, r.received_seconds, r.problem "
    "FROM jobs j LEFT JOIN results r ON r.job_id = j.job_id"
)


def load(connection: sqlite3.Connection, job_id: str) -> JobRecord | None:
    """A job with all of its history, or None."""
    row = connection.execute(f"{_RECORD} WHERE j.job_id = ?", (job_id,)).fetchone()
    if row is None:
        return None
    steps = connection.execute(
        "SELECT attempt, version, state, satellite, node, reason, progress_ratio, mission_time_seconds, "
        "received_seconds, is_applied FROM job_history WHERE job_id = ? ORDER BY id",
        (job_id,),
    )
    history = tuple(_step(step) for step in steps)
    return _record(row, history)


def _step(row: tuple[Any, ...]) -> JobStep:
    attempt, version, state, satellite, node, reason, progress, at, received, is_applied = row
    name = JobState(state).name
    return JobStep(attempt, version, name, satellite, node, reason, progress, at, received, bool(is_applied))


def list_jobs(connection: sqlite3.Connection, limit: int, *, only_open: bool = False) -> list[JobRecord]:
    """The newest jobs, newest last."""
    where = "WHERE j.is_open = 1 " if only_open else ""
    rows = connection.execute(f"{_RECORD} {where}ORDER BY j.submitted_seconds DESC, j.job_id DESC LIMIT ?", (limit,))
    return [_record(row) for row in reversed(rows.fetchall())]


def _record(row: tuple[Any, ...], history: tuple[JobStep, ...] = ()) -> JobRecord:
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
        submitted_seconds=row[9],
        placed_seconds=row[10],
        started_seconds=row[11],
        finished_seconds=row[12],
        changed_seconds=row[13],
        revision=row[14],
        history=history,
    )
