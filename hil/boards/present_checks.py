"""How a scan and a check look on a terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from hil.boards.check import BoardView
from hil.boards.scan import Scan
from hil.boards.scan_i2c import FoundBus, FoundChip
from hil.boards.watched import Row

_STYLES = {"good": "green", "stale": "yellow", "absent": "red"}
GIBI = 1 << 30


@contextlib.contextmanager
def watching(*, quiet: bool) -> Iterator[Callable[[Sequence[BoardView]], None]]:
    """A live picture on a terminal, and nothing elsewhere; the last one is printed by :func:`show_check`."""
    console = Console()
    if quiet or not console.is_terminal:
        yield lambda _views: None
        return
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        yield lambda views: live.update(picture(views))


def show_check(views: Sequence[BoardView]) -> None:
    """Print how it ended."""
    Console().print(picture(views))


def picture(views: Sequence[BoardView]) -> Group:
    """Boards with their devices."""
    parts: list[Table | Text | str] = []
    for view in views:
        parts.append(_table(view))
        parts += [Text(f"  {row.problem}", style="red") for row in view.rows if row.problem]
        parts += [
            Text(f"  {row.device}: {row.exercise}", style="red" if row.failed else "")
            for row in view.rows
            if row.exercise
        ]
        if view.problem:
            parts.append(Text(f"  {view.problem}", style="red"))
        parts += [Text(f"  note: {note}", style="yellow") for note in view.notes]
        parts.append("")
    return Group(*parts)


def _table(view: BoardView) -> Table:
    title = f"{view.name} ({view.address})" + (f", {view.serves}" if view.serves else "")
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for heading in ("device", "measured by", "reading", "noise", "period", "read in", "verdict"):
        figures = heading in {"noise", "period", "read in"}
        table.add_column(heading, justify="right" if figures else "left", no_wrap=heading != "measured by")
    for row in view.rows:
        table.add_row(
            row.device,
            row.how or row.driver,
            _reading(row),
            f"{row.noise:.2g} {row.unit}" if row.noise is not None else "",
            _seconds(row.period_seconds),
            _seconds(row.read_seconds),
            Text(row.verdict, style="red" if row.failed else _STYLES[row.quality]),
        )
    return table


def _reading(row: Row) -> str:
    plain = row.value is not None and row.text == f"{row.value:.4g}"
    return f"{row.text} {row.unit}".strip() if plain else row.text


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return ""
    for factor, unit in ((1.0, "s"), (1e3, "ms")):
        if seconds * factor >= 1.0:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def show_scan(scan: Scan) -> None:
    """Print what was found."""
    console = Console()
    console.print(f"[bold]{scan.hostname}[/]: {scan.model}, Linux {scan.kernel}, {scan.machine}", highlight=False)
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for what, lines in _found(scan):
        for index, line in enumerate(lines):
            table.add_row(what if index == 0 else "", Text(line))
    console.print(table)
    for problem in scan.problems:
        console.print(Text(problem, style="yellow"))


def _found(scan: Scan) -> Iterator[tuple[str, list[str]]]:
    memory = f", {scan.memory_bytes / GIBI:.1f} GiB" if scan.memory_bytes else ""
    yield "processor", [f"{scan.cores} cores{memory}"]
    yield (
        "frequency",
        [
            f"{item.policy}: cores {item.cpus}, {item.minimum_hertz / 1e6:.0f} to {item.maximum_hertz / 1e6:.0f} MHz, "
            f"{item.driver}, {item.governor}"
            for item in scan.cpufreq
        ],
    )
    yield (
        "powercap",
        [
            f"{item.zone}: {item.name}" + (f", limit {item.limit_watts:g} W" if item.limit_watts else "")
            for item in scan.powercap
        ],
    )
    yield "temperature", [f"{item.kind}: {_number(item.celsius, '°C')}" for item in scan.thermal_zones]
    yield (
        "hwmon",
        [
            f"{chip.name}{f' at {chip.place}' if chip.place else ''}: "
            + (
                ", ".join(f"{each.label or each.name} {_number(each.value, each.unit)}" for each in chip.channels)
                or "-"
            )
            for chip in scan.hwmon
        ],
    )
    yield "I2C", [line for bus in scan.i2c for line in _bus(bus)]
    yield "1-Wire", list(scan.one_wire)
    for what, items in (
        ("GPIO", scan.gpiochips),
        ("PWM", scan.pwmchips),
        ("watchdog", scan.watchdogs),
        ("clock", scan.clocks),
        ("supply", scan.power_supplies),
        ("devfreq", scan.devfreq),
    ):
        yield what, [f"{item.name}{f': {item.what}' if item.what else ''}" for item in items]
    yield "GPU", [f"{gpu.index}: {gpu.name}" for gpu in scan.gpus]
    firmware = [("Raspberry Pi (/dev/vcio)", scan.firmware), ("Jetson power modes (nvpmodel)", scan.nvpmodel)]
    yield "firmware", [text for text, there in firmware if there]


def _bus(bus: FoundBus) -> Iterator[str]:
    yield f"i2c-{bus.number}{f' ({bus.name})' if bus.name else ''}: {bus.problem or f'{len(bus.chips)} answer'}"
    for chip in bus.chips:
        yield f"  0x{chip.address:02x}  {_chip(chip)}"


def _chip(chip: FoundChip) -> str:
    if chip.kernel_driver:
        return f"{chip.chip or 'in use'}, served by the kernel's driver {chip.kernel_driver}"
    if not chip.chip:
        return "somebody that no driver here knows"
    return f"{chip.chip}, says so itself" if chip.certain else f"could be {chip.chip}"


def _number(value: float | None, unit: str) -> str:
    return f"{value:.4g} {unit}" if value is not None else "cannot be read"
