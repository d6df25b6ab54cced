"""Does what came up: passes telecommands to services, and jobs to compute, and reports what became of them."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, cast

from google.protobuf.message import Message

from flight.bus import RequestRefusedError, RequestTimeoutError
from flight.gateway import work
from flight.gateway.dispatch import Call, Refused, outcome, resolve
from flight.gateway.packages import Packages
from flight.gateway.work import Work
from skyrack.clock import Clock
from skyrack.database import Database
from skyrack.jobs import JobCause, JobState
from skyrack.v1 import backhaul_pb2, job_pb2
from skyrack.v1.backhaul_pb2 import Payload, TelecommandReport
from skyrack.v1.common_pb2 import CommandResult
from skyrack.v1.compute_pb2 import CancelJobRequest, PlaceJobRequest, RenewLeaseRequest
from skyrack.v1.job_pb2 import JobStatus

COMPUTE: Final = "compute"
_ANSWER_SECONDS: Final = 10.0
"""How long a service may take to answer: of the event loop's time, for it is the host that is busy."""

Request = Callable[[str, Message, float], Awaitable[Any]]
Enqueue = Callable[[sqlite3.Connection, Payload], None]
"""Puts a payload of the status stream into the outbox, in the transaction."""


class Worker:
    """Works through the durable list of ``flight.gateway.work``."""

    def __init__(
        self,
        satellite: str,
        services: tuple[str, ...],
        database: Database,
        clock: Clock,
        request: Request,
        enqueue: Enqueue,
        kick: Callable[[], None],
        packages: Packages,
    ) -> None:
        """``kick`` is called when something that was enqueued has been committed."""
        self._satellite = satellite
        self._services = services
        self._database = database
        self._clock = clock
        self._request = request
        self._enqueue = enqueue
        self._kick = kick
        self._packages = packages
        self._answer_seconds = _ANSWER_SECONDS * clock.rate

    async def telecommands(self) -> None:
        """Do all telecommands that are open, in order. Raises ``StorageError``."""
        for item in await self._database.read(lambda connection: work.open_work(connection, work.TELECOMMAND)):
            await self._telecommand(item)

    async def _telecommand(self, item: Work) -> None:
        command = item.payload.telecommand
        failed = backhaul_pb2.TELECOMMAND_STAGE_FAILED
        if item.started:
            reason = "the gateway was restarted while it was carried out; whether it was is not known"
            await self._finish(item, self._report(command.command_id, failed, reason))
            return
        call = resolve(command, self._services, self._clock.now())
        if isinstance(call, Refused):
            await self._finish(item, self._report(command.command_id, call.stage, call.reason))
            return
        begun = self._report(command.command_id, backhaul_pb2.TELECOMMAND_STAGE_STARTED)

        def begin(connection: sqlite3.Connection) -> None:
            work.started(connection, item.id)
            self._enqueue(connection, begun)

        await self._database.write(begin)
        self._kick()
        await self._finish(item, await self.call(command.command_id, call))

    async def call(self, command_id: str, call: Call) -> Payload:
        """Pass a command on to its service; its report."""
        try:
            answer = await self._request(call.service, call.request, self._answer_seconds)
        except RequestTimeoutError:
            reason = f"{call.service} did not answer; whether it was carried out is not known"
            return self._report(command_id, backhaul_pb2.TELECOMMAND_STAGE_FAILED, reason)
        except RequestRefusedError as error:
            return self._report(command_id, backhaul_pb2.TELECOMMAND_STAGE_FAILED, str(error))
        return Payload(telecommand_report=outcome(command_id, answer, self._clock.now()))

    def _report(self, command_id: str, stage: backhaul_pb2.TelecommandStage, reason: str = "") -> Payload:
        report = TelecommandReport(
            command_id=command_id, stage=stage, reason=reason, mission_time_seconds=self._clock.now()
        )
        return Payload(telecommand_report=report)

    async def _finish(self, item: Work, report: Payload | None = None) -> None:
        def finish(connection: sqlite3.Connection) -> None:
            work.done(connection, item.id)
            if report is not None:
                self._enqueue(connection, report)

        await self._database.write(finish)
        self._kick()

    async def jobs(self) -> bool:
        """Pass on placements whose package is complete, cancellations and leases. Returns whether something is left.

        Raises ``StorageError``, or ``OSError`` where a package could not be written.
        """
        kinds = work.PLACEMENT, work.CANCEL, work.LEASE
        items = await self._database.read(lambda connection: work.open_work(connection, *kinds))
        cancelled = {
            (item.payload.job_cancel.job_id, item.payload.job_cancel.attempt)
            for item in items
            if item.kind == work.CANCEL
        }
        left = False
        for item in items:
            if item.kind != work.PLACEMENT:
                left |= not await (self._cancel(item) if item.kind == work.CANCEL else self._renew(item))
                continue
            placement = item.payload.job_placement
            names = {(placement.spec.job_id, placement.attempt), (placement.spec.job_id, 0)}
            left |= not await self._place(item, bool(names & cancelled))
        return left

    async def _place(self, item: Work, cancelled: bool) -> bool:
        placement = item.payload.job_placement
        spec = placement.spec
        if (end := self._over(placement, cancelled)) is None:
            if await self._database.read(partial(self._packages.lacks, spec=spec)):
                return False
            end = await self._database.read(partial(self._packages.problem, spec=spec))
        if end is not None:
            await self._end(item, *end)
            return True
        path = ""
        if self._packages.directory is not None and spec.package_bytes:
            path = str(self._packages.path(spec.package_sha256))
        try:
            result = await self._ask_compute(PlaceJobRequest(placement=placement, package_path=path))
        except RequestRefusedError as error:
            # Compute did not judge the job, it failed at it: another satellite may do better.
            await self._end(item, JobState.REJECTED, JobCause.INTERNAL, str(error))
            return True
        if result is None:
            return False
        if not result.ok:
            await self._end(item, JobState.REJECTED, JobCause.NONE, result.reason)
            return True

        def finish(connection: sqlite3.Connection) -> list[bytes]:
            work.done(connection, item.id)
            return self._packages.forget(connection, spec.job_id, placement.attempt)

        await self._discard(await self._database.write(finish))
        return True

    def _over(self, placement: job_pb2.JobPlacement, cancelled: bool) -> tuple[JobState, JobCause, str] | None:
        """How the job has ended before compute heard of it, if it has."""
        if self._clock.now() >= placement.lease_end_seconds > 0:
            return JobState.EXPIRED, JobCause.LEASE, "its lease ended before its package had arrived"
        if cancelled:
            return JobState.CANCELLED, JobCause.CANCELLED, "cancelled before it was accepted"
        return None

    async def _cancel(self, item: Work) -> bool:
        cancel = item.payload.job_cancel
        request = CancelJobRequest(job_id=cancel.job_id, attempt=cancel.attempt, reason=cancel.reason)
        with contextlib.suppress(RequestRefusedError):
            if await self._ask_compute(request) is None:
                return False
        await self._finish(item)
        return True

    async def _renew(self, item: Work) -> bool:
        """Compute takes a longer lease, or does not hold the job any more: both settle it."""
        lease = item.payload.job_lease
        request = RenewLeaseRequest(
            job_id=lease.job_id, attempt=lease.attempt, lease_end_seconds=lease.lease_end_seconds
        )
        with contextlib.suppress(RequestRefusedError):
            if await self._ask_compute(request) is None:
                return False
        await self._finish(item)
        return True

    async def _ask_compute(self, request: Message) -> CommandResult | None:
        """Ask; ``None`` when there was no answer, and asking again is right: compute knows what it has.

        Raises ``RequestRefusedError`` when compute could not do it.
        """
        try:
            answer = await self._request(COMPUTE, request, self._answer_seconds)
        except RequestTimeoutError:
            return None
        return answer if isinstance(answer, CommandResult) else CommandResult(ok=True)

    async def _end(self, item: Work, state: JobState, cause: JobCause, reason: str) -> None:
        """A job that never reached compute: its final status comes from here."""
        placement = item.payload.job_placement
        status = JobStatus(
            job_id=placement.spec.job_id,
            attempt=placement.attempt,
            version=1,
            state=cast("job_pb2.JobState", int(state)),
            cause=cast("job_pb2.JobCause", int(cause)),
            reason=reason,
            mission_time_seconds=self._clock.now(),
            satellite=self._satellite,
            package_sha256=placement.spec.package_sha256,
            rate=self._clock.rate,
        )

        def end(connection: sqlite3.Connection) -> list[bytes]:
            work.done(connection, item.id)
            self._enqueue(connection, Payload(job_status=status))
            return self._packages.forget(connection, status.job_id, status.attempt)

        unneeded = await self._database.write(end)
        self._kick()
        await self._discard(unneeded)

    async def _discard(self, unneeded: list[bytes]) -> None:
        """Remove packages that no job needs: compute has unpacked them."""
        for sha256 in unneeded:
            await asyncio.get_running_loop().run_in_executor(None, partial(self._packages.discard, sha256))
