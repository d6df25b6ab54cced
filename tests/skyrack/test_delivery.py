"""Endpoints over a hub, in virtual time; the parts of the state machines that properties do not reach."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from skyrack import virtual
from skyrack.backhaul import OFFLINE, LinkState, Will, down_topic, state_topic, up_topic
from skyrack.backhaul.memory import Impairments, MemoryHub
from skyrack.clock import MissionClock
from skyrack.database import Database, SqliteError, Storage
from skyrack.delivery import (
    MAXIMUM_ITEM_BYTES,
    TWIN_SETTINGS,
    Delivered,
    DeliverySettings,
    Endpoint,
    Link,
    OutboxFullError,
    Refusal,
    RejectItemError,
    Sent,
    reconcile,
)
from skyrack.delivery.receiver import ReplayWindow
from skyrack.delivery.sender import OutboxRow, RoundTrip, Sender
from skyrack.delivery.sequences import SequenceSet
from skyrack.delivery.settings import POLICIES
from skyrack.signing import FRAME, Right, SigningKey, seeded_ring
from skyrack.v1.backhaul_pb2 import Acknowledgement, Frame, Item, SignedFrame
from skyrack.v1.options_pb2 import STREAM_BULK, STREAM_EVENTS, STREAM_HOUSEKEEPING, STREAM_STATUS

SATELLITES = ["sat-1", "sat-2"]


class Net:
    """A hub, and whoever joins it."""

    def __init__(self, impairments: Impairments | None = None) -> None:
        self.clock = MissionClock.starting_at(1.8e9)
        self.ring = seeded_ring(1, SATELLITES)
        self.hub = MemoryHub(random.Random(2), impairments)
        self.received: dict[str, list[bytes]] = {}
        self.refused: list[tuple[str, str]] = []
        self.up = True
        self.rate = 1e6

    def endpoint(
        self,
        name: str,
        database: Storage[sqlite3.Connection] | None = None,
        settings: DeliverySettings = TWIN_SETTINGS,
        on_item: Callable[[sqlite3.Connection, Delivered], None] = lambda connection, item: None,
        **told: Any,
    ) -> Endpoint[sqlite3.Connection]:
        received = self.received.setdefault(name, [])

        def took(items: Sequence[Delivered]) -> None:
            received.extend(item.payload for item in items)

        return Endpoint(
            name,
            key=SigningKey.from_seed(1, name),
            ring=self.ring,
            peer_right=Right.SATELLITE if name == "ground" else Right.RELAY,
            database=database or Database(None),
            clock=self.clock,
            on_item=on_item,
            after_commit=took,
            on_refused=lambda kind, detail: self.refused.append((kind, detail)),
            settings=settings,
            **told,
        )

    @asynccontextmanager
    async def linked(self, endpoint: Endpoint[sqlite3.Connection]) -> AsyncIterator[Endpoint[sqlite3.Connection]]:
        name = endpoint.name
        await endpoint.open()
        if name == "ground":
            for satellite in SATELLITES:
                endpoint.peer(satellite)
            connector = self.hub.connector(name, [down_topic("+", "+"), state_topic("+")])
            link = Link(endpoint, lambda destination, _: up_topic(destination))
        else:
            endpoint.peer("ground")
            will = Will(state_topic(name), OFFLINE)
            connector = self.hub.connector(name, [up_topic(name)], will, lambda: LinkState(self.up, self.rate, 0.05))
            link = Link(endpoint, lambda _, stream: down_topic(name, stream), presence=name)
        task = asyncio.create_task(link.serve(connector, random.Random(name)))
        try:
            yield endpoint
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def run(scenario: Callable[[Net], Awaitable[None]], impairments: Impairments | None = None) -> None:
    async def main() -> None:
        await scenario(Net(impairments))  # made inside the loop, whose time its clock tells

    virtual.run(main)


@pytest.mark.parametrize("seed", range(6))
def test_restarts_outages_and_a_bad_network_lose_nothing(seed: int, tmp_path: Path) -> None:
    async def scenario(net: Net) -> None:
        rng = random.Random(seed)
        sent: dict[str, list[bytes]] = {"ground": [], "sat-1": []}
        number = 0

        async def life(name: str) -> None:
            nonlocal number
            other = "ground" if name == "sat-1" else "sat-1"
            while loop.time() < end:
                database = Database(tmp_path / f"{name}.db")
                async with net.linked(net.endpoint(name, database)) as endpoint:
                    until = min(end, loop.time() + rng.uniform(50, 600))
                    while loop.time() < until:
                        payload = b"%s %d" % (name.encode(), number) + bytes(rng.randrange(2000))
                        number += 1
                        await endpoint.send(other, rng.choice([STREAM_STATUS, STREAM_BULK]), payload)
                        sent[name].append(payload)
                        await asyncio.sleep(rng.uniform(0, 20))
                await database.close()

        async def weather() -> None:
            while loop.time() < end:
                net.up = not net.up
                await asyncio.sleep(rng.uniform(5, 200))
            net.up = True

        loop = asyncio.get_running_loop()
        end = loop.time() + 4000
        await asyncio.gather(life("ground"), life("sat-1"), weather())
        bases = [Database(tmp_path / f"{name}.db") for name in ("ground", "sat-1")]
        async with (
            net.linked(net.endpoint("ground", bases[0])) as ground,
            net.linked(net.endpoint("sat-1", bases[1])) as satellite,
        ):
            await asyncio.sleep(5000)
            (ground_sent, ground_received), (sat_sent, sat_received) = (
                await ground.ledgers(),
                await satellite.ledgers(),
            )
            assert [row.waiting for row in (*ground_sent, *sat_sent)] == [0] * 4
            assert reconcile(ground_sent, sat_received) == []
            assert reconcile(sat_sent, ground_received) == []
        assert sorted(net.received["ground"]) == sorted(sent["sat-1"])
        assert sorted(net.received["sat-1"]) == sorted(sent["ground"])
        for base in bases:
            await base.close()

    run(scenario, Impairments(loss=0.15, duplication=0.15, reordering=0.2, reordering_seconds=60))


def test_the_same_seed_gives_the_same_traffic() -> None:
    def traffic() -> list[bytes]:
        frames: list[bytes] = []

        async def scenario(net: Net) -> None:
            net.hub.filters.append(lambda topic, payload: frames.append(payload) or payload)  # type: ignore[func-returns-value]
            async with net.linked(net.endpoint("ground")), net.linked(net.endpoint("sat-1")) as satellite:
                for number in range(100):
                    await satellite.send("ground", STREAM_EVENTS, b"%d" % number)
                    await asyncio.sleep(3)

        run(scenario, Impairments(0.1, 0.1, 0.1))
        return frames

    assert traffic() == traffic()


def test_an_urgent_item_passes_a_full_queue() -> None:
    async def scenario(net: Net) -> None:
        net.rate = 8_000.0  # one kilobyte a second
        settings = replace(TWIN_SETTINGS, window_bytes=16_384, frame_bytes=4096)
        ground, satellite = net.endpoint("ground"), net.endpoint("sat-1", settings=settings)
        async with net.linked(ground), net.linked(satellite):
            await asyncio.sleep(10)
            for number in range(200):
                await satellite.send("ground", STREAM_BULK, b"%d" % number + bytes(1000))
            await asyncio.sleep(5)
            await satellite.send("ground", STREAM_STATUS, b"urgent")
            async with asyncio.timeout(20):
                while b"urgent" not in net.received["ground"]:  # noqa: ASYNC110 - virtual time
                    await asyncio.sleep(0.5)
            assert len(net.received["ground"]) < 50

    run(scenario)


def test_expired_and_shed_items_become_skips_that_add_up() -> None:
    async def scenario(net: Net) -> None:
        few = {**POLICIES, STREAM_HOUSEKEEPING: replace(POLICIES[STREAM_HOUSEKEEPING], maximum_items=20)}
        settings = replace(TWIN_SETTINGS, policies=few)
        async with (
            net.linked(net.endpoint("ground")) as ground,
            net.linked(net.endpoint("sat-1", settings=settings)) as sat,
        ):
            await asyncio.sleep(30)
            net.up = False
            await asyncio.sleep(30)
            for number in range(50):
                await sat.send("ground", STREAM_HOUSEKEEPING, b"%d" % number)
            for number in range(10):
                await sat.send("ground", STREAM_EVENTS, b"event %d" % number, lifetime_seconds=30)
            await sat.send("ground", STREAM_EVENTS, b"lasting event")
            await asyncio.sleep(100)
            net.up = True
            await asyncio.sleep(200)
            sent, _ = await sat.ledgers()
            _, received = await ground.ledgers()
            assert reconcile(sent, received) == []
            events, housekeeping = sent
            assert (events.expired, events.skipped, events.delivered) == (10, 10, 1)
            assert housekeeping.shed == housekeeping.skipped > 20
            assert housekeeping.delivered == 50 - housekeeping.shed
            assert net.received["ground"][-1] == b"49" or b"49" in net.received["ground"]

    run(scenario)


def test_a_stream_that_is_never_shed_refuses_instead() -> None:
    async def scenario(net: Net) -> None:
        few = {**POLICIES, STREAM_STATUS: replace(POLICIES[STREAM_STATUS], maximum_items=3)}
        endpoint = net.endpoint("sat-1", settings=replace(TWIN_SETTINGS, policies=few))
        await endpoint.open()
        for _ in range(3):
            await endpoint.send("ground", STREAM_STATUS, b"x")
        with pytest.raises(OutboxFullError, match="3 items of 3 bytes wait for ground in stream status"):
            await endpoint.send("ground", STREAM_STATUS, b"x")
        assert (await endpoint.totals()).waiting_items == 3

    run(scenario)


def test_what_is_wrong_with_an_item_is_said_before_it_is_accepted() -> None:
    async def scenario(net: Net) -> None:
        endpoint = net.endpoint("sat-1")
        await endpoint.open()
        with pytest.raises(ValueError, match=f"at most {MAXIMUM_ITEM_BYTES}"):
            await endpoint.send("ground", STREAM_BULK, bytes(MAXIMUM_ITEM_BYTES + 1))
        with pytest.raises(ValueError, match="stream 77"):
            await endpoint.send("ground", 77, b"")

        def also(connection: sqlite3.Connection) -> None:
            raise LookupError("no")

        with pytest.raises(LookupError):
            await endpoint.send("ground", STREAM_BULK, b"", also=also)
        assert (await endpoint.totals()).waiting_items == 0

    run(scenario)


def test_a_handler_that_rejects_or_fails_costs_only_its_item() -> None:
    async def scenario(net: Net) -> None:
        broken = True

        def on_item(connection: sqlite3.Connection, item: Delivered) -> None:
            if item.payload == b"bad":
                raise RejectItemError("it is bad")
            if item.payload == b"trips" and broken:
                raise RuntimeError("a bug")

        ground = net.endpoint("ground", on_item=on_item)
        async with net.linked(ground), net.linked(net.endpoint("sat-1")) as satellite:
            for payload in (b"one", b"bad", b"trips", b"two"):
                await satellite.send("ground", STREAM_EVENTS, payload)
            await asyncio.sleep(100)
            assert sorted(net.received["ground"]) == [b"one", b"two"]
            kinds = {kind for kind, _ in net.refused}
            assert {"rejected", "handler"} <= kinds
            broken = False
            await asyncio.sleep(1000)
            assert sorted(net.received["ground"]) == [b"one", b"trips", b"two"]
            _, (row,) = await ground.ledgers()
            assert (row.stored, row.rejected) == (4, 1)

    run(scenario)


def test_a_disk_that_is_full_for_a_while_delays_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(net: Net) -> None:
        full = False
        database = Database(None)
        write = database.write

        async def failing(transaction: Callable[[sqlite3.Connection], object]) -> object:
            if full:
                error = sqlite3.OperationalError("database or disk is full")
                error.sqlite_errorcode = sqlite3.SQLITE_FULL
                raise SqliteError(None, error)
            return await write(transaction)

        monkeypatch.setattr(database, "write", failing)
        ground = net.endpoint("ground", database)
        async with net.linked(ground), net.linked(net.endpoint("sat-1")) as satellite:
            await asyncio.sleep(30)
            full = True
            for number in range(20):
                await satellite.send("ground", STREAM_EVENTS, b"%d" % number)
                await asyncio.sleep(2)
            assert net.received["ground"] == []
            assert ground.counters.storage_errors > 0
            full = False
            await asyncio.sleep(900)
            assert len(net.received["ground"]) == len(set(net.received["ground"])) == 20

    run(scenario)


def test_a_receiver_that_lost_its_store_says_so() -> None:
    async def scenario(net: Net) -> None:
        async with net.linked(net.endpoint("sat-1")) as satellite:
            async with net.linked(net.endpoint("ground")):
                for number in range(5):
                    await satellite.send("ground", STREAM_EVENTS, b"old %d" % number)
                await asyncio.sleep(100)
            net.received["ground"].clear()
            async with net.linked(net.endpoint("ground")) as fresh:
                await satellite.send("ground", STREAM_EVENTS, b"new")
                await asyncio.sleep(100)
                assert net.received["ground"] == [b"new"]
                (problem,) = reconcile((await satellite.ledgers())[0], (await fresh.ledgers())[1])
                assert "lost what it knew of 5 items" in problem

    run(scenario)


def test_a_sender_that_lost_its_store_begins_a_new_epoch() -> None:
    async def scenario(net: Net) -> None:
        async with net.linked(net.endpoint("ground")) as ground:
            for life in range(6):
                async with net.linked(net.endpoint("sat-1")) as satellite:
                    await satellite.send("ground", STREAM_EVENTS, b"life %d" % life)
                    await asyncio.sleep(100)
            assert net.received["ground"] == [b"life %d" % life for life in range(6)]
            _, rows = await ground.ledgers()
            assert len(rows) == 4  # the oldest epochs are forgotten

    run(scenario)


# Frames that are not what they should be.


def sealed(name: str, frame: Frame, key: SigningKey | None = None) -> bytes:
    key = key or SigningKey.from_seed(1, name)
    data = frame.SerializeToString()
    return SignedFrame(frame=data, signature=key.sign(FRAME, data), key_id=key.key_id).SerializeToString()


def frame(**changes: Any) -> Frame:
    fields: dict[str, Any] = {
        "source": "sat-1",
        "destination": "ground",
        "incarnation": 1,
        "frame_sequence": 1,
        "stream": STREAM_EVENTS,
        "epoch": 5,
        "items": [Item(sequence=1, payload=b"x")],
        **changes,
    }
    return Frame(**fields)


GOOD = sealed("sat-1", frame())


@pytest.mark.parametrize(
    ("payload", "refusal"),
    [
        (b"", Refusal.FORGED),
        (b"\xff" * 40, Refusal.MALFORMED),
        (bytes(300_000), Refusal.OVERSIZED),
        (GOOD[:-5], Refusal.MALFORMED),
        (GOOD[:30] + bytes([GOOD[30] ^ 1]) + GOOD[31:], Refusal.FORGED),
        (sealed("sat-1", frame(), SigningKey.generate()), Refusal.FORGED),
        (sealed("sat-2", frame()), Refusal.FORGED),
        (sealed("ground", frame(source="ground")), Refusal.FORGED),
        (sealed("sat-1", frame(destination="sat-2")), Refusal.MISADDRESSED),
        (sealed("sat-1", frame(epoch=0)), Refusal.MALFORMED),
        (sealed("sat-1", frame(stream=0)), Refusal.MALFORMED),
        (sealed("sat-1", frame(items=[Item(sequence=0, payload=b"x")])), Refusal.MALFORMED),
        (sealed("sat-1", frame(items=[Item(sequence=3)])), Refusal.MALFORMED),
        (sealed("sat-1", frame(items=[Item(sequence=3, skip={"last_sequence": 2})])), Refusal.MALFORMED),
        (sealed("sat-1", frame(low_sequence=1 << 63)), Refusal.MALFORMED),
    ],
)
def test_a_bad_frame_is_counted_reported_and_dropped(payload: bytes, refusal: Refusal) -> None:
    async def scenario(net: Net) -> None:
        ground = net.endpoint("ground")
        await ground.open()
        await ground.receive(payload)
        assert ground.counters.refused[refusal] == 1
        assert [kind for kind, _ in net.refused] == [refusal]
        assert net.received["ground"] == []
        await ground.receive(GOOD)
        assert net.received["ground"] == [b"x"]

    run(scenario)


def _numbered(count: int) -> list[bytes]:
    return [
        sealed("sat-1", frame(frame_sequence=number, items=[Item(sequence=number, payload=b"%d" % number)]))
        for number in range(1, count + 1)
    ]


def test_frames_that_come_together_share_a_transaction_and_keep_their_order() -> None:
    async def scenario(net: Net) -> None:
        ground = net.endpoint("ground")
        await ground.open()
        payloads = [*_numbered(5), b"garbage", _numbered(2)[1]]
        await ground.take(await ground.open_frames(payloads))
        assert net.received["ground"] == [b"1", b"2", b"3", b"4", b"5"]
        assert [kind for kind, _ in net.refused] == [Refusal.MALFORMED, Refusal.REPLAYED]
        (owed,) = ground.peer("sat-1").owed.values()
        assert (owed.cumulative_sequence, owed.stored_total) == (5, 5)

    run(scenario)


@pytest.mark.parametrize("error", [RejectItemError("it is bad"), ValueError("a bug")])
def test_of_frames_that_come_together_only_the_bad_one_is_refused(error: Exception) -> None:
    def handler(_connection: object, item: Delivered) -> None:
        if item.payload == b"3":
            raise error

    async def scenario(net: Net) -> None:
        ground = net.endpoint("ground", on_item=handler)
        await ground.open()
        await ground.take(await ground.open_frames(_numbered(5)))
        assert net.received["ground"] == [b"1", b"2", b"4", b"5"]
        (owed,) = ground.peer("sat-1").owed.values()
        is_rejected = isinstance(error, RejectItemError)
        assert owed.cumulative_sequence == (5 if is_rejected else 2)
        assert ground.counters.items_rejected == is_rejected

    run(scenario)


def test_a_frame_that_comes_again_changes_nothing() -> None:
    async def scenario(net: Net) -> None:
        ground = net.endpoint("ground")
        await ground.open()
        await ground.receive(GOOD)
        await ground.receive(GOOD)
        assert ground.counters.refused[Refusal.REPLAYED] == 1
        again = net.endpoint("ground", ground.database)  # after a restart only the store remembers
        await again.open()
        await again.receive(GOOD)
        assert net.received["ground"] == [b"x"]

    run(scenario)


def test_an_acknowledgement_of_what_was_never_sent_is_counted_and_ignored() -> None:
    async def scenario(net: Net) -> None:
        satellite = net.endpoint("sat-1")
        await satellite.open()
        await satellite.send("ground", STREAM_EVENTS, b"precious")
        lie = Acknowledgement(stream=STREAM_EVENTS, epoch=satellite.identity.epoch, cumulative_sequence=99)
        answer = Frame(source="ground", destination="sat-1", incarnation=1, frame_sequence=1, acknowledgements=[lie])
        await satellite.receive(sealed("ground", answer))
        assert satellite.counters.impossible_acknowledgements == 1
        assert (await satellite.totals()).waiting_items == 1

    run(scenario)


# Small parts.


def test_sequences_merge_into_ranges() -> None:
    seen = SequenceSet()
    assert seen.add(2, 3) == 2
    assert seen.add(7, 9) == 3
    assert seen.add(5, 5) == 1
    assert seen.add(3, 7) == 2
    assert (seen.floor, seen.ranges) == (0, [(2, 9)])
    assert seen.add(1, 1) == 1
    assert (seen.floor, seen.ranges) == (9, [])
    assert 9 in seen
    assert 10 not in seen
    seen.add(12, 14)
    again = SequenceSet.from_text(seen.floor, seen.to_text())
    assert (again.floor, again.ranges) == (9, [(12, 14)])
    assert seen.add(1, 20) == 8


def test_the_replay_window_knows_what_it_saw() -> None:
    window = ReplayWindow()
    assert window.accept(1, 5)
    assert not window.accept(1, 5)
    assert window.accept(1, 3)
    assert not window.accept(1, 3)
    assert window.accept(1, 5000)
    assert not window.accept(1, 5000 - ReplayWindow.SIZE)
    assert window.accept(2, 1)
    assert not window.accept(1, 6000)


def test_the_time_out_follows_the_round_trip() -> None:
    settings = DeliverySettings()
    trip = RoundTrip(settings)
    assert trip.timeout() == settings.retransmit_initial_seconds
    for _ in range(50):
        trip.measured(0.05)
    assert trip.timeout() == settings.retransmit_minimum_seconds
    for _ in range(50):
        trip.measured(8.0)
    assert 8.0 < trip.timeout() < 20.0
    for backoff in range(20):
        trip.timed_out(backoff)
    assert trip.timeout() == settings.retransmit_maximum_seconds


def test_a_time_out_is_doubled_once_for_all_that_was_on_the_way_and_until_a_round_trip_was_measured() -> None:
    settings = DeliverySettings()
    trip = RoundTrip(settings)
    trip.measured(0.05)
    trip.timed_out(0)
    trip.timed_out(0)
    assert trip.timeout() == 2 * settings.retransmit_minimum_seconds
    trip.timed_out(1)
    assert trip.timeout() == 4 * settings.retransmit_minimum_seconds
    trip.measured(0.05)
    assert trip.timeout() == settings.retransmit_minimum_seconds


def test_round_trips_that_outgrow_the_time_out_do_not_repeat_everything_for_ever() -> None:
    """Nothing is sent once while the time-out is too short, so nothing could be measured (Karn)."""
    sender = Sender(DeliverySettings())
    for number in range(1, 6):
        sender.load(STREAM_STATUS, [OutboxRow(number, number, 10, 0, 0.0, 0.0)])
        sender.sent(STREAM_STATUS, next(sender.due(0.0))[1], 0.0)
        sender.acknowledged(STREAM_STATUS, number, [], 0.05)
    now, trip, number = 100.0, 5.0, 6
    repeats = []
    for number in range(6, 26):
        sender.load(STREAM_STATUS, [OutboxRow(number, number, 10, 0, 0.0, 0.0)])
        before = sender.retransmissions
        sent = now
        while now < sent + trip:
            for stream, rows in sender.due(now):
                sender.sent(stream, rows, now)
            now = min(sender.next_due() or sent + trip, sent + trip)
        sender.acknowledged(STREAM_STATUS, number, [], now)
        repeats.append(sender.retransmissions - before)
    assert repeats[0] > 0
    assert sum(repeats[2:]) <= 1


def test_an_item_larger_than_the_window_still_leaves() -> None:
    sender = Sender(DeliverySettings(window_bytes=1000))
    rows = [OutboxRow(number, number, 5000, 0, 0.0, 0.0) for number in (1, 2)]
    sender.load(STREAM_BULK, rows)
    ((stream, first),) = [(stream, rows) for stream, rows in _send(sender, 0.0)]
    assert (stream, first) == (STREAM_BULK, rows[:1])
    sender.acknowledged(STREAM_BULK, 1, [], 1.0)
    assert [rows for _, rows in _send(sender, 1.0)] == [rows[1:]]


def _send(sender: Sender, now: float) -> list[tuple[int, list[OutboxRow]]]:
    sent = []
    for stream, rows in sender.due(now):
        sender.sent(stream, rows, now)
        sent.append((stream, rows))
    return sent


def test_who_sends_hears_that_an_item_left_once_whatever_is_repeated() -> None:
    async def scenario(net: Net) -> None:
        sent: list[Sent] = []
        contacts: list[str] = []
        ground = net.endpoint("ground", on_sent=sent.extend, on_contact=contacts.append)
        async with net.linked(ground):
            sequence = await ground.send("sat-1", STREAM_STATUS, b"one")
            await net.clock.sleep(600)
            assert sent == [Sent("sat-1", STREAM_STATUS, sequence, b"one")]  # nobody acknowledged it: it was repeated
            assert ground.peer("sat-1").sender.retransmissions > 0
            contacts.clear()
            async with net.linked(net.endpoint("sat-1")):
                await net.clock.sleep(60)
                assert net.received["sat-1"] == [b"one"]
            assert contacts == ["sat-1"] * len(contacts)
            assert contacts
        assert len(sent) == 1

    run(scenario)
