"""Job packages: offered by the ground, fetched in blocks, kept while a job needs them. Each in a caller's transaction.

Jobs may share a package, and an offer may come long before the placement of its job, or after it. So a package stays
as long as a job is open that a placement or an offer has named.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from skyrack.delivery import RejectItemError
from skyrack.delivery.blocks import FileBook, store
from skyrack.disk import Shelf
from skyrack.jobs import JobCause, JobState
from skyrack.v1.backhaul_pb2 import FileOffer
from skyrack.v1.job_pb2 import JobPlacement, JobSpec

GROUND: Final = "ground"
"""The name that the ground signs as."""

MAXIMUM_PACKAGE_BYTES: Final = 1 << 30


def need(connection: sqlite3.Connection, placement: JobPlacement) -> None:
    """A placement has come: its package is needed, offered already or not."""
    spec = placement.spec
    if spec.package_bytes:
        store.want_for(connection, GROUND, spec.package_sha256, spec.job_id, placement.attempt)


class Packages:
    """Those in ``directory``; in the twin, which has no files, all there is to know of one is that it came."""

    def __init__(self, directory: Path | None, shelf: Shelf[set[bytes]] | None = None) -> None:
        self.directory = directory
        self.book: FileBook
        """Of the files that come and go; set by who makes it."""
        self._shelf = shelf or Shelf(set())
        self._came = self._shelf.content

    def path(self, sha256: bytes) -> Path:
        """Where a package lies once it is complete."""
        if self.directory is None:
            raise FileNotFoundError(f"package {sha256.hex()}: there are no files here")
        return self.directory / f"{sha256.hex()}.tar"

    def has(self, sha256: bytes) -> bool:
        """Whether a complete package is still here."""
        return sha256 in self._came if self.directory is None else self.path(sha256).exists()

    def keep(self, sha256: bytes, _content: bytes) -> None:
        """A package is complete, in the twin. Raises ``OSError``."""
        self._shelf.require_space()
        self._came.add(sha256)

    def take_offer(
        self, connection: sqlite3.Connection, source: str, offer: FileOffer, now: float, *, is_over: bool
    ) -> None:
        """The ground offers a package for a job; ``is_over`` when the job's attempt has ended here.

        Raises:
            RejectItemError: it is not the ground.
        """
        if source != GROUND:
            raise RejectItemError(f"{source} offers a file; only the ground does")
        self.book.take_offer(connection, source, offer, now, "its job is over" if is_over else "")

    def lacks(self, connection: sqlite3.Connection, spec: JobSpec) -> bool:
        """Whether the package is yet to come."""
        if not spec.package_bytes:
            return False
        wanted = store.wanted(connection, GROUND, spec.package_sha256)
        if wanted is None or wanted.state == store.RECEIVING:
            return True
        # What somebody removed comes again with the next attempt's offer.
        return wanted.state == store.COMPLETE and not self.has(spec.package_sha256)

    def problem(self, connection: sqlite3.Connection, spec: JobSpec) -> tuple[JobState, JobCause, str] | None:
        """How the job ends because its package cannot come."""
        wanted = store.wanted(connection, GROUND, spec.package_sha256) if spec.package_bytes else None
        if wanted is None or wanted.state != store.REFUSED:
            return None
        return JobState.REJECTED, JobCause.BAD_PACKAGE, f"its package cannot be had: {wanted.problem}"

    def forget(self, connection: sqlite3.Connection, job_id: str, attempt: int) -> list[bytes]:
        """The job's attempt is over. Returns the packages that nobody needs any more, to discard after the commit."""
        return self.book.abandon(connection, GROUND, job_id, attempt, "its job is over")

    def discard(self, sha256: bytes) -> None:
        """Remove a package. Raises ``OSError``."""
        if self.directory is None:
            self._came.discard(sha256)
        else:
            self.path(sha256).unlink(missing_ok=True)

    def known(self, connection: sqlite3.Connection) -> set[str]:
        """SHA-256 of every package that is here, or on its way, in hexadecimal digits."""
        return {bytes(row[0]).hex() for row in connection.execute("SELECT sha256 FROM files_wanted")}

    def prune(self, connection: sqlite3.Connection, before: float) -> list[bytes]:
        """Forget packages that were last offered before a mission time, for jobs that never came, or are over.

        Returns what is to be discarded after the commit.
        """
        strays = connection.execute(
            "SELECT f.job_id, f.attempt FROM files_wanted_for f"
            " LEFT JOIN files_wanted w ON w.source = f.source AND w.sha256 = f.sha256"
            " WHERE f.source = :ground AND COALESCE(w.seen_seconds, 0) < :before AND NOT EXISTS"
            " (SELECT 1 FROM gateway_work WHERE kind = 'job_placement' AND key = f.job_id || '/' || f.attempt"
            " AND state <> 'done') ORDER BY 1, 2",
            {"ground": GROUND, "before": before},
        ).fetchall()
        return [sha256 for job_id, attempt in strays for sha256 in self.forget(connection, job_id, attempt)]
