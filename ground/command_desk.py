"""What people may do with queues of commands: see what waits, hold them, release them, withdraw what has not left."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from ground.command_queue import CommandQueue
from ground.command_records import QueueRecord
from ground.connection import Connection
from ground.errors import ConflictError, UnknownError
from ground.lifecycle import Note, note
from ground.pulse import Pulse
from ground.stages import stage_name
from ground.store import command_queue
from ground.store.command_marks import mark, stage_of, turn
from ground.store.command_queue import TELECOMMAND, Hold, Waiting, why
from skyrack.clock import Clock
from skyrack.storage import Storage
from skyrack.v1 import backhaul_pb2, common_pb2

__all__ = ["CommandDesk"]


class CommandDesk:
    """All methods raise ``StorageError`` when the disk fails; who asks is written into the record and the events."""

    def __init__(
        self,
        queue: CommandQueue,
        database: Storage[Any],
        clock: Clock,
        satellites: Collection[str],
        in_reach: Callable[[str], bool],
        changed: Pulse,
    ) -> None:
        """``changed`` beats when a stage did."""
        self._queue = queue
        self._database = database
        self._clock = clock
        self._satellites = satellites
        self._in_reach = in_reach
        self._changed = changed

    async def queues(self) -> list[QueueRecord]:
        """What waits for each satellite, by name. Raises ``StorageError``."""

        def query(connection: Connection) -> tuple[dict[str, Hold], list[Waiting]]:
            return command_queue.holds(connection), command_queue.waiting(connection)

        held, waiting = await self._database.read(query)
        return [self._record(name, held.get(name), waiting) for name in sorted(self._satellites)]

    async def queue(self, satellite: str) -> QueueRecord:
        """What waits for one satellite. Raises ``UnknownError``, ``StorageError``."""
        self._known(satellite)
        return next(record for record in await self.queues() if record.satellite == satellite)

    def _record(self, satellite: str, hold: Hold | None, waiting: Sequence[Waiting]) -> QueueRecord:
        return QueueRecord(
            satellite=satellite,
            is_held=hold is not None,
            held_by=hold.held_by if hold else "",
            reason=hold.reason if hold else "",
            held_seconds=hold.held_seconds if hold else None,
            is_reachable=self._in_reach(satellite),
            waiting=tuple(row.record for row in waiting if row.satellite == satellite),
        )

    async def hold(self, satellite: str, person: str, reason: str = "") -> QueueRecord:
        """Let nothing leave for a satellite from now on; what left before is not called back.

        Raises:
            ConflictError: somebody holds it already.
        """
        self._known(satellite)
        now = self._clock.now()

        def transaction(connection: Connection) -> None:
            if not command_queue.hold(connection, satellite, person, reason, now):
                held = command_queue.holds(connection)[satellite]
                raise ConflictError(f"the queue of {satellite} is held already: {why(held)}")
            text = why(Hold(satellite, person, reason, now))
            for row in command_queue.waiting(connection, satellite):
                turn(connection, row.kind, row.command_id, backhaul_pb2.TELECOMMAND_STAGE_HELD, text, now)
            note(connection, Note("command_queue_held", common_pb2.SEVERITY_WARNING, f"held {text}", satellite), now)

        await self._database.write(transaction)
        self._changed.beat()
        return await self.queue(satellite)

    async def release(self, satellite: str, person: str) -> QueueRecord:
        """Let what waits for a satellite leave again.

        Raises:
            ConflictError: nobody holds it.
        """
        self._known(satellite)
        now = self._clock.now()

        def transaction(connection: Connection) -> None:
            if not command_queue.release(connection, satellite):
                raise ConflictError(f"the queue of {satellite} is not held")
            text = f"released by {person or 'somebody'}"
            for row in command_queue.waiting(connection, satellite):
                turn(connection, row.kind, row.command_id, backhaul_pb2.TELECOMMAND_STAGE_QUEUED, text, now)
            note(connection, Note("command_queue_released", common_pb2.SEVERITY_INFO, text, satellite), now)

        await self._database.write(transaction)
        await self._queue.came(satellite)
        self._changed.beat()
        return await self.queue(satellite)

    async def withdraw(self, command_id: str, person: str, reason: str = "", kind: str = TELECOMMAND) -> None:
        """Take back what has not left yet.

        Raises:
            UnknownError: nothing has this id.
            ConflictError: it has left, or is over.
        """
        now = self._clock.now()

        def transaction(connection: Connection) -> None:
            row = command_queue.find(connection, kind, command_id)
            if row is None:
                stage = stage_of(connection, kind, command_id)
                if not stage:
                    raise UnknownError(f"there is no {kind} {command_id}")
                if stage == stage_name(backhaul_pb2.TELECOMMAND_STAGE_NEEDS_SIGNATURE):
                    told = f"by {person or 'somebody'}" + (f": {reason}" if reason else "")
                    mark(connection, kind, command_id, backhaul_pb2.TELECOMMAND_STAGE_WITHDRAWN, told, now)
                    return
                raise ConflictError(f"{kind} {command_id} is {stage}: it does not wait here any more")
            text = f"by {person or 'somebody'}" + (f": {reason}" if reason else "")
            mark(connection, kind, command_id, backhaul_pb2.TELECOMMAND_STAGE_WITHDRAWN, text, now)
            command_queue.remove(connection, row.id)
            told = f"{kind} {command_id} ({row.name}) withdrawn {text}"
            note(connection, Note("command_withdrawn", common_pb2.SEVERITY_INFO, told, row.satellite), now)

        await self._database.write(transaction)
        self._changed.beat()

    def _known(self, satellite: str) -> None:
        if satellite not in self._satellites:
            raise UnknownError(f"there is no satellite {satellite}; there are {', '.join(sorted(self._satellites))}")
