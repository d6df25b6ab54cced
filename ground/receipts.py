"""Results are believed when their satellite vouches for them."""

from __future__ import annotations

from typing import Any

from ground.lifecycle import Note, note
from skyrack import receipts
from skyrack.jobs import JobState
from skyrack.signing import KeyRing
from skyrack.v1 import common_pb2, job_pb2
from skyrack.v1.job_pb2 import JobReceipt, JobStatus

__all__ = ["check", "document"]


def check(connection: Any, source: str, status: JobStatus, ring: KeyRing, now: float) -> None:
    """Verify the receipt of a final status; what proves nothing is taken off it.

    A job that is said to be completed without a valid receipt has failed: its result is refused, and an event and the
    job's record say so.
    """
    try:
        is_final = JobState(status.state).final
    except ValueError:  # the lifecycle refuses it
        return
    problem = receipts.problem_of(status, source, ring, now) if is_final else ""
    if is_final and not problem:
        return
    is_news = bool(status.receipt) or status.state == job_pb2.JOB_STATE_COMPLETED
    receipts.strip(status)
    if not is_final or not is_news:
        return
    if status.state == job_pb2.JOB_STATE_COMPLETED:
        status.state = job_pb2.JOB_STATE_FAILED
        status.cause = job_pb2.JOB_CAUSE_INTERNAL
        status.reason = f"its result is refused: {problem}"
        status.ClearField("result_sha256")
        status.ClearField("result_bytes")
    text = f"job {status.job_id}, attempt {status.attempt}: {problem}"
    note(connection, Note("job_receipt_refused", common_pb2.SEVERITY_ERROR, text, source), now, job_id=status.job_id)


def document(status: JobStatus, ring: KeyRing) -> dict[str, Any] | None:
    """A receipt for people and for other programs: what it says, and what is needed to verify it without Skyrack.

    ``None`` when the status has none.
    """
    if not status.receipt:
        return None
    receipt = JobReceipt.FromString(status.receipt)
    entry = ring.get(status.receipt_key_id)
    return {
        "job_id": receipt.job_id,
        "attempt": receipt.attempt,
        "satellite": receipt.satellite,
        "node": receipt.node,
        "state": JobState(receipt.state).name,
        "package_sha256": receipt.package_sha256.hex(),
        "result_sha256": receipt.result_sha256.hex(),
        "result_bytes": receipt.result_bytes,
        "energy_joules": receipt.energy_joules,
        "run_seconds": receipt.run_seconds,
        "finished_seconds": receipt.finished_seconds,
        "exit_code": receipt.exit_code,
        "signature": {
            "algorithm": "Ed25519 over the ASCII text 'skyrack receipt 1', a zero byte, and the receipt",
            "receipt": status.receipt.hex(),
            "signature": status.receipt_signature.hex(),
            "key_id": status.receipt_key_id,
            "public_key": entry.public.hex() if entry else "",
        },
    }
