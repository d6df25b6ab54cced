"""How a twin run looks on a terminal."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hil.fault_watch import FaultOutcome
    from hil.twin.observe import TwinReport
    from hil.twin.run import Progress as Tell
    from hil.twin.world import World

HOUR = 3600.0


@contextlib.contextmanager
def watching(mission_seconds: float, *, quiet: bool) -> Iterator[Tell]:
    """A progress bar on standard error; yields what to tell it."""
    bar = Progress(
        TextColumn("[bold]{task.fields[hours]:>6.2f} h"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[speed]:,.0f}x real time"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        disable=quiet,
    )
    with bar:
        task = bar.add_task("flying", total=mission_seconds, hours=0.0, speed=0.0)

        def tell(seconds: float, _world: World) -> None:
            elapsed = bar.tasks[0].elapsed or 0.0
            bar.update(task, completed=seconds, hours=seconds / HOUR, speed=seconds / elapsed if elapsed else 0.0)

        yield tell


def show_report(report: TwinReport) -> None:
    """Print a run's report."""
    console = Console()
    title = f"{report.constellation}, seed {report.seed}, {report.mission_seconds / HOUR:g} h"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for heading in ("satellite", "sunlit", "laser", "antenna", "min charge", "max chip", "compute"):
        table.add_column(heading, justify="left" if heading == "satellite" else "right", no_wrap=True)
    for row in report.satellites:
        table.add_row(
            row.satellite,
            f"{row.sunlit_ratio:.1%}",
            f"{row.optical_ratio:.1%}",
            f"{row.antenna_ratio:.1%}",
            f"{row.lowest_state_of_charge_ratio:.1%}",
            f"{row.hottest_chip_celsius:.1f} °C",
            f"{row.compute_joules / 3.6e6:.2f} kWh",
        )
    console.print(table)
    if report.faults:
        console.print(faults_table(report.faults))
    fates = ", ".join(f"{count} {state.lower()}" for state, count in report.jobs.items()) or "none"
    console.print(f"jobs: {fates}; {report.preemptions} preemptions")
    console.print(f"{report.messages:,} messages in {report.host_seconds:.1f} s: {report.speed:,.0f}x real time")
    console.print(f"digest {report.digest}", soft_wrap=True)


def faults_table(outcomes: Sequence[FaultOutcome]) -> Table:
    """What became of faults, one a row."""
    table = Table(title="faults", title_justify="left", box=None, pad_edge=False, header_style="bold")
    for heading in ("at", "fault", "satellite", "detected", "contained", "recovered", "work lost", "by"):
        table.add_column(heading, justify="left" if heading in {"fault", "satellite", "by"} else "right")
    for outcome in outcomes:
        after = (outcome.detected_after, outcome.contained_after, outcome.recovered_after)
        table.add_row(
            f"{outcome.began:,.0f} s",
            f"{outcome.kind} {outcome.target}".strip(),
            outcome.satellite,
            *("never" if seconds is None else f"{seconds:,.0f} s" for seconds in after),
            f"{outcome.work_lost_seconds:,.0f} s",
            outcome.detected_by,
        )
    return table
