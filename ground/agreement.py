"""Keeps ground and satellites of one mind about open jobs: asks, compares, and writes down what must go up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ground import lifecycle
from ground.dispatch import Enqueue
from ground.lifecycle import Note, note
from ground.orders import Orders, payload_of
from ground.placement import PlacementSettings
from ground.reconcile import Action, Board, Record, decide, renewed_lease
from ground.store import job_queue, jobs
from ground.store.held import held_by
from skyrack.database import Storage
from skyrack.delivery import Delivered, OutboxFullError, received_all_before
from skyrack.jobs import JobState
from skyrack.v1 import backhaul_pb2, common_pb2, job_pb2
from skyrack.v1.backhaul_pb2 import OpenJob, OpenJobs, Payload
from skyrack.v1.options_pb2 import STREAM_STATUS

__all__ = ["Agreement", "Settled"]

_MOST_JOBS: Final = 1000
"""Jobs in one question: it must fit one item. Those whose leases end first are asked about first."""
_PERIOD_SECONDS: Final = 600.0
"""Mission time between questions to a satellite that holds jobs and is heard."""
_AGAIN_SECONDS: Final = 60.0
"""Least mission time between two questions to a satellite whose link comes and goes."""
_LIFETIME_SECONDS: Final = 1800.0
"""Mission time after which a question is not worth being heard."""


@dataclass(slots=True)
class Settled:
    """What comparing one answer came to."""

    actions: dict[Action, int] = field(default_factory=dict)
    tell_again: set[tuple[str, int]] = field(default_factory=set)

    def count(self, action: Action) -> None:
        """Note that something was done."""
        self.actions[action] = self.actions.get(action, 0) + 1


class Agreement:
    """Who must be asked, and which answers wait, is kept in memory: a ground that starts anew asks everybody."""

    def __init__(self, database: Storage[Any], orders: Orders, settings: PlacementSettings, enqueue: Enqueue) -> None:
        self._database = database
        self._orders = orders
        self._settings = settings
        self._enqueue = enqueue
        self._due: set[str] = set()
        self._asked: dict[str, float] = {}
        self._answers: dict[str, tuple[Delivered, OpenJobs]] = {}
        self._tell_again: dict[str, set[tuple[str, int]]] = {}
        self._actions: Mapping[Action, Callable[..., Action]] = {
            Action.NOTHING: lambda *_: Action.NOTHING,
            Action.FORGOTTEN: self._forget,
            Action.CANCEL: self._cancel,
            Action.TELL_AGAIN: lambda *_: Action.TELL_AGAIN,
            Action.RENEW: self._renew,
        }

    def contact(self, satellite: str) -> None:
        """A way to the satellite has come up: what was said before may have been lost with a store."""
        self._due.add(satellite)

    def answered(self, item: Delivered, answer: OpenJobs) -> None:
        """An answer was committed; the newest counts."""
        self._answers[item.source] = item, answer

    async def step(self, now: float, heard: Callable[[str], float | None]) -> tuple[set[str], bool]:
        """Ask who is to be asked, and settle what was answered.

        ``heard`` tells when a satellite was last heard. Returns the satellites for which something was put into the
        outbox, and whether jobs changed.

        Raises:
            StorageError: the database failed; it will be tried again.
        """
        told: set[str] = set()
        is_changed = False
        for satellite, (item, answer) in list(self._answers.items()):
            settled = await self._database.write(lambda connection: self._settle(connection, item, answer, now))  # noqa: B023
            if settled is None:
                continue
            if self._answers.get(satellite, (None,))[0] is item:  # else a newer one came meanwhile
                del self._answers[satellite]
            told.add(satellite)
            is_changed |= any(action is not Action.NOTHING for action in settled.actions)
            if settled.tell_again:
                self._tell_again[satellite] = settled.tell_again
                self._due.add(satellite)
                self._asked.pop(satellite, None)
        for satellite in await self._to_ask(now, heard):
            again = self._tell_again.pop(satellite, set())
            await self._database.write(lambda connection: self._ask(connection, satellite, again, now))  # noqa: B023
            self._due.discard(satellite)
            self._asked[satellite] = now
            told.add(satellite)
        return told, is_changed

    async def _to_ask(self, now: float, heard: Callable[[str], float | None]) -> list[str]:
        since = {name: now - self._asked.get(name, -1e18) for name in self._due}
        due = {name for name, seconds in since.items() if seconds >= _AGAIN_SECONDS}
        if self._is_round_due(now):
            holding = await self._database.read(job_queue.open_by_satellite)
            for name in holding:
                last = heard(name)
                is_heard = last is not None and now - last <= self._settings.reachable_seconds
                if is_heard and now - self._asked.get(name, -1e18) >= _PERIOD_SECONDS:
                    due.add(name)
        return sorted(due)

    def _is_round_due(self, now: float) -> bool:
        """A look at all that hold jobs costs a query: not at every step."""
        if now - self._asked.get("", -1e18) < _AGAIN_SECONDS:
            return False
        self._asked[""] = now
        return True

    def _ask(self, connection: Any, satellite: str, again: set[tuple[str, int]], now: float) -> None:
        held = held_by(connection, satellite, _MOST_JOBS + 1)
        question = OpenJobs(
            jobs=[
                OpenJob(job_id=job_id, attempt=attempt, lease_end_seconds=end, tell_again=(job_id, attempt) in again)
                for job_id, attempt, end in held[:_MOST_JOBS]
            ],
            mission_time_seconds=now,
            complete=len(held) <= _MOST_JOBS,
        )
        self._send(connection, satellite, Payload(open_jobs=question).SerializeToString(), now + _LIFETIME_SECONDS)

    def _settle(self, connection: Any, item: Delivered, answer: OpenJobs, now: float) -> Settled | None:
        """Do what the table says; ``None`` while something that was said before is still on the way."""
        if not received_all_before(connection, item):
            return None
        settled = Settled()
        for entry in answer.jobs:
            board = Board(entry.attempt, _state(entry), entry.version, entry.lease_end_seconds, entry.telling)
            row = jobs.job_row(connection, entry.job_id)
            action = decide(_record(connection, row, item.source, board), board)
            settled.count(self._actions[action](connection, item.source, row, board, entry, now))
            if action is Action.TELL_AGAIN:
                settled.tell_again.add((entry.job_id, entry.attempt))
        return settled

    def _forget(
        self, connection: Any, satellite: str, row: jobs.JobRow, board: Board, entry: OpenJob, now: float
    ) -> Action:
        knows = "never heard of it, or forgot it" if board.state is None else f"says that it is {board.state.name}"
        lifecycle.attempt_lost(connection, row, f"{satellite} {knows}", now, self._settings)
        # Should anything be left of it there, it ends.
        self._stop(connection, satellite, entry, "the attempt was given up", now)
        return Action.FORGOTTEN

    def _cancel(
        self, connection: Any, satellite: str, row: jobs.JobRow | None, board: Board, entry: OpenJob, now: float
    ) -> Action:
        if row is None:
            reason = "the ground has no record of it"
        elif row.attempt == board.attempt and row.cancel_reason is not None:
            reason = row.cancel_reason
        else:
            reason = f"the ground has it as {row.state.name}, attempt {row.attempt}"
        self._stop(connection, satellite, entry, reason, now)
        text = f"job {entry.job_id}, attempt {entry.attempt}, is held on board: {reason}; it was told to stop"
        note(connection, Note("job_stopped_on_board", common_pb2.SEVERITY_WARNING, text, satellite), now)
        return Action.CANCEL

    def _stop(self, connection: Any, satellite: str, entry: OpenJob, reason: str, now: float) -> None:
        order = job_pb2.JobCancel(job_id=entry.job_id, attempt=entry.attempt, reason=reason)
        end = max(now + _LIFETIME_SECONDS, entry.lease_end_seconds)
        verified = self._orders.cancel(satellite, order, not_after_seconds=end)
        self._send(connection, satellite, payload_of(verified.data), end)

    def _renew(
        self, connection: Any, satellite: str, row: jobs.JobRow, board: Board, entry: OpenJob, now: float
    ) -> Action:
        end = renewed_lease(board, row.lease_end_seconds, row.spec.deadline_seconds, now, self._settings)
        if end is None:
            return Action.NOTHING
        # The record first: whatever becomes of the renewal, the ground waits at least as long as the satellite.
        jobs.update(connection, row.job_id, now, lease_end_seconds=max(end, row.lease_end_seconds))
        lease = backhaul_pb2.JobLease(job_id=entry.job_id, attempt=entry.attempt, lease_end_seconds=end)
        payload = Payload(job_lease=lease).SerializeToString()
        self._send(connection, satellite, payload, board.lease_end_seconds)
        return Action.RENEW

    def _send(self, connection: Any, satellite: str, payload: bytes, not_after_seconds: float) -> None:
        """A full outbox holds up nothing: what is not said now is said in the next round."""
        connection.execute("SAVEPOINT agreement")
        try:
            self._enqueue(connection, satellite, STREAM_STATUS, payload, not_after_seconds)
        except OutboxFullError:
            connection.execute("ROLLBACK TO agreement")
        connection.execute("RELEASE agreement")


def _record(connection: Any, row: jobs.JobRow | None, satellite: str, board: Board) -> Record | None:
    if row is None:
        return None
    attempt = jobs.attempt(connection, row.job_id, board.attempt)
    is_held = (
        attempt is not None
        and attempt.satellite == satellite
        and row.attempt == board.attempt
        and not row.state.final
        and row.state is not JobState.SUBMITTED
        and not attempt.state.final
    )
    return Record(row.attempt, attempt.version if attempt else 0, is_held, row.cancel_reason is not None)


def _state(entry: OpenJob) -> JobState | None:
    try:
        return JobState(entry.state) if entry.state else None
    except ValueError:  # a newer satellite knows more states; it holds the job
        return JobState.ACCEPTED
