"""Which jobs a satellite holds, as far as the ground knows."""

from __future__ import annotations

from skyrack.database import Connection
from skyrack.jobs import JobState

__all__ = ["held_by"]


def held_by(connection: Connection, satellite: str, limit: int) -> list[tuple[str, int, float]]:
    """(job, attempt, lease end) of what was placed on a satellite and is not over; leases that end first come first."""
    rows = connection.execute(
        "SELECT job_id, attempt, lease_end_seconds FROM jobs WHERE is_open = 1 AND satellite = :satellite "
        "AND state <> :submitted ORDER BY lease_end_seconds, job_id LIMIT :limit",
        {"satellite": satellite, "submitted": int(JobState.SUBMITTED), "limit": limit},
    )
    return [(row[0], row[1], row[2]) for row in rows.fetchall()]
