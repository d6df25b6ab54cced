"""Receipts: a satellite vouches for what ran, what came of it, and what it took.

A receipt goes with a final status and says the same; it can be kept, and verified years later, without the status.
"""

from __future__ import annotations

from google.protobuf.message import DecodeError

from skyrack.signing import RECEIPT, KeyRing, Right, SigningKey, VerificationError
from skyrack.v1.job_pb2 import JobReceipt, JobStatus

__all__ = ["attach", "problem_of", "strip"]

_SAME = (
    "job_id",
    "attempt",
    "satellite",
    "node",
    "state",
    "package_sha256",
    "result_sha256",
    "result_bytes",
    "energy_joules",
    "run_seconds",
    "exit_code",
)
"""Fields that a status and its receipt share. The outputs are in the result, whose hash is among them."""


def attach(status: JobStatus, key: SigningKey) -> None:
    """Give a final status its receipt, signed with the satellite's key."""
    receipt = JobReceipt(finished_seconds=status.mission_time_seconds)
    for name in _SAME:
        setattr(receipt, name, getattr(status, name))
    status.receipt = receipt.SerializeToString(deterministic=True)
    status.receipt_key_id = key.key_id
    status.receipt_signature = key.sign(RECEIPT, status.receipt)


def strip(status: JobStatus) -> None:
    """Take the receipt off, as it proves nothing."""
    for name in ("receipt", "receipt_key_id", "receipt_signature"):
        status.ClearField(name)


def problem_of(status: JobStatus, source: str, ring: KeyRing, now: float) -> str:
    """Why a status' receipt proves nothing; empty when the satellite ``source`` vouches for what the status says."""
    if not status.receipt:
        return f"{source} gave no receipt for it"
    try:
        entry = ring.verify(RECEIPT, status.receipt, status.receipt_signature, status.receipt_key_id, now)
    except VerificationError as error:
        return f"its receipt is not to be believed: {error}"
    if entry.name != source or Right.SATELLITE not in entry.rights:
        return f"its receipt was signed by {entry.name}, not by {source}"
    try:
        receipt = JobReceipt.FromString(status.receipt)
    except DecodeError:
        return "its receipt cannot be read"
    different = [name for name in _SAME if getattr(receipt, name) != getattr(status, name)]
    if receipt.satellite != source:
        different.append("satellite")
    return f"its receipt says otherwise of {', '.join(different)}" if different else ""
