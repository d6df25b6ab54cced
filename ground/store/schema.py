"""Tables of the ground.

A new or changed table needs a migration in ``ground/store/migrations`` too; a test holds the two together.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    literal_column,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeEngine

from skyrack.jobs import JobState

__all__ = [
    "METADATA",
    "Name",
    "Serial",
    "attempts",
    "events",
    "job_history",
    "jobs",
    "number",
    "packages",
    "results",
    "revisions",
    "seconds",
    "telecommand_stages",
    "telecommands",
    "text",
]

METADATA: Final = MetaData()

Name: Final[TypeEngine[str]] = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
"""Text that is in the same order everywhere: by code point."""

Serial: Final[TypeEngine[int]] = BigInteger().with_variant(Integer, "sqlite")
"""A number that the database gives."""


def text(name: str) -> Column[Any]:
    """A text that may be empty."""
    return Column(name, Name, nullable=False, server_default="")


def number(name: str, default: str | None = None) -> Column[Any]:
    """A whole number."""
    return Column(name, BigInteger, nullable=False, server_default=default)


def seconds(name: str, default: str | None = None) -> Column[Any]:
    """A time or a duration in seconds, always there."""
    return Column(name, Double, nullable=False, server_default=default)


jobs: Final = Table(
    "jobs",
    METADATA,
    Column("job_id", Name, primary_key=True),
    Column("spec", LargeBinary, nullable=False),
    # Of the specification, what placing sorts and sums by.
    number("priority"),
    Column("power_watts", Double, nullable=False),
    seconds("deadline_seconds"),
    number("state"),
    number("is_open"),
    number("attempt", "0"),
    text("satellite"),
    seconds("lease_end_seconds", "0"),
    number("failures", "0"),
    number("rejections", "0"),
    seconds("not_before_seconds", "0"),
    Column("cancel_reason", Name),
    text("reason"),
    Column("status", LargeBinary, nullable=False),
    seconds("submitted_seconds"),
    Column("placed_seconds", Double),
    Column("started_seconds", Double),
    Column("finished_seconds", Double),
    seconds("changed_seconds"),
    number("revision"),
    # The submitter's SignedOrder, serialized; null where the ground signs for the submitter. And who signed.
    Column("signed_order", LargeBinary),
    text("signed_by"),
)
Index("jobs_revision", jobs.c.revision)
Index("jobs_submitted", jobs.c.submitted_seconds, jobs.c.job_id)
# Constants stand in these conditions literally: SQLite uses a partial index for no other.
IS_OPEN: Final = jobs.c.is_open == literal_column("1")
IS_WAITING: Final = IS_OPEN & (jobs.c.state == literal_column(str(int(JobState.SUBMITTED))))
IS_HELD: Final = IS_OPEN & (jobs.c.state != literal_column(str(int(JobState.SUBMITTED))))
Index(
    "jobs_waiting",
    jobs.c.priority.desc(),
    jobs.c.submitted_seconds,
    jobs.c.job_id,
    sqlite_where=IS_WAITING,
    postgresql_where=IS_WAITING,
)
Index("jobs_held", jobs.c.lease_end_seconds, sqlite_where=IS_HELD, postgresql_where=IS_HELD)

attempts: Final = Table(
    "attempts",
    METADATA,
    Column("job_id", Name, primary_key=True),
    Column("attempt", BigInteger, primary_key=True),
    Column("satellite", Name, nullable=False),
    seconds("placed_seconds"),
    seconds("lease_end_seconds"),
    number("state"),
    number("version", "0"),
)

job_history: Final = Table(
    "job_history",
    METADATA,
    Column("id", Serial, primary_key=True),
    Column("job_id", Name, nullable=False),
    number("attempt"),
    # Null for what the ground says itself.
    Column("version", BigInteger),
    number("state"),
    text("satellite"),
    text("node"),
    text("reason"),
    Column("progress_ratio", Double, nullable=False),
    seconds("mission_time_seconds"),
    seconds("received_seconds"),
    number("is_applied"),
    UniqueConstraint("job_id", "attempt", "version", name="job_history_once"),
)

packages: Final = Table(
    "packages",
    METADATA,
    Column("sha256", LargeBinary, primary_key=True),
    number("size_bytes"),
    number("block_bytes"),
    Column("block_hashes", LargeBinary, nullable=False),
    seconds("received_seconds"),
)

results: Final = Table(
    "results",
    METADATA,
    Column("job_id", Name, primary_key=True),
    number("attempt"),
    Column("sha256", LargeBinary, nullable=False),
    number("size_bytes"),
    Column("received_seconds", Double),
    text("problem"),
)
IS_EXPECTED: Final = results.c.received_seconds.is_(None) & (results.c.problem == literal_column("''"))
Index("results_expected", results.c.job_id, sqlite_where=IS_EXPECTED, postgresql_where=IS_EXPECTED)

telecommands: Final = Table(
    "telecommands",
    METADATA,
    Column("command_id", Name, primary_key=True),
    Column("satellite", Name, nullable=False),
    Column("service", Name, nullable=False),
    Column("method", Name, nullable=False),
    Column("request", LargeBinary, nullable=False),
    text("submitter"),
    seconds("created_seconds"),
    seconds("not_after_seconds"),
    number("stage"),
    number("is_open"),
    text("reason"),
    Column("response", LargeBinary, nullable=False),
    number("revision"),
    # The SignedOrder, serialized, and who stands for it, for people.
    Column("signed_order", LargeBinary),
    text("signed_by"),
)
IS_UNDER_WAY: Final = telecommands.c.is_open == literal_column("1")
Index("telecommands_open", telecommands.c.not_after_seconds, sqlite_where=IS_UNDER_WAY, postgresql_where=IS_UNDER_WAY)
Index("telecommands_created", telecommands.c.created_seconds, telecommands.c.command_id)

telecommand_stages: Final = Table(
    "telecommand_stages",
    METADATA,
    Column("command_id", Name, primary_key=True),
    Column("stage", BigInteger, primary_key=True),
    text("reason"),
    seconds("mission_time_seconds"),
)

events: Final = Table(
    "events",
    METADATA,
    Column("id", Serial, primary_key=True),
    Column("satellite", Name, nullable=False),
    Column("source", Name, nullable=False),
    Column("name", Name, nullable=False),
    number("severity"),
    text("text"),
    text("fields"),
    seconds("mission_time_seconds"),
    seconds("received_seconds"),
    # An id is never used twice: who asks for what came after one must miss nothing.
    sqlite_autoincrement=True,
)

revisions: Final = Table(
    "revisions",
    METADATA,
    Column("one", Integer, primary_key=True, autoincrement=False),
    number("revision"),
    CheckConstraint("one = 1", name="revisions_one"),
)
