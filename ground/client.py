"""A client of the ground's HTTP interface, and how it finds the ground that runs here."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import quote

import httpx

from skyrack.errors import UserError
from skyrack.v1 import job_pb2

__all__ = ["GroundError", "SkyrackClient", "UnreachableError", "find_ground", "is_settled"]

HOME: Final = Path(".skyrack")
_TIMEOUT_SECONDS: Final = 30.0


class UnreachableError(UserError):
    """No ground answers."""


class GroundError(UserError):
    """The ground refused, and said why."""

    def __init__(self, detail: str, status: int) -> None:
        super().__init__(detail)
        self.status = status


def is_settled(job: Mapping[str, Any]) -> bool:
    """Nothing more will come of a job: it is final, and its result here, or not to be had."""
    is_complete = job["result_received_seconds"] is not None or job["result_problem"]
    return bool(job["is_final"] and (not job["result_sha256"] or is_complete))


def find_ground(url: str = "", home: Path = HOME) -> str:
    """Address of the ground: the one given, else ``SKYRACK_GROUND``, else the newest that runs below ``home``.

    Raises:
        UnreachableError: none runs here; the message says how to start one.
    """
    given = url or os.environ.get("SKYRACK_GROUND", "")
    if given:
        if not given.startswith(("http://", "https://")):
            raise UserError(f'ground "{given}": an address like http://127.0.0.1:8080 is needed')
        return given
    records = sorted(home.glob("*/ground.json"), key=_modified, reverse=True)
    for path in records:
        found = _alive(path)
        if found:
            return found
    where = home.resolve()
    raise UnreachableError(
        f"no ground runs here (looked in {where}): start one with `skyrack up`, or name one with --ground URL"
    )


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _alive(path: Path) -> str:
    """The address in the file, if the process that wrote it lives."""
    try:
        record = json.loads(path.read_text())
        os.kill(int(record["pid"]), 0)
        return str(record["url"])
    except PermissionError:
        return str(record["url"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


class SkyrackClient:
    """Asks one ground; a context manager. All methods raise ``UnreachableError`` and ``GroundError``.

    What is submitted carries an id that the caller chose, so that trying again never does a thing twice.
    """

    def __init__(self, url: str, transport: httpx.BaseTransport | None = None) -> None:
        self.url = url
        self._http = httpx.Client(base_url=url, timeout=_TIMEOUT_SECONDS, transport=transport, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def submit(self, spec: job_pb2.JobSpec, package: bytes, job_id: str, submitter: str = "") -> dict[str, Any]:
        """Send a package and its job."""
        sha256 = hashlib.sha256(package).hexdigest()
        self._call("PUT", f"/v1/packages/{sha256}", content=package)
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
            "package_sha256": sha256,
            "package_bytes": len(package),
            "submitter": submitter,
            "priority": spec.priority,
            "lifetime_seconds": spec.lifetime_seconds,
            "grace_seconds": spec.grace_seconds,
            "checkpoint": spec.checkpoint,
            "environment": list(spec.environment),
            "attempts": max(1, spec.attempts),
        }
        return self._object("PUT", f"/v1/jobs/{_part(job_id)}", json=body)

    def job(self, job_id: str, after_revision: int = -1, wait_seconds: float = 0) -> dict[str, Any]:
        """A job with its history; waits until its revision is greater than ``after_revision``."""
        return self._object("GET", f"/v1/jobs/{_part(job_id)}", params=_waiting(after_revision, wait_seconds))

    def jobs(
        self, limit: int = 200, *, only_open: bool = False, after_revision: int = -1, wait_seconds: float = 0
    ) -> list[dict[str, Any]]:
        """The newest jobs, newest last."""
        params = {"limit": limit, "only_open": only_open, **_waiting(after_revision, wait_seconds)}
        return self._list("GET", "/v1/jobs", params=params)

    def cancel(self, job_id: str, reason: str) -> dict[str, Any]:
        """Cancel a job."""
        return self._object("POST", f"/v1/jobs/{_part(job_id)}/cancel", json={"reason": reason})

    def result(self, job_id: str) -> bytes:
        """The tar of a job's outputs."""
        return self._call("GET", f"/v1/jobs/{_part(job_id)}/result").content

    def satellites(self) -> list[dict[str, Any]]:
        """What is known of each satellite."""
        return self._list("GET", "/v1/satellites")

    def telemetry(self, satellite: str) -> list[dict[str, Any]]:
        """The newest value of every field."""
        return self._list("GET", f"/v1/satellites/{_part(satellite)}/telemetry")

    def send(self, command_id: str, submission: Mapping[str, Any]) -> dict[str, Any]:
        """Send a telecommand."""
        return self._object("PUT", f"/v1/telecommands/{_part(command_id)}", json=dict(submission))

    def telecommand(self, command_id: str, after_revision: int = -1, wait_seconds: float = 0) -> dict[str, Any]:
        """A telecommand with its stages; waits as ``job`` does."""
        return self._object(
            "GET", f"/v1/telecommands/{_part(command_id)}", params=_waiting(after_revision, wait_seconds)
        )

    def events(self, **params: str | float) -> list[dict[str, Any]]:
        """Events, oldest first."""
        return self._list("GET", "/v1/events", params=params)

    def health(self) -> dict[str, Any]:
        """Whether the ground works."""
        return self._object("GET", "/health")

    def _object(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        found: dict[str, Any] = self._json(method, path, arguments)
        return found

    def _list(self, method: str, path: str, **arguments: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._json(method, path, arguments)
        return found

    def _json(self, method: str, path: str, arguments: Mapping[str, Any]) -> Any:
        response = self._call(method, path, **arguments)
        try:
            return response.json()
        except ValueError:
            raise UnreachableError(f"what answers at {self.url} is no ground; name another with --ground URL") from None

    def _call(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        wait = (arguments.get("params") or {}).get("wait_seconds", 0)
        try:
            response = self._http.request(method, path, timeout=_TIMEOUT_SECONDS + float(wait), **arguments)
        except httpx.HTTPError as error:
            raise UnreachableError(
                f"the ground at {self.url} does not answer ({error or type(error).__name__}): "
                "start it with `skyrack up`, or name another with --ground URL"
            ) from None
        if response.is_success:
            return response
        try:
            detail = str(response.json()["detail"])
        except (ValueError, KeyError, TypeError):
            detail = f"the ground answered {response.status_code}: {response.text[:200]}"
        raise GroundError(detail, response.status_code)


def _waiting(after_revision: int, wait_seconds: float) -> dict[str, Any]:
    return {"after_revision": after_revision, "wait_seconds": wait_seconds}


def _part(name: str) -> str:
    return quote(name, safe="")
