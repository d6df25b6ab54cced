"""Packages, jobs and their results."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from ground.api.common import Model, Researcher, Revision, Segment, Viewer, Wait, about, newer
from ground.api.paging import NEXT_LINK, Cursor, link_next, place_of
from ground.records import JobRecord
from ground.store.job_records import JobFilter
from skyrack.errors import UserError
from skyrack.jobfile import PACKAGE_LIMIT_BYTES
from skyrack.jobs import JobState
from skyrack.v1 import job_pb2

__all__ = ["JobSubmission", "router"]

router = APIRouter(tags=["jobs"])


class Resources(Model):
    """What a job needs of a rack node; durations in mission seconds."""

    power_watts: float = Field(gt=0, allow_inf_nan=False)
    cores: int = Field(1, ge=1, le=1024)
    memory_bytes: int = Field(0, ge=0, lt=1 << 63)
    disk_bytes: int = Field(0, ge=0, lt=1 << 63)
    expected_seconds: float = Field(0, ge=0, allow_inf_nan=False)
    limit_seconds: float = Field(0, ge=0, allow_inf_nan=False)


class JobSubmission(Model):
    """A job. Its package was put to ``/v1/packages`` before."""

    name: str = Field(min_length=1, max_length=64)
    command: list[str] = Field(min_length=1, max_length=256)
    resources: Resources
    package_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    package_bytes: int = Field(ge=1, le=PACKAGE_LIMIT_BYTES)
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


class Cancellation(Model):
    """Why a job is cancelled."""

    reason: str = Field("cancelled by a person", max_length=200)


@router.put("/v1/packages/{sha256}", status_code=204)
async def put_package(sha256: str, request: Request, segment: Segment, _: Researcher) -> None:
    """Keep a package: the body, whose SHA-256 the address names."""
    content = bytearray()
    async for piece in request.stream():
        content += piece
        if len(content) > PACKAGE_LIMIT_BYTES:
            raise UserError(f"the package is larger than {PACKAGE_LIMIT_BYTES:,} bytes")
    found = (await segment.keep_package(bytes(content))).hex()
    if found != sha256.lower():
        raise UserError(f"the package's SHA-256 is {found}, not {sha256[:64]}; send it again")


@router.put("/v1/jobs/{job_id}")
async def submit_job(
    job_id: str, submission: JobSubmission, segment: Segment, person: Researcher, request: Request
) -> JobRecord:
    """Submit a job under an id of the client's choice; the same again changes nothing."""
    about(request, f"{job_id}: {submission.name}")
    return await segment.submit(submission.spec(job_id), submitter=person.name)


class JobQuery(Model):
    """Which jobs are listed."""

    limit: int = Field(200, ge=1, le=1000, description="At most so many")
    only_open: bool = Field(False, description="Only jobs that are not over")
    state: str = Field("", max_length=32, description="Only in this state: SUBMITTED, RUNNING, COMPLETED...")
    submitter: str = Field("", max_length=128, description="Only of this person")
    satellite: str = Field("", max_length=64, description="Only on this satellite")
    submitted_from_seconds: float | None = Field(
        None, allow_inf_nan=False, description="Only submitted at this mission time or later"
    )
    submitted_until_seconds: float | None = Field(
        None, allow_inf_nan=False, description="Only submitted before this mission time"
    )
    cursor: Cursor = ""
    after_revision: int = Field(-1, ge=-1, lt=1 << 62, description="Wait until a revision is greater than this")
    wait_seconds: float = Field(0, ge=0, le=60, description="Wall seconds to wait for something newer")

    def filter(self) -> JobFilter:
        """In the words of the store. Raises ``UserError``."""
        state = self.state.upper()
        if state and state not in JobState.__members__:
            raise UserError(f'state is "{self.state}", must be one of {", ".join(JobState.__members__)}')
        return JobFilter(
            state=state,
            submitter=self.submitter,
            satellite=self.satellite,
            submitted_from_seconds=self.submitted_from_seconds,
            submitted_until_seconds=self.submitted_until_seconds,
            before=place_of(self.cursor),
        )


@router.get("/v1/jobs", responses=NEXT_LINK)
async def list_jobs(
    segment: Segment, _: Viewer, query: Annotated[JobQuery, Query()], request: Request, response: Response
) -> list[JobRecord]:
    """The newest jobs, newest last, without their histories; the next page holds older ones."""
    wanted = query.filter()
    found = await newer(
        segment,
        lambda: segment.jobs(query.limit, only_open=query.only_open, wanted=wanted),
        lambda records: any(record.revision > query.after_revision for record in records),
        query.wait_seconds,
    )
    if found:
        link_next(request, response, found, query.limit, (found[0].submitted_seconds, found[0].job_id))
    return found


@router.get("/v1/jobs/{job_id}")
async def get_job(
    job_id: str, segment: Segment, _: Viewer, after_revision: Revision = -1, wait_seconds: Wait = 0
) -> JobRecord:
    """A job with its history."""
    return await newer(
        segment, lambda: segment.job(job_id), lambda record: record.revision > after_revision, wait_seconds
    )


@router.post("/v1/jobs/{job_id}/cancel")
async def cancel_job(
    job_id: str, cancellation: Cancellation, segment: Segment, _: Researcher, request: Request
) -> JobRecord:
    """Stop a job and end it as cancelled."""
    about(request, f"{job_id}: {cancellation.reason}")
    return await segment.cancel(job_id, cancellation.reason)


@router.get("/v1/jobs/{job_id}/result", response_class=Response)
async def get_job_result(job_id: str, segment: Segment, _: Viewer) -> Response:
    """The tar of a job's outputs."""
    return Response(await segment.result(job_id), media_type="application/x-tar")
