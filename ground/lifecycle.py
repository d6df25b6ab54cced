"""How a job's record moves on: a status arrived, a lease ended, somebody cancelled. One transaction each."""

from __future__ import annotations

from dataclasses import dataclass

from ground.connection import Connection
from ground.placement import After, PlacementSettings, after_attempt, after_lease, retry_delay
from ground.records import JobStep
from ground.store import events, files, jobs
from skyrack.jobs import JobCause, JobState, Verdict, advance, standing_of
from skyrack.v1 import common_pb2, job_pb2

__all__ = ["Note", "attempt_lost", "cancel", "expire_waiting", "lease_over", "note", "take_status"]


@dataclass(frozen=True, slots=True)
class Note:
    """Something that the ground itself wants people to know."""

    name: str
    severity: int
    text: str
    satellite: str = ""


def note(connection: Connection, found: Note, now: float, **fields: str) -> None:
    """Keep an event of the ground's."""
    events.add(
        connection,
        satellite=found.satellite,
        source="ground",
        name=found.name,
        severity=found.severity,
        text=found.text,
        fields=fields,
        mission_time_seconds=now,
        received_seconds=now,
    )


def take_status(
    connection: Connection, source: str, status: job_pb2.JobStatus, now: float, settings: PlacementSettings
) -> Verdict:
    """Apply what a satellite says of a job.

    Only the satellite that holds the job's present attempt is believed; all else is kept in the history and changes
    nothing.
    """
    row = jobs.job_row(connection, status.job_id)
    attempt = jobs.attempt(connection, status.job_id, status.attempt)
    if row is None or attempt is None or attempt.satellite != source:
        claim = f"{source} reports on job {status.job_id}, attempt {status.attempt}, which it was never given"
        note(connection, Note("job_status_refused", common_pb2.SEVERITY_WARNING, claim, source), now)
        return Verdict.ILLEGAL
    try:
        incoming = standing_of(status)
    except ValueError:
        text = f"{source} reports job {status.job_id} in state {status.state}, which does not exist"
        note(connection, Note("job_status_refused", common_pb2.SEVERITY_WARNING, text, source), now)
        return Verdict.ILLEGAL
    fenced = status.attempt != row.attempt or attempt.state.final or row.state.final
    verdict = Verdict.STALE if fenced else advance(attempt.standing, incoming)
    step = JobStep(
        attempt=status.attempt,
        version=status.version,
        state=incoming.state.name,
        satellite=source,
        node=status.node,
        reason=status.reason,
        progress_ratio=status.progress_ratio,
        mission_time_seconds=status.mission_time_seconds,
        received_seconds=now,
        is_applied=verdict is Verdict.ACCEPTED,
    )
    jobs.add_step(connection, row.job_id, step)
    if verdict is Verdict.ILLEGAL:
        text = f"{source} reports job {row.job_id} {incoming.state.name} after {attempt.state.name}"
        note(connection, Note("job_status_illegal", common_pb2.SEVERITY_WARNING, text, source), now)
    if verdict is Verdict.ACCEPTED:
        jobs.set_attempt_state(connection, row.job_id, status.attempt, incoming.state, status.version)
        values: dict[str, object] = {"reason": status.reason, "status": status.SerializeToString()}
        if incoming.state is JobState.RUNNING and attempt.state in (JobState.PLACED, JobState.ACCEPTED):
            values["started_seconds"] = status.mission_time_seconds
        if incoming.state.final:
            _finish(connection, row, status, now, settings, values)
        else:
            jobs.update(connection, row.job_id, now, state=incoming.state, **values)
    return verdict


def _finish(
    connection: Connection,
    row: jobs.JobRow,
    status: job_pb2.JobStatus,
    now: float,
    settings: PlacementSettings,
    values: dict[str, object],
) -> None:
    state, cause = JobState(status.state), _cause(status.cause)
    reason = status.reason
    if state is JobState.COMPLETED and status.package_sha256 not in (b"", row.spec.package_sha256):
        state, cause = JobState.FAILED, JobCause.INTERNAL
        reason = f"{row.satellite} ran another package than the one that was submitted"
        note(connection, Note("job_result_refused", common_pb2.SEVERITY_ERROR, reason, row.satellite), now)
    after = after_attempt(
        state,
        cause,
        failures=row.failures,
        rejections=row.rejections,
        attempts=row.spec.attempts,
        deadline_seconds=row.spec.deadline_seconds,
        is_cancelled=row.cancel_reason is not None,
        now=now,
        settings=settings,
    )
    if after is After.END and state is JobState.COMPLETED and status.result_sha256:
        files.expect_result(connection, row.job_id, row.attempt, status.result_sha256, status.result_bytes)
    ended = status.mission_time_seconds
    _follow(connection, row, after, state, reason, now, settings, {**values, "finished_seconds": ended})


def _cause(number: int) -> JobCause:
    try:
        return JobCause(number)
    except ValueError:  # a newer satellite knows more causes
        return JobCause.NONE


def _follow(
    connection: Connection,
    row: jobs.JobRow,
    after: After,
    state: JobState,
    reason: str,
    now: float,
    settings: PlacementSettings,
    values: dict[str, object],
) -> None:
    """Put into the record what ``placement`` decided."""
    ends = {
        After.END: state,
        After.EXPIRE: JobState.EXPIRED,
        After.CANCEL: JobState.CANCELLED,
        After.GIVE_UP: JobState.REJECTED,
    }
    if after is not After.AGAIN:
        end = ends[after]
        if after is After.EXPIRE and state is not JobState.EXPIRED:
            reason = f"its deadline passed; the last attempt ended {state.name}: {reason}"
        if after is After.CANCEL:
            reason = row.cancel_reason or "cancelled"
        jobs.update(connection, row.job_id, now, **{"finished_seconds": now, **values, "state": end, "reason": reason})
        if end is not state:
            _ground_step(connection, row, end, reason, now)
        return
    is_failure = state is JobState.FAILED and row.failures + 1 < row.spec.attempts
    failures, rejections = row.failures + int(is_failure), row.rejections + int(not is_failure)
    wait = retry_delay(failures + rejections, settings)
    reason = f"attempt {row.attempt} on {row.satellite} ended {state.name}: {reason or 'no reason given'}"
    values.pop("finished_seconds", None)
    jobs.update(
        connection,
        row.job_id,
        now,
        **{
            **values,
            "state": JobState.SUBMITTED,
            "reason": reason,
            "failures": failures,
            "rejections": rejections,
            "not_before_seconds": now + wait,
        },
    )
    _ground_step(connection, row, JobState.SUBMITTED, f"{reason}; it will be tried again", now)


def _ground_step(connection: Connection, row: jobs.JobRow, state: JobState, reason: str, now: float) -> None:
    step = JobStep(row.attempt, None, state.name, "", "", reason, 0.0, now, now, is_applied=True)
    jobs.add_step(connection, row.job_id, step)


def lease_over(connection: Connection, row: jobs.JobRow, now: float, settings: PlacementSettings) -> None:
    """The lease and its margin ended and nothing final was heard: from here on the attempt is fenced."""
    reason = f"nothing final was heard from {row.satellite} before its lease ended"
    _end_attempt(connection, row, "job_lease_ended", reason, now, settings)


def attempt_lost(
    connection: Connection, row: jobs.JobRow, reason: str, now: float, settings: PlacementSettings
) -> None:
    """The satellite that was given the attempt does not hold it: from here on the attempt is fenced."""
    _end_attempt(connection, row, "job_forgotten", reason, now, settings)


def _end_attempt(
    connection: Connection,
    row: jobs.JobRow,
    event: str,
    reason: str,
    now: float,
    settings: PlacementSettings,
) -> None:
    attempt = jobs.attempt(connection, row.job_id, row.attempt)
    version = attempt.version if attempt else 0
    jobs.set_attempt_state(connection, row.job_id, row.attempt, JobState.EXPIRED, version)
    after = after_lease(deadline_seconds=row.spec.deadline_seconds, is_cancelled=row.cancel_reason is not None, now=now)
    text = f"job {row.job_id}: {reason}"
    note(connection, Note(event, common_pb2.SEVERITY_WARNING, text, row.satellite), now)
    _follow(connection, row, after, JobState.EXPIRED, reason, now, settings, {})


def expire_waiting(connection: Connection, row: jobs.JobRow, now: float) -> None:
    """The deadline passed while the job waited on the ground."""
    reason = "its deadline passed before a satellite could run it"
    jobs.update(connection, row.job_id, now, state=JobState.EXPIRED, reason=reason)
    _ground_step(connection, row, JobState.EXPIRED, reason, now)


def cancel(connection: Connection, row: jobs.JobRow, reason: str, now: float) -> job_pb2.JobCancel | None:
    """Somebody cancelled the job. Returns what its satellite must be told, if a satellite has it."""
    if row.state.final or row.cancel_reason is not None:
        return None
    if row.state is JobState.SUBMITTED:
        jobs.update(connection, row.job_id, now, state=JobState.CANCELLED, reason=reason, cancel_reason=reason)
        _ground_step(connection, row, JobState.CANCELLED, reason, now)
        return None
    jobs.update(connection, row.job_id, now, cancel_reason=reason)
    _ground_step(connection, row, row.state, f"cancellation asked for: {reason}", now)
    return job_pb2.JobCancel(job_id=row.job_id, attempt=row.attempt, reason=reason)
