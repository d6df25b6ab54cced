"""What one sees of ``skyrack hil run``: boards, satellites and jobs while they live, and figures at the end."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from ground import present
from hil.boards.figures import FOLLOWS_SECONDS, BoardFigures, figures_of
from hil.sil import live

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from hil.boards.bench_run import BenchRun, BenchView
    from hil.boards.session import BoardView

LEFT = ("board", "is", "link", "mode", "runs", "guards")
HEADINGS = (
    "board",
    "is",
    "link",
    "watts",
    "x scale",
    "cap",
    "slowed to",
    "chip",
    "board °C",
    "mode",
    "runs",
    "clock",
    "guards",
)


def watching(*, quiet: bool) -> AbstractContextManager[Callable[[BenchView], None]]:
    """Show views while the run lives."""
    return live.watching(picture, _boards, quiet=quiet)


def _boards(view: BenchView) -> Iterator[tuple[str, str]]:
    for board in view.boards:
        yield board.name, "; ".join([board.link, *problems_of(board)])


def say_up(run: BenchRun) -> None:
    """Say how to reach it."""
    console = Console(stderr=True)
    rate = run.running.system.settings.rate
    console.print(f"[bold]{run.running.system.instance.name}[/] is up: {run.bench.name} at {rate:g}x")
    console.print(f"  console  {run.running.ground_url}", soft_wrap=True)
    for note in run.derived.notes:
        console.print(Text(note, style="yellow"), soft_wrap=True)


def picture(view: BenchView) -> Group:
    """The live picture."""
    problems = [Text(f"{board.name}: {text}", style="yellow") for board in view.boards for text in problems_of(board)]
    return live.picture(view, [board_table(view), *problems, ""])


def board_table(view: BenchView) -> Table:
    """Boards, a row each."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading in LEFT else "right")
    modes = {satellite["name"]: satellite["mode"].lower() for satellite in view.satellites}
    for board in view.boards:
        for name, note in board.nodes.items() or (("", {}),):
            chip = view.truth.get(board.satellite, {}).get(f"thermal.{name}.celsius")
            table.add_row(
                board.name,
                name or board.rack_node or board.satellite,
                Text(board.link, style="" if board.link == "up" else "red"),
                _number(note.get("real_watts"), "W", 2) if note else "-",
                _number(note.get("watts"), "W", 0),
                _number(note.get("cap_watts"), "W", 0),
                slowed(note),
                _number(chip, "°C", 1),
                _number(note.get("celsius"), "°C", 1),
                modes.get(board.satellite, "") or "silent",
                ", ".join(note.get("running", ())) or "-",
                clock_text(board),
                guards_text(board),
            )
    return table


def problems_of(board: BoardView) -> list[str]:
    """Sentences about what is not as it should be on a board."""
    found = [board.problem] if board.problem else []
    found += [str(note["problem"]) for note in board.nodes.values() if note.get("problem")]
    found += [f"guards: {problem}" for problem in board.guards.get("problems", {}).values()]
    return found + [str(acted.get("why", acted)) for acted in board.guards.get("acted", ())]


def slowed(note: dict[str, Any] | Any) -> str:
    """To which part of its speed a board is slowed down: by its throttle, and by pauses of its work."""
    if not note:
        return "-"
    throttle, duty = note.get("throttle_ratio"), note.get("duty_ratio", 1.0)
    parts = [] if throttle is None or throttle >= 1.0 else [f"throttle {throttle:.0%}"]
    return ", ".join([*parts, *([f"pauses {duty:.0%}"] if duty < 1.0 else [])]) or "free"


def clock_text(board: BoardView) -> str:
    """How far the board's mission clock is off, and how surely that is known."""
    known = board.agreement
    if known is None:
        return "-"
    if board.same_clock:
        return "the same"
    return f"{1e3 * board.anchor_error_seconds:+.2f} ± {1e3 * known.error_seconds:.2f} ms"


def guards_text(board: BoardView) -> str:
    """Guards that acted, or whether they can."""
    acted = [str(each.get("action", "acted")) for each in board.guards.get("acted", ())]
    if acted:
        return ", ".join(acted)
    if board.guards.get("problems"):
        return "cannot act"
    return "watch" if board.guards.get("guards") else "none"


def show_report(run: BenchRun, view: BenchView, problem: str, *, as_json: bool) -> None:
    """Print figures, and the jobs' fates."""
    found = [figures_of(board, run.samples) for board in view.boards]
    rate = run.running.system.settings.rate
    if as_json:
        report = {
            "bench": run.bench.name,
            "rate": rate,
            "mission_seconds": view.mission_time_seconds - run.began_at,
            "problem": problem,
            "boards": [dataclasses.asdict(figures) for figures in found],
            "jobs": view.jobs,
            "notes": view.notes,
        }
        json.dump(report, sys.stdout, indent=1)
        sys.stdout.write("\n")
        return
    console = present.console()
    hours = (view.mission_time_seconds - run.began_at) / 3600.0
    console.print(Text(f"{run.bench.name}: {hours:.2f} h of the mission at {rate:g}x", style="bold"))
    for figures in found:
        console.print(_board_report(figures, rate))
    if view.jobs:
        console.print(present.jobs(view.jobs))
    for note in view.notes:
        console.print(Text(note, style="yellow"), soft_wrap=True)
    if problem:
        console.print(Text(problem, style="red"), soft_wrap=True)


def _board_report(figures: BoardFigures, rate: float) -> Table:
    what = f"{figures.rack_node} of {figures.satellite}" if figures.rack_node else figures.satellite
    table = Table(title=f"{figures.board}, {what}", title_justify="left", box=None, show_header=False)
    table.add_column("figure")
    table.add_column("value", overflow="fold")
    real = f"{_number(figures.real_watts_mean, 'W', 2)} mean, {_number(figures.real_watts_peak, 'W', 2)} peak"
    table.add_row("the board drew", f"{real}; {figures.how or 'nothing was told'}")
    node = f"{_number(figures.node_watts_mean, 'W', 0)} mean, {_number(figures.node_watts_eclipse, 'W', 0)} in eclipse"
    table.add_row("the satellite felt", node)
    table.add_row("hottest chip, simulated", _number(figures.hottest_chip_celsius, "°C", 1))
    charge = figures.lowest_state_of_charge_ratio
    table.add_row("lowest state of charge", "-" if charge is None else f"{charge:.1%}")
    table.add_row("throttling followed a lower cap", _followed(figures, rate))
    clock = "-"
    if figures.clock_error_seconds is not None:
        clock = (
            f"within {1e3 * figures.clock_error_seconds:.2f} ms of the host, {_mission(figures, rate)} of the mission"
        )
    if figures.same_clock:
        clock = "the same clock"
    table.add_row("mission time agreed", clock)
    lost = f"{figures.losses} times, {figures.lost_seconds:.1f} s together" if figures.losses else "never"
    table.add_row("board was lost", f"{lost}; booted {figures.boots} times" if figures.boots else lost)
    table.add_row("guards acted", str(figures.guards_acted))
    return table


def _followed(figures: BoardFigures, rate: float) -> str:
    if figures.over_cap_seconds > FOLLOWS_SECONDS:
        return (
            f"NOT within {FOLLOWS_SECONDS:g} s: it draws more than its cap since {figures.over_cap_seconds:.0f} s, "
            f"though its work runs as little as it can; other programs load this computer, or the cap is below idle"
        )
    if figures.settled_longest_seconds is None or figures.settled_median_seconds is None:
        return "no cap was lowered below what was drawn"
    within = "within" if figures.settled_longest_seconds <= FOLLOWS_SECONDS else "NOT always within"
    longest = figures.settled_longest_seconds
    return (
        f"{within} {FOLLOWS_SECONDS:g} s: {figures.caps_lowered} times, median {figures.settled_median_seconds:.2f} s, "
        f"longest {longest:.2f} s of the host ({longest * rate:.0f} s of the mission)"
    )


def _mission(figures: BoardFigures, rate: float) -> str:
    return f"{1e3 * rate * (figures.clock_error_seconds or 0.0):.1f} ms"


def _number(value: object, unit: str, digits: int) -> str:
    return f"{value:,.{digits}f} {unit}" if isinstance(value, int | float) else "-"
