"""What telemetry over time, its gaps and alarms look like on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from ground import plot
from skyrack.logging import mission_time_text

__all__ = ["alarm", "alarms_table", "gaps_table", "series_lines"]

_HEIGHT: Final = 8
_STATES: Final = {"active": "bold red", "returned": "yellow", "acknowledged": "cyan", "shelved": "dim", "cleared": ""}
_SEVERITIES: Final = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "bold red"}


def series_lines(series: Mapping[str, Any], history: Mapping[str, Any], width: int, *, is_plot: bool) -> Iterator[str]:
    """One field of one instance: a line, or a plot below it."""
    labels = ",".join(f"{name}={value}" for name, value in series["labels"].items())
    name = f"{series['field']}{{{labels}}}" if labels else series["field"]
    lows = series["minimum"] or series["value"]
    highs = series["maximum"] or series["value"]
    known = [value for value in (*lows, *highs) if value is not None]
    if not known:
        yield f"{name}: no numbers"
        return
    unit = f" {series['unit']}" if series["unit"] else ""
    newest = next(value for value in reversed(series["value"]) if value is not None)
    values = f"least {min(known):.6g}, greatest {max(known):.6g}, newest {newest:.6g}{unit}"
    start, end, step = history["start_seconds"], history["end_seconds"], history["step_seconds"]
    if not is_plot:
        cells: list[float | None] = [None] * width
        for at, value in zip(series["mission_time_seconds"], series["value"], strict=True):
            cells[min(width - 1, max(0, int((at - start) / (end - start) * width)))] = value
        yield f"{name}  {values}"
        yield f"  {plot.sparkline(cells)}"
        return
    times = [start, *(at + step / 2 for at in series["mission_time_seconds"]), end]
    lines, low, high = plot.plot(times, [None, *lows, None], [None, *highs, None], width, _HEIGHT)
    yield f"{name}  {values}"
    for number, line in enumerate(lines):
        edge = f"{high:.5g}" if not number else f"{low:.5g}" if number == len(lines) - 1 else ""
        yield f"{edge:>12} ┤{line}"
    left, right = mission_time_text(start), mission_time_text(end)
    yield f"{'':>13} {left}{'':>{max(1, width - len(left) - len(right))}}{right}"


def gaps_table(gaps: Iterable[Mapping[str, Any]]) -> Table:
    """What is missing, and what was filled."""
    table = Table(box=None, pad_edge=False)
    for name in ("satellite", "message", "source", "of", "missing", "gaps", "from", "to", "filled", "lost"):
        table.add_column(name, justify="right" if name in ("missing", "gaps", "filled", "lost") else "left")
    for gap in gaps:
        table.add_row(
            gap["satellite"],
            gap["message_type"].rpartition(".")[2],
            gap["source"],
            gap["key"],
            f"{gap['missing']:,}",
            f"{gap['gaps']:,}",
            mission_time_text(gap["start_seconds"]) if gap["start_seconds"] else "-",
            mission_time_text(gap["end_seconds"]) if gap["end_seconds"] else "-",
            f"{gap['filled']:,}",
            f"{gap['lost']:,}",
        )
    return table


def alarms_table(records: Iterable[Mapping[str, Any]]) -> Table:
    """Alarms, one a line."""
    table = Table(box=None, pad_edge=False)
    for name in ("id", "state", "severity", "satellite", "alarm", "since", "times", "what", "who"):
        table.add_column(name, justify="right" if name in ("id", "times") else "left")
    for record in records:
        table.add_row(
            str(record["id"]),
            Text(record["state"], style=_STATES.get(record["state"], "")),
            Text(record["severity"], style=_SEVERITIES.get(record["severity"], "")),
            record["satellite"] or "ground",
            _name(record),
            mission_time_text(record["raised_seconds"]),
            str(record["occurrences"]),
            Text(record["text"]),
            Text(record["shelved_by"] or record["acknowledged_by"]),
        )
    return table


def _name(record: Mapping[str, Any]) -> str:
    return f"{record['name']}[{record['instance']}]" if record["instance"] else str(record["name"])


def alarm(record: Mapping[str, Any]) -> Iterator[Text]:
    """An alarm with its history."""
    where = record["satellite"] or "ground"
    state = (record["state"], _STATES.get(record["state"], ""))
    yield Text.assemble((str(record["id"]), "bold"), f"  {where}  {_name(record)}  ", state, f"  {record['text']}")
    if record["shelved_until_seconds"]:
        until = mission_time_text(record["shelved_until_seconds"])
        yield Text(f"  shelved until {until} by {record['shelved_by']}: {record['shelve_reason']}")
    for step in record["history"]:
        who = f" by {step['who']}" if step["who"] else ""
        text = f": {step['text']}" if step["text"] else ""
        yield Text(f"  {mission_time_text(step['mission_time_seconds'])}  {step['action']}{who}{text}")
