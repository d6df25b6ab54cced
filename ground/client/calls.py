"""What can be asked of a ground: each question once, for whoever sends it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from skyrack.v1 import job_pb2

__all__ = ["TIMEOUT_SECONDS", "Call"]

TIMEOUT_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Call:
    """A request. All of them may be sent again: what is made carries an id that the client chose."""

    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    json: Any = None
    content: bytes | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """For httpx; the time-out allows for how long the ground was asked to wait."""
        found: dict[str, Any] = {
            "timeout": TIMEOUT_SECONDS + float(self.params.get("wait_seconds", 0)),
            "params": {name: value for name, value in self.params.items() if value not in ("", None)},
        }
        if self.json is not None:
            found["json"] = self.json
        if self.content is not None:
            found["content"] = self.content
        return found


def part(name: str) -> str:
    """A name as a part of a path."""
    return quote(name, safe="")


def package(content: bytes) -> Call:
    """Give a package."""
    return Call("PUT", f"/v1/packages/{hashlib.sha256(content).hexdigest()}", content=content)


def submit(spec: job_pb2.JobSpec, content: bytes, job_id: str) -> Call:
    """Submit a job whose package was given."""
    resources = spec.resources
    body = {
        "name": spec.name,
        "command": list(spec.command),
        "resources": {
            "power_watts": resources.power_watts,
            "cores": resources.cores,
            "memory_bytes": resources.memory_bytes,
            "disk_bytes": resources.disk_bytes,
            "expected_seconds": resources.expected_seconds,
            "limit_seconds": resources.limit_seconds,
        },
        "package_sha256": hashlib.sha256(content).hexdigest(),
        "package_bytes": len(content),
        "priority": spec.priority,
        "lifetime_seconds": spec.lifetime_seconds,
        "grace_seconds": spec.grace_seconds,
        "checkpoint": spec.checkpoint,
        "environment": list(spec.environment),
        "attempts": max(1, spec.attempts),
    }
    return Call("PUT", f"/v1/jobs/{part(job_id)}", json=body)


def job(job_id: str, after_revision: int = -1, wait_seconds: float = 0) -> Call:
    """A job with its history; waits until its revision is greater than ``after_revision``."""
    return Call("GET", f"/v1/jobs/{part(job_id)}", waiting(after_revision, wait_seconds))


def jobs(limit: int, after_revision: int = -1, wait_seconds: float = 0, **filters: Any) -> Call:
    """The newest jobs, newest last."""
    return Call("GET", "/v1/jobs", {"limit": limit, **filters, **waiting(after_revision, wait_seconds)})


def cancel(job_id: str, reason: str) -> Call:
    """Cancel a job."""
    return Call("POST", f"/v1/jobs/{part(job_id)}/cancel", json={"reason": reason})


def result(job_id: str) -> Call:
    """The tar of a job's outputs."""
    return Call("GET", f"/v1/jobs/{part(job_id)}/result")


def satellites() -> Call:
    """What is known of each satellite."""
    return Call("GET", "/v1/satellites")


def telemetry(satellite: str) -> Call:
    """The newest value of every field."""
    return Call("GET", f"/v1/satellites/{part(satellite)}/telemetry")


def send(command_id: str, submission: Mapping[str, Any]) -> Call:
    """Send a telecommand."""
    return Call("PUT", f"/v1/telecommands/{part(command_id)}", json=dict(submission))


def telecommand(command_id: str, after_revision: int = -1, wait_seconds: float = 0) -> Call:
    """A telecommand with its stages; waits as ``job`` does."""
    return Call("GET", f"/v1/telecommands/{part(command_id)}", waiting(after_revision, wait_seconds))


def telecommands(limit: int, **filters: Any) -> Call:
    """The newest telecommands, newest last."""
    return Call("GET", "/v1/telecommands", {"limit": limit, **filters})


def events(**params: Any) -> Call:
    """Events, oldest first."""
    return Call("GET", "/v1/events", params)


def order(order_id: str, signed: bytes) -> Call:
    """Bring an order that was signed here."""
    return Call("PUT", f"/v1/orders/{part(order_id)}", content=signed)


def order_of(command_id: str) -> Call:
    """A telecommand's or a sequence's order, as it is to be signed."""
    return Call("GET", f"/v1/orders/{part(command_id)}")


def approve(command_id: str, key_id: str, signature: bytes) -> Call:
    """Add a signature."""
    body = {"key_id": key_id, "signature": signature.hex()}
    return Call("POST", f"/v1/orders/{part(command_id)}/signatures", json=body)


def keys() -> Call:
    """The keys that are believed."""
    return Call("GET", "/v1/keys")


def receipt(job_id: str) -> Call:
    """What a job's satellite vouches for."""
    return Call("GET", f"/v1/jobs/{part(job_id)}/receipt")


def health() -> Call:
    """Whether the ground works."""
    return Call("GET", "/health")


def me() -> Call:
    """Who asks."""
    return Call("GET", "/v1/me")


def make_token(name: str, role: str, lifetime_seconds: float) -> Call:
    """Make a token. Sent again, it makes a second one."""
    return Call("POST", "/v1/tokens", json={"name": name, "role": role, "lifetime_seconds": lifetime_seconds})


def tokens() -> Call:
    """All tokens."""
    return Call("GET", "/v1/tokens")


def revoke_token(token_id: str) -> Call:
    """Take a token out of force."""
    return Call("DELETE", f"/v1/tokens/{part(token_id)}")


def audit(after_id: int, limit: int) -> Call:
    """Who did what."""
    return Call("GET", "/v1/audit", {"after_id": after_id, "limit": limit})


def audit_proof() -> Call:
    """Whether the audit log holds together."""
    return Call("GET", "/v1/audit/proof")


def waiting(after_revision: int, wait_seconds: float) -> dict[str, Any]:
    """What every long poll says."""
    return {"after_revision": after_revision, "wait_seconds": wait_seconds}
