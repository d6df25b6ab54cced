"""The gateway's part in agreeing on open jobs, and what it tells of its ledger."""

from __future__ import annotations

import asyncio
import importlib.util
from pathlib import Path
from typing import Any, ClassVar

import pytest

from flight.gateway.service import Gateway
from flight.service import command
from skyrack.backhaul.memory import Impairments
from skyrack.v1.backhaul_pb2 import JobLease, OpenJob, OpenJobs, Payload
from skyrack.v1.common_pb2 import CommandResult
from skyrack.v1.compute_pb2 import PlaceJobRequest, RenewLeaseRequest, ReportJobsRequest, ReportJobsResponse
from skyrack.v1.gateway_pb2 import GetLedgerRequest, GetLedgerResponse
from skyrack.v1.job_pb2 import JOB_STATE_PLACED, JOB_STATE_RUNNING
from skyrack.v1.options_pb2 import STREAM_STATUS

_spec = importlib.util.spec_from_file_location("gateway_setup", Path(__file__).with_name("test_gateway_service.py"))
assert _spec is not None
assert _spec.loader is not None
_setup = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_setup)
SATELLITE, START, fly, place = _setup.SATELLITE, _setup.START, _setup.fly, _setup.place


class Compute(_setup.Compute):  # type: ignore[misc,name-defined]
    """Remembers the jobs that it was given, and whose leases were renewed."""

    held: ClassVar[dict[str, OpenJob]] = {}
    renewed: ClassVar[list[RenewLeaseRequest]] = []
    is_deaf: ClassVar[bool] = False

    @command
    async def place_job(self, request: PlaceJobRequest) -> CommandResult:
        if self.is_deaf:
            await asyncio.sleep(1e6)
        spec = request.placement.spec
        self.held[spec.job_id] = OpenJob(job_id=spec.job_id, attempt=1, version=2, state=JOB_STATE_RUNNING)
        return CommandResult(ok=True)

    @command
    async def renew_lease(self, request: RenewLeaseRequest) -> CommandResult:
        self.renewed.append(request)
        return CommandResult(ok=request.job_id in self.held)

    @command
    async def report_jobs(self, request: ReportJobsRequest) -> ReportJobsResponse:
        question = request.question
        found = {job.job_id: self.held.get(job.job_id, job) for job in question.jobs} | self.held
        return ReportJobsResponse(
            jobs=OpenJobs(
                jobs=found.values(), mission_time_seconds=question.mission_time_seconds, complete=question.complete
            )
        )


@pytest.fixture(autouse=True)
def _fresh() -> None:
    Compute.held, Compute.renewed, Compute.is_deaf = {}, [], False


async def ask(setup: Any, *names: str) -> None:
    question = OpenJobs(complete=True, mission_time_seconds=setup.clock.now())
    for name in names:
        question.jobs.add(job_id=name, attempt=1)
    await setup.ground.send(SATELLITE, STREAM_STATUS, Payload(open_jobs=question).SerializeToString())


def answers(setup: Any) -> list[dict[str, int]]:
    return [{job.job_id: int(job.state) for job in answer.jobs} for answer in setup.of("open_jobs")]


@pytest.mark.parametrize("impairments", [None, Impairments(0.3, 0.3, 0.3)], ids=["clean", "lossy"])
def test_an_answer_tells_of_all_that_was_said_before_the_question(impairments: Impairments | None) -> None:
    async def scenario(setup: Any) -> None:
        async with setup.flying(Compute, Gateway):
            names = [f"job-{number}" for number in range(40)]
            for name in names:
                await setup.ground.send(SATELLITE, STREAM_STATUS, place(name).SerializeToString())
            await ask(setup, *names, "never-placed")
            await asyncio.sleep(1800)
            (answer,) = answers(setup)
            assert answer.pop("never-placed") == 0
            assert sorted(answer) == sorted(names)
            assert set(answer.values()) <= {JOB_STATE_PLACED, JOB_STATE_RUNNING}

    fly(scenario, impairments=impairments)


def test_a_job_that_compute_has_not_been_given_yet_is_on_board() -> None:
    async def scenario(setup: Any) -> None:
        async with setup.flying(Compute, Gateway):
            Compute.is_deaf = True
            await setup.ground.send(SATELLITE, STREAM_STATUS, place("a").SerializeToString())
            await ask(setup, "a")
            await asyncio.sleep(300)
            (answer,) = answers(setup)
            assert answer == {"a": JOB_STATE_PLACED}

    fly(scenario)


def test_without_compute_the_answer_waits_for_it() -> None:
    async def scenario(setup: Any) -> None:
        async with setup.flying(Gateway):
            await ask(setup, "a")
            await asyncio.sleep(120)
            assert answers(setup) == []
            async with setup.flying(Compute):
                await asyncio.sleep(120)
                assert answers(setup) == [{"a": 0}]

    fly(scenario)


def test_a_lease_reaches_compute_once_even_if_compute_comes_later(tmp_path: Path) -> None:
    async def scenario(setup: Any) -> None:
        lease = JobLease(job_id="a", attempt=1, lease_end_seconds=START + 9000)
        for _ in range(2):
            await setup.ground.send(SATELLITE, STREAM_STATUS, Payload(job_lease=lease).SerializeToString())
        async with setup.flying(Gateway):
            await asyncio.sleep(60)
        async with setup.flying(Compute, Gateway):  # it died before it could pass it on
            await asyncio.sleep(120)
        (renewed,) = Compute.renewed
        assert (renewed.job_id, renewed.attempt, renewed.lease_end_seconds) == ("a", 1, START + 9000)

    fly(scenario, state_dir=tmp_path)


def test_it_tells_its_ledger() -> None:
    async def scenario(setup: Any) -> None:
        async with setup.flying(Compute, Gateway) as (_, gateway):
            await ask(setup)
            await asyncio.sleep(120)
            ledger = await gateway.request("gateway", GetLedgerRequest(), 30.0)
            assert isinstance(ledger, GetLedgerResponse)
            (received,) = ledger.received
            assert (received.source, received.stream, received.stored, received.gaps) == ("ground", STREAM_STATUS, 1, 0)
            status = next(row for row in ledger.sent if row.stream == STREAM_STATUS)
            assert (status.destination, status.accepted, status.waiting, status.delivered) == ("ground", 1, 0, 1)

    fly(scenario)
