"""The queue of jobs that wait on the ground, looked at a part at a time, so that a long one costs no more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ground.connection import Connection
from ground.store import job_queue, jobs

__all__ = ["Look"]

_PAGE: Final = 100
_HEAD: Final = 100
"""Jobs that cannot be placed now before the look goes on where the last one ended."""
_BEYOND: Final = 100
"""Such jobs after that, before the look ends."""


class Look:
    """One look at the queue: its head first, by priority and age, then on from where the last look ended.

    So a job that would fit is found behind any number that do not, after a few looks.
    """

    def __init__(self, resume: job_queue.Place | None) -> None:
        self.resume = resume
        """Where the next look goes on behind its head; ``None`` when this one saw the end."""
        self._failures = 0

    def cannot_place(self) -> None:
        """The row that came last stays in the queue."""
        self._failures += 1

    def rows(self, connection: Connection, now: float) -> Iterator[jobs.JobRow]:
        """The jobs to look at, in order; what is placed meanwhile leaves the queue."""
        earlier, self.resume = self.resume, None
        place: job_queue.Place | None = None
        limit = _HEAD
        while page := job_queue.waiting(connection, now, _PAGE, place):
            for row in page:
                yield row
                place = row.place
                if self._failures >= limit:
                    break
            else:
                continue
            if limit > _HEAD:
                self.resume = place
                return
            limit = _HEAD + _BEYOND
            if earlier is not None and place is not None and _order(earlier) > _order(place):
                place = earlier


def _order(place: job_queue.Place) -> job_queue.Place:
    return -place[0], place[1], place[2]
