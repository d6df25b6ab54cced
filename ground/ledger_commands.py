"""``skyrack ledger``: what delivery counted, and the proof that nothing was lost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

import click
from rich.table import Table

from ground import present
from ground.client import SkyrackClient
from ground.client.calls import Call, part
from ground.job_commands import as_json, asking, at_ground

__all__ = ["ledger"]

_ANSWER_SECONDS: Final = 20.0
_PAUSE_SECONDS: Final = 2.0


@click.group(invoke_without_command=True)
@as_json
@at_ground
@click.pass_context
def ledger(context: click.Context, is_json: bool, url: str) -> None:
    """Print what delivery sent and received, stream by stream, as the ground counted it."""
    if context.invoked_subcommand is not None:
        return
    with asking(url) as client:
        found = client.ask(Call("GET", "/v1/ledger"))
    if is_json:
        present.print_json(found)
        return
    out = present.console()
    out.print(_sent_table(found["sent"]))
    out.print()
    out.print(_received_table(found["received"]))


@ledger.command()
@click.argument("satellites", nargs=-1)
@click.option(
    "--wait",
    "patience",
    type=click.FloatRange(min=0),
    is_flag=False,
    flag_value=60.0,
    default=0.0,
    help="Ask again for so many seconds, until nothing is on the way and all have answered. [60 without a number]",
)
@as_json
@at_ground
def verify(satellites: tuple[str, ...], patience: float, is_json: bool, url: str) -> int:
    """Prove that SATELLITES, or all, and the ground agree on what was delivered, or name what does not.

    What waits in an outbox is not lost. The exit code is 1 when something is lost, or a satellite did not answer.
    """
    out = present.console()
    end = time.monotonic() + patience
    verdicts: dict[str, dict[str, Any]] = {}
    with asking(url) as client:
        names = list(satellites) or [record["name"] for record in client.satellites()]
        while True:
            for name in [name for name in names if not _is_settled(verdicts.get(name))]:
                verdicts[name] = _ask(client, name)
            if time.monotonic() >= end or all(_is_settled(verdict) for verdict in verdicts.values()):
                break
            time.sleep(_PAUSE_SECONDS)
    found = [verdicts[name] for name in names]
    if is_json:
        present.print_json(found)
    for verdict in [] if is_json else found:
        _show(out, verdict)
    return int(not all(verdict["is_sound"] for verdict in found))


def _ask(client: SkyrackClient, satellite: str) -> dict[str, Any]:
    call = Call("POST", f"/v1/ledger/{part(satellite)}/verify", {"wait_seconds": _ANSWER_SECONDS})
    found: dict[str, Any] = client.ask(call)
    return found


def _is_settled(verdict: dict[str, Any] | None) -> bool:
    """Asking again would not make it better. The answer itself is on the way while the ledgers are compared."""
    if verdict is None or not verdict["is_answered"]:
        return False
    return not verdict["is_sound"] or all(row["waiting"] <= _own(row) for row in verdict["streams"])


def _own(row: dict[str, Any]) -> int:
    """The report of the question, and its stages, may be what waits."""
    return 4 if row["stream"] == "status" else 0


def _show(out: Any, verdict: dict[str, Any]) -> None:
    name = verdict["satellite"]
    if not verdict["is_answered"]:
        out.print(f"{name}: nothing is proven: {verdict['reason']}")
        return
    problems = [(row, problem) for row in verdict["streams"] for problem in row["problems"]]
    waiting = f"; {verdict['waiting']:,} on the way" if verdict["waiting"] else ""
    out.print(f"{name}: {'something is lost' if problems else 'both sides agree'}{waiting}")
    out.print(_verdict_table(verdict["streams"]))
    for row, problem in problems:
        out.print(f"  {row['source']} to {row['destination']}, {row['stream']}: {problem}")


def _verdict_table(rows: Sequence[dict[str, Any]]) -> Table:
    counts = ("accepted", "stored", "skipped", "waiting", "duplicates", "rejected")
    table = _table("stream", *counts, "verdict")
    for row in rows:
        verdict = "LOST" if row["problems"] else ("agrees, so far" if row["waiting"] else "agrees")
        table.add_row(_stream(row), *(f"{row[name]:,}" for name in counts), verdict)
    return table


def _sent_table(rows: Sequence[dict[str, Any]]) -> Table:
    counts = ("accepted", "delivered", "waiting", "expired", "shed")
    table = _table("sent", *counts)
    for row in rows:
        table.add_row(_stream(row), *(f"{row[name]:,}" for name in counts))
    return table


def _received_table(rows: Sequence[dict[str, Any]]) -> Table:
    counts = ("stored", "skipped", "duplicates", "rejected", "gaps", "forgotten")
    table = _table("received", *counts)
    for row in rows:
        table.add_row(_stream(row), *(f"{row[name]:,}" for name in counts))
    return table


def _table(first: str, *columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(first)
    for column in columns:
        table.add_column(column, justify="left" if column == "verdict" else "right")
    return table


def _stream(row: dict[str, Any]) -> str:
    return f"{row['source']} → {row['destination']} {row['stream']}"
