"""Files over a hub that loses, repeats and reorders frames, and over contacts that break, in virtual time."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from skyrack import virtual
from skyrack.backhaul import OFFLINE, LinkState, Will, down_topic, state_topic, up_topic
from skyrack.backhaul.memory import Impairments, MemoryHub
from skyrack.clock import MissionClock
from skyrack.database import Connection, Database
from skyrack.delivery import TWIN_SETTINGS, Delivered, DeliverySettings, Endpoint, Link
from skyrack.delivery.blocks import BLOCK_BYTES, DirectorySpool, FileExchange, MemorySpool, describe
from skyrack.signing import Right, SigningKey, seeded_ring
from skyrack.v1.backhaul_pb2 import FileOffer, Frame, Payload, SignedFrame
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
        spool = (
            DirectorySpool(directory / "incoming", lambda sha256: directory / "files" / sha256.hex())
            if directory
            else MemorySpool(self.came.__setitem__, self.came.__contains__)
        )
        self.files = FileExchange(
            self.endpoint, spool, limit_bytes=64 << 20, on_problem=lambda kind, text: self.problems.append(text)
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

    async def offer(self, content: bytes, job_id: str = "job", attempt: int = 1, **lie: Any) -> bytes:
        description = describe([content])
        peer = GROUND if self.name == SATELLITE else SATELLITE

        def transaction(connection: Connection) -> None:
            self.files.book.offer(connection, peer, description, job_id, attempt, content=lie.get("content", content))

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
