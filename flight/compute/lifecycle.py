"""The life of a job on board: what is known of it, and what a report of its node, or the time, makes of it.

Everything here takes and returns values; :mod:`flight.compute.service` asks the nodes and keeps what is decided.
"""

from __future__ import annotations

import enum
import signal
from dataclasses import dataclass, field
from typing import cast

from flight.hal import OutputRecord, WorkReport, WorkState
from skyrack.jobs import DIRECT, JobCause, JobState
from skyrack.v1 import job_pb2

MOST_LOSSES = 5
"""A job whose node loses power this often while it runs may be what makes it do so."""

MOST_OUTPUTS_TOLD = 200
"""A status must fit one item of the backhaul; the result holds all outputs, whatever their number."""

_LONGEST_REASON = 2000

_LIMIT_CAUSES = {
    "time": (JobCause.TIME_LIMIT, "it ran into its time limit"),
    "memory": (JobCause.MEMORY_LIMIT, "it used more memory than it asked for"),
    "disk": (JobCause.DISK_LIMIT, "it wrote more than it asked for"),
    "processes": (JobCause.MEMORY_LIMIT, "it started too many processes"),
}


class Intent(enum.IntEnum):
    """Why a running job is being stopped; a greater one replaces a lesser one."""

    NONE = 0
    PREEMPT = 1
    EXPIRE = 2
    CANCEL = 3


@dataclass(slots=True)
class JobRecord:
    """What compute knows of one job: its placement, where it stands, and what it has used so far.

    ``energy_joules`` and ``run_seconds`` are of the runs that have ended; those of a run that goes on come from its
    node. ``outputs`` is told in the final status and not kept.
    """

    placement: job_pb2.JobPlacement
    sequence: int
    package_path: str = ""
    state: JobState = JobState.PLACED
    version: int = 0
    node: str = ""
    cause: JobCause = JobCause.NONE
    reason: str = ""
    intent: Intent = Intent.NONE
    intent_cause: JobCause = JobCause.NONE
    intent_reason: str = ""
    progress_ratio: float = 0.0
    energy_joules: float = 0.0
    run_seconds: float = 0.0
    preemptions: int = 0
    losses: int = 0
    exit_code: int = 0
    stderr_tail: str = ""
    not_before_seconds: float = 0.0
    outputs: tuple[OutputRecord, ...] = field(default=())
    result_path: str = ""
    result_sha256: bytes = b""
    result_bytes: int = 0

    @property
    def job_id(self) -> str:
        """The job's id, one for all attempts."""
        return self.placement.spec.job_id

    @property
    def attempt(self) -> int:
        """Which attempt this is."""
        return self.placement.attempt

    @property
    def work_id(self) -> str:
        """What the rack node knows the attempt by."""
        return f"{self.job_id}.{self.attempt}"

    def ask(self, intent: Intent, cause: JobCause, reason: str) -> bool:
        """Note why the job is to be stopped; whether that is news."""
        if intent <= self.intent:
            return False
        self.intent, self.intent_cause, self.intent_reason = intent, cause, reason
        return True


@dataclass(frozen=True, slots=True)
class Change:
    """A step in the life of a job."""

    state: JobState
    cause: JobCause = JobCause.NONE
    reason: str = ""


def due(record: JobRecord, now: float) -> tuple[JobCause, str] | None:
    """Why the job may not go on past ``now``: its lease or its deadline has ended."""
    deadline = record.placement.spec.deadline_seconds
    if 0 < deadline <= now:
        return JobCause.DEADLINE, "its deadline has come"
    if 0 < record.placement.lease_end_seconds <= now:
        return JobCause.LEASE, "its lease has ended"
    return None


def after_report(record: JobRecord, report: WorkReport | None) -> Change | None:
    """What a report of its node makes of a running job; ``None`` when it goes on running."""
    if report is None:
        reason = f"{record.node} knows nothing of it any more"
        return _ended_by_intent(record) or Change(JobState.PREEMPTED, JobCause.NODE_LOST, reason)
    if report.state is WorkState.RUNNING:
        return None
    if report.state is WorkState.LOST:
        return _after_loss(record, report)
    if report.stopped:
        before = Change(JobState.PREEMPTED, JobCause.BUDGET, "it was stopped before compute was started again")
        return _ended_by_intent(record) or before
    return _after_exit(report)


def _after_exit(report: WorkReport) -> Change:
    """It ended by itself, or at a limit."""
    if report.limit in _LIMIT_CAUSES:
        cause, reason = _LIMIT_CAUSES[report.limit]
        return Change(JobState.FAILED, cause, report.reason or reason)
    code = report.exit_code or 0
    if code == 0:
        return Change(JobState.COMPLETED)
    if code < 0:
        return Change(JobState.FAILED, JobCause.SIGNAL, report.reason or f"it was killed by {_signal(-code)}")
    return Change(JobState.FAILED, JobCause.EXIT_CODE, report.reason or f"it ended with exit code {code}")


def _after_loss(record: JobRecord, report: WorkReport) -> Change:
    by_intent = _ended_by_intent(record)
    if by_intent is not None and by_intent.state.final:
        return by_intent
    if record.losses + 1 >= MOST_LOSSES:
        reason = f"its node was lost under it {record.losses + 1} times: {report.reason}"
        return Change(JobState.FAILED, JobCause.NODE_LOST, reason)
    return Change(JobState.PREEMPTED, JobCause.NODE_LOST, report.reason or f"{record.node} was lost")


def _ended_by_intent(record: JobRecord) -> Change | None:
    if record.intent is Intent.NONE:
        return None
    states = {
        Intent.PREEMPT: JobState.PREEMPTED,
        Intent.EXPIRE: JobState.EXPIRED,
        Intent.CANCEL: JobState.CANCELLED,
    }
    return Change(states[record.intent], record.intent_cause, record.intent_reason)


def apply(record: JobRecord, change: Change, report: WorkReport | None = None) -> None:
    """Take the step, with what the node reports of the run that ended.

    Raises:
        ValueError: the table of transitions does not have it.
    """
    if change.state not in DIRECT[record.state]:
        raise ValueError(f"{record.work_id}: {record.state.name} does not become {change.state.name}")
    was_running = record.state is JobState.RUNNING
    if report is not None:
        record.energy_joules += report.energy_joules
        record.run_seconds += report.run_seconds
        record.progress_ratio = report.progress_ratio
        if report.exit_code is not None:
            record.exit_code = report.exit_code
        record.stderr_tail = report.stderr_tail
        record.outputs = report.outputs
    record.state, record.cause, record.reason = change.state, change.cause, change.reason
    record.version += 1
    if change.state is JobState.RUNNING:
        record.exit_code, record.stderr_tail, record.outputs = 0, "", ()
    if change.state is JobState.PREEMPTED and was_running:
        record.preemptions += 1
        record.losses += change.cause is JobCause.NODE_LOST
    if change.state is JobState.COMPLETED:
        record.progress_ratio = 1.0
    if change.state is not JobState.RUNNING:
        record.intent, record.intent_cause, record.intent_reason = Intent.NONE, JobCause.NONE, ""


def status_of(
    record: JobRecord, satellite: str, now: float, rate: float, running: WorkReport | None = None
) -> job_pb2.JobStatus:
    """The status that tells all of a job's present standing; ``running`` is the report of a run that goes on."""
    return job_pb2.JobStatus(
        job_id=record.job_id,
        attempt=record.attempt,
        version=record.version,
        state=cast("job_pb2.JobState", int(record.state)),
        cause=cast("job_pb2.JobCause", int(record.cause)),
        reason=record.reason[:_LONGEST_REASON],
        mission_time_seconds=now,
        satellite=satellite,
        node=record.node,
        progress_ratio=running.progress_ratio if running else record.progress_ratio,
        energy_joules=record.energy_joules + (running.energy_joules if running else 0.0),
        run_seconds=record.run_seconds + (running.run_seconds if running else 0.0),
        preemptions=record.preemptions,
        exit_code=record.exit_code,
        stderr_tail=record.stderr_tail,
        outputs=[
            job_pb2.OutputFile(path=output.path, size_bytes=output.size_bytes, sha256=output.sha256)
            for output in record.outputs[:MOST_OUTPUTS_TOLD]
        ],
        result_sha256=record.result_sha256,
        result_bytes=record.result_bytes,
        package_sha256=record.placement.spec.package_sha256,
        rate=rate,
    )


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
