"""What the ground's answers look like on a terminal; without one, plain text."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import click
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from skyrack.logging import mission_time_text

__all__ = [
    "console",
    "events",
    "job",
    "jobs",
    "print_json",
    "satellites",
    "stage_line",
    "stage_word",
    "telecommand",
    "telecommands",
    "telemetry",
]

_STYLES: Final = {
    "COMPLETED": "green",
    "RUNNING": "cyan",
    "PREEMPTED": "yellow",
    "FAILED": "red",
    "EXPIRED": "red",
    "HELD": "yellow",
    "WITHDRAWN": "dim",
    "REJECTED": "red",
    "CANCELLED": "dim",
    "WARNING": "yellow",
    "ERROR": "red",
    "CRITICAL": "bold red",
    "yellow_low": "yellow",
    "yellow_high": "yellow",
    "red_low": "bold red",
    "red_high": "bold red",
}
_PLAIN_WIDTH: Final = 240
_DARK: Final = 0.02
_LONG: Final = 60
_NARROW: Final = 100
"""A terminal with fewer columns does without those that matter least."""


def console(*, stderr: bool = False) -> Console:
    """Where answers go: as wide as the terminal, or wide enough for whoever reads a pipe.

    What jobs and satellites say is printed as it is: brackets in it are no markup.
    """
    plain = not (sys.stderr if stderr else sys.stdout).isatty()
    width = _PLAIN_WIDTH if plain else None
    return Console(width=width, stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=plain)


def print_json(value: object) -> None:
    """Print for scripts."""
    click.echo(json.dumps(value, indent=1))


def _word(word: str) -> Text:
    return Text(word, style=_STYLES.get(word, ""))


def _table(*columns: str) -> Table:
    """A table whose last column wraps and whose others do not; ``>`` before a name sets it to the right."""
    table = Table(box=None, pad_edge=False, padding=(0, 1), collapse_padding=True, header_style="bold")
    for column in columns:
        right = column.startswith(">")
        table.add_column(
            column.removeprefix(">"),
            justify="right" if right else "left",
            no_wrap=column != columns[-1],
            overflow="fold",
        )
    return table


class _Fitted:
    """A table that leaves out some of its columns where the terminal is narrow."""

    def __init__(self, table: Table, spare: Sequence[str]) -> None:
        self._table = table
        self._spare = spare

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        table = self._table
        if options.max_width < _NARROW:
            table.columns = [column for column in table.columns if column.header not in self._spare]
        yield table


def _number(value: float | None, unit: str = "", digits: int = 1) -> str:
    return "-" if value is None else f"{value:,.{digits}f}{unit}"


def duration(seconds: float | None) -> str:
    """Seconds in words short enough for a table."""
    if seconds is None:
        return "-"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _since(start: float | None, end: float | None) -> str:
    return "-" if start is None or end is None else duration(end - start)


def jobs(records: Sequence[Mapping[str, Any]]) -> RenderableType:
    """A table of jobs."""
    if not records:
        return "no jobs yet: submit one with `skyrack submit job.toml`"
    table = _table("job", "state", "satellite", ">try", ">progress", ">energy", ">preempted", ">orbit", "what")
    for record in records:
        table.add_row(
            record["job_id"],
            _word(record["state"]),
            record["satellite"] or "-",
            str(record["attempt"]),
            f"{record['progress_ratio']:.0%}" if record["progress_ratio"] else "-",
            _number(record["energy_joules"] / 1000, " kJ") if record["energy_joules"] else "-",
            str(record["preemptions"]),
            _since(record["placed_seconds"], record["finished_seconds"]),
            _what(record),
        )
    return _Fitted(table, ("satellite", "try", "orbit"))


def _what(record: Mapping[str, Any]) -> str:
    if record["result_problem"]:
        return str(record["result_problem"])
    if record["result_sha256"] and record["result_received_seconds"] is None:
        return "result is coming down"
    if record["cancel_requested"] and not record["is_final"]:
        return "is being cancelled"
    return str(record["reason"] or record["waiting_reason"])


def job(record: Mapping[str, Any], out: Console) -> None:
    """One job with all that happened to it."""
    out.print(Text.assemble((record["job_id"], "bold"), "  ", _word(record["state"]), "  ", _what(record)))
    facts = {
        "submitter": record["submitter"],
        "signed by": record["signed_by"],
        "command": " ".join(record["command"]),
        "asks for": f"{record['power_watts']:g} W, {record['cores']} cores, priority {record['priority']}",
        "energy": f"{record['energy_joules']:,.0f} J in {duration(record['run_seconds'])} of running",
        "preemptions": str(record["preemptions"]),
        "result": f"{record['result_bytes']:,} bytes" if record["result_sha256"] else "",
        "verified": f"{record['satellite']} vouches for how it ended" if record["is_verified"] else "",
        "deadline": mission_time_text(record["deadline_seconds"]) if record["deadline_seconds"] else "",
    }
    for name, fact in facts.items():
        if fact:
            out.print(f"  {name:12} {fact}")
    table = _table("time", ">try", "state", "satellite", "node", ">progress", "reason")
    for step in record["history"]:
        state = Text(step["state"] + ("" if step["is_applied"] else " (stale)"), style=_STYLES.get(step["state"], ""))
        table.add_row(
            mission_time_text(step["mission_time_seconds"]),
            str(step["attempt"]),
            state,
            step["satellite"] or "ground",
            step["node"],
            f"{step['progress_ratio']:.0%}" if step["progress_ratio"] else "",
            step["reason"],
        )
    out.print(table)
    if record["stderr_tail"] and record["state"] != "COMPLETED":
        out.print(Text(f"exit code {record['exit_code']}, the end of standard error:", style="bold"))
        out.print(Text(record["stderr_tail"].rstrip()))


def sun(sunlit_ratio: float | None) -> str:
    """Light or shadow, in a word."""
    if sunlit_ratio is None:
        return "-"
    return "eclipse" if sunlit_ratio < _DARK else "sunlit" if sunlit_ratio > 1 - _DARK else "penumbra"


def satellites(records: Sequence[Mapping[str, Any]]) -> RenderableType:
    """A table of satellites."""
    table = _table(
        "satellite",
        "heard",
        "mode",
        "link",
        "sun",
        ">charge",
        ">power",
        ">heat",
        ">draw",
        ">chip",
        ">free",
        ">jobs",
        ">waits",
    )
    for record in records:
        age = record["age_seconds"]
        style = "green" if record["is_reachable"] else "yellow"
        charge = record["state_of_charge_ratio"]
        table.add_row(
            record["name"],
            Text("never" if age is None else f"{duration(age)} ago", style=style),
            record["mode"] or "-",
            record["link"] or "-",
            sun(record["sunlit_ratio"]),
            "-" if charge is None else f"{charge:.0%}",
            _number(record["compute_power_watts"], " W", 0),
            _number(record["compute_heat_watts"], " W", 0),
            _number(record["draw_watts"], " W", 0),
            _number(record["chip_maximum_celsius"], " °C"),
            "-" if record["free_nodes"] is None else str(record["free_nodes"]),
            str(record["jobs_open"]),
            str(record["outbox_items"]),
        )
    return _Fitted(table, ("heard", "heat", "free", "waits"))


def telemetry(values: Iterable[tuple[str, Mapping[str, Any]]]) -> RenderableType:
    """(satellite, value) as a table."""
    table = _table("satellite", "field", "of", ">value", "unit", "time", "meaning")
    for satellite, value in values:
        number = value["value"]  # None where it was not a number
        shown = value["text"] or ("-" if number is None else f"{number:,.6g}")
        table.add_row(
            satellite,
            value["field"],
            ", ".join(value["labels"].values()),
            Text(shown, style=_STYLES.get(value["level"], "")),
            value["unit"],
            mission_time_text(value["mission_time_seconds"]),
            value["description"],
        )
    return _Fitted(table, ("satellite", "time"))


def events(records: Iterable[Mapping[str, Any]]) -> Table:
    """A table of events."""
    table = Table.grid(padding=(0, 1))
    for _ in range(5):
        table.add_column(no_wrap=True)
    table.add_column()
    for record in records:
        fields = ", ".join(f"{name}={value}" for name, value in record["fields"].items())
        table.add_row(
            mission_time_text(record["mission_time_seconds"]),
            _word(record["severity"]),
            record["satellite"] or "ground",
            record["source"],
            record["name"],
            " ".join(part for part in (record["text"], fields) if part),
        )
    return table


def stage_line(stage: Mapping[str, Any]) -> Text:
    """One stage of a telecommand."""
    text = Text.assemble(f"{mission_time_text(stage['mission_time_seconds'])}  ", _word(stage["stage"]))
    return text.append(f"  {stage['reason']}" if stage["reason"] else "")


def stage_word(stage: str) -> Text:
    """The name of a stage."""
    return _word(stage)


def telecommands(records: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Telecommands, one a line."""
    table = _table("command", "satellite", "what", "stage", "submitted", "by", "reason")
    for record in records:
        what = f"{record['service']}.{record['method']}({record['arguments']})"
        what = what if len(what) <= _LONG else f"{what[: _LONG - 1]}…"
        at = mission_time_text(record["created_seconds"])
        stage = _word(record["stage"])
        table.add_row(record["command_id"], record["satellite"], what, stage, at, record["submitter"], record["reason"])
    return table


def telecommand(record: Mapping[str, Any], out: Console) -> None:
    """A telecommand and its stages."""
    what = f"{record['service']}.{record['method']}({record['arguments']}) to {record['satellite']}"
    out.print(Text.assemble((record["command_id"], "bold"), "  ", what))
    if record["signed_by"]:
        out.print(f"   signed by {record['signed_by']}")
    for stage in record["stages"]:
        out.print("  ", stage_line(stage))
    if record["response"]:
        out.print(f"  {record['response']}")
