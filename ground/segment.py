"""The ground segment as people use it: jobs, telecommands, satellites, telemetry, events.

The same object stands behind the HTTP interface and in the twin.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Final, TypeVar

from google.protobuf.message import Message

from ground import admission, dispatch, lifecycle, results
from ground.command_records import AbortRecord
from ground.connection import Connection
from ground.errors import ConflictError, UnknownError
from ground.order_desk import OrderDesk
from ground.orders import checked_rpc
from ground.placement import fits_somewhere
from ground.records import EventRecord, JobRecord, SatelliteRecord, TelecommandRecord
from ground.relay import SUBSCRIPTIONS, GroundSettings, Relay
from ground.store import events, files, job_queue, jobs, telecommands
from ground.store.job_records import EVERYTHING, JobFilter
from ground.telemetry.archiver import history
from skyrack import jobfile
from skyrack.database import StorageError
from skyrack.delivery import OutboxFullError, ReceivedLedger, SentLedger
from skyrack.errors import UserError
from skyrack.files import suggest
from skyrack.orders import Verified
from skyrack.v1 import backhaul_pb2, gateway_pb2, job_pb2
from skyrack.v1.options_pb2 import STREAM_STATUS

__all__ = ["SUBSCRIPTIONS", "GroundSegment", "GroundSettings"]

T = TypeVar("T")

_BACKFILL_LIFETIME_SECONDS: Final = 900.0


class GroundSegment(Relay):
    """The ground: ``open`` it, ``run`` it until cancelled, ``close`` it; in between ask it for things.

    What a person asked wrongly raises ``UserError``, and nothing was changed; what is not there ``UnknownError``;
    an id that something else has ``ConflictError``; a failed disk ``StorageError``.
    """

    @property
    def order_desk(self) -> OrderDesk:
        """Where people bring what they have signed themselves."""
        return OrderDesk(self)

    async def keep_package(self, content: bytes) -> bytes:
        """Take a package in, durably; returns its SHA-256. Harmless when it is here already."""
        if len(content) > jobfile.PACKAGE_LIMIT_BYTES:
            raise UserError(f"a package of {len(content):,} bytes; at most {jobfile.PACKAGE_LIMIT_BYTES:,} go up")
        try:
            package = await self.in_thread(partial(self.transfers.keep_package, content))
            now, sha256 = self.clock.now(), package.layout.sha256
            await self.database.write(lambda connection: files.add_package(connection, package, now))
            if not self.vault.has(sha256):
                # It lay here, of no use to any job, and was removed in between.
                await self.in_thread(partial(self.vault.put, content))
        except OSError as error:
            problem = f"the ground cannot keep the package ({error.strerror}); nothing was taken, send it again"
            raise StorageError(problem) from error
        return sha256

    async def submit(
        self, spec: job_pb2.JobSpec, package: bytes | None = None, *, job_id: str = "", submitter: str = ""
    ) -> JobRecord:
        """Take a job. It is durable when this returns, and will be placed or expire.

        Submitting the same job under the same id again changes nothing. Without ``package`` its content must have
        been given to ``keep_package``; a job without a package is for models of jobs.
        """
        now = self.clock.now()
        taken = jobfile.submitted(spec, job_id or spec.job_id or self.new_id(), submitter or spec.submitter, now)
        if package is not None:
            taken.package_sha256 = await self.keep_package(package) if package else b""
            taken.package_bytes = len(package)
        return await self.take_job(self.orders.job(taken), is_ours=True)

    async def take_job(self, order: Verified, *, is_ours: bool = False) -> JobRecord:
        """Take a job as somebody has signed it; ``is_ours`` where that is this ground."""
        now, taken = self.clock.now(), order.order.job
        problem = admission.job_problem(taken) or fits_somewhere(
            dispatch.need_of(taken), [self.picture.view(name, now) for name in self.picture.names]
        )
        if order.order.destination:
            problem = "its order names a destination; the ground places jobs"
        if problem:
            raise UserError(f"job {taken.name or taken.job_id}: {problem}")

        def transaction(connection: Connection) -> JobRecord:
            if taken.package_bytes and not files.has_package(connection, taken.package_sha256):
                raise UserError(f"job {taken.name}: its package is not here; send it first")
            try:
                jobs.insert(connection, order, now, is_ours=is_ours)
            except ValueError as error:
                raise ConflictError(str(error)) from None
            return _known(jobs.load(connection, taken.job_id), "job", taken.job_id)

        record = await self.database.write(transaction)
        self.work_came()
        self.changed.beat()
        return record

    async def cancel(
        self, job_id: str, reason: str = "cancelled by a person", *, signed: Verified | None = None
    ) -> JobRecord:
        """Stop a job and end it as cancelled; a job that is over stays as it is.

        ``signed`` is the order of who has signed it; else the ground signs.
        """
        now = self.clock.now()

        def transaction(connection: Connection) -> tuple[JobRecord, str]:
            row = _known(jobs.job_row(connection, job_id), "job", job_id)
            order = lifecycle.cancel(connection, row, reason, now)
            if order is not None:
                stop = signed or self.orders.cancel(row.satellite, order, not_after_seconds=row.lease_end_seconds)
                try:
                    dispatch.send_cancel(connection, row, stop, self.enqueue)
                except OutboxFullError as error:
                    raise UserError(str(error)) from None
            return _known(jobs.load(connection, job_id), "job", job_id), row.satellite if order else ""

        record, satellite = await self.database.write(transaction)
        if satellite:
            self.kick([satellite], [STREAM_STATUS])
        self.changed.beat()
        return record

    async def job(self, job_id: str) -> JobRecord:
        """A job with its history."""
        record = await self.database.read(lambda connection: jobs.load(connection, job_id))
        return self._explained(_known(record, "job", job_id))

    async def jobs(
        self, limit: int = 200, *, only_open: bool = False, wanted: JobFilter = EVERYTHING
    ) -> list[JobRecord]:
        """The newest jobs, newest last, without their histories."""
        found = await self.database.read(
            lambda connection: jobs.list_jobs(connection, limit, only_open=only_open, wanted=wanted)
        )
        return [self._explained(record) for record in found]

    def _explained(self, record: JobRecord) -> JobRecord:
        if record.state != "SUBMITTED":
            return record
        otherwise = "waits before its next attempt" if record.attempt else self.others_wait
        reason = self.waiting_reasons.get(record.job_id) or otherwise
        package, result = self.transfers.progress(record)
        return replace(record, waiting_reason=reason, package_received_bytes=package, result_received_bytes=result)

    async def result(self, job_id: str) -> bytes:
        """The tar that a job brought forth, verified."""
        row = await self.database.read(lambda connection: files.result_of(connection, job_id))
        if row is None or row.received_seconds is None:
            record = await self.job(job_id)
            raise UnknownError(f"job {job_id} is {record.state}: {results.why_none(record)}")
        try:
            return await self.in_thread(partial(self.vault.get, row.sha256))
        except KeyError:
            raise UnknownError(f"the result of job {job_id} is damaged or missing on the ground") from None

    async def send(
        self,
        satellite: str,
        method: str,
        request: Message,
        *,
        service: str = "",
        command_id: str = "",
        submitter: str = "",
        lifetime_seconds: float = 0.0,
    ) -> TelecommandRecord:
        """Send a request to an on-board service, checked against the dictionary; durable when this returns.

        ``service`` is needed where every service takes the request. The same id again changes nothing.
        """
        self.known_satellite(satellite)
        rpc = checked_rpc(method, service, request)
        now = self.clock.now()
        command = backhaul_pb2.Telecommand(
            command_id=command_id or self.new_id(),
            service=rpc.on_board or service,
            method=method,
            request=request.SerializeToString(deterministic=True),
            submitter=submitter,
            not_after_seconds=now + (lifetime_seconds or self.settings.telecommand_lifetime_seconds),
        )
        return await self.take_telecommand(self.orders.telecommand(satellite, command))

    async def take_telecommand(self, order: Verified) -> TelecommandRecord:
        """Send a telecommand as somebody has signed it; it waits here while it lacks a signature."""
        now, satellite, command = self.clock.now(), order.order.destination, order.order.telecommand
        self.known_satellite(satellite)
        if not admission.is_id(command.command_id):
            raise UserError(f'command id "{command.command_id[:64]}": {admission.ID_FORM}')

        def transaction(connection: Connection) -> TelecommandRecord:
            try:
                dispatch.send_telecommand(connection, order, now, self.command_queue.put)
            except ValueError as error:
                raise ConflictError(str(error)) from None
            except OutboxFullError as error:
                raise UserError(str(error)) from None
            return _known(telecommands.load(connection, command.command_id), "telecommand", command.command_id)

        record = await self.database.write(transaction)
        await self.command_queue.came(satellite)
        self.changed.beat()
        return record

    async def abort_sequence(self, sequence_id: str, person: str = "", reason: str = "") -> AbortRecord:
        """End a sequence of commands early: withdrawn if it has not left, else by a command to its satellite."""
        return await self.sequence_desk.abort(sequence_id, person, reason, partial(self.send, submitter=person))

    async def telecommand(self, command_id: str) -> TelecommandRecord:
        """A telecommand with its stages."""
        found = await self.database.read(lambda connection: telecommands.load(connection, command_id))
        return _known(found, "telecommand", command_id)

    async def telecommands(
        self,
        limit: int = 200,
        satellite: str = "",
        *,
        only_of_people: bool = False,
        before: tuple[float, str] | None = None,
    ) -> list[TelecommandRecord]:
        """The newest telecommands, newest last; ``only_of_people`` leaves out what the ground asks by itself."""
        wanted = partial(
            telecommands.list_telecommands,
            limit=limit,
            before=before,
            satellite=satellite,
            not_by=self.name if only_of_people else "",
        )
        return await self.database.read(wanted)

    async def events(
        self, *, after_id: int = -1, limit: int = 100, satellite: str = "", severity: int = 0, leave_out: str = ""
    ) -> list[EventRecord]:
        """Events after an id, oldest first; without one, the newest. ``leave_out`` names events that are not wanted."""
        if satellite:
            self.known_satellite(satellite)
        wanted = partial(
            events.list_events,
            after_id=after_id,
            limit=limit,
            satellite=satellite,
            severity=severity,
            leave_out=leave_out,
        )
        return await self.database.read(wanted)

    async def satellites(self) -> list[SatelliteRecord]:
        """What is known of each satellite, by name."""
        now = self.clock.now()
        held = await self.database.read(job_queue.open_by_satellite)
        placement = self.settings.placement
        return [self.picture.record(name, now, held.get(name, 0), placement) for name in self.picture.names]

    def telemetry(self, satellite: str) -> list[tuple[float, str, Message]]:
        """(mission time, instance key, message) of the newest of each kind."""
        self.known_satellite(satellite)
        return [
            (latest.mission_time_seconds, key, message) for key, latest, message in self.picture.messages(satellite)
        ]

    async def history(
        self, satellite: str, message_type: str, start: float, end: float
    ) -> Sequence[backhaul_pb2.TelemetrySample]:
        """Archived samples of one message type with on-board times in [start, end)."""
        self.known_satellite(satellite)
        return history(await self.telemetry_service.archiver.parts(satellite, message_type, start, end), start, end)

    async def ask_backfill(self, satellite: str, request: gateway_pb2.BackfillRequest) -> None:
        """Ask a satellite for telemetry that is missing; what cannot be sent now is asked for again."""
        with suppress(UserError):
            await self.send(
                satellite, "Backfill", request, submitter=self.name, lifetime_seconds=_BACKFILL_LIFETIME_SECONDS
            )

    async def ledgers(self) -> tuple[list[SentLedger], list[ReceivedLedger]]:
        """What this side's delivery says of all its streams."""
        return await self.endpoint.ledgers()

    def known_satellite(self, satellite: str) -> None:
        """Raise ``UnknownError`` where there is no such satellite."""
        if satellite not in self.picture:
            raise UnknownError(f"there is no satellite {satellite}; {suggest(satellite, self.picture.names)}")


def _known(found: T | None, kind: str, name: str) -> T:
    if found is None:
        raise UnknownError(f"there is no {kind} {name}")
    return found
