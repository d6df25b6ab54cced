"""Job packages, put together from their chunks. Every function runs in a transaction of the caller's.

Jobs may share a package, and the chunks of one job may come long before its placement: what has come is acknowledged
and comes no more. So a package stays as long as a job is open that a placement or a chunk has named.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from pathlib import Path
from typing import Final

from skyrack.delivery import RejectItemError
from skyrack.v1.job_pb2 import FileChunk

MAXIMUM_PACKAGE_BYTES: Final = 1 << 30

RECEIVING: Final = "receiving"
COMPLETE: Final = "complete"
BAD: Final = "bad"


def package_path(directory: Path, sha256: bytes) -> Path:
    """Where a package lies once it is complete."""
    return directory / f"{sha256.hex()}.tar"


def add_chunk(connection: sqlite3.Connection, chunk: FileChunk, now: float, *, is_over: bool = False) -> None:
    """Keep a chunk; of one that is known already, or of a complete package, only its job is noted.

    ``is_over`` says that its job's attempt has ended here, and needs its package no more.

    Raises:
        RejectItemError: the chunk's numbers do not add up.
    """
    end = chunk.offset_bytes + len(chunk.data)
    if len(chunk.sha256) != hashlib.sha256().digest_size:
        raise RejectItemError(f"a chunk for job {chunk.job_id} without a SHA-256")
    if not chunk.data or end > chunk.total_bytes or chunk.total_bytes > MAXIMUM_PACKAGE_BYTES:
        raise RejectItemError(
            f"a chunk for job {chunk.job_id} from {chunk.offset_bytes} to {end} of {chunk.total_bytes} bytes; "
            f"chunks lie within their file, and files have at most {MAXIMUM_PACKAGE_BYTES} bytes"
        )
    if is_over:
        return
    connection.execute(
        "INSERT INTO gateway_packages VALUES (?, ?, 0, ?, ?)"
        " ON CONFLICT (sha256) DO UPDATE SET seen_seconds = excluded.seen_seconds",
        (chunk.sha256, chunk.total_bytes, RECEIVING, now),
    )
    connection.execute(
        "INSERT OR IGNORE INTO gateway_jobs VALUES (?, ?, ?)", (chunk.job_id, chunk.attempt, chunk.sha256)
    )
    ((total, state),) = connection.execute(
        "SELECT total_bytes, state FROM gateway_packages WHERE sha256 = ?", (chunk.sha256,)
    ).fetchall()
    if state != RECEIVING:
        return
    if total != chunk.total_bytes:
        raise RejectItemError(f"a chunk for job {chunk.job_id} of a file of {chunk.total_bytes} bytes, not {total}")
    cursor = connection.execute(
        "INSERT OR IGNORE INTO gateway_chunks VALUES (?, ?, ?)", (chunk.sha256, chunk.offset_bytes, chunk.data)
    )
    if cursor.rowcount:
        connection.execute(
            "UPDATE gateway_packages SET received_bytes = received_bytes + ? WHERE sha256 = ?",
            (len(chunk.data), chunk.sha256),
        )


def assemble(connection: sqlite3.Connection, sha256: bytes, directory: Path | None) -> str:
    """Put a package together if all of it is here; without a directory it is only checked. Returns its state.

    Raises:
        OSError: the file could not be written; try again later.
    """
    row = connection.execute(
        "SELECT total_bytes, received_bytes, state FROM gateway_packages WHERE sha256 = ?", (sha256,)
    ).fetchone()
    if row is None:
        return RECEIVING
    total, received, state = row
    if state == COMPLETE and directory is not None and not package_path(directory, sha256).exists():
        # Somebody removed it: the next attempt's chunks bring it again.
        connection.execute("DELETE FROM gateway_packages WHERE sha256 = ?", (sha256,))
        return RECEIVING
    if state != RECEIVING or received < total:
        return str(state)
    digest = hashlib.sha256()
    pieces = connection.execute("SELECT data FROM gateway_chunks WHERE sha256 = ? ORDER BY offset_bytes", (sha256,))
    if directory is None:
        for (data,) in pieces:
            digest.update(data)
    else:
        directory.mkdir(parents=True, exist_ok=True)
        path = package_path(directory, sha256)
        temporary = path.with_suffix(".part")
        with temporary.open("wb") as file:
            for (data,) in pieces:
                digest.update(data)
                file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if digest.digest() == sha256:
            temporary.replace(path)
        else:
            temporary.unlink()
    state = COMPLETE if digest.digest() == sha256 else BAD
    connection.execute("DELETE FROM gateway_chunks WHERE sha256 = ?", (sha256,))
    connection.execute("UPDATE gateway_packages SET state = ? WHERE sha256 = ?", (state, sha256))
    return state


def known(connection: sqlite3.Connection) -> set[str]:
    """SHA-256 of every package that is here, or on its way, in hexadecimal digits."""
    return {sha256.hex() for (sha256,) in connection.execute("SELECT sha256 FROM gateway_packages")}


def forget(connection: sqlite3.Connection, job_id: str, attempt: int) -> bytes | None:
    """The job's attempt is over. Returns the package that nobody needs any more, to be removed after the commit."""
    row = connection.execute(
        "DELETE FROM gateway_jobs WHERE job_id = ? AND attempt = ? RETURNING sha256", (job_id, attempt)
    ).fetchall()
    if not row:
        return None
    sha256: bytes = row[0][0]
    needed = connection.execute("SELECT 1 FROM gateway_jobs WHERE sha256 = ?", (sha256,)).fetchone()
    if needed is not None:
        return None
    connection.execute("DELETE FROM gateway_chunks WHERE sha256 = ?", (sha256,))
    connection.execute("DELETE FROM gateway_packages WHERE sha256 = ?", (sha256,))
    return sha256


def prune(connection: sqlite3.Connection, before: float, directory: Path | None) -> None:
    """Drop packages whose last chunk came before a mission time, for jobs that never did, or are over."""
    old = "sha256 IN (SELECT sha256 FROM gateway_packages WHERE seen_seconds < ?)"
    connection.execute(
        f"DELETE FROM gateway_jobs WHERE {old} AND NOT EXISTS (SELECT 1 FROM gateway_work WHERE kind = 'job_placement'"  # noqa: S608 - a constant
        " AND key = gateway_jobs.job_id || '/' || gateway_jobs.attempt AND state <> 'done')",
        (before,),
    )
    orphans = connection.execute(
        "DELETE FROM gateway_packages WHERE seen_seconds < ? AND sha256 NOT IN (SELECT sha256 FROM gateway_jobs)"
        " RETURNING sha256",
        (before,),
    ).fetchall()
    for (sha256,) in orphans:
        connection.execute("DELETE FROM gateway_chunks WHERE sha256 = ?", (sha256,))
        if directory is not None:
            package_path(directory, sha256).unlink(missing_ok=True)
