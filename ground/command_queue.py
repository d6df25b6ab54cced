"""The queue of commands: what people want done waits here until its satellite can be reached and nobody holds it back.

Nothing is handed to delivery before it can leave, so that it can be withdrawn until then; an order never overtakes
another of its satellite.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, Protocol

from ground.connection import Connection
from ground.pulse import Pulse
from ground.store import command_queue, sequences
from ground.store.command_marks import mark
from ground.store.command_queue import SEQUENCE, TELECOMMAND, Waiting, why
from skyrack import orders
from skyrack.clock import Clock
from skyrack.delivery import OutboxFullError, Sent
from skyrack.errors import UserError
from skyrack.logging import get_logger
from skyrack.orders import OrderRefusedError, Verified
from skyrack.storage import Storage, StorageError
from skyrack.v1 import backhaul_pb2
from skyrack.v1.backhaul_pb2 import Payload
from skyrack.v1.options_pb2 import STREAM_STATUS

__all__ = ["MAXIMUM_WAITING", "CommandQueue"]

MAXIMUM_WAITING: Final = 1000
"""Commands that may wait for one satellite."""

_LOOK_SECONDS: Final = 10.0
_SILENT: Final = (backhaul_pb2.TELECOMMAND_STAGE_QUEUED, backhaul_pb2.TELECOMMAND_STAGE_SENT)
_EXPIRY_MARGIN_SECONDS: Final = 600.0


class _Enqueue(Protocol):
    def __call__(
        self, connection: Any, satellite: str, stream: int, payload: bytes, not_after_seconds: float, /
    ) -> object: ...


class CommandQueue:
    """``open`` it, ``run`` it; ``put`` takes an order in a transaction of the caller's, who calls ``came`` after it."""

    def __init__(
        self,
        database: Storage[Any],
        clock: Clock,
        in_reach: Callable[[str], bool],
        enqueue: _Enqueue,
        kick: Callable[[Sequence[str], Sequence[int]], None],
        changed: Pulse,
    ) -> None:
        """``enqueue`` hands a payload to delivery, ``kick`` tells it to send; ``changed`` beats when a stage did."""
        self._database = database
        self._clock = clock
        self._in_reach = in_reach
        self._enqueue = enqueue
        self._kick = kick
        self._changed = changed
        self._waits: set[str] = set()
        self._sent: list[tuple[str, str]] = []
        self._work = Pulse()
        self._log = get_logger("ground")

    async def open(self) -> None:
        """Take up what waits since an earlier life. Raises ``StorageError``."""
        self._waits = {row.satellite for row in await self._database.read(command_queue.waiting)}

    def put(self, connection: Connection, satellite: str, order: Verified, now: float) -> None:
        """Queue a telecommand or a sequence whose record was just made.

        Raises:
            UserError: too much waits for this satellite.
        """
        queued = command_queue.waiting(connection, satellite)
        if len(queued) >= MAXIMUM_WAITING:
            raise UserError(
                f"{MAXIMUM_WAITING:,} commands wait for {satellite}: wait until it can be reached, or withdraw some"
            )
        wanted = order.order
        is_sequence = order.kind == orders.SEQUENCE
        command = wanted.telecommand
        kind = SEQUENCE if is_sequence else TELECOMMAND
        payload = Payload()
        payload.order.ParseFromString(order.data)
        command_queue.add(
            connection,
            satellite,
            kind,
            wanted.order_id,
            wanted.sequence.name if is_sequence else f"{command.service}.{command.method}",
            wanted.submitter,
            payload.SerializeToString(),
            now,
            wanted.not_after_seconds,
        )
        held = command_queue.holds(connection).get(satellite)
        if held is not None:
            mark(connection, kind, wanted.order_id, backhaul_pb2.TELECOMMAND_STAGE_HELD, why(held), now)

    async def came(self, satellite: str) -> None:
        """Something was put and committed: let it leave if it may. Raises ``StorageError``."""
        self._waits.add(satellite)
        await self._flush([satellite])

    def heard(self, satellite: str) -> None:
        """A satellite was heard, or said to be there: what waits for it may leave."""
        if satellite in self._waits:
            self._work.beat()

    def left(self, items: Sequence[Sent]) -> None:
        """Items were handed to the backhaul for the first time."""
        for item in items:
            if item.stream == STREAM_STATUS:
                found = _ordered(item.payload)
                if found is not None:
                    self._sent.append(found)
                    self._work.beat()

    async def run(self) -> None:
        """Let go what may leave, write down what has left, and end what is too late, until cancelled."""
        while True:
            waiter = self._work.waiter()
            try:
                await self.step()
            except (StorageError, OSError) as error:
                self._log.error("ground_storage_failed", problem=str(error))
            with suppress(TimeoutError):
                async with self._clock.timeout(_LOOK_SECONDS):
                    await waiter

    async def step(self) -> None:
        """One look. Raises ``StorageError``."""
        await self._tell_sent()
        if self._waits:
            await self._flush(sorted(self._waits))
        before = self._clock.now() - _EXPIRY_MARGIN_SECONDS
        if await self._database.read(partial(sequences.expired, before=before, stages=_SILENT)):
            await self._database.write(partial(self._expire, before=before))
            self._changed.beat()

    def _expire(self, connection: Connection, before: float) -> None:
        reason = "its time ended and nothing was heard of it"
        for sequence_id in sequences.expired(connection, before, _SILENT):
            expired = backhaul_pb2.TELECOMMAND_STAGE_EXPIRED
            mark(connection, SEQUENCE, sequence_id, expired, reason, self._clock.now())

    async def _tell_sent(self) -> None:
        if not self._sent:
            return
        sent, now = tuple(self._sent), self._clock.now()

        def transaction(connection: Connection) -> None:
            for kind, command_id in sent:
                mark(connection, kind, command_id, backhaul_pb2.TELECOMMAND_STAGE_SENT, "", now)

        await self._database.write(transaction)
        del self._sent[: len(sent)]
        self._changed.beat()

    async def _flush(self, satellites: Sequence[str]) -> None:
        now = self._clock.now()
        in_reach = {satellite for satellite in satellites if self._in_reach(satellite)}

        def transaction(connection: Connection) -> tuple[set[str], set[str], bool]:
            left: set[str] = set()
            waits: set[str] = set()
            is_changed = False
            held = command_queue.holds(connection)
            for satellite in satellites:
                may_leave = satellite in in_reach and satellite not in held
                for row in command_queue.waiting(connection, satellite):
                    if 0 < row.not_after_seconds < now:
                        reason = "its time ended before it could leave"
                        mark(connection, row.kind, row.command_id, backhaul_pb2.TELECOMMAND_STAGE_EXPIRED, reason, now)
                        command_queue.remove(connection, row.id)
                        is_changed = True
                        continue
                    may_leave = may_leave and self._hand_over(connection, row)
                    (left if may_leave else waits).add(satellite)
            return left, waits, is_changed

        left, waits, is_changed = await self._database.write(transaction)
        self._waits -= set(satellites) - waits
        if left:
            self._kick(sorted(left), [STREAM_STATUS])
        if is_changed:
            self._changed.beat()

    def _hand_over(self, connection: Connection, row: Waiting) -> bool:
        try:
            self._enqueue(connection, row.satellite, STREAM_STATUS, row.payload, row.not_after_seconds)
        except OutboxFullError:
            return False
        command_queue.remove(connection, row.id)
        return True


def _ordered(payload: bytes) -> tuple[str, str] | None:
    """Kind and id of what an item orders, if it is a command or a sequence."""
    item = Payload.FromString(payload)
    if item.WhichOneof("kind") != "order":
        return None
    try:
        _, order = orders.open_order(item.order.SerializeToString())
    except OrderRefusedError:
        return None
    kinds = {orders.TELECOMMAND: TELECOMMAND, orders.SEQUENCE: SEQUENCE}
    kind = kinds.get(orders.kind_of(order))
    return (kind, order.order_id) if kind else None
