"""Queues of commands and sequences on a terminal; without one, plain text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from ground.present import stage_line, stage_word
from skyrack.logging import mission_time_text

__all__ = ["StageTeller", "queue_lines", "sequence_line", "sequence_table", "sequences_table", "step_line"]


class StageTeller:
    """Prints each stage of one command once, as they become known."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._told: set[tuple[str, float]] = set()

    def tell(self, stages: Sequence[Mapping[str, Any]]) -> None:
        """Print those that were not printed yet; one that was overtaken on the way comes when it is known."""
        for stage in stages:
            key = (stage["stage"], stage["mission_time_seconds"])
            if key not in self._told:
                self._told.add(key)
                self._out.print("  ", stage_line(stage))


def queue_lines(record: Mapping[str, Any], out: Console) -> None:
    """One satellite's queue, and what waits in it."""
    state = Text("open", style="green")
    if record["is_held"]:
        since = mission_time_text(record["held_seconds"])
        why = f": {record['reason']}" if record["reason"] else ""
        state = Text(f"held since {since} by {record['held_by'] or 'somebody'}{why}", style="yellow")
    reach = "in reach" if record["is_reachable"] else "out of reach"
    count = len(record["waiting"])
    out.print(Text.assemble((record["satellite"], "bold"), f"  {reach}, {count} waiting, ", state))
    for waiting in record["waiting"]:
        at = mission_time_text(waiting["created_seconds"])
        by = f"  by {waiting['submitter']}" if waiting["submitter"] else ""
        kind = " (sequence)" if waiting["kind"] == "sequence" else ""
        out.print(f"  {at}  {waiting['id']}{kind}  {waiting['name']}{by}")


def sequences_table(records: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Sequences, one a line."""
    table = Table(box=None, pad_edge=False)
    for column in ("sequence", "name", "satellite", "stage", "submitted", "by", "reason"):
        table.add_column(column, overflow="fold")
    for record in records:
        table.add_row(
            record["sequence_id"],
            record["name"],
            record["satellite"],
            stage_word(record["stage"]),
            mission_time_text(record["created_seconds"]),
            record["submitter"],
            record["reason"],
        )
    return table


def sequence_line(record: Mapping[str, Any]) -> Text:
    """What a sequence is."""
    what = f"  {record['name']}, {len(record['steps'])} steps, to {record['satellite']}"
    return Text.assemble((record["sequence_id"], "bold"), what)


def step_line(step: Mapping[str, Any]) -> Text:
    """A step and how far it came."""
    at = step["finished_seconds"] or step["started_seconds"]
    when = mission_time_text(at) if at else _due(step)
    text = Text.assemble(f"{when}  step {step['number']}  {step['command']}({step['arguments']})  ")
    text.append_text(stage_word(step["stage"]))
    told = step["reason"] or step["response"]
    return text.append(f"  {told}" if told else "")


def _due(step: Mapping[str, Any]) -> str:
    if step["at_seconds"] is not None:
        return mission_time_text(step["at_seconds"])
    return f"{step['after_seconds']:g} s after step {step['number'] - 1}" if step["number"] > 1 else "at once"


def sequence_table(steps: Sequence[Mapping[str, Any]]) -> RenderableType:
    """What a sequence file asks for, in the words of the interface."""
    table = Table(box=None, pad_edge=False)
    for column in ("step", "when", "command", "arguments", "on failure"):
        table.add_column(column, overflow="fold")
    for number, step in enumerate(steps, 1):
        when = mission_time_text(step["at_seconds"]) if step["at_seconds"] else f"+{step['after_seconds']:g} s"
        arguments = ", ".join(f"{name}={value}" for name, value in step["arguments"].items())
        table.add_row(str(number), when, step["command"], arguments, step["on_failure"])
    return table
