"""``skyrack ground migrate``: the database's tables, as they are and as this software needs them."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import click

from skyrack.database import StorageError

__all__ = ["migrate"]


@click.command()
@click.option("--config", required=True, type=click.Path(path_type=Path), help="Configuration file of the ground.")
@click.option("--status", "only_status", is_flag=True, help="Say what is to be done, and change nothing.")
@click.option("--dry-run", is_flag=True, help="Print the SQL that would be run, and change nothing.")
def migrate(config: Path, only_status: bool, dry_run: bool) -> None:
    """Bring the ground's database to the form that this software needs.

    A ground does so by itself when it starts; this is for looking first, and for doing it while nobody waits. The
    ground must not be running.
    """
    from ground.config import load_config
    from ground.database import Database
    from ground.store import migration

    loaded = load_config(config)
    path = Path(loaded.state_dir) / "ground.db"
    if not loaded.database and not path.exists() and (only_status or dry_run):
        raise click.ClickException(f"{path}: there is no database yet; `skyrack ground run` makes it")

    async def main() -> tuple[migration.Status, str]:
        database = Database(loaded.database or path)
        try:
            if dry_run:
                statements = await database.read(partial(migration.sql, name=database.name))
                return await database.read(partial(migration.status, name=database.name)), statements
            if only_status:
                return await database.read(partial(migration.status, name=database.name)), ""
            return await migration.prepare(database), ""
        finally:
            await database.close()

    try:
        found, statements = asyncio.run(main())
    except StorageError as error:
        raise click.ClickException(str(error)) from None
    if dry_run:
        click.echo(statements or f"-- nothing to do: the tables are of revision {found.newest}")
        return
    if not found.missing:
        click.echo(f"the tables are of revision {found.newest}, as this software needs them")
        return
    click.echo(f"{'missing' if only_status else 'done'}, from revision {found.present or 'none'} to {found.newest}:")
    for line in found.missing:
        click.echo(f"  {line}")
