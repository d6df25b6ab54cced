"""The asyncio client's words for queues of commands and sequences."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final, TypeVar

from ground import sequencefile
from ground.client import command_calls
from ground.client.calls import Call
from ground.command_records import AbortRecord, QueueRecord, SequenceRecord, SequenceStepRecord
from ground.records import TelecommandRecord
from skyrack import files

__all__ = ["CommandWords"]

T = TypeVar("T")

_WAIT_SECONDS: Final = 20.0
_UNTOLD: Final = ("QUEUED", "HELD")


class CommandWords:
    """A part of ``ground.client.Skyrack``."""

    async def _get(self, call: Call, kind: type[T]) -> T:
        raise NotImplementedError

    async def queues(self) -> list[QueueRecord]:
        """What waits to leave for each satellite, and whether its queue is held."""
        return await self._get(command_calls.queues(), list[QueueRecord])

    async def hold(self, satellite: str, reason: str = "") -> QueueRecord:
        """Let no command leave for a satellite; what left before is not called back."""
        return await self._get(command_calls.hold(satellite, reason), QueueRecord)

    async def release(self, satellite: str) -> QueueRecord:
        """Let what waits for a satellite leave again."""
        return await self._get(command_calls.release(satellite), QueueRecord)

    async def withdraw(self, command: str | TelecommandRecord, reason: str = "") -> TelecommandRecord:
        """Take back a command that has not left."""
        command_id = command if isinstance(command, str) else command.command_id
        return await self._get(command_calls.withdraw(command_id, reason), TelecommandRecord)

    async def run_sequence(
        self, satellite: str, file: str | Path, *, sequence_id: str = "", lifetime_seconds: float = 0
    ) -> SequenceRecord:
        """Have a satellite run the sequence in a file: a path, or the name of one that Skyrack ships.

        The same id again changes nothing; ``lifetime_seconds`` is mission time in which it must have arrived.

        Raises:
            FileError: the file cannot be used; nothing left.
        """
        loaded = await asyncio.to_thread(_load, str(file))
        name = sequence_id or f"{loaded.sequence.name[:56]}-{secrets.token_hex(3)}"
        call = command_calls.run_sequence(name, loaded.submission(satellite, lifetime_seconds))
        return await self._get(call, SequenceRecord)

    async def sequence(
        self, sequence: str | SequenceRecord, after_revision: int = -1, wait_seconds: float = 0
    ) -> SequenceRecord:
        """A sequence with its steps; waits as ``job`` does."""
        return await self._get(command_calls.sequence(_id(sequence), after_revision, wait_seconds), SequenceRecord)

    async def sequences(self, limit: int = 200, **filters: Any) -> list[SequenceRecord]:
        """The newest sequences, newest last, without their steps."""
        return await self._get(command_calls.sequences(limit, **filters), list[SequenceRecord])

    async def watch_sequence(self, sequence: str | SequenceRecord) -> AsyncIterator[SequenceStepRecord]:
        """Each step whenever it reaches another stage, until the sequence is over."""
        told: dict[int, str] = {}
        record = await self.sequence(sequence)
        while True:
            for step in record.steps:
                if step.stage not in _UNTOLD and told.get(step.number) != step.stage:
                    told[step.number] = step.stage
                    yield step
            if record.is_final:
                return
            record = await self.sequence(record, record.revision, _WAIT_SECONDS)

    async def abort(self, sequence: str | SequenceRecord, reason: str = "") -> AbortRecord:
        """End a sequence early: withdrawn if it has not left, else by a command to its satellite."""
        return await self._get(command_calls.abort(_id(sequence), reason), AbortRecord)


def _load(name: str) -> sequencefile.LoadedSequence:
    return sequencefile.load(files.find("sequences", name))


def _id(sequence: str | SequenceRecord) -> str:
    return sequence if isinstance(sequence, str) else sequence.sequence_id
