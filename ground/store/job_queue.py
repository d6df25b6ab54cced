"""What there is to do for jobs: the queue in its order, leases and deadlines that are over, what satellites hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam, case, func, or_, select, tuple_

from ground.connection import Connection
from ground.store.jobs import SELECT_ROW, JobRow, Place, row_of
from ground.store.schema import IS_EXPECTED, IS_HELD, IS_UNDER_WAY, IS_WAITING, jobs, results, telecommands
from skyrack.jobs import JobState

__all__ = ["Commitment", "Place", "Todo", "commitments", "due", "open_by_satellite", "todo", "waiting"]


@dataclass(frozen=True, slots=True)
class Todo:
    """What there is to do."""

    waiting_jobs: int
    first_lease_end_seconds: float | None
    first_telecommand_end_seconds: float | None
    expected_results: int

    def is_due(self, now: float, margin_seconds: float) -> bool:
        """Whether a lease or a telecommand may be over."""
        ends = (self.first_lease_end_seconds, self.first_telecommand_end_seconds)
        return any(end is not None and now > end + margin_seconds for end in ends)


@dataclass(frozen=True, slots=True)
class Commitment:
    """What a satellite has been given."""

    watts: float = 0.0
    jobs: int = 0
    unstarted: int = 0


_OVERDUE: Final = SELECT_ROW.where(IS_HELD, jobs.c.lease_end_seconds < bindparam("lease_end"))
_TOO_LATE: Final = SELECT_ROW.where(
    IS_WAITING, jobs.c.deadline_seconds > 0, jobs.c.deadline_seconds <= bindparam("now")
)
_QUEUE: Final = (jobs.c.priority.desc(), jobs.c.submitted_seconds, jobs.c.job_id)
_RIPE: Final = (
    SELECT_ROW.where(IS_WAITING, jobs.c.not_before_seconds <= bindparam("now"))
    .order_by(*_QUEUE)
    .limit(bindparam("limit"))
)
_AFTER: Final = or_(
    jobs.c.priority < bindparam("priority"),
    (jobs.c.priority == bindparam("priority"))
    & (tuple_(jobs.c.submitted_seconds, jobs.c.job_id) > tuple_(bindparam("submitted"), bindparam("job_id"))),
)
_RIPE_AFTER: Final = _RIPE.where(_AFTER)
_COMMITMENTS: Final = (
    select(
        jobs.c.satellite,
        func.sum(jobs.c.power_watts),
        func.count(),
        # What runs, a satellite's count of free nodes knows already.
        func.sum(case((jobs.c.state == int(JobState.RUNNING), 0), else_=1)),
    )
    .where(IS_HELD)
    .group_by(jobs.c.satellite)
)
_NOT_AFTER: Final = telecommands.c.not_after_seconds
_TODO: Final = select(
    select(func.count()).select_from(jobs).where(IS_WAITING).scalar_subquery(),
    select(func.min(jobs.c.lease_end_seconds)).where(IS_HELD).scalar_subquery(),
    select(func.min(_NOT_AFTER)).where(IS_UNDER_WAY, _NOT_AFTER > 0).scalar_subquery(),
    select(func.count()).select_from(results).where(IS_EXPECTED).scalar_subquery(),
)


def due(connection: Connection, now: float, lease_margin_seconds: float) -> list[JobRow]:
    """Jobs whose lease and its margin are over, and waiting ones whose deadline has passed."""
    overdue = connection.execute(_OVERDUE, {"lease_end": now - lease_margin_seconds}).fetchall()
    late = connection.execute(_TOO_LATE, {"now": now}).fetchall()
    found = [row_of(row) for row in (*overdue, *late)]
    found.sort(key=lambda row: (row.submitted_seconds, row.job_id))
    return found


def waiting(connection: Connection, now: float, limit: int, after: Place | None = None) -> list[JobRow]:
    """The first jobs of the queue whose time has come: by priority, then age; or those behind a place in it."""
    if after is None:
        rows = connection.execute(_RIPE, {"now": now, "limit": limit})
    else:
        priority, submitted, job_id = after
        place = {"priority": priority, "submitted": submitted, "job_id": job_id}
        rows = connection.execute(_RIPE_AFTER, {"now": now, "limit": limit, **place})
    return [row_of(row) for row in rows]


def commitments(connection: Connection) -> dict[str, Commitment]:
    """What each satellite has been given and has not ended, by name."""
    return {
        satellite: Commitment(watts, count, unstarted)
        for satellite, watts, count, unstarted in (
            (row[0], float(row[1]), int(row[2]), int(row[3])) for row in connection.execute(_COMMITMENTS)
        )
    }


def open_by_satellite(connection: Connection) -> dict[str, int]:
    """Number of jobs that satellites hold, by name."""
    counts = select(jobs.c.satellite, func.count()).where(IS_HELD).group_by(jobs.c.satellite)
    return {row[0]: row[1] for row in connection.execute(counts)}


def todo(connection: Connection) -> Todo:
    """What there is to do, at a glance."""
    return Todo(*connection.execute(_TODO).one())
