"""Where people bring orders that they have signed themselves, second signatures, and lists of keys."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from ground.command_records import SequenceRecord
from ground.connection import Connection
from ground.errors import ConflictError, UnknownError
from ground.keys import KeyBook, KeysRecord
from ground.records import JobRecord, TelecommandRecord
from ground.stages import stage_name
from ground.store import jobs, sequences, telecommands
from skyrack import orders
from skyrack.errors import UserError
from skyrack.orders import Verified
from skyrack.sequences import problem_of
from skyrack.v1 import backhaul_pb2
from skyrack.v1.backhaul_pb2 import SignedOrder

if TYPE_CHECKING:
    from ground.segment import GroundSegment

__all__ = ["OrderDesk", "OrderRecord"]


@dataclass(frozen=True, slots=True)
class OrderRecord:
    """What became of an order that somebody brought: of its kind, one is there."""

    order_id: str
    kind: str
    signed_by: str
    job: JobRecord | None = None
    telecommand: TelecommandRecord | None = None
    sequence: SequenceRecord | None = None
    keys: KeysRecord | None = None


class OrderDesk:
    """All methods raise ``StorageError`` when the disk fails."""

    def __init__(self, segment: GroundSegment) -> None:
        self._segment = segment
        self._keys = KeyBook(segment)

    async def take(self, data: bytes) -> OrderRecord:
        """Take an order that somebody has signed; it is carried as it is, and nobody signs for anybody.

        Raises:
            UserError: a satellite would not obey it, or something in it is wrong; nothing was kept.
            ConflictError: something else has its id.
        """
        order = self._segment.orders.taken(data)
        record = OrderRecord(order.order.order_id, order.kind, orders.signer_text(order))
        if order.kind == orders.JOB:
            return _with(record, job=await self._segment.take_job(order))
        if order.kind == orders.TELECOMMAND:
            problem = problem_of(order.order.telecommand)
            if problem:
                raise UserError(f"{order.order.telecommand.method}: {problem}")
            return _with(record, telecommand=await self._segment.take_telecommand(order))
        if order.kind == orders.SEQUENCE:
            return _with(record, sequence=await self._segment.sequence_desk.take(order))
        if order.kind == orders.CANCEL:
            cancel = order.order.job_cancel
            return _with(record, job=await self._segment.cancel(cancel.job_id, cancel.reason, signed=order))
        return _with(record, keys=await self._keys.take(order))

    async def keys(self) -> KeysRecord:
        """The keys that are believed, and which satellites know of them."""
        return await self._keys.record()

    async def order_of(self, command_id: str) -> bytes:
        """The order of a telecommand or a sequence, as who is to sign it must see it. Raises ``UnknownError``."""

        def read(connection: Connection) -> bytes | None:
            found = telecommands.signed_order(connection, command_id)
            return found or sequences.signed_order(connection, command_id)

        data = await self._segment.database.read(read)
        if not data:
            raise UnknownError(f"there is no command {command_id} that was signed")
        return data

    async def approve(self, command_id: str, key_id: str, signature: bytes) -> OrderRecord:
        """Add a signature to a telecommand or a sequence that lacks one; with the last of them it leaves.

        Raises:
            UnknownError: there is no such command.
            ConflictError: it lacks none.
            UserError: the signature is not one of a key that may.
        """
        data = await self.order_of(command_id)
        signed = SignedOrder.FromString(data)
        if all(known.key_id != key_id for known in signed.signatures):
            signed.signatures.add(key_id=key_id, signature=signature)
        order = self._segment.orders.taken(signed.SerializeToString())
        record = OrderRecord(command_id, order.kind, orders.signer_text(order))
        if order.kind == orders.SEQUENCE:
            return _with(record, sequence=await self._segment.sequence_desk.signed(order))
        return _with(record, telecommand=await self._signed(order, data))

    async def _signed(self, order: Verified, before: bytes) -> TelecommandRecord:
        segment, command_id = self._segment, order.order.order_id
        missing, now = orders.lacking(order), self._segment.clock.now()

        def transaction(connection: Connection) -> TelecommandRecord:
            record = telecommands.load(connection, command_id)
            waits = stage_name(backhaul_pb2.TELECOMMAND_STAGE_NEEDS_SIGNATURE)
            if record is None or record.stage != waits:
                stage = record.stage if record else "gone"
                raise ConflictError(f"telecommand {command_id} is {stage}: it needs no signature")
            if telecommands.signed_order(connection, command_id) != before:
                raise ConflictError(f"somebody else signed telecommand {command_id} in the same moment; sign again")
            telecommands.signed(connection, order, missing)
            if not missing:
                queued = backhaul_pb2.TELECOMMAND_STAGE_QUEUED
                telecommands.advance(connection, command_id, queued, f"signed by {orders.signer_text(order)}", now)
                segment.command_queue.put(connection, order.order.destination, order, now)
            found = telecommands.load(connection, command_id)
            return found or record

        record = await segment.database.write(transaction)
        if not missing:
            await segment.command_queue.came(record.satellite)
        segment.changed.beat()
        return record

    async def receipt(self, job_id: str) -> dict[str, object]:
        """What a job's satellite vouches for, for people and other programs. Raises ``UnknownError``."""
        from ground.receipts import document  # only who asks for receipts needs it

        status = await self._segment.database.read(partial(jobs.last_status, job_id=job_id))
        found = document(status, self._segment.orders.ring) if status is not None else None
        if found is None:
            raise UnknownError(f"there is no receipt of a job {job_id}")
        return found


def _with(record: OrderRecord, **found: object) -> OrderRecord:
    values = {name: getattr(record, name) for name in ("order_id", "kind", "signed_by")}
    return OrderRecord(**values, **found)  # type: ignore[arg-type]
