"""Queues and sequences in every database that a ground may have."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from ground.connection import Connection
from ground.database import Database
from ground.orders import Orders
from ground.store import command_queue, migration, sequences
from ground.work_metrics import look
from skyrack.signing import SigningKey, seeded_ring
from skyrack.v1 import backhaul_pb2
from skyrack.v1.backhaul_pb2 import CommandSequence, SequenceStep, Telecommand
from skyrack.v1.compute_pb2 import SetDrainRequest

DRAIN = Telecommand(service="compute", method="SetDrain", request=SetDrainRequest(draining=True).SerializeToString())


def order(name: str, steps: int = 2) -> Any:
    signer = Orders(SigningKey.from_seed(1, "ground"), seeded_ring(1, ["sat-1"]), lambda: 100.0, lambda: "x")
    sequence = CommandSequence(name="test", steps=[SequenceStep(telecommand=DRAIN)] * steps)
    return signer.sequence(name, "sat-1", sequence, not_after_seconds=500, submitter="alice")


def test_queues_and_sequences_are_kept(target: Path | str) -> None:
    def queue(connection: Connection) -> None:
        for number in range(2):
            args = (f"c{number}", "compute.SetDrain", "alice", b"\0\1", 10.0 + number, 500.0)
            command_queue.add(connection, "sat-1", command_queue.TELECOMMAND, *args)
        assert [row.command_id for row in command_queue.waiting(connection)] == ["c0", "c1"]
        assert command_queue.waiting(connection, "sat-2") == []
        found = command_queue.find(connection, command_queue.TELECOMMAND, "c1")
        assert found is not None
        assert (bytes(found.payload), found.created_seconds) == (b"\0\1", 11.0)
        command_queue.remove(connection, found.id)
        assert command_queue.find(connection, command_queue.TELECOMMAND, "c1") is None
        assert command_queue.hold(connection, "sat-1", "bob", "why", 20.0)
        assert not command_queue.hold(connection, "sat-1", "carol", "", 21.0)
        assert command_queue.why(command_queue.holds(connection)["sat-1"]) == "by bob: why"

    def follow(connection: Connection) -> None:
        assert sequences.insert(connection, order("s1"), 100.0)
        assert not sequences.insert(connection, order("s1"), 100.0)
        with pytest.raises(ValueError, match="another sequence has the id s1"):
            sequences.insert(connection, order("s1", 3), 100.0)
        sequences.turn(connection, "s1", backhaul_pb2.TELECOMMAND_STAGE_HELD, "by bob", 101.0)
        sequences.turn(connection, "s1", backhaul_pb2.TELECOMMAND_STAGE_QUEUED, "released", 102.0)
        assert sequences.advance(connection, "s1", backhaul_pb2.TELECOMMAND_STAGE_STARTED, "", 104.0)
        assert not sequences.advance(connection, "s1", backhaul_pb2.TELECOMMAND_STAGE_SENT, "", 103.0)
        failed = backhaul_pb2.TELECOMMAND_STAGE_FAILED
        assert sequences.advance_step(connection, "s1", 1, failed, "no", 105.0)
        assert not sequences.advance_step(connection, "s1", 1, failed, "no", 106.0)
        assert not sequences.advance_step(connection, "s1", 9, failed, "no", 106.0)
        record = sequences.load(connection, "s1")
        assert record is not None
        assert [stage.stage for stage in record.stages] == ["HELD", "QUEUED", "SENT", "STARTED"]
        assert [(step.stage, step.finished_seconds) for step in record.steps] == [("FAILED", 105.0), ("QUEUED", None)]
        assert record.signed_by == "ground for alice"
        assert sequences.expired(connection, 600.0, (backhaul_pb2.TELECOMMAND_STAGE_STARTED,)) == ["s1"]
        assert [each.sequence_id for each in sequences.list_sequences(connection, 10, "sat-1")] == ["s1"]
        assert sequences.totals(connection) == {"STARTED": 1}
        found = look(connection)
        assert (found.waiting, found.held, found.sequences) == ({"sat-1": 1}, frozenset({"sat-1"}), {"STARTED": 1})
        assert command_queue.release(connection, "sat-1")
        assert not command_queue.release(connection, "sat-1")
        sequences.trim(connection, 1000.0)
        assert sequences.load(connection, "s1") is not None
        assert sequences.advance(connection, "s1", backhaul_pb2.TELECOMMAND_STAGE_COMPLETED, "", 110.0)
        sequences.trim(connection, 1000.0)
        assert sequences.load(connection, "s1") is None

    async def main() -> None:
        database = Database(target)
        await migration.prepare(database)
        try:
            await database.write(queue)
            await database.write(follow)
        finally:
            await database.close()

    asyncio.run(main())
