"""What can be asked of a ground about queues of commands and sequences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ground.client.calls import Call, part, waiting

__all__ = ["abort", "hold", "queues", "release", "run_sequence", "sequence", "sequences", "telecommands", "withdraw"]


def queues() -> Call:
    """What waits for each satellite."""
    return Call("GET", "/v1/queues")


def hold(satellite: str, reason: str) -> Call:
    """Let no command leave for a satellite. Sent again, it is a conflict."""
    return Call("POST", f"/v1/queues/{part(satellite)}/hold", json={"reason": reason})


def release(satellite: str) -> Call:
    """Let what waits leave again. Sent again, it is a conflict."""
    return Call("POST", f"/v1/queues/{part(satellite)}/release")


def withdraw(command_id: str, reason: str) -> Call:
    """Take back a telecommand that has not left."""
    return Call("POST", f"/v1/telecommands/{part(command_id)}/withdraw", json={"reason": reason})


def telecommands(limit: int, satellite: str) -> Call:
    """The newest telecommands, newest last."""
    return Call("GET", "/v1/telecommands", {"limit": limit, "satellite": satellite})


def run_sequence(sequence_id: str, submission: Mapping[str, Any]) -> Call:
    """Run a sequence."""
    return Call("PUT", f"/v1/sequences/{part(sequence_id)}", json=dict(submission))


def sequences(limit: int, **filters: Any) -> Call:
    """The newest sequences, newest last, without their steps."""
    return Call("GET", "/v1/sequences", {"limit": limit, **filters})


def sequence(sequence_id: str, after_revision: int = -1, wait_seconds: float = 0) -> Call:
    """A sequence with its steps; waits until its revision is greater than ``after_revision``."""
    return Call("GET", f"/v1/sequences/{part(sequence_id)}", waiting(after_revision, wait_seconds))


def abort(sequence_id: str, reason: str) -> Call:
    """End a sequence early."""
    return Call("POST", f"/v1/sequences/{part(sequence_id)}/abort", json={"reason": reason})
