"""Results put together from their pieces, checked against the hash that the satellite announced."""

from __future__ import annotations

import asyncio
import hashlib
from functools import partial

from ground.database import Connection, Database
from ground.lifecycle import Note, note
from ground.store import files, jobs
from ground.vault import Vault
from skyrack.v1 import common_pb2

__all__ = ["collect"]


async def collect(database: Database, vault: Vault, now: float) -> int:
    """Put every result whose bytes are all here into the vault; returns how many were settled.

    Raises:
        StorageError: the database failed; what was not settled will be tried again.
    """
    rows = await database.read(files.incomplete_results)
    for row in rows:
        content = await database.read(partial(_content, row=row))
        if hashlib.sha256(content).digest() == row.sha256:
            await asyncio.get_running_loop().run_in_executor(None, vault.put, content)
            await database.write(partial(_settle, row=row, problem="", now=now))
        else:
            problem = f"{len(content)} bytes came whose hash is not the one that the satellite announced"
            await database.write(partial(_settle, row=row, problem=problem, now=now))
    return len(rows)


def _content(connection: Connection, *, row: files.ResultRow) -> bytes:
    return b"".join(files.read_chunks(connection, row))


def _settle(connection: Connection, *, row: files.ResultRow, problem: str, now: float) -> None:
    if problem:
        files.refuse_result(connection, row.job_id, problem)
        text = f"result of job {row.job_id}: {problem}"
        note(connection, Note("job_result_damaged", common_pb2.SEVERITY_ERROR, text), now)
    else:
        files.complete_result(connection, row.job_id, now)
    jobs.touch(connection, row.job_id, now)
