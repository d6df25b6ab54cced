"""``skyrack sats``, ``send`` and ``events``."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from ground import present, signer
from ground.command_present import StageTeller
from ground.job_commands import as_json, asking, at_ground
from ground.signer import local_key
from skyrack.dictionary import build_request, command_named
from skyrack.errors import UserError
from skyrack.v1 import options_pb2

__all__ = ["events", "sats", "send"]

_WAIT_SECONDS: Final = 20.0
_SEVERITIES: Final = ("debug", "info", "warning", "error", "critical")


@click.command()
@as_json
@at_ground
def sats(is_json: bool, url: str) -> None:
    """List satellites and how they are."""
    with asking(url) as client:
        records = client.satellites()
    if is_json:
        present.print_json(records)
    else:
        present.console().print(present.satellites(records))


@click.command()
@click.argument("satellite")
@click.argument("method")
@click.argument("arguments", metavar="[NAME=VALUE]...", nargs=-1)
@click.option("--id", "command_id", default="", help="Id of the command; the same again changes nothing.")
@click.option("--lifetime", type=click.FloatRange(min=1), help="Mission seconds after which it is of no use.")
@click.option("--wait", is_flag=True, help="Wait for the end; the exit code is 1 unless it completes.")
@click.option("--yes", is_flag=True, help="Do not ask before a critical command.")
@local_key
@as_json
@at_ground
def send(
    satellite: str,
    method: str,
    arguments: tuple[str, ...],
    command_id: str,
    lifetime: float | None,
    wait: bool,
    yes: bool,
    key_file: Path | None,
    is_json: bool,
    url: str,
) -> int:
    """Send a command to SATELLITE.

    For example: skyrack send sat-1 SetLoadSwitch load=node-1 closed=false

    METHOD is a command of `skyrack dictionary`; where every service takes it, say which: power.SetParameters.
    """
    service, _, name = method.rpartition(".")
    command = command_named(name)
    values = _values(arguments)
    build_request(command, values)  # wrong arguments never leave
    if not (command.rpc.on_board or service):
        raise UserError(f"every service takes {command.name}: say which, as in power.{command.name}")
    if command.rpc.on_board and service not in ("", command.rpc.on_board):
        raise UserError(f"{command.rpc.on_board} takes {command.name}, not {service}")
    if command.significance == options_pb2.SIGNIFICANCE_CRITICAL and not yes:
        click.confirm(f"{command.name} is critical ({command.description}). Send it to {satellite}?", abort=True)
    submission = {
        "satellite": satellite,
        "method": command.name,
        "service": service,
        "arguments": values,
        "lifetime_seconds": lifetime or 0,
    }
    out = present.console()
    with asking(url) as client:
        command_id = command_id or secrets.token_hex(6)
        if key_file is None:
            record = client.send(command_id, submission)
        else:
            record = signer.send(client, key_file, command_id, command, submission)
        teller = StageTeller(out)
        if not is_json:
            present.telecommand({**record, "stages": []}, out)
            teller.tell(record["stages"])
        while wait and not record["is_final"]:
            record = client.telecommand(record["command_id"], record["revision"], _WAIT_SECONDS)
            if not is_json:
                teller.tell(record["stages"])
    if is_json:
        present.print_json(record)
    elif wait and record["response"]:
        out.print(f"  {record['response']}")
    return int(record["stage"] in ("FAILED", "EXPIRED", "WITHDRAWN") or (wait and record["stage"] != "COMPLETED"))


def _values(arguments: Sequence[str]) -> dict[str, str]:
    values: dict[str, str] = {}
    for argument in arguments:
        name, separator, value = argument.partition("=")
        if not separator or not name:
            raise UserError(f'"{argument}" is no argument: must be NAME=VALUE')
        if name in values:
            raise UserError(f"{name} is given twice")
        values[name] = value
    return values


@click.command()
@click.option("--follow", "-f", is_flag=True, help="Go on printing what happens, until interrupted.")
@click.option("--satellite", default="", help="Only of this satellite.")
@click.option("--severity", type=click.Choice(_SEVERITIES, case_sensitive=False), default="info", show_default=True)
@click.option("--limit", type=click.IntRange(1, 1000), default=30, show_default=True, help="At most so many.")
@as_json
@at_ground
def events(follow: bool, satellite: str, severity: str, limit: int, is_json: bool, url: str) -> None:
    """Print what happened, on board and on the ground."""
    out = present.console()
    params: dict[str, str | float] = {"satellite": satellite, "severity": severity}
    with asking(url) as client:
        records = client.events(limit=limit, **params)
        if is_json and not follow:
            present.print_json(records)
            return
        newest = -1
        while True:
            _print_events(out, records, is_json=is_json)
            newest = max((record["id"] for record in records), default=newest)
            if not follow:
                if not records:
                    click.echo("nothing has happened yet")
                return
            records = client.events(after_id=max(0, newest), limit=1000, wait_seconds=_WAIT_SECONDS, **params)


def _print_events(out: Any, records: list[dict[str, Any]], *, is_json: bool) -> None:
    for record in records if is_json else []:
        click.echo(json.dumps(record))
    if records and not is_json:
        out.print(present.events(records))
