"""Files on their way in: blocks are verified and kept, whole files settled."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from skyrack.delivery.blocks import store
from skyrack.delivery.blocks.background import RETRY_SECONDS, Background
from skyrack.delivery.blocks.book import FileBook
from skyrack.delivery.blocks.layout import DIGEST_BYTES, Layout
from skyrack.delivery.blocks.receiver import BlockCounters, Receiver, Verdict
from skyrack.delivery.blocks.spool import Spool
from skyrack.delivery.blocks.store import Wanted
from skyrack.delivery.settings import DeliverySettings
from skyrack.v1.backhaul_pb2 import Block

MAXIMUM_WRONG_BLOCKS: Final = 8
"""Frames are signed, so a wrong block is the holder's: it has not what it offered."""


@dataclass(slots=True)
class _Transfer:
    """A file, or the list of a file's hashes, that comes in."""

    wanted: Wanted
    layout: Layout
    hashes: bytes
    content: bytearray | None = None
    """Of a list, which gathers in memory."""
    wrong: int = 0

    @property
    def sha256(self) -> bytes:
        """Of the file that is wanted, also where its list comes first."""
        return self.wanted.offered.layout.sha256


@dataclass(slots=True)
class _Source:
    receiver: Receiver
    transfers: dict[bytes, _Transfer] = field(default_factory=dict)


class Incoming:
    """What is asked for of each peer, in line with what the database wants.

    ``changed`` is called after each commit that changed what is wanted, ``on_change`` when a file has come or was
    given up, ``on_due`` when there may be something to ask for.
    """

    def __init__(
        self,
        background: Background,
        book: FileBook,
        spool: Spool,
        settings: DeliverySettings,
        counters: BlockCounters,
        changed: Callable[[], None],
        on_change: Callable[[], None],
        on_due: Callable[[], None],
    ) -> None:
        self._background = background
        self._book = book
        self._spool = spool
        self._settings = settings
        self._counters = counters
        self._changed = changed
        self._on_change = on_change
        self._on_due = on_due
        self._sources: dict[str, _Source] = {}

    def receiver(self, source: str) -> Receiver:
        """What is wanted of a peer."""
        return self._of(source).receiver

    def _of(self, source: str) -> _Source:
        known = self._sources.get(source)
        if known is None:
            known = self._sources[source] = _Source(Receiver(self._settings, self._counters))
        return known

    def progress(self) -> dict[tuple[str, bytes], tuple[int, int]]:
        """(bytes that are here, bytes of all) of what comes in, by (source, SHA-256)."""
        return {
            (name, sha256): progress
            for name, source in self._sources.items()
            for sha256, progress in source.receiver.progress().items()
        }

    async def take(self, name: str, block: Block) -> None:
        """Take a block. Never raises for what is in it."""
        source = self._of(name)
        transfer = source.transfers.get(block.sha256)
        verdict = source.receiver.judge(block.sha256, block.index, len(block.data))
        if verdict is not Verdict.WANTED or transfer is None:
            return
        try:
            right = await self._background.in_thread(partial(self._keep, name, transfer, block.index, block.data))
        except OSError as error:
            self._background.on_problem("storage", f"a block from {name} could not be kept: {error}")
            return
        if right:
            source.receiver.kept(block.sha256, block.index, asyncio.get_running_loop().time())
            if source.receiver.is_whole(block.sha256):
                self._whole(name, source, transfer)
            return
        self._counters.wrong += 1
        transfer.wrong += 1
        text = f"block {block.index} of file {block.sha256.hex()[:12]} from {name} is not the one that was offered"
        self._background.on_problem("block", text)
        if transfer.wrong == MAXIMUM_WRONG_BLOCKS:
            source.receiver.forget(block.sha256)
            problem = "its blocks are not those that were offered"
            self._background.spawn(self._settle(name, transfer.sha256, problem))

    def _keep(self, name: str, transfer: _Transfer, index: int, data: bytes) -> bool:
        layout = transfer.layout
        expected = transfer.hashes[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES]
        if hashlib.sha256(data).digest() != expected:
            return False
        if transfer.content is None:
            self._spool.write(name, layout, index, data)
        else:
            transfer.content[layout.offset(index) : layout.offset(index) + len(data)] = data
        return True

    def _whole(self, name: str, source: _Source, transfer: _Transfer) -> None:
        """Every block is here."""
        if transfer.content is None:
            self._background.spawn(self._finish(name, transfer.layout))
            return
        source.receiver.forget(transfer.layout.sha256)
        source.transfers.pop(transfer.layout.sha256, None)
        hashes = bytes(transfer.content)
        if hashlib.sha256(hashes).digest() == transfer.layout.sha256:
            self._background.spawn(self._take_hashes(name, transfer.sha256, hashes))
        else:
            problem = "the list of its hashes is not the one that was offered"
            self._background.spawn(self._settle(name, transfer.sha256, problem))

    async def _take_hashes(self, name: str, sha256: bytes, hashes: bytes) -> None:
        await self._background.write(lambda connection: store.set_hashes(connection, name, sha256, hashes))
        self._changed()

    async def _finish(self, name: str, layout: Layout) -> None:
        while True:
            try:
                right = await self._background.in_thread(partial(self._spool.finish, name, layout))
                break
            except OSError as error:
                self._background.on_problem("storage", f"a file from {name} could not be finished: {error}")
                await asyncio.sleep(RETRY_SECONDS)
        problem = "" if right else "its blocks are those that were offered, but the SHA-256 of the whole is not"
        await self._settle(name, layout.sha256, problem)

    async def _settle(self, name: str, sha256: bytes, problem: str) -> None:
        await self._background.write(lambda connection: self._book.settle(connection, name, sha256, problem))
        if problem:
            self._counters.files_refused += 1
        else:
            self._counters.files_received += 1
        self._changed()
        self._on_change()

    async def load(self) -> None:
        """Bring what is asked for in line with what the database wants. Raises ``StorageError``."""
        rows = await self._background.database.read(store.receiving)
        wanted = {(row.source, row.offered.layout.sha256): row for row in rows}
        under_way: set[tuple[str, bytes]] = set()
        # Copies: peers and files may come while files are discarded.
        for name, source in list(self._sources.items()):
            for key, transfer in list(source.transfers.items()):
                row = wanted.get((name, transfer.sha256))
                if row is not None and row.offered == transfer.wanted.offered:
                    under_way.add((name, transfer.sha256))
                    continue
                source.receiver.forget(key)
                source.transfers.pop(key, None)
                await self._background.in_thread(partial(self._spool.discard, name, key))
        for place, row in wanted.items():
            if place not in under_way:
                await self._begin(row)

    async def _begin(self, row: Wanted) -> None:
        offered, source = row.offered, self._of(row.source)
        if offered.hashes is None:
            layout = offered.list_layout or offered.layout
            transfer = _Transfer(row, layout, offered.list_hashes, bytearray(layout.total_bytes))
            here = bytearray(layout.blocks)
        else:
            layout = offered.layout
            transfer = _Transfer(row, layout, offered.hashes)
            try:
                scan = partial(self._spool.scan, row.source, layout, offered.hashes)
                here = await self._background.in_thread(scan)
            except OSError as error:
                text = f"what lies here of a file from {row.source} cannot be read: {error}"
                self._background.on_problem("storage", text)
                here = bytearray(layout.blocks)
        source.transfers[layout.sha256] = transfer
        source.receiver.want(layout, here)
        self._counters.resumed_bytes += sum(layout.size(index) for index, byte in enumerate(here) if byte)
        if source.receiver.is_whole(layout.sha256):
            self._whole(row.source, source, transfer)
        self._on_due()
