"""The ground over HTTP: jobs, satellites, telecommands, events, metrics. Errors are problem details (RFC 9457)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from ground import metrics, telemetry
from ground.errors import ConflictError, UnknownError
from ground.records import EventRecord, JobRecord, SatelliteRecord, TelecommandRecord
from ground.segment import GroundSegment
from skyrack.database import StorageError
from skyrack.dictionary import build_request, command_named
from skyrack.errors import UserError
from skyrack.jobfile import PACKAGE_LIMIT_BYTES
from skyrack.v1 import job_pb2
from skyrack.v1.common_pb2 import Severity

__all__ = ["JobSubmission", "TelecommandSubmission", "make_app"]

T = TypeVar("T")

Limit = Annotated[int, Query(ge=1, le=1000)]
Wait = Annotated[float, Query(ge=0, le=60, description="Wall seconds to wait for something newer")]
Revision = Annotated[int, Query(ge=-1, description="Wait until the revision is greater than this")]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Resources(_Model):
    """What a job needs of a rack node; durations in mission seconds."""

    power_watts: float = Field(gt=0, allow_inf_nan=False)
    cores: int = Field(1, ge=1, le=1024)
    memory_bytes: int = Field(0, ge=0, lt=1 << 63)
    disk_bytes: int = Field(0, ge=0, lt=1 << 63)
    expected_seconds: float = Field(0, ge=0, allow_inf_nan=False)
    limit_seconds: float = Field(0, ge=0, allow_inf_nan=False)


class JobSubmission(_Model):
    """A job. Its package was put to ``/v1/packages`` before."""

    name: str = Field(min_length=1, max_length=64)
    command: list[str] = Field(min_length=1, max_length=256)
    resources: Resources
    package_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    package_bytes: int = Field(ge=1, le=PACKAGE_LIMIT_BYTES)
    submitter: str = Field("", max_length=64)
    priority: int = Field(50, ge=0, le=100)
    lifetime_seconds: float = Field(0, ge=0, allow_inf_nan=False, description="Until its deadline; 0 is none")
    grace_seconds: float = Field(10, ge=0, le=3600, allow_inf_nan=False)
    checkpoint: bool = False
    environment: list[str] = Field([], max_length=256)
    attempts: int = Field(1, ge=1, le=11)

    def spec(self, job_id: str) -> job_pb2.JobSpec:
        """The job in the words of the contract."""
        plain = self.model_dump(exclude={"package_sha256", "resources"})
        return job_pb2.JobSpec(
            job_id=job_id,
            package_sha256=bytes.fromhex(self.package_sha256),
            resources=job_pb2.JobResources(**self.resources.model_dump()),
            **plain,
        )


class Cancellation(_Model):
    """Why a job is cancelled."""

    reason: str = Field("cancelled by a person", max_length=200)


class TelecommandSubmission(_Model):
    """A command of the dictionary; arguments as a person types them."""

    satellite: str
    method: str
    service: str = ""
    arguments: dict[str, str] = {}
    submitter: str = Field("", max_length=64)
    lifetime_seconds: float = Field(0, ge=0, allow_inf_nan=False)


def make_app(segment: GroundSegment, instance: str = "", host: str = "127.0.0.1") -> FastAPI:  # noqa: C901, PLR0915 - one table of routes
    """The HTTP interface of an open segment; ``host`` is where it listens."""
    app = FastAPI(title="Skyrack ground", version="1", docs_url="/docs", redoc_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost", "::1", "[::1]", "ground", host])
    _add_problem_handlers(app)

    async def newer(read: Callable[[], Awaitable[T]], is_newer: Callable[[T], bool], wait_seconds: float) -> T:
        """What is read, as soon as it is newer, at the latest after the wait."""
        loop = asyncio.get_running_loop()
        end = loop.time() + wait_seconds
        while True:
            waiter = segment.changed.waiter()
            try:
                found = await read()
                left = end - loop.time()
                if left <= 0 or is_newer(found) or segment.is_closing:
                    return found
                await asyncio.wait([waiter], timeout=left)
            finally:
                waiter.cancel()

    @app.get("/health", tags=["ground"])
    async def health() -> dict[str, Any]:
        """Whether the ground works, and which it is."""
        return {
            "status": "ok",
            "instance": instance,
            "mission_time_seconds": segment.clock.now(),
            "rate": segment.clock.rate,
            "is_connected": segment.link.connected,
        }

    @app.get("/metrics", tags=["ground"], response_class=Response)
    async def prometheus() -> Response:
        """Metrics for Prometheus."""
        text = await metrics.exposition(segment)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/v1/ledger", tags=["ground"])
    async def ledger() -> dict[str, Any]:
        """What the ground's side of delivery says of all streams."""
        sent, received = await segment.ledgers()
        return {"sent": sent, "received": received}

    @app.put("/v1/packages/{sha256}", tags=["jobs"], status_code=204)
    async def put_package(sha256: str, request: Request) -> None:
        """Keep a package: the body, whose SHA-256 the address names."""
        content = bytearray()
        async for piece in request.stream():
            content += piece
            if len(content) > PACKAGE_LIMIT_BYTES:
                raise UserError(f"the package is larger than {PACKAGE_LIMIT_BYTES:,} bytes")
        found = (await segment.keep_package(bytes(content))).hex()
        if found != sha256.lower():
            raise UserError(f"the package's SHA-256 is {found}, not {sha256[:64]}; send it again")

    @app.put("/v1/jobs/{job_id}", tags=["jobs"])
    async def put_job(job_id: str, submission: JobSubmission) -> JobRecord:
        """Submit a job under an id of the client's choice; the same again changes nothing."""
        return await segment.submit(submission.spec(job_id))

    @app.get("/v1/jobs", tags=["jobs"])
    async def list_jobs(
        limit: Limit = 200, *, only_open: bool = False, after_revision: Revision = -1, wait_seconds: Wait = 0
    ) -> list[JobRecord]:
        """The newest jobs, newest last."""
        return await newer(
            lambda: segment.jobs(limit, only_open=only_open),
            lambda records: any(record.revision > after_revision for record in records),
            wait_seconds,
        )

    @app.get("/v1/jobs/{job_id}", tags=["jobs"])
    async def get_job(job_id: str, after_revision: Revision = -1, wait_seconds: Wait = 0) -> JobRecord:
        """A job with its history."""
        return await newer(lambda: segment.job(job_id), lambda record: record.revision > after_revision, wait_seconds)

    @app.post("/v1/jobs/{job_id}/cancel", tags=["jobs"])
    async def cancel_job(job_id: str, cancellation: Cancellation) -> JobRecord:
        """Stop a job and end it as cancelled."""
        return await segment.cancel(job_id, cancellation.reason)

    @app.get("/v1/jobs/{job_id}/result", tags=["jobs"], response_class=Response)
    async def get_result(job_id: str) -> Response:
        """The tar of a job's outputs."""
        return Response(await segment.result(job_id), media_type="application/x-tar")

    @app.get("/v1/satellites", tags=["satellites"])
    async def satellites() -> list[SatelliteRecord]:
        """What is known of each satellite."""
        return await segment.satellites()

    @app.get("/v1/satellites/{satellite}/telemetry", tags=["satellites"])
    async def latest(satellite: str) -> list[telemetry.TelemetryValue]:
        """The newest value of every field."""
        return telemetry.values(segment, satellite)

    @app.put("/v1/telecommands/{command_id}", tags=["telecommands"])
    async def put_telecommand(command_id: str, submission: TelecommandSubmission) -> TelecommandRecord:
        """Send a command under an id of the client's choice; the same again changes nothing."""
        command = command_named(submission.method)
        return await segment.send(
            submission.satellite,
            command.name,
            build_request(command, submission.arguments),
            service=submission.service,
            command_id=command_id,
            submitter=submission.submitter,
            lifetime_seconds=submission.lifetime_seconds,
        )

    @app.get("/v1/telecommands", tags=["telecommands"])
    async def list_telecommands(limit: Limit = 200, satellite: str = "") -> list[TelecommandRecord]:
        """The newest telecommands, newest last."""
        return await segment.telecommands(limit, satellite)

    @app.get("/v1/telecommands/{command_id}", tags=["telecommands"])
    async def get_telecommand(
        command_id: str, after_revision: Revision = -1, wait_seconds: Wait = 0
    ) -> TelecommandRecord:
        """A telecommand with its stages."""
        return await newer(
            lambda: segment.telecommand(command_id), lambda record: record.revision > after_revision, wait_seconds
        )

    @app.get("/v1/events", tags=["events"])
    async def list_events(
        after_id: Annotated[int, Query(ge=-1, lt=1 << 62, description="Only events after this one")] = -1,
        limit: Limit = 100,
        satellite: str = "",
        severity: Annotated[str, Query(description="The least that is wanted: INFO, WARNING...")] = "",
        wait_seconds: Wait = 0,
    ) -> list[EventRecord]:
        """Events, oldest first; without ``after_id`` the newest."""
        least = 0
        if severity:
            known = [name.removeprefix("SEVERITY_") for name in Severity.keys()]  # noqa: SIM118 - no mapping
            if severity.upper() not in known:
                raise UserError(f'severity is "{severity}", must be one of {", ".join(known[1:])}')
            least = Severity.Value(f"SEVERITY_{severity.upper()}")
        return await newer(
            lambda: segment.events(after_id=after_id, limit=limit, satellite=satellite, severity=least),
            bool,
            wait_seconds,
        )

    return app


def _add_problem_handlers(app: FastAPI) -> None:
    statuses: tuple[tuple[type[Exception], int, str], ...] = (
        (UnknownError, 404, "not found"),
        (ConflictError, 409, "conflict"),
        (UserError, 422, "bad input"),
        (StorageError, 503, "storage failed"),
        (OSError, 503, "storage failed"),
    )

    def handler(status: int, title: str) -> Callable[[Request, Exception], Response]:
        return lambda _, error: _problem(status, title, str(error))

    for kind, status, title in statuses:
        app.add_exception_handler(kind, handler(status, title))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        sentences = [
            f"{'.'.join(map(str, item['loc'][1:])) or item['loc'][0]}: {item['msg']}" for item in error.errors()
        ]
        return _problem(422, "bad input", "; ".join(sentences))

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> Response:
        return _problem(error.status_code, "refused", str(error.detail))


def _problem(status: int, title: str, detail: str) -> Response:
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return JSONResponse(body, status, media_type="application/problem+json")
