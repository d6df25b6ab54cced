"""The proof that nothing was lost: streams that go on while their ledgers are read, and what is named when one lies."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ground.ledger import Ledgers, judge
from skyrack.delivery import ReceivedLedger, SentLedger


@dataclass
class Stream:
    """One stream between two stores, and what is on its way."""

    source: str
    destination: str
    accepted: int = 0
    given_up: int = 0
    stored: int = 0
    skipped: int = 0
    acknowledged: int = 0

    def step(self, rng: random.Random) -> None:
        """Accept, deliver, skip or acknowledge something."""
        move = rng.choice(["accept", "deliver", "skip", "acknowledge"])
        free = self.accepted - self.stored - self.skipped
        if move == "accept":
            self.accepted += rng.randint(1, 5)
        elif move == "deliver" and free:
            self.stored += rng.randint(1, free)
        elif move == "skip" and free:
            count = rng.randint(1, free)
            self.given_up += count
            self.skipped += count
        elif move == "acknowledge":
            self.acknowledged = self.stored + self.skipped

    def sent(self) -> SentLedger:
        waiting = self.accepted - self.acknowledged
        names = self.source, self.destination, "status"
        return SentLedger(*names, 7, self.accepted, waiting, self.given_up, 0, self.stored, self.skipped, 0)

    def received(self) -> ReceivedLedger:
        return ReceivedLedger(
            self.source, self.destination, "status", 7, self.stored, self.skipped, 0, duplicates=3, rejected=0, gaps=0
        )


def ledgers(out: Stream, back: Stream) -> Ledgers:
    return [out.sent()], [back.received()]


@given(st.integers(0, 1 << 32))
def test_what_is_on_the_way_is_never_lost_whenever_the_ledgers_are_read(seed: int) -> None:
    rng = random.Random(seed)
    up, down = Stream("ground", "sat-1"), Stream("sat-1", "ground")

    def fly() -> None:
        for _ in range(rng.randint(0, 20)):
            rng.choice([up, down]).step(rng)

    fly()
    before = ledgers(up, down)
    fly()
    board = ledgers(down, up)
    fly()
    after = ledgers(up, down)
    verdicts = judge(before, board, after, "ground", "sat-1")
    assert [(row.source, row.destination) for row in verdicts] == [("ground", "sat-1"), ("sat-1", "ground")]
    assert all(row.problems == () for row in verdicts)
    assert all(row.accepted == row.stored + row.skipped + row.waiting for row in verdicts)


@pytest.mark.parametrize(
    ("lie", "words"),
    [
        (lambda row: replace(row, stored=row.stored - 1), "the receiver accounts for 9 only"),
        (lambda row: replace(row, stored=row.stored + 1), "only 10 were accepted"),
        (lambda row: replace(row, stored=row.stored - 2, skipped=2), "was told to skip 2, the sender gave up 0"),
        (lambda row: replace(row, stored=row.stored - 3, forgotten=3), "lost what it knew of 3"),
    ],
)
def test_what_does_not_add_up_is_named(lie: Callable[[ReceivedLedger], ReceivedLedger], words: str) -> None:
    up = Stream("ground", "sat-1", accepted=10, stored=10, acknowledged=10)
    down = Stream("sat-1", "ground", accepted=5, stored=3, acknowledged=2)
    ground, board = ledgers(up, down), ledgers(down, up)
    first, second = judge(ground, (board[0], [lie(board[1][0])]), ground, "ground", "sat-1")
    assert [words in problem for problem in first.problems] == [True]
    assert second.problems == ()
    assert (second.waiting, second.stored) == (2, 3)


def test_a_receiver_that_knows_nothing_of_what_it_acknowledged_has_lost_it() -> None:
    up = Stream("ground", "sat-1", accepted=4, stored=4, acknowledged=4)
    ground: Ledgers = ([up.sent()], [])
    (verdict,) = judge(ground, ([], []), ground, "ground", "sat-1")
    assert verdict.problems == ("4 were acknowledged, but the receiver accounts for 0 only",)
