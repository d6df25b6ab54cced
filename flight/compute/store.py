"""Jobs and the statuses that the gateway has yet to take, in one database: a step and its status commit together."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import msgspec

from flight.compute.lifecycle import Intent, JobRecord
from skyrack.database import Database
from skyrack.jobs import JobCause, JobState
from skyrack.v1 import job_pb2

_SCHEMA = (
    """
    CREATE TABLE jobs (
        job_id TEXT PRIMARY KEY,
        attempt INTEGER NOT NULL,
        sequence INTEGER NOT NULL,
        final INTEGER NOT NULL,
        placement BLOB NOT NULL,
        record BLOB NOT NULL
    );
    CREATE TABLE outbox (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        key TEXT NOT NULL UNIQUE,
        job_id TEXT NOT NULL,
        attempt INTEGER NOT NULL,
        payload BLOB NOT NULL,
        file_path TEXT NOT NULL,
        file_content BLOB NOT NULL
    );
    CREATE TABLE totals (name TEXT PRIMARY KEY, value REAL NOT NULL);
    """,
    "CREATE TABLE settings (name TEXT PRIMARY KEY, value REAL NOT NULL)",
)
_KEPT_FINAL = 500
"""Final jobs that are remembered, so that a placement which comes again does not run again."""

_PLAIN = tuple(field.name for field in fields(JobRecord) if field.name not in ("placement", "outputs"))


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A status on its way to the gateway, with the job's result when it has one."""

    key: str
    job_id: str
    attempt: int
    payload: bytes
    file_path: str = ""
    file_content: bytes = b""
    row: int = 0


def outgoing_status(status: job_pb2.JobStatus, file: Outgoing, again: str = "") -> Outgoing:
    """A status, and a file that goes with it, for the outbox; ``again`` tells it from the same one told before."""
    return replace(
        file,
        key=f"{status.job_id}/{status.attempt}/{status.version}{again}",
        job_id=status.job_id,
        attempt=status.attempt,
        payload=status.SerializeToString(deterministic=True),
    )


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts since the first start of the service on this board."""

    completed: int = 0
    failed: int = 0
    preemptions: int = 0
    energy_joules: float = 0.0


class JobStore:
    """Durable memory of compute."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open(self) -> None:
        """Make the tables when they are not there."""
        await self._database.migrate("compute", _SCHEMA)

    async def close(self) -> None:
        """Finish what is being written and close."""
        await self._database.close()

    async def jobs(self) -> list[JobRecord]:
        """All jobs that are remembered, in the order of their arrival."""

        def query(connection: sqlite3.Connection) -> list[tuple[bytes, bytes]]:
            return connection.execute("SELECT placement, record FROM jobs ORDER BY sequence").fetchall()

        return [_record(placement, plain) for placement, plain in await self._database.read(query)]

    async def keep(self, record: JobRecord, outgoing: Outgoing | None, totals: Totals | None = None) -> None:
        """Keep a job's standing and the status that tells it; durable when this returns."""
        row = (
            record.job_id,
            record.attempt,
            record.sequence,
            int(record.state.final),
            record.placement.SerializeToString(deterministic=True),
            _plain(record),
        )

        def transaction(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR REPLACE INTO jobs VALUES (?, ?, ?, ?, ?, ?)", row)
            if outgoing is not None:
                connection.execute(
                    "INSERT OR IGNORE INTO outbox (key, job_id, attempt, payload, file_path, file_content) "
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    (
                        outgoing.key,
                        outgoing.job_id,
                        outgoing.attempt,
                        outgoing.payload,
                        outgoing.file_path,
                        outgoing.file_content,
                    ),
                )
            if totals is not None:
                for name in Totals.__slots__:
                    connection.execute("INSERT OR REPLACE INTO totals VALUES (?, ?)", (name, getattr(totals, name)))

        await self._database.write(transaction)

    async def outbox(self, limit: int = 64) -> list[Outgoing]:
        """Statuses that the gateway has not taken, oldest first."""

        def query(connection: sqlite3.Connection) -> list[Outgoing]:
            rows = connection.execute(
                "SELECT key, job_id, attempt, payload, file_path, file_content, id FROM outbox ORDER BY id LIMIT ?",
                (limit,),
            )
            return [Outgoing(*row) for row in rows]

        return await self._database.read(query)

    async def is_told(self, work_id: str) -> bool:
        """Whether the gateway has all that was ever to be told of an attempt."""

        def query(connection: sqlite3.Connection) -> bool:
            job_id, _, attempt = work_id.rpartition(".")
            told = "SELECT 1 FROM outbox WHERE job_id = ? AND attempt = CAST(? AS INTEGER) LIMIT 1"
            return connection.execute(told, (job_id, attempt)).fetchone() is None

        return await self._database.read(query)

    async def untold(self) -> set[tuple[str, int]]:
        """(job, attempt) of all that the gateway has not taken."""

        def query(connection: sqlite3.Connection) -> set[tuple[str, int]]:
            return set(connection.execute("SELECT DISTINCT job_id, attempt FROM outbox").fetchall())

        return await self._database.read(query)

    async def taken(self, rows: Sequence[int]) -> None:
        """The gateway has these."""

        def transaction(connection: sqlite3.Connection) -> None:
            connection.executemany("DELETE FROM outbox WHERE id = ?", [(row,) for row in rows])

        await self._database.write(transaction)

    async def forget_old(self) -> list[str]:
        """Forget final jobs beyond the newest few hundred; their ids."""

        def transaction(connection: sqlite3.Connection) -> list[str]:
            rows = connection.execute(
                "DELETE FROM jobs WHERE final = 1 AND sequence <= "
                "(SELECT sequence FROM jobs WHERE final = 1 ORDER BY sequence DESC LIMIT 1 OFFSET ?) "
                "RETURNING job_id",
                (_KEPT_FINAL,),
            ).fetchall()
            return [job_id for (job_id,) in rows]

        return await self._database.write(transaction)

    async def set_draining(self, draining: bool) -> None:
        """Keep whether new jobs are refused."""

        def transaction(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR REPLACE INTO settings VALUES ('draining', ?)", (float(draining),))

        await self._database.write(transaction)

    async def draining(self) -> bool:
        """Whether new jobs are refused."""

        def query(connection: sqlite3.Connection) -> bool:
            row = connection.execute("SELECT value FROM settings WHERE name = 'draining'").fetchone()
            return row is not None and bool(row[0])

        return await self._database.read(query)

    async def totals(self) -> Totals:
        """Counts as last kept."""

        def query(connection: sqlite3.Connection) -> dict[str, float]:
            return dict(connection.execute("SELECT name, value FROM totals").fetchall())

        found = await self._database.read(query)
        return Totals(
            completed=int(found.get("completed", 0)),
            failed=int(found.get("failed", 0)),
            preemptions=int(found.get("preemptions", 0)),
            energy_joules=found.get("energy_joules", 0.0),
        )


def _plain(record: JobRecord) -> bytes:
    return msgspec.msgpack.encode({name: getattr(record, name) for name in _PLAIN})


def _record(placement: bytes, plain: bytes) -> JobRecord:
    values = msgspec.msgpack.decode(plain)
    values["state"] = JobState(values["state"])
    values["cause"] = JobCause(values["cause"])
    values["intent"] = Intent(values["intent"])
    values["intent_cause"] = JobCause(values["intent_cause"])
    return JobRecord(placement=job_pb2.JobPlacement.FromString(placement), **values)
