"""Sessions of an endpoint with a backhaul: connect, read, send what is due, again and again."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from skyrack.backhaul import OFFLINE, ONLINE, Backhaul, BackhaulError, Connector, satellite_of, state_topic
from skyrack.database import StorageError
from skyrack.delivery import store
from skyrack.delivery.endpoint import Endpoint
from skyrack.delivery.peers import Peer
from skyrack.delivery.sender import OutboxRow
from skyrack.delivery.settings import stream_name
from skyrack.v1.backhaul_pb2 import Frame, Item, Skip
from skyrack.v1.options_pb2 import STREAM_BULK

_STORAGE_RETRY_SECONDS: Final = 1.0
_ARRIVED_FRAMES: Final = 256
"""So many wait to be taken in; then the backhaul is read no further."""
_GROUP_FRAMES: Final = 64
_GROUP_BYTES: Final = 1 << 18
"""So much is taken in together, in one transaction; more would hold up all else that the loop does."""
_TAKERS: Final = 3
"""Groups under way: one is verified, one committed, one told of."""

_Arrived = asyncio.Queue[tuple[str, bytes] | None]


class Link:
    """Keeps an endpoint in touch with its peers.

    ``topic(destination, stream_name)`` says where a frame is published. With ``presence`` (a satellite's name) the
    session announces itself there, retained, as its connector's will should take it back; without, presence of
    others is heeded: ``on_presence(satellite, online)``.
    """

    def __init__(
        self,
        endpoint: Endpoint[Any],
        topic: Callable[[str, str], str],
        *,
        presence: str | None = None,
        on_presence: Callable[[str, bool], None] | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._topic = topic
        self._presence = presence
        self._on_presence = on_presence
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._next_expiry = 0.0
        self._taking: set[asyncio.Task[None]] = set()
        self.connected = False

    async def serve(self, connector: Connector, rng: random.Random) -> None:
        """Hold sessions, one after the other, until cancelled."""
        settings = self._endpoint.settings
        delay = settings.reconnect_minimum_seconds
        while True:
            began = self._endpoint.counters.sessions
            with contextlib.suppress(BackhaulError):
                await self.session(connector)
            if self._endpoint.counters.sessions > began:
                delay = settings.reconnect_minimum_seconds
            await asyncio.sleep(delay * (0.5 + rng.random()))
            delay = min(2 * delay, settings.reconnect_maximum_seconds)

    async def session(self, connector: Connector, on_connected: Callable[[], None] | None = None) -> None:
        """Hold one session until it breaks; ``on_connected`` hears when it is up.

        Raises:
            BackhaulError: the session could not begin, or is over.
        """
        async with connector() as backhaul:
            if self._presence is not None:
                await backhaul.publish(state_topic(self._presence), ONLINE, retain=True)
            self._endpoint.counters.sessions += 1
            self.connected = True
            if on_connected is not None:
                on_connected()
            self._endpoint.schedule = self._schedule
            for peer in self._endpoint.peers.values():
                self._endpoint.link_up(peer)
            arrived: _Arrived = asyncio.Queue(_ARRIVED_FRAMES)
            order = asyncio.Lock()
            takers = [asyncio.create_task(self._take(arrived, order)) for _ in range(_TAKERS)]
            tasks = [asyncio.create_task(self._read(backhaul, arrived)), asyncio.create_task(self._pump(backhaul))]
            try:
                done, _ = await asyncio.wait([*tasks, *takers], return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            except asyncio.CancelledError:
                if self._presence is not None:
                    with contextlib.suppress(BackhaulError):
                        await backhaul.publish(state_topic(self._presence), OFFLINE, retain=True)
                raise
            finally:
                self.connected = False
                self._endpoint.schedule = lambda _: None
                if self._timer is not None:
                    self._timer.cancel()
                    self._timer = None
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                # What is being committed is to be heard of, too, and what has arrived need not come again.
                await _finish(arrived, takers)

    async def _read(self, backhaul: Backhaul, arrived: _Arrived) -> None:
        async for message in backhaul.messages():
            await arrived.put(message)
        raise BackhaulError("the session is over")

    async def _take(self, arrived: _Arrived, order: asyncio.Lock) -> None:
        """Take in what has arrived. Several of these run, so that one group is verified while another is committed."""
        endpoint = self._endpoint
        while True:
            async with order:
                payloads, presence, is_over = await self._group(arrived)
                if payloads:
                    taking = asyncio.create_task(endpoint.take(await endpoint.open_frames(payloads)))
                    self._taking.add(taking)
                    taking.add_done_callback(self._taking.discard)
                if presence is not None:
                    await asyncio.gather(*self._taking)  # who has sent these was there before
                    self._heed_presence(*presence)
            if payloads:
                await taking
            if is_over:
                arrived.put_nowait(None)  # for the next taker
                return

    async def _group(self, arrived: _Arrived) -> tuple[list[bytes], tuple[str, bytes] | None, bool]:
        """Frames that have arrived together, word of a satellite's presence that followed, and whether all is over."""
        payloads: list[bytes] = []
        size = 0
        while not payloads or not (arrived.empty() or len(payloads) >= _GROUP_FRAMES or size >= _GROUP_BYTES):
            message = await arrived.get()
            if message is None:
                return payloads, None, True
            topic, payload = message
            satellite = satellite_of(topic)
            if satellite is not None and topic == state_topic(satellite):
                return payloads, (satellite, payload), False
            payloads.append(payload)
            size += len(payload)
        return payloads, None, False

    def _heed_presence(self, satellite: str, payload: bytes) -> None:
        if self._presence is not None or payload not in (ONLINE, OFFLINE):
            return
        online = payload == ONLINE
        if satellite in self._endpoint.peers:
            self._endpoint.set_reachable(satellite, online)
        if self._on_presence is not None:
            self._on_presence(satellite, online)

    async def _pump(self, backhaul: Backhaul) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            try:
                at = await self._send_due(backhaul)
            except StorageError:
                self._endpoint.counters.storage_errors += 1
                at = loop.time() + _STORAGE_RETRY_SECONDS
            if at is not None:
                self._schedule(at)
            await self._wake.wait()

    async def _send_due(self, backhaul: Backhaul) -> float | None:
        """Send all that is due. Returns when to look again, in loop time; ``None`` for when something changes."""
        endpoint = self._endpoint
        loop = asyncio.get_running_loop()
        next_times = [await self._expire()]
        for peer in list(endpoint.peers.values()):
            if not peer.reachable:
                next_times.append(await self._probe(backhaul, peer))
                continue
            await self._load(peer)
            for stream, rows in peer.sender.due(loop.time()):
                frame = await self._frame(peer, stream, rows)
                first = peer.sender.sent(stream, rows, loop.time())
                if frame.items:
                    items = endpoint.first_sent(peer, frame, first)
                    await self._publish(backhaul, peer, frame, stream_name(stream))
                    endpoint.tell_sent(items)
            now = loop.time()
            due = endpoint.acknowledgement_due(peer, now)
            requests = endpoint.files.requests(peer.name, now) if endpoint.files is not None else []
            if peer.hello or requests or (due is not None and due <= now):
                await self._publish(backhaul, peer, Frame(block_requests=requests), "acknowledgement")
                due = None
            next_times += await self._send_blocks(backhaul, peer)
            next_times += [time for time in (due, peer.sender.next_due()) if time is not None]
        return min(next_times)

    async def _send_blocks(self, backhaul: Backhaul, peer: Peer) -> list[float]:
        """Send one frame of payload blocks, below all else. Returns when to look again, in loop time."""
        files = self._endpoint.files
        if files is None:
            return []
        frame = await files.frame(peer.name)
        if frame is not None:
            await self._publish(backhaul, peer, frame, stream_name(STREAM_BULK))
            # The next one after whatever has become more urgent.
            return [asyncio.get_running_loop().time()]
        due = files.next_due(peer.name)
        return [] if due is None else [due]

    async def _probe(self, backhaul: Backhaul, peer: Peer) -> float:
        """Greet a peer that is said to be out of reach, now and then. Returns the loop time of the next greeting."""
        now = asyncio.get_running_loop().time()
        if now >= peer.probe_at:
            peer.probe_at = now + self._endpoint.settings.retransmit_maximum_seconds
            peer.hello = True
            await self._publish(backhaul, peer, Frame(), "acknowledgement")
        return peer.probe_at

    async def _publish(self, backhaul: Backhaul, peer: Peer, frame: Frame, stream: str) -> None:
        await backhaul.publish(self._topic(peer.name, stream), self._endpoint.seal(peer, frame))

    async def _load(self, peer: Peer) -> None:
        """Bring the sender's windows up to the outbox."""
        endpoint = self._endpoint
        limit = endpoint.settings.window_items
        for stream in peer.sender.take_stale():
            try:
                rows = await endpoint.database.read(
                    partial(store.head, destination=peer.name, stream=stream, limit=limit)
                )
            except StorageError:
                peer.sender.outbox_changed(stream)
                raise
            peer.sender.load(stream, rows)

    async def _frame(self, peer: Peer, stream: int, rows: list[OutboxRow]) -> Frame:
        wanted = [row.sequence for row in rows if not row.skip_reason]
        endpoint = self._endpoint
        payloads = await endpoint.database.read(
            lambda connection: store.payloads(connection, peer.name, stream, wanted)
        )
        frame = Frame(stream=stream, epoch=endpoint.identity.epoch)  # type: ignore[arg-type]
        frame.low_sequence = peer.sender.low_sequence(stream)
        for row in rows:
            item = Item(
                sequence=row.sequence,
                accepted_seconds=row.accepted_seconds,
                not_after_seconds=row.not_after_seconds,
            )
            if row.skip_reason:
                item.skip.CopyFrom(Skip(last_sequence=row.last_sequence, reason=row.skip_reason))  # type: ignore[arg-type]
            elif row.sequence in payloads:
                item.payload = payloads[row.sequence]
            else:
                peer.sender.vanished(stream, row)
                self._wake.set()
                continue
            frame.items.append(item)
        return frame

    async def _expire(self) -> float:
        """Give up what is too old, from time to time. Returns the loop time of the next look."""
        endpoint = self._endpoint
        now = endpoint.clock.now()
        if now >= self._next_expiry:
            for name, stream in await endpoint.database.write(lambda connection: store.expire(connection, now)):
                endpoint.peer(name).sender.outbox_changed(stream)
            self._next_expiry = now + endpoint.settings.expiry_check_seconds
        return asyncio.get_running_loop().time() + (self._next_expiry - now) / endpoint.clock.rate

    def _schedule(self, at: float) -> None:
        """Wake the pump at a loop time, or earlier."""
        loop = asyncio.get_running_loop()
        if at <= loop.time():
            self._wake.set()
            return
        if self._timer is not None:
            if self._timer.when() <= at:
                return
            self._timer.cancel()
        self._timer = loop.call_at(at, self._wake_up)

    def _wake_up(self) -> None:
        self._timer = None
        self._wake.set()


async def _finish(arrived: _Arrived, takers: list[asyncio.Task[None]]) -> None:
    """Take in what has arrived, then end the takers."""
    ending = asyncio.create_task(arrived.put(None))
    try:
        await asyncio.wait(takers)
    finally:
        for task in (ending, *takers):
            task.cancel()
        await asyncio.gather(ending, *takers, return_exceptions=True)
