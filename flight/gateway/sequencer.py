"""Runs sequences of commands: each in a task of its own, with a table that outlives the gateway."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeVar

from flight.gateway import sequence_table, sequences
from flight.gateway.dispatch import Call, Refused, resolve
from flight.gateway.sequence_table import Row
from flight.gateway.sequences import End, Fail, Run, StepState, Wait
from skyrack.clock import Clock
from skyrack.database import Database, StorageError
from skyrack.delivery import OutboxFullError, RejectItemError
from skyrack.sequences import problems, step_id
from skyrack.v1 import backhaul_pb2
from skyrack.v1.backhaul_pb2 import CommandSequence, OrderReport, Payload, Telecommand, TelecommandReport
from skyrack.v1.common_pb2 import CommandResult

T = TypeVar("T")

MAXIMUM_RUNNING: Final = 16
"""Sequences that run at once; a satellite that is asked for more has another plan than its operators."""

_RETRY_SECONDS: Final = 5.0
_KEPT_SECONDS: Final = 86_400.0
_HOST_LATENESS_SECONDS: Final = 2.0
"""What a busy host may lose beside ``sequence_lateness_seconds``: of the event loop's time."""


class Sequencer:
    """Takes sequences in (``take``), runs them (``run``), ends them early (``abort``)."""

    def __init__(
        self,
        services: tuple[str, ...],
        database: Database,
        clock: Clock,
        call: Callable[[str, Call], Awaitable[Payload]],
        enqueue: Callable[[sqlite3.Connection, Payload], None],
        kick: Callable[[], None],
        spawn: Callable[[Coroutine[Any, Any, None], str], object],
        lateness_seconds: Callable[[], float],
    ) -> None:
        """``call(command id, call)`` passes a command on and answers with its report."""
        self._services = services
        self._database = database
        self._clock = clock
        self._call = call
        self._enqueue = enqueue
        self._kick = kick
        self._spawn = spawn
        self._lateness_seconds = lateness_seconds
        self._wakes: dict[int, asyncio.Event] = {}
        self._came = asyncio.Event()

    async def open(self) -> None:
        """Prepare the tables; what an earlier life began goes on with ``run``. Raises ``StorageError``."""
        await self._database.migrate(sequence_table.COMPONENT, sequence_table.SCHEMA)
        self._came.set()

    def take(
        self, connection: sqlite3.Connection, sequence_id: str, sequence: CommandSequence, not_after_seconds: float
    ) -> None:
        """Keep a sequence whose signers may command; in the transaction that records its receipt.

        Raises:
            RejectItemError: it has no id, or the id of another.
        """
        if not sequence_id:
            raise RejectItemError("a sequence without an id")
        if not sequence_table.add(connection, sequence_id, sequence, self._clock.now(), not_after_seconds):
            raise RejectItemError(f"a sequence with the id {sequence_id} came before")
        self._report(connection, sequence_id, backhaul_pb2.TELECOMMAND_STAGE_ACCEPTED)

    def came(self) -> None:
        """What was taken has been committed: begin it."""
        self._came.set()

    async def abort(self, sequence_id: str, reason: str) -> CommandResult:
        """Run no further step of a sequence. Raises ``StorageError``."""
        row_id, problem = await self._database.write(
            lambda connection: sequence_table.abort(connection, sequence_id, reason)
        )
        if problem:
            return CommandResult(ok=False, reason=problem)
        wake = self._wakes.get(row_id)
        if wake is not None:
            wake.set()
        return CommandResult(ok=True, reason=f"no further step of {sequence_id} will run")

    def prune(self, connection: sqlite3.Connection, now: float) -> None:
        """Forget sequences that have been over for a day."""
        sequence_table.prune(connection, now - _KEPT_SECONDS)

    async def run(self) -> None:
        """Begin what comes, and what earlier lives left, until cancelled."""
        while True:
            await self._came.wait()
            self._came.clear()
            for row_id in await _durably(lambda: self._database.read(sequence_table.open_ids)):
                if row_id not in self._wakes:
                    self._wakes[row_id] = asyncio.Event()
                    self._spawn(self._follow(row_id), "sequence")

    async def _follow(self, row_id: int) -> None:
        """One sequence from its check to its end."""
        wake = self._wakes[row_id]
        load = partial(sequence_table.load, row_id=row_id)
        try:
            while True:
                wake.clear()
                row = await _durably(lambda: self._database.read(load))
                if row is None:
                    return
                await (self._step(row, wake) if row.checked else self._begin(row))
        finally:
            del self._wakes[row_id]

    async def _begin(self, row: Row) -> None:
        """Check it as a whole, before any of it runs."""
        now = self._clock.now()
        late = now - row.not_after_seconds
        found = problems(row.sequence, row.accepted_seconds, self._problem_of)

        def begin(connection: sqlite3.Connection) -> None:
            if row.not_after_seconds and late > 0:
                self._end(connection, row, backhaul_pb2.TELECOMMAND_STAGE_EXPIRED, f"it arrived {late:.0f} s late")
            elif found:
                self._end(connection, row, backhaul_pb2.TELECOMMAND_STAGE_FAILED, "; ".join(found))
            elif sequence_table.running(connection) >= MAXIMUM_RUNNING:
                reason = f"{MAXIMUM_RUNNING} sequences run here, the most at once: wait until one is over, or abort one"
                self._end(connection, row, backhaul_pb2.TELECOMMAND_STAGE_FAILED, reason)
            else:
                sequence_table.run(connection, row.id)
                self._report(connection, row.sequence_id, backhaul_pb2.TELECOMMAND_STAGE_STARTED)

        await self._write(begin)

    def _problem_of(self, telecommand: Telecommand) -> str:
        found = resolve(telecommand, self._services, self._clock.now())
        return found.reason if isinstance(found, Refused) else ""

    async def _step(self, row: Row, wake: asyncio.Event) -> None:
        """Do what is next, be it only to wait."""
        lateness = self._lateness_seconds() + _HOST_LATENESS_SECONDS * self._clock.rate
        steps = sequences.plan(row.sequence)
        now = self._clock.now()
        action = sequences.next_action(steps, row.progress, row.accepted_seconds, now, lateness, row.aborted)
        match action:
            case Wait(until):
                with suppress(TimeoutError):
                    async with self._clock.timeout(until - now):
                        await wake.wait()
            case Fail(number, reason):
                await self._over(row, number, self._step_failed(row, number, reason))
            case Run(number):
                await self._over(row, number, await self._pass_on(row, number))
            case End(completed, reason):
                completed_stage, failed = (
                    backhaul_pb2.TELECOMMAND_STAGE_COMPLETED,
                    backhaul_pb2.TELECOMMAND_STAGE_FAILED,
                )
                stage = completed_stage if completed else failed
                await self._write(lambda connection: self._end(connection, row, stage, reason))

    async def _pass_on(self, row: Row, number: int) -> TelecommandReport:
        """Run a step; it is recorded as begun before it leaves. Returns what became of it."""
        command_id = step_id(row.sequence_id, number)
        begun = TelecommandReport(
            command_id=command_id,
            stage=backhaul_pb2.TELECOMMAND_STAGE_STARTED,
            mission_time_seconds=self._clock.now(),
        )

        def begin(connection: sqlite3.Connection) -> None:
            sequence_table.set_step(connection, row.id, number, StepState.BEGUN, self._clock.now())
            self._enqueue(connection, Payload(telecommand_report=begun))

        await self._write(begin)
        call = resolve(row.sequence.steps[number - 1].telecommand, self._services, self._clock.now())
        if isinstance(call, Refused):
            return self._step_failed(row, number, call.reason)
        return (await self._call(command_id, call)).telecommand_report

    async def _over(self, row: Row, number: int, report: TelecommandReport) -> None:
        is_good = report.stage == backhaul_pb2.TELECOMMAND_STAGE_COMPLETED
        state = StepState.COMPLETED if is_good else StepState.FAILED

        def finish(connection: sqlite3.Connection) -> None:
            sequence_table.set_step(connection, row.id, number, state, report.mission_time_seconds)
            self._enqueue(connection, Payload(telecommand_report=report))

        await self._write(finish)

    def _step_failed(self, row: Row, number: int, reason: str) -> TelecommandReport:
        return TelecommandReport(
            command_id=step_id(row.sequence_id, number),
            stage=backhaul_pb2.TELECOMMAND_STAGE_FAILED,
            reason=reason,
            mission_time_seconds=self._clock.now(),
        )

    def _end(self, connection: sqlite3.Connection, row: Row, stage: backhaul_pb2.TelecommandStage, reason: str) -> None:
        """Report the sequence, and each step that will not run, so that nobody waits for one."""
        for number, made in enumerate(row.progress, 1):
            if not made.state.over:
                report = self._step_failed(row, number, f"not run: {_short(reason)}")
                self._enqueue(connection, Payload(telecommand_report=report))
        sequence_table.end(connection, row.id)
        self._report(connection, row.sequence_id, stage, reason)

    def _report(
        self, connection: sqlite3.Connection, sequence_id: str, stage: backhaul_pb2.TelecommandStage, reason: str = ""
    ) -> None:
        report = OrderReport(order_id=sequence_id, stage=stage, reason=reason, mission_time_seconds=self._clock.now())
        self._enqueue(connection, Payload(order_report=report))

    async def _write(self, transaction: Callable[[sqlite3.Connection], None]) -> None:
        await _durably(lambda: self._database.write(transaction))
        self._kick()


async def _durably(access: Callable[[], Awaitable[T]]) -> T:
    """Read or write, and try again while the disk will not: what was done must not be forgotten."""
    while True:
        try:
            return await access()
        except (StorageError, OutboxFullError):
            await asyncio.sleep(_RETRY_SECONDS)


def _short(reason: str) -> str:
    return reason if len(reason) <= 200 else f"{reason[:199]}…"
