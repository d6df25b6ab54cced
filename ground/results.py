"""Results that have come down, checked against the hash that the satellite announced, and noted in their jobs."""

from __future__ import annotations

from typing import Final

from ground.connection import Connection
from ground.lifecycle import Note, note
from ground.records import JobRecord
from ground.store import files, jobs
from skyrack.delivery.blocks import store
from skyrack.v1 import common_pb2

__all__ = ["collect", "why_none"]

_CAME: Final = (
    "SELECT r.job_id, r.sha256, w.sha256, w.state, w.problem FROM results r"
    " JOIN files_wanted_for f ON f.job_id = r.job_id AND f.attempt = r.attempt"
    " JOIN files_wanted w ON w.source = f.source AND w.sha256 = f.sha256"
    " WHERE r.received_seconds IS NULL AND r.problem = '' AND w.state <> :receiving ORDER BY 1, 3"
)


def collect(connection: Connection, now: float) -> int:
    """Note every expected result that has come, or never will; returns how many were settled."""
    settled: dict[str, str] = {}
    for job_id, announced, sha256, state, problem in connection.execute(
        _CAME, {"receiving": store.RECEIVING}
    ).fetchall():
        if bytes(sha256) != bytes(announced):
            settled.setdefault(job_id, "what came has another SHA-256 than the satellite announced")
        else:
            settled[job_id] = problem if state == store.REFUSED else ""
    for job_id, problem in settled.items():
        _settle(connection, job_id, problem, now)
    return len(settled)


def why_none(record: JobRecord) -> str:
    """Why there is no result to give of a job."""
    if record.result_problem:
        return record.result_problem
    if record.result_sha256:
        return "its result is still coming down"
    return "it left no result" if record.is_final else "it has no result yet"


def _settle(connection: Connection, job_id: str, problem: str, now: float) -> None:
    if problem:
        files.refuse_result(connection, job_id, problem)
        text = f"result of job {job_id}: {problem}"
        note(connection, Note("job_result_damaged", common_pb2.SEVERITY_ERROR, text), now)
    else:
        files.complete_result(connection, job_id, now)
    jobs.touch(connection, job_id, now)
