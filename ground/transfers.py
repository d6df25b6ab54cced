"""Payload files of the ground: packages that satellites fetch, results that come down into the vault.

Packages are read from the vault, block by block, as satellites ask; results gather beside it and move in when they
are whole. What stands in a job's record follows in ``ground.results``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Final

from ground.connection import Connection
from ground.lifecycle import Note, note
from ground.records import JobRecord
from ground.store import files, jobs
from ground.vault import Vault
from skyrack.delivery import Endpoint
from skyrack.delivery.blocks import (
    Description,
    DirectorySpool,
    FileExchange,
    Held,
    MemorySpool,
    describe,
    store,
)
from skyrack.v1 import common_pb2
from skyrack.v1.backhaul_pb2 import FileOffer, FileReceipt

__all__ = ["RESULT_LIMIT_BYTES", "Transfers"]

RESULT_LIMIT_BYTES: Final = 256 << 20
"""Largest result that is taken from a satellite."""

_AWAITED: Final = (
    "SELECT 1 FROM jobs j WHERE j.job_id = f.job_id AND j.attempt = f.attempt AND (j.is_open = 1 OR EXISTS"
    " (SELECT 1 FROM results r WHERE r.job_id = j.job_id AND r.received_seconds IS NULL AND r.problem = ''))"
)
_UNDER_WAY: Final = "SELECT 1 FROM jobs j WHERE j.job_id = f.job_id AND j.attempt = f.attempt AND j.is_open = 1"


class Transfers:
    """Methods with a connection run in a transaction of the caller's, who calls ``committed`` after it."""

    def __init__(
        self,
        endpoint: Endpoint[Connection],
        vault: Vault,
        state_dir: Path | None,
        on_change: Callable[[], None],
        on_problem: Callable[[str, str], None],
    ) -> None:
        def read(held: Held, offset: int, size: int) -> bytes:
            if held.content is not None:  # a list of hashes
                return held.content[offset : offset + size]
            if offset == 0:
                vault.verify(held.layout.sha256)
            return vault.read(held.layout.sha256, offset, size)

        def keep(_sha256: bytes, content: bytes) -> None:
            vault.put(content)

        self._vault = vault
        self._incoming = DirectorySpool(state_dir / "incoming", vault.path) if state_dir else None
        self.exchange = FileExchange(
            endpoint,
            self._incoming or MemorySpool(keep, vault.has),
            read=read,
            limit_bytes=RESULT_LIMIT_BYTES,
            on_change=on_change,
            on_problem=on_problem,
        )

    def committed(self) -> None:
        """What the last transactions said of files takes effect."""
        self.exchange.changed()

    def sweep(self, wanted: Collection[tuple[str, bytes]]) -> None:
        """Remove what gathers of files but those that ``receiving`` named: an earlier life ended before it could.

        Touches files only, and is for the time before the link is up.
        """
        if self._incoming is not None:
            self._incoming.keep_only(wanted)

    def keep_package(self, content: bytes) -> Description:
        """Put a package into the vault, durably, and hash its blocks; touches files only. Raises ``OSError``."""
        self._vault.put(content)
        return describe([content])

    def offer_package(
        self, connection: Connection, satellite: str, job_id: str, attempt: int, package: Description, not_after: float
    ) -> None:
        """Offer a package that lies in the vault. Raises ``OutboxFullError``."""
        self.exchange.book.offer(connection, satellite, package, job_id, attempt, not_after_seconds=not_after)

    def take_offer(self, connection: Connection, source: str, offer: FileOffer, now: float) -> None:
        """A satellite offers a result, or can send it no more."""
        refusal = "" if offer.withdrawn else _refusal(connection, source, offer)
        problem = self.exchange.book.take_offer(connection, source, offer, now, refusal)
        if problem:
            text = f"{source} offers a result of job {offer.job_id}, attempt {offer.attempt}: {problem}"
            note(connection, Note("job_result_unwanted", common_pb2.SEVERITY_INFO, text, source), now)

    def take_receipt(self, connection: Connection, source: str, receipt: FileReceipt, now: float) -> None:
        """A satellite needs a package no more."""
        was = self.exchange.book.take_receipt(connection, source, receipt)
        if was and receipt.problem:
            text = f"{source} did not take the package of job {receipt.job_id}: {receipt.problem}"
            note(connection, Note("job_package_refused", common_pb2.SEVERITY_INFO, text, source), now)

    def drop_strays(self, connection: Connection) -> None:
        """Let go what nobody waits for: of attempts that were replaced, of jobs that ended without a result."""
        for source, job_id, attempt in _rows(
            connection,
            f"SELECT f.source, f.job_id, f.attempt FROM files_wanted_for f WHERE NOT EXISTS ({_AWAITED}) ORDER BY 1, 2",  # noqa: S608 - a constant
        ):
            self.exchange.book.abandon(connection, source, job_id, attempt, "nobody waits for it any more")

    def drop_offers(self, connection: Connection) -> None:
        """Offer packages no more to attempts that are over: their satellites were silent, or lost their store."""
        for satellite, job_id, attempt in _rows(
            connection,
            "SELECT f.destination, f.job_id, f.attempt FROM files_offered f"  # noqa: S608 - a constant
            f" WHERE NOT EXISTS ({_UNDER_WAY}) ORDER BY 1, 2",
        ):
            self.exchange.book.drop_offers(connection, satellite, job_id, attempt)

    @staticmethod
    def wanted(connection: Connection) -> set[bytes]:
        """Hashes of what came, or comes, from satellites."""
        return {bytes(sha256) for (sha256,) in _rows(connection, "SELECT sha256 FROM files_wanted")}

    @staticmethod
    def receiving(connection: Connection) -> set[tuple[str, bytes]]:
        """(source, SHA-256) of every file that comes in."""
        sql = "SELECT source, sha256 FROM files_wanted WHERE state = :receiving"
        return {
            (source, bytes(sha256))
            for source, sha256 in connection.execute(sql, {"receiving": store.RECEIVING}).fetchall()
        }

    def progress(self, record: JobRecord) -> tuple[int, int]:
        """Bytes of a job's package that its satellite has, and of its result that lie here."""
        result = record.result_bytes if record.result_received_seconds is not None else 0
        if record.result_sha256 and not result:
            key = record.satellite, bytes.fromhex(record.result_sha256)
            result = self.exchange.incoming().get(key, (0, 0))[0]
        package = record.package_bytes
        if record.state in ("SUBMITTED", "PLACED"):
            package = self.exchange.outgoing(record.satellite, bytes.fromhex(record.package_sha256))
        return package, result


def _rows(connection: Connection, sql: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in connection.execute(sql).fetchall()]


def _refusal(connection: Connection, source: str, offer: FileOffer) -> str:
    """Why a result is not wanted; empty if it is."""
    attempt = jobs.attempt(connection, offer.job_id, offer.attempt)
    row = jobs.job_row(connection, offer.job_id)
    if attempt is None or row is None or attempt.satellite != source:
        return "it was never given that job"
    if row.attempt != offer.attempt:
        return "another attempt has taken its place"
    expected = files.result_of(connection, offer.job_id)
    if expected is None:
        return "the attempt ended without a result" if row.state.final or attempt.state.final else ""
    if expected.problem:
        return expected.problem
    return "" if expected.sha256 == offer.sha256 else "its SHA-256 is not the one that was announced"
