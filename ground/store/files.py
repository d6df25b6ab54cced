"""Packages on their way up, results on their way down."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam, delete, exists, func, or_, select, update

from ground.connection import Connection
from ground.store.schema import IS_EXPECTED, IS_OPEN, chunks, jobs, packages, results
from ground.store.upsert import insert
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


_INSERT_PACKAGE: Final = insert(packages)
_ADD_PACKAGE: Final = _INSERT_PACKAGE.on_conflict_do_update(
    index_elements=[packages.c.sha256],
    set_={
        "size_bytes": _INSERT_PACKAGE.excluded.size_bytes,
        "received_seconds": _INSERT_PACKAGE.excluded.received_seconds,
    },
)
_ADD_CHUNK: Final = insert(chunks).on_conflict_do_nothing()
_RESULTS: Final = select(
    results.c.job_id,
    results.c.attempt,
    results.c.sha256,
    results.c.size_bytes,
    results.c.received_seconds,
    results.c.problem,
)
_OF_RESULT: Final = (
    (chunks.c.job_id == bindparam("job_id"))
    & (chunks.c.attempt == bindparam("attempt"))
    & (chunks.c.sha256 == bindparam("sha256"))
)
_READ: Final = select(chunks.c.offset_bytes, chunks.c.data).where(_OF_RESULT).order_by(chunks.c.offset_bytes)
_SIZE: Final = select(func.coalesce(func.sum(func.length(chunks.c.data)), 0)).where(_OF_RESULT)


def add_package(connection: Connection, sha256: bytes, size_bytes: int, now: float) -> None:
    """A package lies in the vault; one that lay there already counts as new."""
    connection.execute(_ADD_PACKAGE, {"sha256": sha256, "size_bytes": size_bytes, "received_seconds": now})


def has_package(connection: Connection, sha256: bytes) -> bool:
    """Whether the package is here."""
    found = connection.execute(select(packages.c.size_bytes).where(packages.c.sha256 == sha256))
    return found.first() is not None


def add_chunk(connection: Connection, chunk: job_pb2.FileChunk) -> None:
    """Keep a piece of a result; a second copy of it changes nothing."""
    row = {
        "job_id": chunk.job_id,
        "attempt": chunk.attempt,
        "sha256": chunk.sha256,
        "offset_bytes": chunk.offset_bytes,
        "data": chunk.data,
    }
    connection.execute(_ADD_CHUNK, row)


def expect_result(connection: Connection, job_id: str, attempt: int, sha256: bytes, size_bytes: int) -> None:
    """The one result that is accepted for a job. The primary key sees to it that there is never a second."""
    row = {"job_id": job_id, "attempt": attempt, "sha256": sha256, "size_bytes": size_bytes}
    connection.execute(insert(results), row)


def result_of(connection: Connection, job_id: str) -> ResultRow | None:
    """The result of a job, or None."""
    row = connection.execute(_RESULTS.where(results.c.job_id == job_id)).first()
    return None if row is None else ResultRow(*row)


def incomplete_results(connection: Connection) -> list[ResultRow]:
    """Results all of whose bytes lie here and are yet to be put together."""
    rows = connection.execute(_RESULTS.where(IS_EXPECTED).order_by(results.c.job_id)).fetchall()
    found = [ResultRow(*row) for row in rows]
    return [row for row in found if received_bytes(connection, row.job_id, row.attempt, row.sha256) >= row.size_bytes]


def received_bytes(connection: Connection, job_id: str, attempt: int, sha256: bytes) -> int:
    """Bytes of a result that lie here."""
    return int(connection.execute(_SIZE, {"job_id": job_id, "attempt": attempt, "sha256": sha256}).scalar_one())


def read_chunks(connection: Connection, row: ResultRow) -> Iterator[bytes]:
    """The pieces of a result, in order; ends early at a gap."""
    end = 0
    key = {"job_id": row.job_id, "attempt": row.attempt, "sha256": row.sha256}
    for offset, data in connection.execute(_READ, key):
        if offset > end:
            return
        piece = data[end - offset :]
        end += len(piece)
        yield piece


def complete_result(connection: Connection, job_id: str, now: float) -> None:
    """The result lies in the vault, verified; its pieces are no longer needed."""
    connection.execute(update(results).where(results.c.job_id == job_id).values(received_seconds=now))
    connection.execute(delete(chunks).where(chunks.c.job_id == job_id))


def drop_stray_chunks(connection: Connection) -> int:
    """Forget pieces that nobody waits for: of attempts that were replaced, of jobs that ended without a result."""
    is_waited_for = exists().where(
        jobs.c.job_id == chunks.c.job_id,
        jobs.c.attempt == chunks.c.attempt,
        or_(IS_OPEN, exists().where(results.c.job_id == jobs.c.job_id, IS_EXPECTED)),
    )
    return connection.execute(delete(chunks).where(~is_waited_for)).rowcount


def drop_packages(connection: Connection, before: float, needed: Container[bytes]) -> None:
    """Forget packages that came before the given mission time and are not needed."""
    old = connection.execute(select(packages.c.sha256).where(packages.c.received_seconds < before)).scalars().all()
    unneeded = [{"old": sha256} for sha256 in old if sha256 not in needed]
    if unneeded:
        connection.execute(delete(packages).where(packages.c.sha256 == bindparam("old")), unneeded)


def wanted(connection: Connection) -> set[bytes]:
    """Hashes of all packages and results that are here or expected."""
    return set(connection.execute(select(packages.c.sha256).union(select(results.c.sha256))).scalars())


def refuse_result(connection: Connection, job_id: str, problem: str) -> None:
    """What came down is not what its satellite announced."""
    connection.execute(update(results).where(results.c.job_id == job_id).values(problem=problem))
    connection.execute(delete(chunks).where(chunks.c.job_id == job_id))
