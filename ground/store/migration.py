"""Bringing a database's tables to the form that this software knows, by the migrations beside this module."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import sqlalchemy
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory

from ground.connection import Connection
from ground.database import Database, StorageError
from ground.store import revisions
from ground.store.tables import METADATA

__all__ = ["Status", "is_ours", "prepare", "sql", "status", "upgrade"]

_LOCATION: Final = Path(__file__).with_name("migrations")


@dataclass(frozen=True, slots=True)
class Status:
    """How far a database's tables are."""

    present: str
    """The revision of the database; empty before the first."""
    newest: str
    """The newest revision that this software knows."""
    missing: tuple[str, ...]
    """Revisions that are to be run, in order, each with its title."""


def is_ours(name: str | None, kind: str, *_: Any) -> bool:
    """Whether a table is one of the schema's; delivery looks after its own."""
    return kind != "table" or name in METADATA.tables


def _script() -> ScriptDirectory:
    return ScriptDirectory(str(_LOCATION))


def status(connection: Connection, name: str) -> Status:
    """Look, and change nothing.

    Raises:
        StorageError: this software cannot use the database called ``name``; the message says what to do.
    """
    script = _script()
    newest = script.get_current_head() or ""
    tables = set(sqlalchemy.inspect(connection.core).get_table_names())
    present = MigrationContext.configure(connection.core).get_current_revision() or ""
    if not present and "jobs" in tables:
        raise StorageError(
            f"{name}: its tables were made by a version of Skyrack before 0.2, which cannot be brought up to date; "
            "keep it for reading, and give this ground a new state_dir or database"
        )
    known = {revision.revision for revision in script.walk_revisions()}
    if present and present not in known:
        raise StorageError(
            f"{name}: its tables are of revision {present}, this software knows those up to {newest}; "
            "use the newer software that wrote it, or a copy from before"
        )
    lacking = list(script.iterate_revisions(newest, present or "base")) if present != newest else []
    missing = tuple(f"{revision.revision}: {revision.doc}" for revision in reversed(lacking))
    return Status(present, newest, missing)


def upgrade(connection: Connection, name: str) -> Status:
    """Run what is missing, in the caller's transaction; returns how it stood before. Raises as ``status``."""
    before = status(connection, name)
    if before.missing:
        _run(connection.core)
    return before


def sql(connection: Connection, name: str) -> str:
    """The statements that ``upgrade`` would run, as text."""
    before = status(connection, name)
    if not before.missing:
        return ""
    buffer = io.StringIO()
    _run(
        None,
        as_sql=True,
        starting_rev=before.present or None,
        dialect_name=connection.core.dialect.name,
        output_buffer=buffer,
    )
    return buffer.getvalue()


def _run(core: sqlalchemy.Connection | None, **options: Any) -> None:
    script = _script()
    destination = "head"

    def steps(revision: Any, _: Any) -> Any:
        return script._upgrade_revs(destination, revision)  # noqa: SLF001 - as alembic's own command does

    config = Config()
    config.set_main_option("script_location", str(_LOCATION))
    with EnvironmentContext(config, script, fn=steps, destination_rev=destination) as environment:
        environment.configure(connection=core, target_metadata=METADATA, **options)
        environment.run_migrations()


async def prepare(database: Database) -> Status:
    """Make the database ready for the ground: in memory its tables are made, elsewhere migrations run.

    Returns how it stood before.

    Raises:
        StorageError: the database cannot be used; the message says what to do.
    """
    if not database.is_kept:
        await database.write(lambda connection: METADATA.create_all(connection.core))
        before = Status("", "", ())
    else:
        before = await database.write(partial(upgrade, name=database.name))
    await database.write(revisions.begin)
    return before
