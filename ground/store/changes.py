"""What changed since somebody last looked: jobs and telecommands by revision, events by id."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from ground.records import EventRecord, JobRecord, TelecommandRecord
from ground.store import events, jobs, telecommands

__all__ = ["changed_jobs", "changed_telecommands", "later_events", "newest_event", "newest_revision"]

T = TypeVar("T")


def newest_revision(connection: Any) -> int:
    """The revision of the last change of any job or telecommand."""
    row = connection.execute("SELECT revision FROM revisions", {}).fetchone()
    return int(row[0]) if row else 0


def newest_event(connection: Any) -> int:
    """Id of the last event; 0 before there is one."""
    (found,) = connection.execute("SELECT max(id) FROM events", {}).fetchone()
    return int(found or 0)


def changed_jobs(connection: Any, after: int, limit: int, satellite: str = "") -> list[tuple[int, JobRecord]]:
    """Jobs that changed after a revision, as they are now, in the order of their last changes."""
    sql = (
        "SELECT job_id, revision FROM jobs WHERE revision > :after AND (:satellite = '' OR satellite = :satellite) "
        "ORDER BY revision LIMIT :limit"
    )
    return _loaded(connection, sql, jobs.load, after, limit, satellite)


def changed_telecommands(
    connection: Any, after: int, limit: int, satellite: str = ""
) -> list[tuple[int, TelecommandRecord]]:
    """The same of telecommands."""
    sql = (
        "SELECT command_id, revision FROM telecommands WHERE revision > :after "
        "AND (:satellite = '' OR satellite = :satellite) ORDER BY revision LIMIT :limit"
    )
    return _loaded(connection, sql, telecommands.load, after, limit, satellite)


def later_events(
    connection: Any, after: int, limit: int, satellite: str = "", severity: int = 0
) -> list[tuple[int, EventRecord]]:
    """Events after an id."""
    found = events.list_events(connection, after_id=after, limit=limit, satellite=satellite, severity=severity)
    return [(event.id, event) for event in found]


def _loaded(
    connection: Any, sql: str, load: Callable[[Any, str], T | None], after: int, limit: int, satellite: str
) -> list[tuple[int, T]]:
    rows = connection.execute(sql, {"after": after, "limit": limit, "satellite": satellite}).fetchall()
    found = [(int(revision), load(connection, name)) for name, revision in rows]
    return [(revision, record) for revision, record in found if record is not None]
