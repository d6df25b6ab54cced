"""The gateway's files: packages that come up, results that wait for the ground to fetch them."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from flight.gateway import downlink, work
from flight.gateway.downlink import Enqueue, KeptFile
from flight.gateway.packages import GROUND, MAXIMUM_PACKAGE_BYTES, Packages
from skyrack.database import Database
from skyrack.delivery import Delivered, Endpoint
from skyrack.delivery.blocks import DirectorySpool, FileExchange, MemorySpool, store
from skyrack.disk import Mount
from skyrack.v1.backhaul_pb2 import Payload
from skyrack.v1.gateway_pb2 import SendDownRequest

T = TypeVar("T")


class Files:
    """Three directories of the gateway's: ``incoming``, ``packages`` that are whole, and ``results``."""

    def __init__(
        self,
        endpoint: Endpoint[sqlite3.Connection],
        database: Database,
        packages: Packages,
        state_dir: Path | None,
        mount: Mount,
        on_change: Callable[[], None],
        on_problem: Callable[[str, str], None],
    ) -> None:
        self._database = database
        self._packages = packages
        self._incoming = state_dir / "incoming" if state_dir else None
        self._results = state_dir / "results" if state_dir else None
        whole = packages.path
        self.exchange = FileExchange(
            endpoint,
            DirectorySpool(self._incoming, whole)
            if self._incoming
            else MemorySpool(packages.keep, packages.has, mount.shelf("incoming", {})),
            release=lambda path: Path(path).unlink(missing_ok=True),
            limit_bytes=MAXIMUM_PACKAGE_BYTES,
            on_change=on_change,
            on_problem=on_problem,
        )
        packages.book = self.exchange.book

    def take(self, connection: sqlite3.Connection, payload: Payload, item: Delivered, now: float) -> bool:
        """Take what the ground says of files, in the transaction that records it; False when it is another thing.

        Raises:
            RejectItemError: it is not the ground's to say.
        """
        kind = payload.WhichOneof("kind")
        if kind == "file_offer":
            offer = payload.file_offer
            is_over = work.is_done(connection, work.PLACEMENT, f"{offer.job_id}/{offer.attempt}")
            self._packages.take_offer(connection, item.source, offer, now, is_over=is_over)
        elif kind == "file_receipt":
            self.exchange.book.take_receipt(connection, item.source, payload.file_receipt)
        else:
            return False
        return True

    def committed(self) -> None:
        """A transaction may have changed what is offered or wanted."""
        if self.exchange.book.to_kick:
            self.exchange.changed()

    async def send_down(self, request: SendDownRequest, source: str, now: float, enqueue: Enqueue) -> bool:
        """Take responsibility for an item and its file, once per key. Returns whether it is new.

        Raises what ``downlink.accept``, ``downlink.keep_file`` and the outbox raise; then nothing was taken.
        """
        kept = await self._in_thread(partial(downlink.keep_file, request, self._results))

        def transaction(connection: sqlite3.Connection) -> bool:
            new = downlink.accept(connection, request, source, now, enqueue)
            if new and kept is not None:
                self.exchange.book.offer(
                    connection,
                    GROUND,
                    kept.description,
                    request.job_id,
                    request.attempt,
                    path=kept.path,
                    content=kept.content,
                )
            return new

        try:
            new = await self._database.write(transaction)
        finally:
            await self._drop_unheld(kept)
        self.committed()
        return new

    async def _drop_unheld(self, kept: KeptFile | None) -> None:
        """What was handed over again, or in vain, or lies here under another name, is not kept."""
        if kept is not None and kept.path and kept.path not in await self._database.read(store.held_paths):
            await self._in_thread(partial(Path(kept.path).unlink, missing_ok=True))

    async def prune(self, before: float) -> None:
        """Forget packages that nobody asked for since a mission time. Raises ``StorageError``."""
        for sha256 in await self._database.write(lambda connection: self._packages.prune(connection, before)):
            await self._in_thread(partial(self._packages.discard, sha256))
        self.committed()

    async def sweep(self) -> None:
        """Remove files that no row knows: an earlier life ended before it could. Raises ``StorageError``."""
        packages = await self._database.read(self._packages.known)
        results = {Path(path).name for path in await self._database.read(store.held_paths)}
        known = ((self._packages.directory, packages), (self._incoming, packages), (self._results, results))
        for directory, names in known:
            if directory is not None and directory.is_dir():
                for file in sorted(directory.iterdir()):
                    if not names & {file.name, file.name.partition(".")[0]}:
                        file.unlink(missing_ok=True)

    async def _in_thread(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(None, function)
