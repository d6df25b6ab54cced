"""The ground's tables come from migrations, and are what the code says they are."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from click.testing import CliRunner

from ground.commands import ground
from ground.database import Connection, Database, StorageError
from ground.store import migration
from ground.store.revisions import next_revision
from ground.store.tables import METADATA


def with_database(target: Path | str, *works: Callable[[Connection], Any]) -> list[Any]:
    """Prepare the database, then do some work in it."""

    async def scenario() -> list[Any]:
        database = Database(target)
        try:
            await migration.prepare(database)
            return [await database.write(work) for work in works]
        finally:
            await database.close()

    return asyncio.run(scenario())


def differences(connection: Connection) -> list[Any]:
    # Alembic reads SQLite's empty default back as another one.
    defaults = connection.core.dialect.name != "sqlite"
    options = {"include_name": migration.is_ours, "compare_type": True, "compare_server_default": defaults}
    context = MigrationContext.configure(connection.core, opts=options)
    return list(compare_metadata(context, METADATA))


def test_migrations_make_the_tables_that_the_code_declares(target: Path | str) -> None:
    assert with_database(target, differences) == [[]]


def test_a_database_is_prepared_once_and_keeps_what_it_has(target: Path | str) -> None:
    assert with_database(target, next_revision) == [1]
    assert with_database(target, next_revision) == [2]


def test_a_database_of_newer_software_is_refused(target: Path | str) -> None:
    with_database(target, lambda connection: connection.execute("UPDATE alembic_version SET version_num = '9999'"))
    newest = r"this software knows those up to \d{4}; use the newer software that wrote it"
    with pytest.raises(StorageError, match=f"its tables are of revision 9999, {newest}"):
        with_database(target)


def test_a_database_of_software_before_migrations_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ground.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE jobs (job_id TEXT PRIMARY KEY)")
    connection.close()
    with pytest.raises(StorageError, match=r"ground\.db: its tables were made by .* give this ground a new state_dir"):
        with_database(path)


def test_a_migration_that_fails_leaves_nothing(target: Path | str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(connection: Connection) -> None:
        migration.upgrade(connection, "it")
        raise RuntimeError("the power fails")

    async def scenario() -> None:
        database = Database(target)
        with pytest.raises(RuntimeError):
            await database.write(broken)
        found = await database.read(partial(migration.status, name=database.name))
        assert found.present == ""
        assert found.missing[0].startswith("0001: ")
        await database.close()

    asyncio.run(scenario())
    assert with_database(target, differences) == [[]]


def migrate(config: Path, *options: str) -> tuple[int, str]:
    done = CliRunner().invoke(ground, ["migrate", "--config", str(config), *options])
    return done.exit_code, done.output


def test_a_person_looks_first_and_then_migrates(target: Path | str, tmp_path: Path) -> None:
    config = tmp_path / "ground.toml"
    state = tmp_path if isinstance(target, Path) else tmp_path / "state"
    database = "" if isinstance(target, Path) else f'database = "{target}"\n'
    config.write_text(f'instance = "test"\nstate_dir = "{state}"\nconstellation = "demo"\n{database}')
    if isinstance(target, Path):
        status, output = migrate(config, "--status")
        assert (status, "there is no database yet" in output) == (1, True)
        sqlite3.connect(target).close()
    status, output = migrate(config, "--status")
    assert status == 0
    assert "missing, from revision none to" in output
    assert "0001: The first tables of the ground." in output
    status, output = migrate(config, "--dry-run")
    assert status == 0
    assert "CREATE TABLE jobs" in output
    status, output = migrate(config)
    assert status == 0
    assert "done, from revision none to" in output
    for options in ([], ["--status"], ["--dry-run"]):
        status, output = migrate(config, *options)
        assert status == 0
        assert "of revision" in output
