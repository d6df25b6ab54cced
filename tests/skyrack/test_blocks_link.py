"""Files over a hub that loses, repeats and reorders frames, and over contacts that break, in virtual time."""

from __future__ import annotations

import asyncio
import hashlib
import random
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from skyrack import virtual
from skyrack.backhaul import OFFLINE, LinkState, Will, down_topic, state_topic, up_topic
from skyrack.backhaul.memory import Impairments, MemoryHub
from skyrack.clock import MissionClock
from skyrack.database import Connection, Database
from skyrack.delivery import TWIN_SETTINGS, Delivered, DeliverySettings, Endpoint, Link, Refusal
from skyrack.delivery.blocks import BLOCK_BYTES, DirectorySpool, FileExchange, MemorySpool, describe, offer_of, store
from skyrack.delivery.blocks.incoming import MAXIMUM_WRONG_BLOCKS
from skyrack.signing import Right, SigningKey, seeded_ring
from skyrack.v1.backhaul_pb2 import Block, BlockRequest, FileOffer, Frame, Payload, SignedFrame
from skyrack.v1.options_pb2 import STREAM_BULK, STREAM_STATUS

SATELLITE, GROUND = "sat-1", "ground"


class Side:
    """An endpoint with files: what comes is kept by its hash."""

    def __init__(self, net: Net, name: str, directory: Path | None, settings: DeliverySettings) -> None:
        self.name, self.net = name, net
        self.database = Database(directory / "state.db" if directory else None)
        self.came: dict[bytes, bytes] = {}
        self.settled: list[tuple[bytes, str]] = []
        self.problems: list[str] = []
        self.items: list[tuple[float, bytes]] = []
        self.endpoint: Endpoint[Any] = Endpoint(
            name,
            key=SigningKey.from_seed(1, name),
            ring=net.ring,
            peer_right=Right.SATELLITE if name == GROUND else Right.RELAY,
            database=self.database,
            clock=net.clock,
            on_item=self._take,
            after_commit=lambda _: self.files.changed(),
            settings=settings,
        )
        self.directory = directory
        self.spool = (
            DirectorySpool(directory / "incoming", lambda sha256: directory / "files" / sha256.hex())
            if directory
            else MemorySpool(self.came.__setitem__, self.came.__contains__)
        )
        self.files = FileExchange(
            self.endpoint, self.spool, limit_bytes=64 << 20, on_problem=lambda kind, text: self.problems.append(text)
        )
        self.files.book.on_settled = lambda _, __, sha256, problem: self.settled.append((sha256, problem))

    def _take(self, connection: Connection, item: Delivered) -> None:
        payload = Payload.FromString(item.payload)
        kind = payload.WhichOneof("kind")
        if kind == "file_offer":
            self.files.book.take_offer(connection, item.source, payload.file_offer, self.net.clock.now())
        elif kind == "file_receipt":
            self.files.book.take_receipt(connection, item.source, payload.file_receipt)
        else:
            self.items.append((asyncio.get_running_loop().time(), item.payload))

    async def offer(self, content: bytes, job_id: str = "job", attempt: int = 1, lie: bytes = b"") -> bytes:
        description = describe([content])
        peer = GROUND if self.name == SATELLITE else SATELLITE

        def transaction(connection: Connection) -> None:
            self.files.book.offer(connection, peer, description, job_id, attempt, content=lie or content)

        await self.database.write(transaction)
        self.files.changed()
        return description.layout.sha256

    async def count(self, table: str) -> int:
        rows = await self.database.read(lambda connection: connection.execute(f"SELECT 1 FROM {table}").fetchall())
        return len(rows)

    def content(self, sha256: bytes) -> bytes | None:
        if self.directory is None:
            return self.came.get(sha256)
        path = self.directory / "files" / sha256.hex()
        return path.read_bytes() if path.exists() else None


class Net:
    def __init__(self, impairments: Impairments | None = None, settings: DeliverySettings = TWIN_SETTINGS) -> None:
        self.clock = MissionClock.starting_at(1.8e9)
        self.ring = seeded_ring(1, [SATELLITE])
        self.hub = MemoryHub(random.Random(2), impairments)
        self.settings = settings
        self.up = True
        self.rate = 8e6
        self.block_frames: dict[tuple[bytes, int], int] = {}
        self.hub.filters.append(self._look)

    def _look(self, topic: str, payload: bytes) -> bytes:
        if topic != state_topic(SATELLITE):
            for block in Frame.FromString(SignedFrame.FromString(payload).frame).blocks:
                key = block.sha256, block.index
                self.block_frames[key] = self.block_frames.get(key, 0) + 1
        return payload

    @asynccontextmanager
    async def linked(self, name: str, directory: Path | None = None) -> AsyncIterator[Side]:
        side = Side(self, name, directory, self.settings)
        endpoint = side.endpoint
        await endpoint.open()
        if name == GROUND:
            endpoint.peer(SATELLITE)
            connector = self.hub.connector(name, [down_topic("+", "+"), state_topic("+")])
            link = Link(endpoint, lambda destination, _: up_topic(destination))
        else:
            endpoint.peer(GROUND)
            will = Will(state_topic(name), OFFLINE)
            connector = self.hub.connector(name, [up_topic(name)], will, lambda: LinkState(self.up, self.rate, 0.05))
            link = Link(endpoint, lambda _, stream: down_topic(name, stream), presence=name)
        task = asyncio.create_task(link.serve(connector, random.Random(name)))
        try:
            yield side
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await side.files.close()
            await side.database.close()


def run(
    scenario: Callable[[Net], Awaitable[None]],
    impairments: Impairments | None = None,
    settings: DeliverySettings = TWIN_SETTINGS,
) -> None:
    async def main() -> None:
        await scenario(Net(impairments, settings))

    virtual.run(main)


def has(items: Sequence[Any], number: int) -> bool:
    return len(items) > number


async def until(condition: Callable[[], Any], seconds: float = 20_000) -> float:
    """Loop seconds until the condition holds."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    while not condition():
        assert loop.time() - begin < seconds, "it did not come to pass"
        await asyncio.sleep(0.25)
    return loop.time() - begin


@pytest.mark.parametrize("direction", ["up", "down"])
@pytest.mark.parametrize("impairments", [None, Impairments(0.1, 0.1, 0.1)], ids=["clean", "bad"])
@pytest.mark.parametrize("size", [0, 1, BLOCK_BYTES, 700 * BLOCK_BYTES + 1], ids=["empty", "tiny", "block", "listed"])
def test_a_file_arrives_whole_and_its_holder_lets_go(
    direction: str, impairments: Impairments | None, size: int
) -> None:
    async def scenario(net: Net) -> None:
        async with net.linked(SATELLITE) as satellite, net.linked(GROUND) as ground:
            source, sink = (ground, satellite) if direction == "up" else (satellite, ground)
            content = random.Random(1).randbytes(size)
            sha256 = await source.offer(content)
            await until(lambda: sink.settled)
            assert sink.settled == [(sha256, "")]
            assert sink.content(sha256) == content
            await asyncio.sleep(1000)
            assert await source.count("files_offered") == await source.count("files_held") == 0
            assert not source.problems
            assert not sink.problems

    run(scenario, impairments)


@pytest.mark.parametrize("restart", ["nobody", "receiver", "holder"])
def test_after_a_break_only_what_is_missing_is_sent(tmp_path: Path, restart: str) -> None:
    size = 400 * BLOCK_BYTES

    async def scenario(net: Net) -> None:
        content = random.Random(1).randbytes(size)
        sha256 = hashlib.sha256(content).digest()

        async def part(offered: bool) -> int:
            async with (
                net.linked(SATELLITE, tmp_path / "sat") as satellite,
                net.linked(GROUND, tmp_path / "ground") as ground,
            ):
                if not offered:
                    await satellite.offer(content)
                    await until(lambda: ground.files.counters.received >= 200)
                    net.up = False
                    await asyncio.sleep(500)
                    here = ground.files.incoming()[SATELLITE, sha256][0]
                    if restart != "nobody":
                        return here
                    net.up = True
                await until(lambda: ground.settled)
                assert ground.content(sha256) == content
                if restart != "nobody":
                    assert ground.files.counters.resumed_bytes >= 200 * BLOCK_BYTES
                return 0

        here = await part(offered=False)
        if restart != "nobody":
            assert here >= 200 * BLOCK_BYTES
            net.up = True
            await part(offered=True)
        repeated = sum(count - 1 for count in net.block_frames.values())
        # At most what was on the way when the contact broke.
        assert repeated * BLOCK_BYTES <= net.settings.window_bytes // 2
        assert len(net.block_frames) == 400

    run(scenario)


def test_what_is_here_already_is_not_sent_again() -> None:
    async def scenario(net: Net) -> None:
        async with net.linked(SATELLITE) as satellite, net.linked(GROUND) as ground:
            content = random.Random(1).randbytes(10 * BLOCK_BYTES)
            for attempt in range(1, 6):
                await ground.offer(content, attempt=attempt)
                await until(lambda: satellite.settled)
            await asyncio.sleep(500)
            assert ground.files.counters.sent == 10
            assert await ground.count("files_offered") == 0

    run(scenario)


def test_status_and_events_pass_a_file_on_a_slow_link() -> None:
    async def scenario(net: Net) -> None:
        net.rate = 4e5  # 50 kB/s: a block takes half a second
        async with net.linked(SATELLITE) as satellite, net.linked(GROUND) as ground:
            await satellite.offer(random.Random(1).randbytes(500 * BLOCK_BYTES))
            await until(lambda: ground.files.counters.received > 20)
            delays = []
            loop = asyncio.get_running_loop()
            for number in range(20):
                sent = loop.time()
                await satellite.endpoint.send(GROUND, STREAM_STATUS, Payload(telecommand_report={}).SerializeToString())
                await until(partial(has, ground.items, number))
                delays.append(ground.items[number][0] - sent)
            assert not ground.settled
            # A gather time of 1 s, and as long as blocks may queue.
            assert sum(delays) / len(delays) < 5.0
            busy = loop.time()
            before = ground.files.counters.received_bytes
            await asyncio.sleep(100)
            assert (ground.files.counters.received_bytes - before) / (loop.time() - busy) > 0.8 * net.rate / 8

    run(scenario)


def test_a_holder_that_lost_its_file_says_so(tmp_path: Path) -> None:
    async def scenario(net: Net) -> None:
        async with net.linked(SATELLITE) as satellite, net.linked(GROUND) as ground:
            description = describe([bytes(100_000)])
            missing = str(tmp_path / "missing")
            await satellite.database.write(
                lambda connection: satellite.files.book.offer(connection, GROUND, description, "job", 1, path=missing)
            )
            satellite.files.changed()
            await until(lambda: ground.settled)
            ((_, problem),) = ground.settled
            assert "its holder cannot read it" in problem
            assert await satellite.count("files_held") == 0

    run(scenario)


@pytest.mark.parametrize("size", [100_000, 701 * BLOCK_BYTES])
def test_a_file_that_is_not_what_was_offered_is_given_up(size: int) -> None:
    async def scenario(net: Net) -> None:
        async with net.linked(SATELLITE) as satellite, net.linked(GROUND) as ground:
            content = random.Random(1).randbytes(size)
            await satellite.offer(content, lie=bytes(size))
            await until(lambda: ground.settled)
            ((_, problem),) = ground.settled
            assert problem == "its blocks are not those that were offered"
            assert ground.files.counters.wrong >= MAXIMUM_WRONG_BLOCKS
            assert ground.came == {}
            await asyncio.sleep(100)
            assert await satellite.count("files_offered") == 0

    run(scenario)


def test_a_hostile_peer_gets_nothing_and_leaves_nothing() -> None:
    async def scenario(net: Net) -> None:
        async with net.linked(SATELLITE) as satellite, net.linked(GROUND) as ground:
            await asyncio.sleep(10)
            secret = describe([b"another's"]).layout.sha256
            peer = satellite.endpoint.peer(GROUND)
            huge = FileOffer(sha256=bytes(32), total_bytes=1 << 50, block_bytes=1000, job_id="job", attempt=1)
            await satellite.endpoint.send(GROUND, STREAM_BULK, Payload(file_offer=huge).SerializeToString())
            for frame in (
                Frame(blocks=[Block(sha256=secret, index=1 << 31, data=b"x" * 100)] * 50),
                Frame(block_requests=[BlockRequest(sha256=secret, first_index=1 << 31, wanted=b"\xff" * 1024)] * 128),
            ):
                await ground.endpoint.receive(satellite.endpoint.seal(peer, frame))
            for frame in (
                Frame(block_requests=[BlockRequest(sha256=secret, wanted=b"\xff" * 1025)]),
                Frame(block_requests=[BlockRequest(sha256=secret)] * 257),
            ):
                await ground.endpoint.receive(satellite.endpoint.seal(peer, frame))
            await asyncio.sleep(100)
            counters = ground.files.counters
            assert (counters.unsolicited, counters.not_offered, counters.sent) == (50, 128, 0)
            assert ground.files.book.offers_refused == 1
            assert ground.endpoint.counters.refused[Refusal.MALFORMED] == 2
            assert await ground.count("files_wanted") == await ground.count("files_offered") == 0

    run(scenario)


def test_fifty_megabytes_over_a_bad_network() -> None:
    settings = replace(DeliverySettings(), window_bytes=4 << 20)

    async def scenario(net: Net) -> None:
        net.rate = 8e7
        content = random.Random(1).randbytes(50_000_000)
        async with net.linked(SATELLITE) as satellite, net.linked(GROUND) as ground:
            await satellite.offer(content)
            seconds = await until(lambda: ground.settled)
            counters = ground.files.counters
            assert ground.settled[0][1] == ""
            # A tenth is lost on its way, and no more than that is sent twice; the link carries 10 MB/s.
            assert satellite.files.counters.sent < 1.15 * counters.received
            assert counters.duplicates == 0
            assert len(content) / seconds > 5e6

    run(scenario, Impairments(loss=0.1), settings)


def test_a_commit_that_ends_while_another_is_under_way_leaves_it_its_kick(tmp_path: Path) -> None:
    """Who looked too early took the other's wish with it, and the offer lay in the outbox until the next one."""

    async def scenario() -> None:
        side = Side(Net(), SATELLITE, tmp_path, TWIN_SETTINGS)
        await side.endpoint.open()
        seen: list[int] = []

        def kick(_destination: str, _stream: int) -> None:
            with closing(sqlite3.connect(tmp_path / "state.db")) as look:
                seen.append(look.execute("SELECT COUNT(*) FROM delivery_outbox").fetchone()[0])

        side.endpoint.kick = kick  # type: ignore[method-assign,assignment]
        begun, go = threading.Event(), threading.Event()

        def transaction(connection: Connection) -> None:
            side.files.book.offer(connection, GROUND, describe([b"result"]), "job", 1, content=b"result")
            begun.set()
            assert go.wait(30)

        other = asyncio.create_task(side.database.write(transaction))
        await asyncio.to_thread(begun.wait, 30)
        side.files.changed()
        await asyncio.sleep(0.05)
        go.set()
        await other
        side.files.changed()
        async with asyncio.timeout(30):
            while 1 not in seen:  # noqa: ASYNC110 - a kick has no event
                await asyncio.sleep(0.01)
        await side.files.close()
        await side.database.close()

    asyncio.run(scenario())


def test_a_peer_that_comes_while_files_are_discarded_holds_up_none() -> None:
    async def scenario() -> None:
        side = Side(Net(), GROUND, None, TWIN_SETTINGS)
        await side.endpoint.open()
        first, second = (FileOffer(), FileOffer())
        for offer, content in ((first, b"first"), (second, b"second")):
            offer.CopyFrom(offer_of(describe([content]), content.decode(), 1))
        book = side.files.book
        await side.database.write(lambda connection: book.take_offer(connection, SATELLITE, first, 0.0))
        side.files.changed()
        await asyncio.sleep(1)
        assert list(side.files.incoming()) == [(SATELLITE, first.sha256)]

        def discard(_source: str, _sha256: bytes) -> None:
            side.files.connected("sat-9", 0.0)

        side.spool.discard = discard  # type: ignore[method-assign,assignment]

        def transaction(connection: Connection) -> None:
            book.abandon(connection, SATELLITE, "first", 1, "nobody waits for it")
            book.take_offer(connection, SATELLITE, second, 0.0)

        await side.database.write(transaction)
        side.files.changed()
        await asyncio.sleep(1)
        assert list(side.files.incoming()) == [(SATELLITE, second.sha256)]
        await side.files.close()

    virtual.run(scenario)


def test_who_asks_again_and_again_is_told_however_many_asked_before() -> None:
    async def scenario() -> None:
        side = Side(Net(), SATELLITE, None, TWIN_SETTINGS)
        await side.endpoint.open()
        for number in range(100):
            request = BlockRequest(sha256=number.to_bytes(32, "big"), wanted=b"\1")
            await side.files.take(GROUND, Frame(block_requests=[request]))
        for _ in range(4):
            request = BlockRequest(sha256=b"x" * 32, wanted=b"\1")
            await side.files.take(GROUND, Frame(block_requests=[request]))
            await asyncio.sleep(TWIN_SETTINGS.retransmit_maximum_seconds)
        assert await side.count("delivery_outbox") == 1
        await side.files.close()

    virtual.run(scenario)


def test_a_receipt_does_not_look_through_all_that_is_offered() -> None:
    async def scenario() -> None:
        side = Side(Net(), SATELLITE, None, TWIN_SETTINGS)
        await side.endpoint.open()
        sql: list[str] = []

        def plan(connection: Any) -> list[str]:
            connection.set_trace_callback(sql.append)
            store.let_go(connection, b"x" * 32)
            connection.set_trace_callback(None)
            return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql[0]}")]

        assert not [step for step in await side.database.read(plan) if step.startswith("SCAN")]
        await side.files.close()

    virtual.run(scenario)
