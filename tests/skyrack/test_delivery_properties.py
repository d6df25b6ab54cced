"""Whatever the network and the processes do: each accepted item is delivered exactly once, or recorded as given up."""

from __future__ import annotations

import sqlite3
from collections import Counter
from dataclasses import replace

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from skyrack.delivery import Delivered, DeliverySettings, reconcile, store
from skyrack.delivery.intake import acknowledgements_for, take
from skyrack.delivery.ledger import received_ledgers, sent_ledgers
from skyrack.delivery.sender import Sender
from skyrack.delivery.settings import POLICIES
from skyrack.v1.backhaul_pb2 import Frame, Item, Skip
from skyrack.v1.options_pb2 import STREAM_HOUSEKEEPING, STREAM_STATUS

_TIGHT = replace(POLICIES[STREAM_HOUSEKEEPING], maximum_items=8)
SETTINGS = DeliverySettings(
    window_bytes=400,
    window_items=5,
    frame_bytes=200,
    frame_items=3,
    policies={STREAM_STATUS: POLICIES[STREAM_STATUS], STREAM_HOUSEKEEPING: _TIGHT},
)
EPOCH = 1000


def database() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(store.SCHEMA[0])
    return connection


class Delivery(RuleBasedStateMachine):
    """A sender, a receiver, and a network that loses, repeats and reorders frames; both sides die at any moment."""

    @initialize()
    def begin(self) -> None:
        self.now = 1.0
        self.here, self.there = database(), database()
        self.there.execute("CREATE TABLE inbox (payload BLOB)")
        store.begin(self.here, EPOCH / 1000)
        store.begin(self.there, EPOCH / 1000)
        self.sender = Sender(SETTINGS)
        self.down: list[Frame] = []
        self.up: list[Frame] = []
        self.accepted: list[bytes] = []

    @rule(
        stream=st.sampled_from([STREAM_STATUS, STREAM_HOUSEKEEPING]),
        size=st.integers(0, 150),
        lifetime=st.sampled_from([0.0, 0.0, 5.0]),
    )
    def send(self, stream: int, size: int, lifetime: float) -> None:
        payload = b"%d" % len(self.accepted) + bytes(size)
        self.here.execute("BEGIN")
        store.enqueue(
            self.here,
            "ground",
            stream,
            payload,
            now=self.now,
            not_after=self.now + lifetime if lifetime else 0.0,
            policy=SETTINGS.policies[stream],
        )
        self.here.execute("COMMIT")
        self.accepted.append(payload)
        self.sender.outbox_changed(stream)

    @rule()
    def transmit(self) -> None:
        for stream in self.sender.take_stale():
            self.sender.load(stream, store.head(self.here, "ground", stream, SETTINGS.window_items))
        for stream, rows in self.sender.due(self.now):
            payloads = store.payloads(self.here, "ground", stream, [row.sequence for row in rows])
            frame = Frame(source="sat", destination="ground", stream=stream, epoch=EPOCH)  # type: ignore[arg-type]
            frame.low_sequence = self.sender.low_sequence(stream)
            self.sender.sent(stream, rows, self.now)
            for row in rows:
                item = Item(sequence=row.sequence)
                if row.skip_reason:
                    item.skip.CopyFrom(Skip(last_sequence=row.last_sequence, reason=row.skip_reason))  # type: ignore[arg-type]
                elif row.sequence in payloads:
                    item.payload = payloads[row.sequence]
                else:
                    self.sender.vanished(stream, row)
                    continue
                frame.items.append(item)
            self.down.append(frame)

    @rule(choice=st.integers(0), keep=st.booleans(), die=st.booleans())
    def arrive(self, choice: int, keep: bool, die: bool) -> None:
        """A frame arrives, once or again; the receiver may die before it commits."""
        if not self.down:
            return
        index = choice % len(self.down)
        frame = self.down[index]
        if not keep:
            del self.down[index]
        self.there.execute("BEGIN")
        intake = take(self.there, frame, "key", EPOCH, self._store)
        if die:
            self.there.execute("ROLLBACK")
            return
        self.there.execute("COMMIT")
        if intake.acknowledgement is not None:
            answer = Frame(source="ground", destination="sat")
            answer.acknowledgements.append(intake.acknowledgement)
            self.up.append(answer)

    @staticmethod
    def _store(connection: sqlite3.Connection, item: Delivered) -> None:
        connection.execute("INSERT INTO inbox VALUES (?)", (item.payload,))

    @rule(choice=st.integers(0), keep=st.booleans(), die=st.booleans())
    def acknowledge(self, choice: int, keep: bool, die: bool) -> None:
        """An acknowledgement arrives, once or again; the sender may die before or after it commits."""
        if not self.up:
            return
        index = choice % len(self.up)
        frame = self.up[index]
        if not keep:
            del self.up[index]
        self.here.execute("BEGIN")
        intake = take(self.here, frame, "key", EPOCH, self._store)
        assert not intake.impossible
        self.here.execute("ROLLBACK" if die else "COMMIT")
        if die:
            self.restart_sender()
            return
        for acknowledgement in intake.acknowledged:
            beyond = [(run.first, run.last) for run in acknowledgement.beyond]
            self.sender.acknowledged(acknowledgement.stream, acknowledgement.cumulative_sequence, beyond, self.now)

    @rule(choice=st.integers(0))
    def lose(self, choice: int) -> None:
        if self.down:
            del self.down[choice % len(self.down)]

    @rule(seconds=st.floats(0.1, 100))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def expire(self) -> None:
        self.here.execute("BEGIN")
        for _, stream in store.expire(self.here, self.now):
            self.sender.outbox_changed(stream)
        self.here.execute("COMMIT")

    @rule()
    def restart_sender(self) -> None:
        self.sender = Sender(SETTINGS)
        for _, stream in store.waiting_streams(self.here):
            self.sender.outbox_changed(stream)

    @rule()
    def reconnect(self) -> None:
        self.sender.connected(self.now)
        answer = Frame(source="ground", destination="sat")
        answer.acknowledgements.extend(acknowledgements_for(self.there, "sat"))
        self.up.append(answer)

    @invariant()
    def nothing_is_delivered_twice(self) -> None:
        if hasattr(self, "there"):
            counts = Counter(payload for (payload,) in self.there.execute("SELECT payload FROM inbox"))
            assert all(count == 1 for count in counts.values())
            assert set(counts) <= set(self.accepted)

    @invariant()
    def the_window_bounds_what_is_on_the_way(self) -> None:
        if hasattr(self, "sender"):
            assert self.sender.in_flight_bytes <= SETTINGS.window_bytes + 200

    @invariant()
    def the_ledgers_never_contradict_each_other(self) -> None:
        if hasattr(self, "here"):
            assert reconcile(sent_ledgers(self.here, "sat", EPOCH), received_ledgers(self.there, "ground")) == []

    def teardown(self) -> None:
        """The network behaves from now on: everything must settle."""
        if not hasattr(self, "here"):
            return
        for _ in range(400):
            self.now += 61.0
            self.transmit()
            while self.down:
                self.arrive(0, keep=False, die=False)
            while self.up:
                self.acknowledge(0, keep=False, die=False)
            if not store.waiting_streams(self.here):
                break
        sent, received = sent_ledgers(self.here, "sat", EPOCH), received_ledgers(self.there, "ground")
        assert all(row.waiting == 0 for row in sent), sent
        assert reconcile(sent, received) == []
        stored = [payload for (payload,) in self.there.execute("SELECT payload FROM inbox")]
        assert sum(row.stored for row in received) == len(stored)
        assert sum(row.skipped for row in received) == len(self.accepted) - len(stored)
        assert sum(row.delivered for row in sent) == len(stored)
        assert all(row.gaps == 0 and row.forgotten == 0 for row in received)
        totals = store.totals(self.here)
        assert (totals.waiting_items, totals.waiting_bytes) == (0, 0)


TestDelivery = Delivery.TestCase
TestDelivery.settings = settings(
    max_examples=60, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
)
