"""For ``alembic revision``, which a developer calls after a change of the schema; a ground runs migrations itself.

    alembic -c ground/store/migrations/alembic.ini revision --autogenerate -m "What changes"

The tables are compared with those of a new database after all migrations that there are.
"""

from __future__ import annotations

import sqlalchemy
from alembic import context

from ground.sqlite import SqliteSession
from ground.store.migration import is_ours, upgrade
from ground.store.tables import METADATA

session = SqliteSession(None, is_writer=True)
connection = session.get()
connection.core.execute(sqlalchemy.text("SELECT 1"))
upgrade(connection, "a new database")
context.configure(connection=connection.core, target_metadata=METADATA, include_name=is_ours, render_as_batch=True)
context.run_migrations()
