"""Tables of command queues and sequences; in the schema as those of ``ground.store.schema`` are."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Double, Index, LargeBinary, Table

from ground.store.schema import METADATA, Name, Serial, number, seconds, text

__all__ = ["command_holds", "command_queue", "sequence_stages", "sequence_steps", "sequences"]

# What has not been handed to delivery yet: the payload goes up as it stands here.
command_queue: Final = Table(
    "command_queue",
    METADATA,
    Column("id", Serial, primary_key=True),
    Column("satellite", Name, nullable=False),
    Column("kind", Name, nullable=False),
    Column("command_id", Name, nullable=False),
    text("name"),
    text("submitter"),
    Column("payload", LargeBinary, nullable=False),
    seconds("created_seconds"),
    seconds("not_after_seconds"),
)
Index("command_queue_satellite", command_queue.c.satellite, command_queue.c.id)
Index("command_queue_command", command_queue.c.command_id)

# A row for each satellite whose queue is held.
command_holds: Final = Table(
    "command_holds",
    METADATA,
    Column("satellite", Name, primary_key=True),
    text("held_by"),
    text("reason"),
    seconds("held_seconds"),
)

sequences: Final = Table(
    "sequences",
    METADATA,
    Column("sequence_id", Name, primary_key=True),
    Column("satellite", Name, nullable=False),
    text("name"),
    Column("sequence", LargeBinary, nullable=False),
    text("submitter"),
    seconds("created_seconds"),
    seconds("not_after_seconds"),
    number("stage"),
    number("is_open"),
    text("reason"),
    number("revision"),
    # The order with the signatures that it has.
    Column("signed_order", LargeBinary, nullable=False),
    text("signed_by"),
)
Index("sequences_created", sequences.c.created_seconds, sequences.c.sequence_id)

sequence_stages: Final = Table(
    "sequence_stages",
    METADATA,
    Column("sequence_id", Name, primary_key=True),
    Column("stage", BigInteger, primary_key=True, autoincrement=False),
    text("reason"),
    seconds("mission_time_seconds"),
)

sequence_steps: Final = Table(
    "sequence_steps",
    METADATA,
    Column("sequence_id", Name, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    number("stage"),
    text("reason"),
    Column("response", LargeBinary),
    Column("started_seconds", Double),
    Column("finished_seconds", Double),
)
