"""``skyrack tokens`` and ``skyrack audit``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click
from rich.table import Table

from ground import present
from ground.access.roles import Role
from ground.client import calls
from ground.job_commands import as_json, asking, at_ground
from skyrack.jobfile import seconds_of
from skyrack.logging import mission_time_text

__all__ = ["audit", "tokens"]

_PAGE: Final = 1000


@click.group()
def tokens() -> None:
    """Give and take tokens, with which people and programs reach the ground."""


@tokens.command("new")
@click.argument("name")
@click.option("--role", type=click.Choice([role.value for role in Role]), default="viewer", show_default=True)
@click.option("--lifetime", default="", help='Mission time until it ends, such as "90 d" or "8 h". [default: none]')
@as_json
@at_ground
def new(name: str, role: str, lifetime: str, is_json: bool, url: str) -> None:
    """Make a token for NAME, a person or a program. It is shown this once.

    A viewer sees everything but tokens and audit; a researcher submits jobs, too; an operator commands satellites,
    too; an admin gives tokens and keys, too.
    """
    seconds = seconds_of(Path("--lifetime"), "lifetime", lifetime) if lifetime else 0.0
    with asking(url) as client:
        made = client.ask(calls.make_token(name, role, seconds))
    if is_json:
        present.print_json(made)
        return
    click.echo(made["secret"])
    click.echo(f"token {made['token']['token_id']} of {name}, {role}: it is not shown again", err=True)


@tokens.command("list")
@as_json
@at_ground
def list_tokens(is_json: bool, url: str) -> None:
    """List all tokens there ever were, without their secrets."""
    with asking(url) as client:
        found = client.ask(calls.tokens())
    if is_json:
        present.print_json(found)
        return
    table = _table("token", "name", "role", "made", "state")
    for token in found:
        made = mission_time_text(token["created_seconds"]) if token["created_seconds"] else "with the ground"
        table.add_row(token["token_id"], token["name"], token["role"], made, _state(token))
    present.console().print(table)


@tokens.command("revoke")
@click.argument("token_id")
@as_json
@at_ground
def revoke(token_id: str, is_json: bool, url: str) -> None:
    """Take a token out of force, at once, with all browsers that it signed in."""
    with asking(url) as client:
        token = client.ask(calls.revoke_token(token_id))
    if is_json:
        present.print_json(token)
    else:
        click.echo(f"token {token['token_id']} of {token['name']} is {_state(token)}")


@click.command()
@click.option("--verify", is_flag=True, help="Prove that nothing was changed or taken out; the exit code is 1 if so.")
@click.option("--after", "after_id", default=-1, help="Only rows after this one. [default: the newest]")
@click.option("--limit", type=click.IntRange(1, _PAGE), default=50, show_default=True, help="At most so many.")
@as_json
@at_ground
def audit(verify: bool, after_id: int, limit: int, is_json: bool, url: str) -> int:
    """Tell who did what on the ground, and who was refused."""
    with asking(url) as client:
        found = client.ask(calls.audit_proof() if verify else calls.audit(after_id, limit))
    if is_json:
        present.print_json(found)
    elif verify:
        if found["is_intact"]:
            click.echo(f"{found['rows']} rows hold together; note the hash of the last: {found['last_sha256']}")
        else:
            click.echo(f"the audit log was tampered with: {found['problem']}", err=True)
    else:
        table = _table("row", "time", "who", "role", "from", "did", "what", "outcome")
        for row in found:
            table.add_row(
                str(row["id"]),
                mission_time_text(row["mission_time_seconds"]),
                row["person"] or "nobody",
                row["role"],
                row["address"],
                row["action"],
                row["subject"],
                " ".join(part for part in (row["outcome"], row["detail"]) if part),
            )
        present.console().print(table)
    return int(verify and not found["is_intact"])


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=column != columns[-1], overflow="fold")
    return table


def _state(token: Mapping[str, Any]) -> str:
    if token["revoked_seconds"] is not None:
        return "revoked"
    if not token["is_valid"]:
        return "over"
    return f"good until {mission_time_text(token['end_seconds'])}" if token["end_seconds"] else "good"
