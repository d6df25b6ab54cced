"""``skyrack sequence``: commands that a satellite runs one after the other."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, Final

import click

from ground import present, sequencefile
from ground.client import SkyrackClient, command_calls
from ground.command_present import StageTeller, sequence_line, sequence_table, sequences_table, step_line
from ground.job_commands import as_json, asking, at_ground
from skyrack import files, orders
from skyrack.v1 import options_pb2
from skyrack.v1.backhaul_pb2 import Order

__all__ = ["sequence"]

_WAIT_SECONDS: Final = 20.0
_UNTOLD: Final = ("QUEUED", "HELD")


@click.group()
def sequence() -> None:
    """Have a satellite run commands one after the other, at times of their own."""


def _load(name: str, now: float | None = None) -> sequencefile.LoadedSequence:
    return sequencefile.load(files.find("sequences", name), now)


@sequence.command()
@click.argument("files_", metavar="FILE...", nargs=-1, required=True)
@as_json
def check(files_: tuple[str, ...], is_json: bool) -> None:
    """Check sequence files against the dictionary, and print what they ask for; no ground is needed.

    FILE is a path, or the name of a sequence that Skyrack ships.
    """
    loaded = [_load(name) for name in files_]
    if is_json:
        present.print_json([{"name": found.sequence.name, "steps": list(found.steps)} for found in loaded])
        return
    out = present.console()
    for found in loaded:
        critical = ", critical" if _is_critical(found) else ""
        out.print(f"{found.sequence.name}: {len(found.steps)} steps{critical}. {found.description}".rstrip())
        out.print(sequence_table(found.steps))


def _is_critical(found: sequencefile.LoadedSequence) -> bool:
    significance = orders.significance_of(Order(sequence=found.sequence))
    return significance == options_pb2.SIGNIFICANCE_CRITICAL


@sequence.command()
@click.argument("satellite")
@click.argument("file")
@click.option("--id", "sequence_id", default="", help="Id of the sequence; the same again changes nothing.")
@click.option("--lifetime", type=click.FloatRange(min=1), help="Mission seconds in which it must have arrived.")
@click.option("--wait", is_flag=True, help="Wait for the end; the exit code is 1 unless it completes.")
@click.option("--yes", is_flag=True, help="Do not ask before a critical sequence.")
@as_json
@at_ground
def run(
    satellite: str,
    file: str,
    sequence_id: str,
    lifetime: float | None,
    wait: bool,
    yes: bool,
    is_json: bool,
    url: str,
) -> int:
    """Have SATELLITE run the sequence in FILE: a path, or the name of one that Skyrack ships.

    All of it is checked before anything leaves, and again on board before the first step.
    """
    with asking(url) as client:
        found = _load(file, client.health()["mission_time_seconds"])
        if not yes and _is_critical(found):
            click.confirm(f"{found.sequence.name} has a critical step. Run it on {satellite}?", abort=True)
        name = sequence_id or f"{found.sequence.name[:56]}-{secrets.token_hex(3)}"
        record = client.ask(command_calls.run_sequence(name, found.submission(satellite, lifetime or 0)))
        if wait:
            record = _follow(client, record, show=not is_json)
    if is_json:
        present.print_json(record)
    elif not wait:
        _show(record)
    return int(record["stage"] in ("FAILED", "EXPIRED", "WITHDRAWN") or (wait and record["stage"] != "COMPLETED"))


def _follow(client: SkyrackClient, record: dict[str, Any], *, show: bool) -> dict[str, Any]:
    out = present.console()
    teller = StageTeller(out)
    told: dict[int, str] = {}
    if show:
        out.print(sequence_line(record))
    while True:
        if show:
            teller.tell([stage for stage in record["stages"] if not _is_end(record, stage)])
            for step in record["steps"]:
                if step["stage"] not in _UNTOLD and told.get(step["number"]) != step["stage"]:
                    told[step["number"]] = step["stage"]
                    out.print("  ", step_line(step))
        if record["is_final"]:
            if show:
                teller.tell(record["stages"])
            return record
        record = client.ask(command_calls.sequence(record["sequence_id"], record["revision"], _WAIT_SECONDS))


def _is_end(record: Mapping[str, Any], stage: Mapping[str, Any]) -> bool:
    return bool(record["is_final"] and stage["stage"] == record["stage"])


def _show(record: Mapping[str, Any]) -> None:
    out = present.console()
    out.print(sequence_line(record))
    StageTeller(out).tell(record["stages"])
    for step in record["steps"]:
        out.print("  ", step_line(step))


@sequence.command("list")
@click.argument("sequence_id", required=False)
@click.option("--satellite", default="", help="Only of this satellite.")
@click.option("--limit", type=click.IntRange(1, 1000), default=30, show_default=True, help="At most so many.")
@as_json
@at_ground
def list_sequences(sequence_id: str | None, satellite: str, limit: int, is_json: bool, url: str) -> None:
    """List the newest sequences, or show SEQUENCE_ID with its steps."""
    with asking(url) as client:
        if sequence_id:
            record = client.ask(command_calls.sequence(sequence_id))
            if is_json:
                present.print_json(record)
            else:
                _show(record)
            return
        records = client.ask(command_calls.sequences(limit, satellite=satellite))
    if is_json:
        present.print_json(records)
    elif records:
        present.console().print(sequences_table(records))
    else:
        click.echo("no sequence was submitted yet")


@sequence.command()
@click.argument("sequence_id")
@click.option("--reason", default="", help="Why, for whoever asks later.")
@click.option("--wait", is_flag=True, help="Wait until the sequence is over.")
@as_json
@at_ground
def abort(sequence_id: str, reason: str, wait: bool, is_json: bool, url: str) -> None:
    """End SEQUENCE_ID early; a step that was begun is not recalled.

    One that has not left is withdrawn. Else its satellite is told by a command, which waits its turn as others do.
    """
    with asking(url) as client:
        answer = client.ask(command_calls.abort(sequence_id, reason))
        if wait:
            answer["sequence"] = _follow(client, answer["sequence"], show=not is_json)
    if is_json:
        present.print_json(answer)
    elif not wait:
        _show(answer["sequence"])
        if answer["command"]:
            present.telecommand(answer["command"], present.console())
