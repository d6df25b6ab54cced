"""The ground's commands, as the ``skyrack`` dispatcher finds them."""

from __future__ import annotations

from pathlib import Path

import click

from ground.access_commands import audit, tokens
from ground.broker_commands import broker
from ground.dashboard_commands import dashboards
from ground.job_commands import cancel, fetch, jobs, submit
from ground.key_commands import approve, keys
from ground.ledger_commands import ledger
from ground.migrate_command import migrate
from ground.queue_commands import commands
from ground.satellite_commands import events, sats, send
from ground.sequence_commands import sequence
from ground.telemetry_commands import alarms, export, telemetry
from skyrack.database import StorageError

__all__ = [
    "alarms",
    "approve",
    "audit",
    "broker",
    "cancel",
    "commands",
    "dashboards",
    "events",
    "export",
    "fetch",
    "ground",
    "jobs",
    "keys",
    "ledger",
    "sats",
    "send",
    "sequence",
    "submit",
    "telemetry",
    "tokens",
]


@click.group()
def ground() -> None:
    """Run the ground segment."""


ground.add_command(migrate)


@ground.command("run")
@click.option("--config", required=True, type=click.Path(path_type=Path), help="Configuration file.")
def run_ground(config: Path) -> None:
    """Run the ground in this process, until interrupted."""
    from ground.main import run

    try:
        run(config)
    except StorageError as error:
        raise click.ClickException(str(error)) from None
