"""``Skyrack``: the ground from asyncio, with the words of the command line and records with types."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import httpx
import msgspec

from ground.client import calls, signing
from ground.client.blocking import headers_of, verification_of
from ground.client.calls import Call
from ground.client.command_words import CommandWords
from ground.client.errors import GroundError, check, no_ground, unreachable
from ground.client.find import find_ground
from ground.client.order_words import OrderWords
from ground.client.stream import Change, changes
from ground.client.wishes import alter, argument_text, id_of, package_of
from ground.records import EventRecord, JobRecord, JobStep, SatelliteRecord, TelecommandRecord
from skyrack import archive, orders
from skyrack.dictionary import build_request, command_named
from skyrack.errors import UserError
from skyrack.signing import SigningKey
from skyrack.v1.backhaul_pb2 import Order

if TYPE_CHECKING:
    from ground.store.alarms import AlarmRecord
    from ground.telemetry.query import TelemetryHistory
    from ground.telemetry.values import TelemetryValue

__all__ = ["Skyrack"]

T = TypeVar("T")

_WAIT_SECONDS: Final = 20.0
_FIRST_PAUSE_SECONDS: Final = 0.2
_LONGEST_PAUSE_SECONDS: Final = 3.0
_MAY_PASS: Final = frozenset({429, 502, 503, 504})
RESULT_LIMIT_BYTES: Final = 1 << 30


class Skyrack(CommandWords, OrderWords):
    """Asks one ground, for as long as its context lasts.

    For example::

        async with Skyrack() as sky:
            job = await sky.submit("examples/jobs/digits-training", priority=60)
            async for step in sky.watch(job):
                print(step.state, step.satellite)
            await sky.fetch(job, "out")

    Whatever fails because nobody answers, or because the ground's disk does, is tried again for ``patience_seconds``
    (wall time): everything that is submitted carries an id that was chosen here, so that nothing happens twice.

    Raises, from every method: ``UnreachableError`` when no ground answers; ``GroundError`` when it refuses.
    """

    def __init__(
        self,
        ground: str = "",
        *,
        token: str = "",
        key: str | Path = "",
        patience_seconds: float = 10.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """``ground`` and ``token`` as ``find_ground`` finds them when they are not given.

        With ``key``, the file of a private key, jobs, cancellations and commands are signed here; without one the
        ground signs them.
        """
        self._key = SigningKey.load(Path(key)) if key else None
        self.address = find_ground(ground, token)
        self._patience_seconds = patience_seconds
        self._http = httpx.AsyncClient(
            base_url=self.address.url,
            headers=headers_of(self.address),
            transport=transport,
            trust_env=False,
            verify=verification_of(self.address),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    # Jobs.

    async def submit(self, path: str | Path, *, job_id: str = "", **changed: Any) -> JobRecord:
        """Submit the job that a job.toml, or a folder with one, describes.

        Args:
            path: the file or its folder.
            job_id: its id; the same again changes nothing. Made up when it is not given.
            changed: fields of the job that differ from the file: priority, lifetime_seconds, attempts, environment…

        Raises:
            FileError: the file cannot be used.
        """
        spec, package = await asyncio.to_thread(package_of, Path(path))
        alter(spec, changed)
        job_id = job_id or f"{spec.name[:56]}-{secrets.token_hex(3)}"
        await self.ask(calls.package(package))
        if self._key is not None:
            spec.package_sha256, spec.package_bytes = hashlib.sha256(package).digest(), len(package)
            return await self._bring(signing.job(spec, job_id, await self._now()), "job", JobRecord)
        return await self._get(calls.submit(spec, package, job_id), JobRecord)

    async def job(self, job: str | JobRecord, after_revision: int = -1, wait_seconds: float = 0) -> JobRecord:
        """A job with its history; waits until its revision is greater than ``after_revision``."""
        return await self._get(calls.job(id_of(job), after_revision, wait_seconds), JobRecord)

    async def jobs(self, limit: int = 200, **filters: Any) -> list[JobRecord]:
        """The newest jobs, newest last. Filters: only_open, state, submitter, satellite and others."""
        return await self._get(calls.jobs(limit, **filters), list[JobRecord])

    async def watch(self, job: str | JobRecord) -> AsyncIterator[JobStep]:
        """Each step of a job's life, those so far first, until nothing more will come of it."""
        told = 0
        record = await self.job(job)
        while True:
            for step in record.history[told:]:
                yield step
            told = len(record.history)
            if record.is_settled:
                return
            record = await self.job(job, record.revision, _WAIT_SECONDS)

    async def wait(self, job: str | JobRecord) -> JobRecord:
        """The job when nothing more will come of it."""
        async for _ in self.watch(job):
            pass
        return await self.job(job)

    async def cancel(self, job: str | JobRecord, reason: str = "cancelled by a person") -> JobRecord:
        """Stop a job and end it as cancelled; a job that is over stays as it is."""
        if self._key is not None:
            record = await self.job(job)
            order_id = f"cancel-{secrets.token_hex(6)}"
            order = signing.cancellation(order_id, record.job_id, record.attempt, reason, await self._now())
            return await self._bring(order, "job", JobRecord)
        return await self._get(calls.cancel(id_of(job), reason), JobRecord)

    async def fetch(self, job: str | JobRecord, directory: str | Path) -> list[Path]:
        """Wait for a job's end, and bring what it made into a folder, verified.

        Raises:
            GroundError: it left no result.
            ArchiveError: the folder cannot be written.
        """
        record = await self.wait(job)
        content = (await self.ask(calls.result(record.job_id))).content
        if hashlib.sha256(content).hexdigest() != record.result_sha256:
            raise GroundError(f"what came of job {record.job_id} is damaged; fetch it again", 502)
        target = Path(directory)
        names = await asyncio.to_thread(archive.unpack, content, target, RESULT_LIMIT_BYTES)
        return [target / name for name in names]

    # Satellites.

    async def sats(self) -> list[SatelliteRecord]:
        """What is known of each satellite, by name."""
        return await self._get(calls.satellites(), list[SatelliteRecord])

    async def telemetry(self, satellite: str) -> list[TelemetryValue]:
        """The newest value of every field."""
        from ground.telemetry.values import TelemetryValue  # brings the ground itself, which few clients need

        return await self._get(calls.telemetry(satellite), list[TelemetryValue])

    async def send(
        self,
        satellite: str,
        method: str,
        /,
        *,
        arguments: Mapping[str, Any] | None = None,
        service: str = "",
        command_id: str = "",
        lifetime_seconds: float = 0,
        **more: Any,
    ) -> TelecommandRecord:
        """Send a command, with its arguments by name: ``send("sat-1", "SetLoadSwitch", load="node-1", closed=False)``.

        ``arguments`` takes those whose names this method has for itself; ``service`` is needed where every service
        takes the command; ``lifetime_seconds`` is mission time.
        """
        texts = {name: argument_text(value) for name, value in {**(arguments or {}), **more}.items()}
        command_id = command_id or secrets.token_hex(6)
        if self._key is not None:
            command = command_named(method)
            request, now = build_request(command, texts), await self._now()
            order = signing.telecommand(satellite, command, request, command_id, service, lifetime_seconds, now)
            return await self._bring(order, "telecommand", TelecommandRecord)
        submission = {
            "satellite": satellite,
            "method": method,
            "service": service,
            "arguments": texts,
            "lifetime_seconds": lifetime_seconds,
        }
        return await self._get(calls.send(command_id, submission), TelecommandRecord)

    async def history(
        self, satellite: str, *fields: str, start_seconds: float = 0, end_seconds: float = 0, step_seconds: float = 0
    ) -> TelemetryHistory:
        """Values of fields over time, by default of the last mission hour; with a step the mean of each step."""
        params = {
            "field": list(fields),
            "start_seconds": start_seconds,
            "end_seconds": end_seconds,
            "step_seconds": step_seconds,
            "limit": 200_000,
        }
        from ground.telemetry.query import TelemetryHistory

        call = Call("GET", f"/v1/satellites/{calls.part(satellite)}/telemetry/history", params)
        return await self._get(call, TelemetryHistory)

    async def alarms(self, satellite: str = "", *, with_cleared: bool = False) -> list[AlarmRecord]:
        """Alarms, what needs somebody first."""
        from ground.store.alarms import AlarmRecord

        params = {"satellite": satellite, "with_cleared": with_cleared}
        return await self._get(Call("GET", "/v1/alarms", params), list[AlarmRecord])

    async def acknowledge(self, alarm_id: int, comment: str = "") -> AlarmRecord:
        """Say that somebody has seen an alarm."""
        from ground.store.alarms import AlarmRecord

        call = Call("POST", f"/v1/alarms/{alarm_id}/acknowledge", json={"comment": comment})
        return await self._get(call, AlarmRecord)

    async def shelve(self, alarm_id: int, for_seconds: float, reason: str) -> AlarmRecord:
        """Let an alarm trouble nobody for so many mission seconds."""
        from ground.store.alarms import AlarmRecord

        call = Call("POST", f"/v1/alarms/{alarm_id}/shelve", json={"for_seconds": for_seconds, "reason": reason})
        return await self._get(call, AlarmRecord)

    async def unshelve(self, alarm_id: int) -> AlarmRecord:
        """Let an alarm trouble people again."""
        from ground.store.alarms import AlarmRecord

        return await self._get(Call("POST", f"/v1/alarms/{alarm_id}/unshelve"), AlarmRecord)

    async def telecommand(
        self, command: str | TelecommandRecord, after_revision: int = -1, wait_seconds: float = 0
    ) -> TelecommandRecord:
        """A telecommand with its stages; waits as ``job`` does."""
        command_id = command if isinstance(command, str) else command.command_id
        return await self._get(calls.telecommand(command_id, after_revision, wait_seconds), TelecommandRecord)

    async def telecommands(self, limit: int = 200, **filters: Any) -> list[TelecommandRecord]:
        """The newest telecommands, newest last."""
        return await self._get(calls.telecommands(limit, **filters), list[TelecommandRecord])

    async def completed(self, command: str | TelecommandRecord) -> TelecommandRecord:
        """A telecommand when it is over, in whatever way."""
        record = await self.telecommand(command)
        while not record.is_final:
            record = await self.telecommand(command, record.revision, _WAIT_SECONDS)
        return record

    # What happens.

    async def events(
        self, *, follow: bool = False, satellite: str = "", severity: str = "", limit: int = 100
    ) -> AsyncIterator[EventRecord]:
        """Events, oldest first: the newest ``limit``, and with ``follow`` all that come after, without end."""
        filters = {"satellite": satellite, "severity": severity}
        found = await self._get(calls.events(limit=limit, **filters), list[EventRecord])
        newest = 0
        while True:
            for event in found:
                newest = event.id
                yield event
            if not follow:
                return
            more = calls.events(limit=1000, after_id=newest, wait_seconds=_WAIT_SECONDS, **filters)
            found = await self._get(more, list[EventRecord])

    async def changes(self, *kinds: str, satellite: str = "") -> AsyncIterator[Change]:
        """What changes from now on, without end: job, telecommand, event, satellite, alarm; all when none is named.

        A connection that breaks is made again and goes on where it was.
        """
        async for found in changes(self._http, self.address.url, kinds, satellite, self._patience_seconds):
            yield found

    async def ask(self, call: Call) -> httpx.Response:
        """Whatever can be asked: sent again while nobody answers, at most for the patience of this client."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self._patience_seconds
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                response = await self._http.request(call.method, call.path, **call.arguments)
                if response.status_code not in _MAY_PASS or loop.time() + pause > end:
                    check(response, self.address.url)
                    return response
            except httpx.TransportError as error:
                if loop.time() + pause > end:
                    raise unreachable(self.address.url, error) from None
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _now(self) -> float:
        return float((await self.ask(calls.health())).json()["mission_time_seconds"])

    async def _bring(self, order: Order, name: str, kind: type[T]) -> T:
        """Sign an order and bring it; what became of it."""
        if self._key is None:
            raise UserError("there is no key to sign with")
        signed = orders.sign(order, self._key).SerializeToString()
        found = (await self.ask(calls.order(order.order_id, signed))).json()
        return msgspec.convert(found[name], kind)

    async def _get(self, call: Call, kind: type[T]) -> T:
        response = await self.ask(call)
        try:
            return msgspec.json.decode(response.content, type=kind)
        except msgspec.DecodeError:
            raise no_ground(self.address.url) from None
