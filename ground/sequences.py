"""Sequences of commands as people use them: submitted whole, followed step by step, ended early."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import Any

from google.protobuf.message import Message

from ground.admission import ID_FORM, is_id
from ground.command_desk import CommandDesk
from ground.command_queue import CommandQueue
from ground.command_records import AbortRecord, SequenceRecord
from ground.connection import Connection
from ground.errors import ConflictError, UnknownError
from ground.orders import Orders
from ground.pulse import Pulse
from ground.records import TelecommandRecord
from ground.stages import stage_name
from ground.store import command_queue, sequences
from skyrack import orders
from skyrack.clock import Clock
from skyrack.errors import UserError
from skyrack.files import suggest
from skyrack.orders import Verified
from skyrack.sequences import problem_of, problems
from skyrack.storage import Storage
from skyrack.v1.backhaul_pb2 import (
    TELECOMMAND_STAGE_NEEDS_SIGNATURE,
    TELECOMMAND_STAGE_QUEUED,
    CommandSequence,
    SignedOrder,
)
from skyrack.v1.gateway_pb2 import AbortSequenceRequest

__all__ = ["SequenceDesk"]


class SequenceDesk:
    """All methods raise ``StorageError`` when the disk fails."""

    def __init__(
        self,
        database: Storage[Any],
        clock: Clock,
        satellites: Collection[str],
        signer: Orders,
        queue: CommandQueue,
        desk: CommandDesk,
        changed: Pulse,
        lifetime_seconds: float,
    ) -> None:
        """``lifetime_seconds`` is how long a sequence may take to arrive when its submitter does not say."""
        self._database = database
        self._clock = clock
        self._satellites = satellites
        self._signer = signer
        self._queue = queue
        self._desk = desk
        self._changed = changed
        self._lifetime_seconds = lifetime_seconds

    async def submit(
        self,
        sequence_id: str,
        satellite: str,
        sequence: CommandSequence,
        *,
        submitter: str = "",
        lifetime_seconds: float = 0.0,
    ) -> SequenceRecord:
        """Check a sequence as a whole and queue it, signed by the ground; durable when this returns.

        The same again changes nothing.

        Raises:
            UserError: something of it is wrong; nothing was kept.
            UnknownError: there is no such satellite.
            ConflictError: another sequence has this id.
        """
        now = self._clock.now()
        known = await self._database.read(
            partial(sequences.same, sequence_id=sequence_id, satellite=satellite, sequence=sequence)
        )
        if known is not None:
            return known
        end = now + (lifetime_seconds or self._lifetime_seconds)
        self._check(sequence_id, satellite, sequence, now)
        order = self._signer.sequence(sequence_id, satellite, sequence, not_after_seconds=end, submitter=submitter)
        return await self.take(order)

    async def take(self, order: Verified) -> SequenceRecord:
        """Queue a sequence that somebody has signed. Raises as ``submit`` does."""
        now = self._clock.now()
        wanted = order.order
        satellite = wanted.destination
        self._check(wanted.order_id, satellite, wanted.sequence, now)
        missing = orders.lacking(order)

        def transaction(connection: Connection) -> SequenceRecord:
            try:
                is_new = sequences.insert(connection, order, now, missing)
            except ValueError as error:
                raise ConflictError(str(error)) from None
            if is_new and not missing:
                self._queue.put(connection, satellite, order, now)
            return _known(sequences.load(connection, wanted.order_id), wanted.order_id)

        record = await self._database.write(transaction)
        await self._queue.came(satellite)
        self._changed.beat()
        return record

    async def signed(self, order: Verified) -> SequenceRecord:
        """Another person signed a sequence that waits here for it.

        Raises:
            UnknownError: there is no such sequence.
            ConflictError: it waits for no signature.
        """
        now, wanted = self._clock.now(), order.order
        missing = orders.lacking(order)

        def transaction(connection: Connection) -> SequenceRecord:
            record = _known(sequences.load(connection, wanted.order_id), wanted.order_id)
            if record.stage != stage_name(TELECOMMAND_STAGE_NEEDS_SIGNATURE):
                raise ConflictError(f"sequence {wanted.order_id} is {record.stage}: it waits for no signature")
            if not _signers(sequences.signed_order(connection, wanted.order_id) or b"") <= _signers(order.data):
                raise ConflictError(f"somebody else signed sequence {wanted.order_id} in the same moment; sign again")
            sequences.signed(connection, order, missing)
            if not missing:
                text = f"signed by {orders.signer_text(order)}"
                sequences.advance(connection, wanted.order_id, TELECOMMAND_STAGE_QUEUED, text, now)
                self._queue.put(connection, wanted.destination, order, now)
            return _known(sequences.load(connection, wanted.order_id), wanted.order_id)

        record = await self._database.write(transaction)
        await self._queue.came(wanted.destination)
        self._changed.beat()
        return record

    def _check(self, sequence_id: str, satellite: str, sequence: CommandSequence, now: float) -> None:
        if not is_id(sequence_id):
            raise UserError(f'sequence id "{sequence_id}": {ID_FORM}')
        if satellite not in self._satellites:
            raise UnknownError(f"there is no satellite {satellite}; {suggest(satellite, self._satellites)}")
        found = problems(sequence, now, problem_of)
        if found:
            raise UserError(f"sequence {sequence.name or sequence_id}: {'; '.join(found)}")

    async def sequence(self, sequence_id: str) -> SequenceRecord:
        """A sequence with its steps. Raises ``UnknownError``."""
        found = await self._database.read(lambda connection: sequences.load(connection, sequence_id))
        return _known(found, sequence_id)

    async def sequences(self, limit: int = 200, satellite: str = "") -> list[SequenceRecord]:
        """The newest sequences, newest last, without their steps."""
        return await self._database.read(lambda connection: sequences.list_sequences(connection, limit, satellite))

    async def abort(
        self,
        sequence_id: str,
        person: str,
        reason: str,
        send: Callable[[str, str, Message], Awaitable[TelecommandRecord]],
    ) -> AbortRecord:
        """End a sequence early: it is withdrawn if it has not left, else its satellite is told by a command.

        ``send(satellite, method, request)`` sends that command.

        Raises:
            UnknownError: there is no such sequence.
        """
        record = await self.sequence(sequence_id)
        if record.is_final:
            return AbortRecord(record, None)

        def waits(connection: Connection) -> bool:
            return command_queue.find(connection, command_queue.SEQUENCE, sequence_id) is not None

        if record.stage == stage_name(TELECOMMAND_STAGE_NEEDS_SIGNATURE) or await self._database.read(waits):
            await self._desk.withdraw(sequence_id, person, reason, command_queue.SEQUENCE)
            return AbortRecord(await self.sequence(sequence_id), None)
        told = f"by {person}: {reason}" if person and reason else reason or (f"by {person}" if person else "")
        request = AbortSequenceRequest(sequence_id=sequence_id, reason=told)
        command = await send(record.satellite, "AbortSequence", request)
        return AbortRecord(await self.sequence(sequence_id), command)


def _signers(data: bytes) -> set[str]:
    return {signature.key_id for signature in SignedOrder.FromString(data).signatures}


def _known(found: SequenceRecord | None, sequence_id: str) -> SequenceRecord:
    if found is None:
        raise UnknownError(f"there is no sequence {sequence_id}")
    return found
