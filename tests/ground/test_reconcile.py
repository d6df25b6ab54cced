"""What follows from comparing open jobs: the table, and a world in which any store may be lost at any moment."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ground.placement import PlacementSettings
from ground.reconcile import TABLE, Action, Board, BoardSays, GroundSays, Record, decide, renewed_lease
from skyrack.jobs import FINAL, JobState

S = JobState
SETTINGS = PlacementSettings()
NOW = 1e6


def test_each_pair_has_its_answer() -> None:
    assert set(TABLE) == set(itertools.product(GroundSays, BoardSays))


@pytest.mark.parametrize(
    ("record", "board", "action"),
    [
        (Record(1, 2, True), Board(1, None), Action.FORGOTTEN),
        (Record(1, 2, True), Board(1, None, telling=True), Action.NOTHING),
        (Record(1, 2, True), Board(1, S.RUNNING, 2), Action.RENEW),
        (Record(1, 2, True), Board(1, S.RUNNING, 4), Action.TELL_AGAIN),
        (Record(1, 2, True), Board(1, S.RUNNING, 4, telling=True), Action.RENEW),
        (Record(1, 2, True), Board(1, S.COMPLETED, 3), Action.TELL_AGAIN),
        (Record(1, 2, True), Board(1, S.COMPLETED, 3, telling=True), Action.NOTHING),
        (Record(1, 3, True), Board(1, S.COMPLETED, 3), Action.FORGOTTEN),
        (Record(1, 2, True, True), Board(1, None), Action.FORGOTTEN),
        (Record(1, 2, True, True), Board(1, S.RUNNING, 2), Action.CANCEL),
        (Record(1, 2, True, True), Board(1, S.CANCELLED, 3), Action.TELL_AGAIN),
        (Record(1, 2, False), Board(1, S.RUNNING, 2), Action.CANCEL),
        (Record(1, 3, False), Board(1, S.RUNNING, 2), Action.NOTHING),
        (Record(1, 3, True), Board(1, S.RUNNING, 2), Action.RENEW),
        (Record(2, 0, True), Board(1, S.RUNNING, 2), Action.CANCEL),
        (Record(2, 0, True), Board(1, None), Action.NOTHING),
        (None, Board(1, S.ACCEPTED, 1), Action.CANCEL),
        (None, Board(1, S.COMPLETED, 3), Action.NOTHING),
    ],
)
def test_what_is_done(record: Record | None, board: Board, action: Action) -> None:
    assert decide(record, board) is action


records = st.none() | st.builds(Record, st.integers(1, 3), st.integers(0, 5), st.booleans(), st.booleans())
boards = st.builds(
    Board,
    st.integers(1, 3),
    st.none() | st.sampled_from([state for state in S if state is not S.SUBMITTED]),
    st.integers(0, 5),
    st.floats(NOW - 100, NOW + 20_000),
    st.booleans(),
)


@given(records, boards)
def test_nothing_that_runs_is_given_up_and_nothing_that_is_wanted_is_stopped(
    record: Record | None, board: Board
) -> None:
    action = decide(record, board)
    is_open = board.state is not None and board.state not in FINAL
    is_wanted = record is not None and record.is_held and not record.is_cancelled and record.attempt == board.attempt
    if action is Action.FORGOTTEN:
        assert not is_open
        assert not board.telling
    if action is Action.CANCEL:
        assert is_open
        assert not is_wanted
    if action is Action.RENEW:
        assert is_open
        assert is_wanted
    if action is Action.TELL_AGAIN:
        assert record is not None
        assert board.version > record.version
    is_overtaken = record is not None and record.version > board.version
    if is_open and not is_wanted and not is_overtaken:
        assert action is Action.CANCEL
    if board.state is None and is_wanted and not board.telling:
        assert action is Action.FORGOTTEN


@given(boards, st.floats(NOW - 100, NOW + 20_000), st.sampled_from([0.0, NOW - 1, NOW + 3000, NOW + 50_000]))
def test_a_renewal_never_shortens_a_lease_nor_outlives_the_deadline(
    board: Board, recorded: float, deadline: float
) -> None:
    end = renewed_lease(board, recorded, deadline, NOW, SETTINGS)
    if end is None:
        return
    assert board.state in (S.RUNNING, S.PREEMPTED)
    assert end > board.lease_end_seconds > NOW
    assert not deadline or end <= deadline
    assert deadline or end >= recorded
    # Asked again after the satellite took it, nothing is left to do.
    renewed = Board(board.attempt, board.state, board.version, end)
    assert renewed_lease(renewed, max(end, recorded), deadline, NOW, SETTINGS) is None or deadline


def test_a_lease_is_renewed_while_the_job_runs_and_not_before_it_has_begun() -> None:
    late = NOW + 0.5 * SETTINGS.lease_seconds
    assert renewed_lease(Board(1, S.RUNNING, 2, late), late, 0, NOW, SETTINGS) == NOW + SETTINGS.lease_seconds
    assert renewed_lease(Board(1, S.PREEMPTED, 3, late), late, 0, NOW, SETTINGS) == NOW + SETTINGS.lease_seconds
    assert renewed_lease(Board(1, S.ACCEPTED, 1, late), late, 0, NOW, SETTINGS) is None
    fresh = NOW + 0.9 * SETTINGS.lease_seconds
    assert renewed_lease(Board(1, S.RUNNING, 2, fresh), fresh, 0, NOW, SETTINGS) is None
    # A renewal that the satellite never got is made good.
    assert renewed_lease(Board(1, S.RUNNING, 2, fresh), fresh + 50, 0, NOW, SETTINGS) == NOW + SETTINGS.lease_seconds
    assert renewed_lease(Board(1, S.RUNNING, 2, NOW - 1), late, 0, NOW, SETTINGS) is None


@dataclass
class Ship:
    """A satellite and its ground, one job, and messages that each side keeps until the other has them."""

    rng: random.Random
    ground: Record = field(default_factory=lambda: Record(1, 0, True))
    placements: list[int] = field(default_factory=lambda: [1])
    board: dict[int, tuple[JobState, int]] = field(default_factory=dict)
    statuses: list[tuple[int, JobState, int]] = field(default_factory=list)
    accepted: list[int] = field(default_factory=list)

    def fly(self) -> None:
        """One step of the life on board, or of a message on its way, by chance."""
        move = self.rng.choice(["place", "run", "status", "lose board", "lose statuses"])
        if move == "place" and self.placements:
            attempt = self.placements.pop(0)
            self.board = {old: found for old, found in self.board.items() if old > attempt or found[0] in FINAL}
            self.board[attempt] = (S.ACCEPTED, 1)
            self.statuses.append((attempt, S.ACCEPTED, 1))
        elif move == "run" and self.board:
            attempt = max(self.board)
            state, version = self.board[attempt]
            if state not in FINAL:
                step = S.RUNNING if state is S.ACCEPTED else S.COMPLETED
                self.board[attempt] = (step, version + 1)
                self.statuses.append((attempt, step, version + 1))
        elif move == "status" and self.statuses:
            self.hear(self.statuses.pop(0))
        elif move == "lose board" and self.rng.random() < 0.3:
            self.board.clear()
        elif move == "lose statuses" and self.rng.random() < 0.3:
            self.statuses.clear()

    def hear(self, status: tuple[int, JobState, int]) -> None:
        attempt, state, version = status
        if attempt != self.ground.attempt or not self.ground.is_held or version <= self.ground.version:
            return
        if state in FINAL:
            self.accepted.append(attempt)
        self.ground = Record(attempt, version, state not in FINAL)

    def agree(self) -> None:
        """A question behind all placements, an answer behind all statuses."""
        while self.placements:
            attempt = self.placements.pop(0)
            self.board.setdefault(attempt, (S.ACCEPTED, 1))
        asked = {self.ground.attempt} if self.ground.is_held else set()
        answer = [
            Board(attempt, *self.board.get(attempt, (None, 0)))
            for attempt in asked | {old for old, (state, _) in self.board.items() if state not in FINAL}
        ]
        while self.statuses:
            self.hear(self.statuses.pop(0))
        for entry in answer:
            action = decide(self.ground, entry)
            if action is Action.FORGOTTEN:
                self.ground = Record(self.ground.attempt + 1, 0, True)
                self.placements.append(self.ground.attempt)
            elif action is Action.CANCEL:
                self.board[entry.attempt] = (S.CANCELLED, entry.version + 1)
            elif action is Action.TELL_AGAIN:
                self.statuses.append((entry.attempt, *self.board[entry.attempt]))


@given(st.integers(0, 1 << 32), st.integers(0, 60))
def test_whatever_stores_are_lost_the_job_ends_once(seed: int, steps: int) -> None:
    rng = random.Random(seed)
    ship = Ship(rng)
    for _ in range(steps):
        ship.fly()
        if rng.random() < 0.2:
            ship.agree()
    for _ in range(20):  # and from now on all is well
        ship.agree()
        for attempt, (state, version) in list(ship.board.items()):
            if state not in FINAL and attempt == max(ship.board):
                ship.board[attempt] = (S.COMPLETED, version + 1)
                ship.statuses.append((attempt, S.COMPLETED, version + 1))
    assert len(ship.accepted) == 1
    assert not ship.ground.is_held
    assert all(state in FINAL for state, _ in ship.board.values())
