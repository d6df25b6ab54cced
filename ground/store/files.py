"""Packages on their way up, results on their way down."""

from __future__ import annotations

import sqlite3
from collections.abc import Container, Iterator
from dataclasses import dataclass

from skyrack.v1 import job_pb2

__all__ = [
    "ResultRow",
    "add_chunk",
    "add_package",
    "complete_result",
    "drop_packages",
    "drop_stray_chunks",
    "expect_result",
    "has_package",
    "incomplete_results",
    "read_chunks",
    "received_bytes",
    "refuse_result",
    "result_of",
    "wanted",
]


@dataclass(frozen=True, slots=True)
class ResultRow:
    """A result that a completed attempt has announced; it is complete when ``received_seconds`` is set."""

    job_id: str
    attempt: int
    sha256: bytes
    size_bytes: int
    received_seconds: float | None
    problem: str


def add_package(connection: sqlite3.Connection, sha256: bytes, size_bytes: int, now: float) -> None:
    """A package lies in the vault; one that lay there already counts as new."""
    connection.execute("INSERT OR REPLACE INTO packages VALUES (?, ?, ?)", (sha256, size_bytes, now))


def has_package(connection: sqlite3.Connection, sha256: bytes) -> bool:
    """Whether the package is here."""
    return connection.execute("SELECT 1 FROM packages WHERE sha256 = ?", (sha256,)).fetchone() is not None


def add_chunk(connection: sqlite3.Connection, chunk: job_pb2.FileChunk) -> None:
    """Keep a piece of a result; a second copy of it changes nothing."""
    connection.execute(
        "INSERT OR IGNORE INTO chunks VALUES (?, ?, ?, ?, ?)",
        (chunk.job_id, chunk.attempt, chunk.sha256, chunk.offset_bytes, chunk.data),
    )


def expect_result(connection: sqlite3.Connection, job_id: str, attempt: int, sha256: bytes, size_bytes: int) -> None:
    """The one result that is accepted for a job. The primary key sees to it that there is never a second."""
    connection.execute(
        "INSERT INTO results (job_id, attempt, sha256, size_bytes) VALUES (?, ?, ?, ?)",
        (job_id, attempt, sha256, size_bytes),
    )


def result_of(connection: sqlite3.Connection, job_id: str) -> ResultRow | None:
    """The result of a job, or None."""
    row = connection.execute(
        "SELECT job_id, attempt, sha256, size_bytes, received_seconds, problem FROM results WHERE job_id = ?",
        (job_id,),
    ).fetchone()
    return None if row is None else ResultRow(*row)


def incomplete_results(connection: sqlite3.Connection) -> list[ResultRow]:
    """Results all of whose bytes lie here and are yet to be put together."""
    rows = connection.execute(
        "SELECT job_id, attempt, sha256, size_bytes, received_seconds, problem FROM results "
        "WHERE received_seconds IS NULL AND problem = '' ORDER BY job_id"
    )
    found = [ResultRow(*row) for row in rows.fetchall()]
    return [row for row in found if received_bytes(connection, row.job_id, row.attempt, row.sha256) >= row.size_bytes]


def received_bytes(connection: sqlite3.Connection, job_id: str, attempt: int, sha256: bytes) -> int:
    """Bytes of a result that lie here."""
    ((size,),) = connection.execute(
        "SELECT coalesce(sum(length(data)), 0) FROM chunks WHERE job_id = ? AND attempt = ? AND sha256 = ?",
        (job_id, attempt, sha256),
    ).fetchall()
    return int(size)


def read_chunks(connection: sqlite3.Connection, row: ResultRow) -> Iterator[bytes]:
    """The pieces of a result, in order; ends early at a gap."""
    end = 0
    for offset, data in connection.execute(
        "SELECT offset_bytes, data FROM chunks WHERE job_id = ? AND attempt = ? AND sha256 = ? ORDER BY offset_bytes",
        (row.job_id, row.attempt, row.sha256),
    ):
        if offset > end:
            return
        piece = data[end - offset :]
        end += len(piece)
        yield piece


def complete_result(connection: sqlite3.Connection, job_id: str, now: float) -> None:
    """The result lies in the vault, verified; its pieces are no longer needed."""
    connection.execute("UPDATE results SET received_seconds = ? WHERE job_id = ?", (now, job_id))
    connection.execute("DELETE FROM chunks WHERE job_id = ?", (job_id,))


def drop_stray_chunks(connection: sqlite3.Connection) -> int:
    """Forget pieces that nobody waits for: of attempts that were replaced, of jobs that ended without a result."""
    done = connection.execute(
        "DELETE FROM chunks WHERE NOT EXISTS (SELECT 1 FROM jobs j WHERE j.job_id = chunks.job_id "
        "AND j.attempt = chunks.attempt AND (j.is_open = 1 OR EXISTS (SELECT 1 FROM results r "
        "WHERE r.job_id = j.job_id AND r.received_seconds IS NULL AND r.problem = '')))"
    )
    return done.rowcount


def drop_packages(connection: sqlite3.Connection, before: float, needed: Container[bytes]) -> None:
    """Forget packages that came before the given mission time and are not needed."""
    rows = connection.execute("SELECT sha256 FROM packages WHERE received_seconds < ?", (before,)).fetchall()
    unneeded = [row for row in rows if row[0] not in needed]
    connection.executemany("DELETE FROM packages WHERE sha256 = ?", unneeded)


def wanted(connection: sqlite3.Connection) -> set[bytes]:
    """Hashes of all packages and results that are here or expected."""
    rows = connection.execute("SELECT sha256 FROM packages UNION SELECT sha256 FROM results")
    return {sha256 for (sha256,) in rows}


def refuse_result(connection: sqlite3.Connection, job_id: str, problem: str) -> None:
    """What came down is not what its satellite announced."""
    connection.execute("UPDATE results SET problem = ? WHERE job_id = ?", (problem, job_id))
    connection.execute("DELETE FROM chunks WHERE job_id = ?", (job_id,))
