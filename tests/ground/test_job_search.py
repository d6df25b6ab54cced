"""Jobs looked for by state and by words, and commands listed with their stages, in every database of a ground."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from ground.connection import Connection
from ground.database import Database
from ground.orders import Orders
from ground.store import jobs, migration, telecommands
from ground.store.job_records import JobFilter, list_jobs
from skyrack.jobs import JobState
from skyrack.signing import SigningKey, seeded_ring
from skyrack.v1 import backhaul_pb2, job_pb2

SIGNER = Orders(SigningKey.from_seed(1, "ground"), seeded_ring(1, ["sat-1"]), lambda: 100.0, lambda: "x")
JOBS = (("a", "digits", "ada"), ("b", "digits", "bob"), ("c", "Weather map", "ada"), ("d", "digits", "ada"))


async def in_a_transaction(target: Path | str, look: Callable[[Connection], None]) -> None:
    database = Database(target)
    await migration.prepare(database)
    try:
        await database.write(look)
    finally:
        await database.close()


def test_jobs_are_found_by_state_and_by_words(target: Path | str) -> None:
    def found(connection: Connection, limit: int = 10, *, only_open: bool = False, **wanted: tuple[str, ...]) -> str:
        records = list_jobs(connection, limit, only_open=only_open, wanted=JobFilter(**wanted))  # type: ignore[arg-type]
        return "".join(record.job_id for record in records)

    def look(connection: Connection) -> None:
        for number, (job_id, name, submitter) in enumerate(JOBS):
            spec = job_pb2.JobSpec(job_id=job_id, name=name, submitter=submitter)
            jobs.insert(connection, SIGNER.job(spec), 100.0 + number, is_ours=True)
        jobs.update(connection, "a", 200.0, state=int(JobState.CANCELLED))
        jobs.update(connection, "b", 200.0, state=int(JobState.EXPIRED))
        assert found(connection, states=("CANCELLED", "EXPIRED")) == "ab"
        assert found(connection, words=("digits",)) == "abd"
        assert found(connection, limit=2, words=("digits",)) == "bd"
        assert found(connection, words=("ada", "weather")) == "c"
        assert found(connection, words=("digits", "cancelled")) == "a"
        assert found(connection, only_open=True, words=("digits",)) == "d"
        assert found(connection, states=("EXPIRED",), words=("ada",)) == ""

    asyncio.run(in_a_transaction(target, look))


def test_a_list_of_commands_has_the_stages_of_each(target: Path | str) -> None:
    def look(connection: Connection) -> None:
        for number in range(3):
            command = backhaul_pb2.Telecommand(command_id=f"c{number}", service="compute", method="SetDrain")
            telecommands.insert(connection, SIGNER.telecommand("sat-1", command), 100.0 + number)
        telecommands.advance(connection, "c1", backhaul_pb2.TELECOMMAND_STAGE_SENT, "", 110.0)
        found = telecommands.list_telecommands(connection, 2)
        assert [record.command_id for record in found] == ["c1", "c2"]
        assert [[stage.stage for stage in record.stages] for record in found] == [["QUEUED", "SENT"], ["QUEUED"]]
        assert telecommands.list_telecommands(connection, 2, "sat-9") == []

    asyncio.run(in_a_transaction(target, look))
