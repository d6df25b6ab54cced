"""Keeps ground and satellite of one mind about open jobs: longer leases, answers, statuses that are told again."""

from __future__ import annotations

import asyncio

from flight.compute.digest import digest
from flight.compute.jobs import Jobs
from flight.compute.lifecycle import JobRecord, status_of
from flight.compute.outbox import Outbox
from flight.compute.store import JobStore, Outgoing, outgoing_status
from flight.compute.workdirs import WorkDirs
from skyrack import receipts
from skyrack.clock import Clock
from skyrack.database import StorageError
from skyrack.signing import SigningKey
from skyrack.v1 import backhaul_pb2, job_pb2


class Agreement:
    """Its methods are called one at a time, and while no step of a job is being taken."""

    def __init__(
        self,
        satellite: str,
        clock: Clock,
        store: JobStore,
        dirs: WorkDirs,
        outbox: Outbox,
        jobs: Jobs,
        key: SigningKey,
    ) -> None:
        """``key`` is the satellite's, which vouches for what ran."""
        self._satellite = satellite
        self._clock = clock
        self._store = store
        self._dirs = dirs
        self._outbox = outbox
        self._jobs = jobs
        self._key = key

    async def renew(self, job_id: str, attempt: int, lease_end_seconds: float) -> tuple[bool, str]:
        """Let a job be held here for longer; a lease is never shortened. Durable before this returns."""
        record = self._jobs.open.get(job_id)
        if record is None or record.attempt != attempt:
            return False, f"{job_id}: attempt {attempt} is not held on {self._satellite}"
        old = record.placement.lease_end_seconds
        if lease_end_seconds <= old:
            return True, f"{job_id}: its lease lasts longer already"
        record.placement.lease_end_seconds = lease_end_seconds
        try:
            await self._store.keep(record, None)
        except StorageError:
            record.placement.lease_end_seconds = old
            raise
        return True, f"{job_id}: its lease was renewed"

    async def report(self, question: backhaul_pb2.OpenJobs) -> backhaul_pb2.OpenJobs:
        """Answer the ground, and tell once more what it says it has not heard."""
        for asked in question.jobs:
            record = self._jobs.get(asked.job_id)
            if asked.tell_again and record is not None and record.attempt == asked.attempt:
                await self._tell_again(record)
        return digest(question, self._jobs.known, await self._store.untold())

    async def _tell_again(self, record: JobRecord) -> None:
        now = self._clock.now()
        status = status_of(record, self._satellite, now, self._clock.rate)
        file = Outgoing("", "", 0, b"")
        if record.result_sha256:
            file = await asyncio.get_running_loop().run_in_executor(None, self._kept, record)
            if not (file.file_path or file.file_content):
                # The ground has not heard of it, and cannot have it: for the ground the attempt brought forth nothing.
                status.state, status.cause = job_pb2.JOB_STATE_FAILED, job_pb2.JOB_CAUSE_INTERNAL
                status.version += 1
                status.reason = "its result was lost on board"
                status.ClearField("result_sha256")
                status.ClearField("result_bytes")
        if record.state.final:
            receipts.attach(status, self._key)
        await self._store.keep(record, outgoing_status(status, file, again=f"/again/{now:.3f}"))
        self._outbox.wake()

    def _kept(self, record: JobRecord) -> Outgoing:
        path, content = self._dirs.kept(record)
        return Outgoing("", "", 0, b"", path, content)
