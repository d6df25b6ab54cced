"""Files of an endpoint, on their way in and out: the asyncio shell around receiver, sender, book and spool."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

from skyrack.database import StorageError
from skyrack.delivery.blocks import store
from skyrack.delivery.blocks.background import RETRY_SECONDS, Background
from skyrack.delivery.blocks.book import FileBook
from skyrack.delivery.blocks.incoming import Incoming
from skyrack.delivery.blocks.layout import MAXIMUM_FILE_BYTES
from skyrack.delivery.blocks.outgoing import Outgoing, read_held
from skyrack.delivery.blocks.receiver import BlockCounters
from skyrack.delivery.blocks.spool import Spool
from skyrack.delivery.blocks.store import Held
from skyrack.delivery.endpoint import Endpoint
from skyrack.v1.backhaul_pb2 import BlockRequest, Frame
from skyrack.v1.options_pb2 import STREAM_BULK


class FileExchange:
    """Sends files that were offered through ``book`` and takes those that peers offered, block by block.

    What a transaction changed through ``book`` takes effect when ``changed`` is called after its commit, and at the
    next start in any case. ``on_change`` hears when a file has come or was given up, ``on_problem(kind, text)`` of
    blocks that were refused and of disks that fail. Holds no promise that is not in the database.
    """

    def __init__(
        self,
        endpoint: Endpoint[Any],
        spool: Spool,
        *,
        read: Callable[[Held, int, int], bytes] = read_held,
        release: Callable[[str], None] = lambda _: None,
        limit_bytes: int = MAXIMUM_FILE_BYTES,
        on_change: Callable[[], None] = lambda: None,
        on_problem: Callable[[str, str], None] = lambda _kind, _text: None,
    ) -> None:
        """``release(path)`` removes a file that was held and is needed no more; in a thread, as ``read`` is called."""
        self.counters = BlockCounters()
        self.book = FileBook(endpoint.enqueue, spool.has, limit_bytes)
        self._endpoint = endpoint
        self._release = release
        self._background = Background(endpoint.database, on_problem)
        settings, counters = endpoint.settings, self.counters
        self._incoming = Incoming(
            self._background, self.book, spool, settings, counters, self.changed, on_change, self._due
        )
        self._outgoing = Outgoing(self._background, self.book, read, settings, counters, self.changed)
        self._stale = False
        self._loading: asyncio.Task[None] | None = None
        endpoint.files = self

    async def open(self) -> None:
        """Prepare the tables and go on with what earlier lives left. Raises ``StorageError``."""
        await self._endpoint.database.migrate("files", store.SCHEMA)
        self.changed()

    async def close(self) -> None:
        """Stop what runs beside; the database is still needed until this returns."""
        await self._background.close()

    def incoming(self) -> dict[tuple[str, bytes], tuple[int, int]]:
        """(bytes that are here, bytes of all) of what comes in, by (source, SHA-256)."""
        return self._incoming.progress()

    def outgoing(self, destination: str, sha256: bytes) -> int:
        """Bytes of a file that a peer has, as it last said."""
        return self._outgoing.received(destination, sha256)

    def changed(self) -> None:
        """A transaction that used ``book`` has been committed."""
        self._stale = True
        self._outgoing.look_again()
        if self._loading is None or self._loading.done():
            self._loading = self._background.spawn(self._load())

    async def _load(self) -> None:
        """Let what was committed take effect."""
        while self._stale:
            self._stale = False
            try:
                await self._follow_book()
                await self._incoming.load()
            except StorageError:
                self._stale = True
                await asyncio.sleep(RETRY_SECONDS)

    async def _follow_book(self) -> None:
        """Kick peers and remove files, as committed transactions have asked for.

        The book is emptied in a transaction: one that runs beside this one, and has not been committed, would find
        its wishes gone when it is.
        """
        if not self.book.to_kick and not self.book.released:
            return
        to_kick, released = await self._endpoint.database.write(lambda _: self.book.drain())
        for destination in to_kick:
            self._endpoint.kick(destination, STREAM_BULK)
        if not released:
            return
        with contextlib.suppress(StorageError):  # then the holder's next start sweeps them
            held = await self._endpoint.database.read(store.held_paths)
            for path in sorted(released - held):
                with contextlib.suppress(OSError):
                    await self._background.in_thread(partial(self._release, path))

    # The link.

    async def take(self, source: str, frame: Frame) -> None:
        """Take the blocks and requests of a verified frame. Never raises for what is in them."""
        for block in frame.blocks:
            await self._incoming.take(source, block)
        for request in frame.block_requests:
            await self._outgoing.asked(source, request, asyncio.get_running_loop().time())
        self._due()

    async def frame(self, destination: str) -> Frame | None:
        """The next frame of blocks that a peer asked for; ``None`` when there is none."""
        return await self._outgoing.frame(destination)

    def requests(self, name: str, now: float) -> list[BlockRequest]:
        """What to ask a peer for now; it counts as asked."""
        return self._incoming.receiver(name).due(now)

    def next_due(self, name: str) -> float | None:
        """When blocks of a peer must be asked for again, in loop time."""
        return self._incoming.receiver(name).next_due()

    def connected(self, name: str, now: float) -> None:
        """A way to a peer came up."""
        self._incoming.receiver(name).connected(now)

    def _due(self) -> None:
        self._endpoint.schedule(asyncio.get_running_loop().time())
