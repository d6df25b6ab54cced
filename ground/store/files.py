"""Packages on their way up, results on their way down."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam, delete, select, update

from ground.connection import Connection
from ground.store.schema import packages, results
from ground.store.upsert import insert
from skyrack.delivery.blocks import Description, Layout

__all__ = [
    "ResultRow",
    "add_package",
    "complete_result",
    "drop_packages",
    "expect_result",
    "has_package",
    "package_of",
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
        "block_bytes": _INSERT_PACKAGE.excluded.block_bytes,
        "block_hashes": _INSERT_PACKAGE.excluded.block_hashes,
        "received_seconds": _INSERT_PACKAGE.excluded.received_seconds,
    },
)
_PACKAGE: Final = select(packages.c.size_bytes, packages.c.block_bytes, packages.c.block_hashes)
_RESULTS: Final = select(
    results.c.job_id,
    results.c.attempt,
    results.c.sha256,
    results.c.size_bytes,
    results.c.received_seconds,
    results.c.problem,
)


def add_package(connection: Connection, package: Description, now: float) -> None:
    """A package lies in the vault; one that lay there already counts as new."""
    row = {
        "sha256": package.layout.sha256,
        "size_bytes": package.layout.total_bytes,
        "block_bytes": package.layout.block_bytes,
        "block_hashes": package.hashes,
        "received_seconds": now,
    }
    connection.execute(_ADD_PACKAGE, row)


def package_of(connection: Connection, sha256: bytes) -> Description | None:
    """A package that was kept, with the hashes of its blocks; None if there is no such."""
    row = connection.execute(_PACKAGE.where(packages.c.sha256 == sha256)).first()
    return None if row is None else Description(Layout(sha256, row.size_bytes, row.block_bytes), row.block_hashes)


def has_package(connection: Connection, sha256: bytes) -> bool:
    """Whether the package is here."""
    found = connection.execute(select(packages.c.size_bytes).where(packages.c.sha256 == sha256))
    return found.first() is not None


def expect_result(connection: Connection, job_id: str, attempt: int, sha256: bytes, size_bytes: int) -> None:
    """The one result that is accepted for a job. The primary key sees to it that there is never a second."""
    row = {"job_id": job_id, "attempt": attempt, "sha256": sha256, "size_bytes": size_bytes}
    connection.execute(insert(results), row)


def result_of(connection: Connection, job_id: str) -> ResultRow | None:
    """The result of a job, or None."""
    row = connection.execute(_RESULTS.where(results.c.job_id == job_id)).first()
    return None if row is None else ResultRow(*row)


def complete_result(connection: Connection, job_id: str, now: float) -> None:
    """The result lies in the vault, verified."""
    connection.execute(update(results).where(results.c.job_id == job_id).values(received_seconds=now))


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
