"""``skyrack commands``: what waits to leave for satellites, held back, let go, withdrawn."""

from __future__ import annotations

import click

from ground import present
from ground.client import command_calls
from ground.command_present import queue_lines
from ground.job_commands import as_json, asking, at_ground

__all__ = ["commands"]


@click.group(invoke_without_command=True)
@click.pass_context
def commands(context: click.Context) -> None:
    """See what waits to leave for satellites, hold it back, let it go, withdraw it."""
    if context.invoked_subcommand is None:
        context.invoke(list_commands)


@commands.command("list")
@click.argument("satellite", required=False)
@click.option("--sent", default=10, show_default=True, type=click.IntRange(0, 1000), help="So many of the newest, too.")
@as_json
@at_ground
def list_commands(satellite: str | None = None, sent: int = 10, is_json: bool = False, url: str = "") -> None:
    """Show the queue of SATELLITE, or of all, and the newest commands."""
    with asking(url) as client:
        queues = [record for record in client.ask(command_calls.queues()) if satellite in (None, record["satellite"])]
        newest = client.ask(command_calls.telecommands(sent, satellite or "")) if sent else []
    if is_json:
        present.print_json({"queues": queues, "telecommands": newest})
        return
    out = present.console()
    if not queues:
        click.echo(f"there is no satellite {satellite}")
    for record in queues:
        queue_lines(record, out)
    if newest:
        out.print(present.telecommands(newest))


@commands.command()
@click.argument("satellite")
@click.option("--reason", default="", help="Why, for whoever asks later.")
@as_json
@at_ground
def hold(satellite: str, reason: str, is_json: bool, url: str) -> None:
    """Let no command leave for SATELLITE; what left before is not called back."""
    with asking(url) as client:
        record = client.ask(command_calls.hold(satellite, reason))
    _show(record, is_json=is_json)


@commands.command()
@click.argument("satellite")
@as_json
@at_ground
def release(satellite: str, is_json: bool, url: str) -> None:
    """Let what waits for SATELLITE leave again."""
    with asking(url) as client:
        record = client.ask(command_calls.release(satellite))
    _show(record, is_json=is_json)


def _show(record: dict[str, object], *, is_json: bool) -> None:
    if is_json:
        present.print_json(record)
    else:
        queue_lines(record, present.console())


@commands.command()
@click.argument("command_id")
@click.option("--reason", default="", help="Why, for whoever asks later.")
@as_json
@at_ground
def withdraw(command_id: str, reason: str, is_json: bool, url: str) -> None:
    """Take back COMMAND_ID, which has not left yet."""
    with asking(url) as client:
        record = client.ask(command_calls.withdraw(command_id, reason))
    if is_json:
        present.print_json(record)
    else:
        present.telecommand(record, present.console())
