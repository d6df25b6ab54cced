"""The client of programs without asyncio, the command line above all: answers are the interface's JSON."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import httpx

from ground.client import calls
from ground.client.calls import Call
from ground.client.errors import check, no_ground, unreachable
from ground.client.find import Address
from skyrack.v1 import job_pb2

__all__ = ["SkyrackClient", "headers_of", "is_settled", "verification_of"]


def is_settled(job: Mapping[str, Any]) -> bool:
    """Nothing more will come of a job: it is final, and its result here, or not to be had."""
    is_complete = job["result_received_seconds"] is not None or job["result_problem"]
    return bool(job["is_final"] and (not job["result_sha256"] or is_complete))


def headers_of(address: Address) -> dict[str, str]:
    """What every request says."""
    return {"Authorization": f"Bearer {address.token}"} if address.token else {}


def verification_of(address: Address) -> ssl.SSLContext | bool:
    """Whom to believe when the ground speaks HTTPS."""
    if not address.ca:
        return address.url.startswith("https")
    context = ssl.create_default_context(cafile=address.ca)
    # A ground that runs here names its own certificate: believed as it is, whoever signed it.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


class SkyrackClient:
    """Asks one ground; a context manager. All methods raise ``UnreachableError`` and ``GroundError``.

    What is submitted carries an id that the caller chose, so that trying again never does a thing twice.
    """

    def __init__(self, address: Address | str, transport: httpx.BaseTransport | None = None) -> None:
        found = Address.parse(address) if isinstance(address, str) else address
        self.url = found.url
        self._http = httpx.Client(
            base_url=found.url,
            headers=headers_of(found),
            transport=transport,
            trust_env=False,
            verify=verification_of(found),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def submit(self, spec: job_pb2.JobSpec, package: bytes, job_id: str) -> dict[str, Any]:
        """Send a package and its job."""
        self._call(calls.package(package))
        return self._object(calls.submit(spec, package, job_id))

    def job(self, job_id: str, after_revision: int = -1, wait_seconds: float = 0) -> dict[str, Any]:
        """A job with its history; waits until its revision is greater than ``after_revision``."""
        return self._object(calls.job(job_id, after_revision, wait_seconds))

    def jobs(
        self, limit: int = 200, *, after_revision: int = -1, wait_seconds: float = 0, **filters: Any
    ) -> list[dict[str, Any]]:
        """The newest jobs, newest last; filters as those of the interface."""
        return self._list(calls.jobs(limit, after_revision, wait_seconds, **filters))

    def cancel(self, job_id: str, reason: str) -> dict[str, Any]:
        """Cancel a job."""
        return self._object(calls.cancel(job_id, reason))

    def result(self, job_id: str) -> bytes:
        """The tar of a job's outputs."""
        return self._call(calls.result(job_id)).content

    def package(self, content: bytes) -> None:
        """Send a package."""
        self._call(calls.package(content))

    def receipt(self, job_id: str) -> dict[str, Any]:
        """What a job's satellite vouches for."""
        return self._object(calls.receipt(job_id))

    def order(self, order_id: str, signed: bytes) -> dict[str, Any]:
        """Bring an order that was signed here."""
        return self._object(calls.order(order_id, signed))

    def order_of(self, command_id: str) -> bytes:
        """A telecommand's or a sequence's order, as it is to be signed."""
        return self._call(calls.order_of(command_id)).content

    def approve(self, command_id: str, key_id: str, signature: bytes) -> dict[str, Any]:
        """Add a signature to what lacks one."""
        return self._object(calls.approve(command_id, key_id, signature))

    def keys(self) -> dict[str, Any]:
        """The keys that are believed, and which satellites know of them."""
        return self._object(calls.keys())

    def satellites(self) -> list[dict[str, Any]]:
        """What is known of each satellite."""
        return self._list(calls.satellites())

    def telemetry(self, satellite: str) -> list[dict[str, Any]]:
        """The newest value of every field."""
        return self._list(calls.telemetry(satellite))

    def send(self, command_id: str, submission: Mapping[str, Any]) -> dict[str, Any]:
        """Send a telecommand."""
        return self._object(calls.send(command_id, submission))

    def telecommand(self, command_id: str, after_revision: int = -1, wait_seconds: float = 0) -> dict[str, Any]:
        """A telecommand with its stages; waits as ``job`` does."""
        return self._object(calls.telecommand(command_id, after_revision, wait_seconds))

    def events(self, **params: str | float) -> list[dict[str, Any]]:
        """Events, oldest first."""
        return self._list(calls.events(**params))

    def health(self) -> dict[str, Any]:
        """Whether the ground works."""
        return self._object(calls.health())

    def ask(self, call: Call) -> Any:
        """Whatever else can be asked: the JSON of the answer."""
        response = self._call(call)
        try:
            return response.json()
        except ValueError:
            raise no_ground(self.url) from None

    @contextmanager
    def streaming(self, call: Call) -> Iterator[Iterator[bytes]]:
        """A long answer, piece by piece, within the context."""
        try:
            with self._http.stream(call.method, call.path, **call.arguments) as response:
                if not response.is_success:
                    response.read()
                check(response, self.url)
                yield response.iter_bytes()
        except httpx.HTTPError as error:
            raise unreachable(self.url, error) from None

    def _object(self, call: Call) -> dict[str, Any]:
        found: dict[str, Any] = self.ask(call)
        return found

    def _list(self, call: Call) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask(call)
        return found

    def _call(self, call: Call) -> httpx.Response:
        try:
            response = self._http.request(call.method, call.path, **call.arguments)
        except httpx.HTTPError as error:
            raise unreachable(self.url, error) from None
        check(response, self.url)
        return response
