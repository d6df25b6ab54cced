"""One end of delivery: accepts items to send, and takes frames in. The asyncio shell around sender and receiver."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from skyrack.clock import Clock
from skyrack.database import Connection, Storage, StorageError
from skyrack.delivery import store
from skyrack.delivery.frames import FrameCodec, FrameRefusedError, Refusal
from skyrack.delivery.intake import Intake, ItemHandler, acknowledgements_for, take, take_all
from skyrack.delivery.ledger import ReceivedLedger, SentLedger, received_ledgers, sent_ledgers
from skyrack.delivery.peers import EndpointCounters, Peer
from skyrack.delivery.receiver import Delivered
from skyrack.delivery.sender import Sender, Sent
from skyrack.delivery.settings import MAXIMUM_ITEM_BYTES, DeliverySettings
from skyrack.signing import KeyRing, Right, SigningKey
from skyrack.v1.backhaul_pb2 import Frame
from skyrack.v1.options_pb2 import STREAM_STATUS

if TYPE_CHECKING:
    from skyrack.delivery.blocks.exchange import FileExchange

C = TypeVar("C", bound=Connection)


class Endpoint(Generic[C]):
    """Delivers items to named peers and takes items from them: each once, whatever links and processes do.

    ``send`` returns when the item is on the disk; from then on it reaches its destination, or its sequence is
    recorded as expired or shed. ``on_item`` runs for each new item in the transaction that records it, in the
    database's thread; ``after_commit`` follows in the event loop. ``on_refused`` hears of each frame that was dropped
    and why. ``on_sent`` hears, a frame at a time and in the event loop, of items that left for the first time; after a
    restart it hears again of those that were not acknowledged yet. ``on_contact`` hears of each peer to which a way
    has come up, from either side. Sessions are run by ``skyrack.delivery.link``.
    """

    def __init__(  # noqa: PLR0913 - who it is, what it stands on, whom it tells
        self,
        name: str,
        *,
        key: SigningKey,
        ring: KeyRing,
        peer_right: Right,
        database: Storage[C],
        clock: Clock,
        on_item: ItemHandler[C],
        after_commit: Callable[[Sequence[Delivered]], None] | None = None,
        on_refused: Callable[[str, str], None] | None = None,
        on_sent: Callable[[Sequence[Sent]], None] | None = None,
        on_contact: Callable[[str], None] | None = None,
        settings: DeliverySettings | None = None,
    ) -> None:
        self.name = name
        self.settings = settings or DeliverySettings()
        self.counters = EndpointCounters()
        self.codec = FrameCodec(name, key, ring, peer_right, clock.now)
        self.peers: dict[str, Peer] = {}
        self.identity = store.Identity(0, 0)
        self.clock = clock
        self.database = database
        self.files: FileExchange | None = None
        """Sends and takes payload files, where there is one."""
        self.schedule: Callable[[float], None] = lambda _: None
        """Set by a session: wakes its pump at a loop time."""
        self._on_item = on_item
        self._after_commit = after_commit
        self._on_refused = on_refused
        self._on_sent = on_sent
        self._on_contact = on_contact
        self._frame_sequence = 0

    async def open(self) -> None:
        """Prepare the tables and pick up what earlier lives left in the outbox. Raises ``StorageError``."""
        await self.database.migrate("delivery", store.SCHEMA)
        self.identity = await self.database.write(lambda connection: store.begin(connection, self.clock.now()))
        for destination, stream in await self.database.read(store.waiting_streams):
            self.peer(destination).sender.outbox_changed(stream)
        if self.files is not None:
            await self.files.open()

    def peer(self, name: str) -> Peer:
        """The named peer, known from now on."""
        known = self.peers.get(name)
        if known is None:
            known = self.peers[name] = Peer(name, Sender(self.settings))
        return known

    async def send(
        self,
        destination: str,
        stream: int,
        payload: bytes,
        *,
        lifetime_seconds: float = 0.0,
        also: Callable[[C], None] | None = None,
    ) -> int:
        """Accept an item and return its sequence; it is on the disk then. ``also`` writes in the same transaction.

        ``lifetime_seconds`` is mission time after which the item is of no use; 0 is never. Whatever ``also`` raises
        is raised here, and the item was not accepted.

        Raises:
            OutboxFullError: too much waits in a stream that is never shed.
            StorageError: the disk is full or failed; nothing was accepted.
            ValueError: the payload is larger than ``MAXIMUM_ITEM_BYTES``, or the stream is unknown.
        """
        not_after = self.clock.now() + lifetime_seconds if lifetime_seconds else 0.0

        def transaction(connection: C) -> int:
            if also is not None:
                also(connection)
            return self.enqueue(connection, destination, stream, payload, not_after_seconds=not_after)

        sequence = await self.database.write(transaction)
        self.kick(destination, stream)
        return sequence

    def enqueue(
        self,
        connection: Connection,
        destination: str,
        stream: int,
        payload: bytes,
        *,
        not_after_seconds: float = 0.0,
    ) -> int:
        """Accept an item within a transaction of the caller's, who calls ``kick`` when it has committed.

        Raises what ``send`` raises.
        """
        if len(payload) > MAXIMUM_ITEM_BYTES:
            raise ValueError(f"an item of {len(payload)} bytes; at most {MAXIMUM_ITEM_BYTES} can be delivered")
        policy = self.settings.policies.get(stream)
        if policy is None:
            raise ValueError(f"stream {stream} is not one of {sorted(self.settings.policies)}")
        return store.enqueue(
            connection,
            destination,
            stream,
            payload,
            now=self.clock.now(),
            not_after=not_after_seconds,
            policy=policy,
        )

    def kick(self, destination: str, stream: int) -> None:
        """Something was enqueued: send it."""
        self.peer(destination).sender.outbox_changed(stream)
        wait = 0.0 if stream == STREAM_STATUS else self.settings.gather_seconds
        self.schedule(asyncio.get_running_loop().time() + wait)

    def set_reachable(self, name: str, reachable: bool) -> None:
        """Say whether frames for a peer have a way to it; while they do not, none is sent."""
        peer = self.peer(name)
        if reachable and not peer.reachable:
            self.link_up(peer)
        peer.reachable = reachable

    def link_up(self, peer: Peer) -> None:
        """A way to the peer has just come up."""
        now = asyncio.get_running_loop().time()
        peer.reachable = True
        peer.hello = True
        peer.sender.connected(now)
        self.schedule(now)
        self._contact(peer)

    async def receive(self, payload: bytes) -> None:
        """Take one frame in. Never raises for what is in it: a bad frame is counted, reported and dropped."""
        await self.take(await self.open_frames([payload]))

    async def open_frames(self, payloads: Sequence[bytes]) -> list[tuple[Frame, str]]:
        """Those frames that are right and new, each with the key that signed it; the others are counted and reported.

        Call it for frames in the order in which they came, and ``take`` in the same order.
        """
        if len(payloads) == 1:
            verified = self.codec.verify(payloads)
        else:
            # Beside the loop, which has other things to do: signatures are most of the cost of a frame.
            verified = await asyncio.get_running_loop().run_in_executor(None, self.codec.verify, payloads)
        frames = []
        for found in verified:
            try:
                frame, entry = self.codec.admit(found)
            except FrameRefusedError as error:
                self._refuse(error.refusal, error.detail)
            else:
                self.counters.frames_received += 1
                frames.append((frame, entry.key_id))
        return frames

    async def take(self, frames: Sequence[tuple[Frame, str]]) -> None:
        """Take frames that ``open_frames`` let through, all in one transaction where there is nothing wrong with any.

        Several calls may be under way; transactions and what follows from them come in the order of the calls.
        """
        full = [(frame, key_id) for frame, key_id in frames if frame.items or frame.acknowledgements]
        if len(full) == 1 or not await self._take_together(full):
            for frame, key_id in full:
                await self._take(self.peer(frame.source), frame, key_id)
        for frame, _ in frames:
            peer = self.peer(frame.source)
            if not peer.reachable:
                self.link_up(peer)
            if self.files is not None and (frame.blocks or frame.block_requests):
                await self.files.take(peer.name, frame)
            if frame.hello:
                await self._answer_hello(peer)

    async def _take_together(self, frames: Sequence[tuple[Frame, str]]) -> bool:
        """Whether that is all that can be done; else nothing was, and each is to be taken by itself."""
        if not frames:
            return True
        transaction = partial(take_all, frames=frames, own_epoch=self.identity.epoch, handler=self._on_item)
        try:
            intakes = await self.database.write(transaction)
        except StorageError as error:
            self.counters.storage_errors += 1
            self._report("storage", str(error))
            return True
        except Exception:  # noqa: BLE001 - whatever it is, it is told when the frames are taken one by one
            return False
        for (frame, _), intake in zip(frames, intakes, strict=True):
            self._settle(self.peer(frame.source), frame, intake)
        self._tell([delivered for intake in intakes for delivered in intake.delivered])
        return True

    async def _take(self, peer: Peer, frame: Frame, key_id: str) -> None:
        for part in (frame, *_singles(frame)):
            transaction = partial(take, frame=part, key_id=key_id, own_epoch=self.identity.epoch, handler=self._on_item)
            try:
                intake = await self.database.write(transaction)
            except StorageError as error:
                self.counters.storage_errors += 1
                self._report("storage", str(error))
                return
            except Exception as error:  # noqa: BLE001 - one bad item must not stop the others: each alone, then
                self.counters.handler_errors += 1
                self._report("handler", f"an item from {frame.source} could not be taken: {error!r}")
                continue
            self._settle(peer, frame, intake)
            self._tell(intake.delivered)
            if part is frame:
                return

    def _settle(self, peer: Peer, frame: Frame, intake: Intake) -> None:
        now = asyncio.get_running_loop().time()
        counters = self.counters
        counters.items_received += len(intake.delivered)
        counters.items_rejected += len(intake.rejected)
        counters.impossible_acknowledgements += intake.impossible
        for acknowledgement in intake.acknowledged:
            beyond = [(run.first, run.last) for run in acknowledgement.beyond]
            peer.sender.acknowledged(acknowledgement.stream, acknowledgement.cumulative_sequence, beyond, now)
        if intake.acknowledged:
            self.schedule(now)
        if intake.acknowledgement is not None:
            if not peer.owed_items:
                peer.owed_since = now
            peer.owed[frame.stream, frame.epoch] = intake.acknowledgement
            peer.owed_items += len(frame.items)
            self.schedule(self.acknowledgement_due(peer, now) or now)
        if intake.stale:
            self._refuse(Refusal.STALE, f"from {peer.name}: epoch {frame.epoch} is over")
        for reason in intake.rejected:
            self._report("rejected", f"an item from {peer.name}: {reason}")

    def _tell(self, delivered: Sequence[Delivered]) -> None:
        if delivered and self._after_commit is not None:
            self._after_commit(delivered)

    async def _answer_hello(self, peer: Peer) -> None:
        try:
            known = await self.database.read(lambda connection: acknowledgements_for(connection, peer.name))
        except StorageError as error:
            self.counters.storage_errors += 1
            self._report("storage", str(error))
            return
        now = asyncio.get_running_loop().time()
        for acknowledgement in known:
            # What is owed already is as new, or what follows of a transaction that is under way is newer.
            peer.owed.setdefault((acknowledgement.stream, acknowledgement.epoch), acknowledgement)
        peer.answer = True
        peer.sender.connected(now)
        self.schedule(now)
        self._contact(peer)

    def acknowledgement_due(self, peer: Peer, now: float) -> float | None:
        """When the peer is to hear what has arrived, in loop time; ``None`` when nothing is owed."""
        if peer.answer:
            return now
        if not peer.owed:
            return None
        if peer.owed_items >= self.settings.acknowledge_after_items:
            return now
        return peer.owed_since + self.settings.acknowledge_after_seconds

    def seal(self, peer: Peer, frame: Frame) -> bytes:
        """Complete a frame with what the peer is owed, number it and sign it."""
        self._frame_sequence += 1
        frame.source = self.name
        frame.destination = peer.name
        frame.incarnation = self.identity.incarnation
        frame.frame_sequence = self._frame_sequence
        frame.acknowledgements.extend(peer.owed.values())
        frame.hello = peer.hello
        peer.owed.clear()
        peer.owed_items = 0
        peer.hello = peer.answer = False
        self.counters.frames_sent += 1
        return self.codec.seal(frame)

    def first_sent(self, peer: Peer, frame: Frame, first: Sequence[int]) -> list[Sent]:
        """Those items of a frame that leave for the first time; nothing where nobody wants to hear of them."""
        if self._on_sent is None or not first:
            return []
        fresh = set(first)
        return [
            Sent(peer.name, frame.stream, item.sequence, item.payload)
            for item in frame.items
            if item.sequence in fresh and not item.HasField("skip")
        ]

    def tell_sent(self, items: Sequence[Sent]) -> None:
        """A frame with these was handed to the backhaul."""
        if items and self._on_sent is not None:
            self._on_sent(items)

    async def ledgers(self) -> tuple[list[SentLedger], list[ReceivedLedger]]:
        """What this side says of all its streams. Raises ``StorageError``."""

        def query(connection: Connection) -> tuple[list[SentLedger], list[ReceivedLedger]]:
            return sent_ledgers(connection, self.name, self.identity.epoch), received_ledgers(connection, self.name)

        return await self.database.read(query)

    async def totals(self) -> store.OutboxTotals:
        """What waits in the outbox, and was given up. Raises ``StorageError``."""
        return await self.database.read(store.totals)

    def _contact(self, peer: Peer) -> None:
        if self.files is not None:
            self.files.connected(peer.name, asyncio.get_running_loop().time())
        if self._on_contact is not None:
            self._on_contact(peer.name)

    def _refuse(self, refusal: Refusal, detail: str) -> None:
        self.counters.refused[refusal] += 1
        self._report(refusal, detail)

    def _report(self, kind: str, detail: str) -> None:
        if self._on_refused is not None:
            self._on_refused(str(kind), detail)


def _singles(frame: Frame) -> list[Frame]:
    """The frame's items, each in a frame of its own."""
    singles = []
    for item in frame.items:
        single = Frame(source=frame.source, stream=frame.stream, epoch=frame.epoch, low_sequence=frame.low_sequence)
        single.items.append(item)
        singles.append(single)
    return singles
