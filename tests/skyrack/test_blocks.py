"""Blocks without any I/O: whatever is lost, repeated or reordered, and whoever starts again, files arrive whole."""

from __future__ import annotations

import dataclasses
import hashlib
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from skyrack.delivery import MAXIMUM_ITEM_BYTES, DeliverySettings
from skyrack.delivery.blocks import DirectorySpool, MemorySpool, describe, describe_file, offer_of
from skyrack.delivery.blocks.layout import (
    BLOCK_BYTES,
    DIGEST_BYTES,
    MAXIMUM_FILE_BYTES,
    Description,
    Layout,
    OfferError,
    check_offer,
)
from skyrack.delivery.blocks.receiver import Receiver, Verdict
from skyrack.delivery.blocks.sender import MAXIMUM_ASKED, BlockQueue, indices_of
from skyrack.v1.backhaul_pb2 import Block, BlockRequest, FileOffer, Payload

SETTINGS = DeliverySettings(window_bytes=4096, window_items=32)
BLOCK = 100


class Transfer(RuleBasedStateMachine):
    """A holder and a receiver of two files, and a network that does what it likes; both die at any moment."""

    @initialize(sizes=st.lists(st.integers(0, 60 * BLOCK), min_size=2, max_size=2), seed=st.integers(0, 9))
    def begin(self, sizes: list[int], seed: int) -> None:
        rng = random.Random(seed)
        self.now = 1.0
        self.contents = {}
        self.descriptions: dict[bytes, Description] = {}
        for size in sizes:
            content = rng.randbytes(size)
            description = describe([content], BLOCK)
            self.contents[description.layout.sha256] = content
            self.descriptions[description.layout.sha256] = description
        self.whole: dict[bytes, bytes] = {}
        self.disk = MemorySpool(self.whole.__setitem__, self.whole.__contains__)
        self.kept: set[tuple[bytes, int]] = set()
        self.up: list[BlockRequest] = []
        self.down: list[Block] = []
        self.queue = BlockQueue()
        self.restart_receiver()

    @rule()
    def restart_receiver(self) -> None:
        self.receiver = Receiver(SETTINGS)
        for sha256, description in self.descriptions.items():
            if sha256 not in self.whole:
                here = self.disk.scan("peer", description.layout, description.hashes)
                self.receiver.want(description.layout, here)
                self.finish(sha256)

    @rule()
    def restart_holder(self) -> None:
        self.queue = BlockQueue()

    @rule()
    def connect(self) -> None:
        self.receiver.connected(self.now)

    @rule(seconds=st.floats(0.01, 100))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(is_lost=st.booleans())
    def ask(self, is_lost: bool) -> None:
        for request in self.receiver.due(self.now):
            for index in indices_of(request):
                assert (request.sha256, index) not in self.kept, "what is here is never asked for"
            if not is_lost:
                self.up.append(request)

    @rule(choice=st.integers(0), again=st.booleans())
    def hear(self, choice: int, again: bool) -> None:
        if self.up:
            index = choice % len(self.up)
            request = self.up[index] if again else self.up.pop(index)
            assert self.queue.asked(request.sha256, self.descriptions[request.sha256].layout.blocks, request) == 0

    @rule(most=st.integers(1, 40), loses=st.booleans())
    def send(self, most: int, loses: bool) -> None:
        for number in range(most):
            key = self.queue.take()
            if key is None:
                return
            sha256, index = key
            layout = self.descriptions[sha256].layout
            data = self.contents[sha256][layout.offset(index) : layout.offset(index) + layout.size(index)]
            if not (loses and number % 3 == 0):
                self.down.append(Block(sha256=sha256, index=index, data=data))

    @rule(choice=st.integers(0), most=st.integers(1, 40), again=st.booleans())
    def arrive(self, choice: int, most: int, again: bool) -> None:
        for _ in range(min(most, len(self.down))):
            index = choice % len(self.down)
            block = self.down[index] if again else self.down.pop(index)
            verdict = self.receiver.judge(block.sha256, block.index, len(block.data))
            if block.sha256 in self.whole:
                assert verdict is Verdict.UNSOLICITED
            elif (block.sha256, block.index) in self.kept:
                assert verdict is Verdict.DUPLICATE
            else:
                assert verdict is Verdict.WANTED
                self.disk.write("peer", self.descriptions[block.sha256].layout, block.index, block.data)
                self.receiver.kept(block.sha256, block.index, self.now)
                self.kept.add((block.sha256, block.index))
                self.finish(block.sha256)

    def finish(self, sha256: bytes) -> None:
        if self.receiver.is_whole(sha256):
            assert self.disk.finish("peer", self.descriptions[sha256].layout)
            self.receiver.forget(sha256)

    @invariant()
    def what_is_on_the_way_is_bounded(self) -> None:
        if hasattr(self, "receiver"):
            assert self.receiver.asked_bytes <= max(self.receiver.window_bytes, SETTINGS.window_bytes // 2, BLOCK)

    def teardown(self) -> None:
        """The network behaves from now on."""
        if not hasattr(self, "receiver"):
            return
        for _ in range(200):
            self.now += 61.0
            self.ask(is_lost=False)
            while self.up:
                self.hear(0, again=False)
            self.send(MAXIMUM_ASKED, loses=False)
            while self.down:
                self.arrive(0, 1, again=False)
            if len(self.whole) == len(self.contents):
                break
        assert self.whole == self.contents
        assert self.receiver.asked_bytes == 0
        assert self.receiver.next_due() is None


TestTransfer = Transfer.TestCase
TestTransfer.settings = settings(
    max_examples=60, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
)


@given(content=st.binary(max_size=2000), block_bytes=st.integers(1, 300), cut=st.integers(1, 400))
def test_a_file_is_described_alike_however_it_is_read(content: bytes, block_bytes: int, cut: int) -> None:
    pieces = [content[at : at + cut] for at in range(0, len(content), cut)]
    described = describe(pieces, block_bytes)
    layout = described.layout
    assert layout == Layout(hashlib.sha256(content).digest(), len(content), block_bytes)
    blocks = [content[layout.offset(n) : layout.offset(n) + layout.size(n)] for n in range(layout.blocks)]
    assert b"".join(blocks) == content
    assert described.hashes == b"".join(hashlib.sha256(block).digest() for block in blocks)


@pytest.mark.parametrize("blocks", [0, 1, 700, 701, -(-MAXIMUM_FILE_BYTES // BLOCK_BYTES)])
def test_every_offer_fits_an_item_and_says_what_it_should(blocks: int) -> None:
    size = min(blocks * BLOCK_BYTES, MAXIMUM_FILE_BYTES)
    described = Description(Layout(b"s" * 32, size, BLOCK_BYTES), bytes(range(32)) * blocks)
    offer = offer_of(described, "job", 1)
    assert len(Payload(file_offer=offer).SerializeToString()) < min(MAXIMUM_ITEM_BYTES, 32_000)
    offered = check_offer(FileOffer.FromString(offer.SerializeToString()), MAXIMUM_FILE_BYTES)
    assert offered.layout == described.layout
    if blocks > 700:
        assert offered.hashes is None
        assert offered.list_layout is not None
        assert offered.list_layout.total_bytes == blocks * DIGEST_BYTES
    else:
        assert offered.hashes == described.hashes


GOOD = offer_of(describe([bytes(1000)], 300), "job", 1)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"sha256": b"short"}, "SHA-256 of 5 bytes"),
        ({"block_bytes": 0}, "blocks of 0 bytes"),
        ({"block_bytes": 1 << 20}, "blocks of 1048576 bytes"),
        ({"total_bytes": 1 << 40}, "at most 10,000"),
        ({"block_bytes": 100}, "10 blocks and 4 hashes"),
        ({"block_sha256": [b"a" * 31] * 4}, "each needs one of 32 bytes"),
        ({"list_sha256": b"short"}, "list whose SHA-256"),
        ({"list_sha256": b"l" * 32}, "1 blocks and 0 hashes"),
    ],
)
def test_an_offer_that_does_not_add_up_is_refused(fields: dict[str, object], words: str) -> None:
    offer = FileOffer.FromString(GOOD.SerializeToString())
    for name in fields:
        offer.ClearField(name)
    offer.MergeFrom(FileOffer(**fields))  # type: ignore[arg-type]
    with pytest.raises(OfferError, match=words):
        check_offer(offer, 10_000)


@given(sha256=st.sampled_from([b"known", b"unknown"]), index=st.integers(0, 1 << 32), size=st.integers(0, 1 << 20))
def test_only_a_block_with_a_place_is_wanted(sha256: bytes, index: int, size: int) -> None:
    receiver = Receiver(SETTINGS)
    receiver.want(Layout(b"known", 950, 100))
    right = sha256 == b"known" and index < 10 and size == (50 if index == 9 else 100)
    assert (receiver.judge(sha256, index, size) is Verdict.WANTED) == right
    assert receiver.counters.unsolicited == (not right)


@given(wanted=st.binary(max_size=1024), first=st.integers(0, 1 << 31), blocks=st.integers(0, 5000))
def test_a_request_never_brings_forth_what_there_is_not(wanted: bytes, first: int, blocks: int) -> None:
    queue = BlockQueue()
    request = BlockRequest(sha256=b"s", first_index=first, wanted=wanted)
    outside = sum(queue.asked(b"s", blocks, request) for _ in range(3))
    assert len(queue) <= MAXIMUM_ASKED
    assert outside == 3 * sum(index >= blocks for index in indices_of(request))
    while (key := queue.take()) is not None:
        assert key[1] < blocks


def test_the_window_yields_when_blocks_queue_and_not_when_they_are_lost() -> None:
    settings = DeliverySettings(window_items=4096)
    layout = Layout(b"s" * 32, 1 << 27, BLOCK_BYTES)

    def fly(seconds: float, queue_seconds: float, loss: float) -> int:
        receiver, rng, now = Receiver(settings), random.Random(1), 0.0
        receiver.want(layout)
        for _ in range(60):
            asked = [index for request in receiver.due(now) for index in indices_of(request)]
            for place, index in enumerate(asked):
                if rng.random() >= loss:
                    receiver.kept(b"s" * 32, index, now + seconds + queue_seconds * place)
            now += seconds + queue_seconds * len(asked)
        return receiver.window_bytes

    widest = settings.window_bytes // 2
    assert fly(0.05, 0.0, 0.0) == widest
    assert fly(0.05, 0.0, 0.3) > widest // 2
    assert fly(0.05, 0.5, 0.0) < 7 * BLOCK_BYTES


def test_a_directory_knows_after_a_power_cut_what_is_right(tmp_path: Path) -> None:
    content = random.Random(1).randbytes(10 * BLOCK + 7)
    described = describe([content], BLOCK)
    layout = described.layout
    spool = DirectorySpool(tmp_path / "in", lambda sha256: tmp_path / "out" / sha256.hex())
    assert not any(spool.scan("a/b", layout, described.hashes))
    for index in (0, 3, 10):
        spool.write("a/b", layout, index, content[layout.offset(index) : layout.offset(index) + layout.size(index)])
    (part,) = (tmp_path / "in").iterdir()
    with part.open("r+b") as file:
        file.seek(3 * BLOCK)
        file.write(b"\0" * BLOCK)  # what had not reached the disk
    assert [index for index, byte in enumerate(spool.scan("a/b", layout, described.hashes)) if byte] == [0, 10]
    for index in range(11):
        spool.write("a/b", layout, index, content[layout.offset(index) : layout.offset(index) + layout.size(index)])
    assert spool.finish("a/b", layout)
    assert spool.has(layout.sha256)
    assert describe_file(tmp_path / "out" / layout.sha256.hex(), BLOCK) == described
    # The process ended before the record of it.
    assert all(spool.scan("a/b", layout, described.hashes))
    assert spool.finish("a/b", layout)
    wrong = dataclasses.replace(layout, sha256=bytes(32))
    spool.write("a/b", wrong, 0, content[:BLOCK])
    assert not spool.finish("a/b", wrong)
    assert list((tmp_path / "in").iterdir()) == []


def test_a_directory_keeps_only_what_is_wanted(tmp_path: Path) -> None:
    spool = DirectorySpool(tmp_path, lambda sha256: tmp_path / sha256.hex())
    spool.keep_only(())
    layout = describe([bytes(BLOCK)], BLOCK).layout
    for source in ("a/b", "a/c"):
        spool.write(source, layout, 0, bytes(BLOCK))
    spool.keep_only({("a/b", layout.sha256), ("a/d", bytes(32))})
    assert spool.scan("a/b", layout, describe([bytes(BLOCK)], BLOCK).hashes) == b"\1"
    assert len(list(tmp_path.iterdir())) == 1
