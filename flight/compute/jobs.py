"""The jobs on board: takes each step of their lives durably, and hands what is to be told to the outbox."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace

from flight.compute.lifecycle import Change, Intent, JobRecord, apply, status_of
from flight.compute.outbox import Outbox
from flight.compute.store import JobStore, Outgoing, Totals, outgoing_status
from flight.compute.workdirs import WorkDirs
from flight.hal import DeviceError, RackNode, WorkReport
from skyrack import receipts
from skyrack.archive import ArchiveError
from skyrack.clock import Clock
from skyrack.database import StorageError
from skyrack.jobs import JobCause, JobState
from skyrack.signing import SigningKey
from skyrack.v1 import compute_pb2, job_pb2

RETRY_SECONDS = 60.0
"""Mission time before a job that could not be begun, or whose node was lost, is tried again."""

_JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Jobs:
    """All jobs that compute remembers. Its methods are called one at a time."""

    def __init__(
        self,
        satellite: str,
        clock: Clock,
        store: JobStore,
        dirs: WorkDirs,
        outbox: Outbox,
        nodes: Mapping[str, RackNode],
        key: SigningKey,
    ) -> None:
        """``key`` is the satellite's, which vouches for what ran."""
        self._satellite = satellite
        self._clock = clock
        self._store = store
        self._dirs = dirs
        self._outbox = outbox
        self._nodes = nodes
        self._key = key
        self._all: dict[str, JobRecord] = {}
        self._next_sequence = 1
        self.open: dict[str, JobRecord] = {}
        # Ids of work that newer attempts replaced, or that is nobody's, until nothing is left of it.
        self.replaced: set[str] = set()
        # Grows with everything that may change a plan.
        self.revision = 0
        self.totals = Totals()
        self.on_status: Callable[[JobRecord, job_pb2.JobStatus], None] = lambda _record, _status: None

    async def restore(self) -> None:
        """Remember what was kept, and let nodes forget work whose end is kept already."""
        self.totals = await self._store.totals()
        for record in await self._store.jobs():
            self._all[record.job_id] = record
            self._next_sequence = max(self._next_sequence, record.sequence + 1)
            if not record.state.final:
                self.open[record.job_id] = record
            else:
                await self.clean(record.work_id)
            if record.node not in self._nodes:
                continue
            if record.state is not JobState.RUNNING:
                await self._nodes[record.node].forget(record.work_id)
            elif record.intent is not Intent.NONE:
                await self._nodes[record.node].stop(record.work_id)
        self.replaced = self._dirs.attempts() - {record.work_id for record in self._all.values()}

    def get(self, job_id: str) -> JobRecord | None:
        """A job by its id."""
        return self._all.get(job_id)

    @property
    def known(self) -> Mapping[str, JobRecord]:
        """All jobs that are remembered, by id."""
        return self._all

    def running(self) -> list[JobRecord]:
        """Jobs that run, or are about to have stopped."""
        return [record for record in self.open.values() if record.state is JobState.RUNNING]

    async def place(
        self, request: compute_pb2.PlaceJobRequest, refusal: Callable[[JobRecord], Change | None]
    ) -> tuple[bool, str]:
        """Take a placement: accepted or rejected, durably, before this returns. Repeats change nothing.

        Returns whether the placement is dealt with, and a sentence.
        """
        placement = request.placement
        spec = placement.spec
        if not _JOB_ID.fullmatch(spec.job_id) or not spec.command or placement.attempt < 1:
            return (
                False,
                f'"{spec.job_id[:100]}": a placement needs a job id of letters, digits, . _ -, a command, an attempt',
            )
        known = self._all.get(spec.job_id)
        if known is not None and placement.attempt <= known.attempt:
            return True, f"{spec.job_id}: attempt {known.attempt} is {known.state.name}"
        if known is not None and known.state is JobState.COMPLETED:
            return False, f"{spec.job_id} is completed already"
        if known is not None:
            await self._fence(known)
        record = JobRecord(placement, self._next_sequence, request.package_path)
        self._next_sequence += 1
        self.replaced.discard(record.work_id)
        change = refusal(record) or await self._unpack(record) or Change(JobState.ACCEPTED)
        await self.step(record, change)
        if change.state is JobState.REJECTED:
            return True, f"{spec.job_id}: rejected: {change.reason}"
        return True, f"{spec.job_id}: attempt {placement.attempt} accepted"

    async def _unpack(self, record: JobRecord) -> Change | None:
        try:
            await asyncio.get_running_loop().run_in_executor(None, self._dirs.prepare, record)
        except ArchiveError as error:
            return Change(JobState.REJECTED, JobCause.BAD_PACKAGE, str(error))
        return None

    async def _fence(self, old: JobRecord) -> None:
        """A newer attempt replaces this one: what still runs of it is stopped, and never heard again."""
        self.open.pop(old.job_id, None)
        self.replaced.add(old.work_id)
        self.revision += 1
        if old.state is JobState.RUNNING and old.node in self._nodes:
            await self._nodes[old.node].stop(old.work_id)

    async def cancel(self, job_id: str, attempt: int, reason: str) -> tuple[bool, str]:
        """End a job as cancelled; a running one is asked to stop first. Durable before this returns."""
        record = self.open.get(job_id)
        if record is None or attempt not in (0, record.attempt):
            known = self._all.get(job_id)
            if known is None:
                return False, f"{job_id}: no such job on {self._satellite}"
            return False, f"{job_id}: attempt {known.attempt} is {known.state.name}"
        change = Change(JobState.CANCELLED, JobCause.CANCELLED, reason or "cancelled")
        if record.state is not JobState.RUNNING:
            await self.step(record, change)
            return True, f"{job_id}: cancelled"
        with self._undone_unless_kept(record):
            news = record.ask(Intent.CANCEL, change.cause, change.reason)
            if news:
                await self._store.keep(record, None)
        if news:
            self.revision += 1
            await self._nodes[record.node].stop(record.work_id)
        return True, f"{job_id}: stopping"

    def is_open(self, record: JobRecord, *, running: bool) -> bool:
        """Whether the record is still the one that counts, and runs, or waits."""
        return self.open.get(record.job_id) is record and (record.state is JobState.RUNNING) is running

    async def begin(self, record: JobRecord, node: str, cap_watts: float) -> None:
        """Run a job on a node. It is RUNNING before the node hears of it, so that no run is ever forgotten."""
        limit = record.placement.spec.resources.limit_seconds
        remaining = max(1.0, limit - record.run_seconds) if limit > 0 else 0.0
        if record.run_seconds > 0:
            await asyncio.get_running_loop().run_in_executor(None, self._dirs.restart_clean, record)
        record.node = node
        await self.step(record, Change(JobState.RUNNING))
        device = self._nodes[node]
        try:
            await device.set_power_cap(cap_watts)
            await device.start(self._dirs.work(record, remaining))
        except DeviceError as error:
            record.not_before_seconds = self._clock.now() + RETRY_SECONDS
            await self.step(record, Change(JobState.PREEMPTED, JobCause.NODE_LOST, str(error)))

    async def end(self, record: JobRecord, change: Change, report: WorkReport | None) -> None:
        """Take the end of a run: keep it and what it left, then let the node forget it."""
        node = record.node
        if change.cause is JobCause.NODE_LOST:
            record.not_before_seconds = self._clock.now() + RETRY_SECONDS
        await self.step(record, change, report)
        if node in self._nodes:
            await self._nodes[node].forget(record.work_id)

    async def ask(self, record: JobRecord, intent: Intent, cause: JobCause, reason: str) -> None:
        """Ask a running job to stop; one that waits is ended at once, unless only its run was to end."""
        if self.is_open(record, running=True):
            if record.ask(intent, cause, reason):
                self.revision += 1
                await self._nodes[record.node].stop(record.work_id)
        elif self.is_open(record, running=False) and intent is Intent.EXPIRE:
            await self.step(record, Change(JobState.EXPIRED, cause, reason))

    async def step(self, record: JobRecord, change: Change, report: WorkReport | None = None) -> None:
        """Take one step: in the record, in the store together with its status, then told."""
        before = record.state
        self.revision += 1
        with self._undone_unless_kept(record):
            apply(record, change, report)
            outgoing_file = Outgoing("", "", 0, b"")
            if change.state in (JobState.COMPLETED, JobState.FAILED) and before is JobState.RUNNING:
                outgoing_file = await self._collect(record)
            self._count(record, before, report)
            status = status_of(record, self._satellite, self._clock.now(), self._clock.rate)
            if record.state.final:
                receipts.attach(status, self._key)
            await self._keep(record, status, outgoing_file)
        self._all[record.job_id] = record
        if record.state.final:
            self.open.pop(record.job_id, None)
        else:
            self.open[record.job_id] = record

    @contextmanager
    def _undone_unless_kept(self, record: JobRecord) -> Iterator[None]:
        """What the store could not keep has not happened: it is tried again when the disk has room."""
        kept, totals = replace(record), self.totals
        try:
            yield
        except StorageError:
            for field in fields(record):
                setattr(record, field.name, getattr(kept, field.name))
            self.totals = totals
            raise

    async def tell_progress(self, record: JobRecord, report: WorkReport) -> None:
        """Tell how far a running job is."""
        record.version += 1
        status = status_of(record, self._satellite, self._clock.now(), self._clock.rate, report)
        await self._keep(record, status, Outgoing("", "", 0, b""))

    async def _keep(self, record: JobRecord, status: job_pb2.JobStatus, outgoing_file: Outgoing) -> None:
        outgoing = outgoing_status(status, outgoing_file)
        await self._store.keep(record, outgoing, self.totals)
        self._outbox.wake()
        self.on_status(record, status)

    async def _collect(self, record: JobRecord) -> Outgoing:
        """Pack the outputs. A completed job whose outputs cannot be packed has failed."""
        try:
            result, outputs = await asyncio.get_running_loop().run_in_executor(None, self._dirs.collect, record)
        except (ArchiveError, OSError) as error:
            if record.state is JobState.COMPLETED:
                record.state, record.cause = JobState.FAILED, JobCause.DISK_LIMIT
                record.reason = f"its outputs cannot be sent: {error}"
            return Outgoing("", "", 0, b"")
        if result is None:
            return Outgoing("", "", 0, b"")
        record.outputs = outputs
        record.result_path = result.path
        record.result_sha256, record.result_bytes = result.sha256, result.size_bytes
        return Outgoing("", "", 0, b"", result.path, result.content)

    def _count(self, record: JobRecord, before: JobState, report: WorkReport | None) -> None:
        self.totals = Totals(
            completed=self.totals.completed + (record.state is JobState.COMPLETED),
            failed=self.totals.failed + (record.state is JobState.FAILED),
            preemptions=self.totals.preemptions + (record.state is JobState.PREEMPTED and before is JobState.RUNNING),
            energy_joules=self.totals.energy_joules + (report.energy_joules if report else 0.0),
        )

    async def clean(self, work_id: str) -> None:
        """The gateway took a status: when it has the final one, and the result, the attempt's files may go."""
        record = self._all.get(work_id.rpartition(".")[0])
        if record is None or record.work_id != work_id or not record.state.final:
            return
        if not await self._store.is_told(work_id):
            return
        await asyncio.get_running_loop().run_in_executor(None, self._dirs.remove, work_id)
        for forgotten in await self._store.forget_old():
            self._all.pop(forgotten, None)

    async def bury(self, work_id: str) -> None:
        """Work that was replaced runs no more: nothing of it stays, on its node or on the disk."""
        record = self._all.get(work_id.rpartition(".")[0])
        if record is not None and record.work_id == work_id:
            self.replaced.discard(work_id)
        if work_id not in self.replaced or not await self._store.is_told(work_id):
            return
        for node in self._nodes.values():
            await node.forget(work_id)
        await asyncio.get_running_loop().run_in_executor(None, self._dirs.remove, work_id)
        self.replaced.discard(work_id)
