"""How a campaign looks on a terminal, and as JSON."""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hil.campaign.file import Campaign
    from hil.campaign.result import RunResult
    from hil.campaign.summary import Spread, Summary

HOUR = 3600.0


@contextlib.contextmanager
def watching(runs: int, *, quiet: bool) -> Iterator[Callable[[RunResult], None]]:
    """What broke, on standard error, under a progress bar unless ``quiet``; yields what to tell of each ended run."""
    bar = Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[broken]} broken"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=quiet,
    )
    with bar:
        task = bar.add_task("flying", total=runs, broken=0)
        broken = 0

        def tell(result: RunResult) -> None:
            nonlocal broken
            broken += result.is_broken
            bar.update(task, advance=1, broken=broken)
            if result.is_broken:
                text = f"seed {result.seed} ({result.kind}): {'; '.join(map(str, result.breaches))}"
                bar.console.print(text, highlight=False, markup=False, soft_wrap=True)

        yield tell


def show(summary: Summary) -> None:
    """Print the table, and what broke."""
    console = Console()
    title = f"{summary.campaign}: {summary.runs} runs from seed {summary.first_seed}"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for heading in (
        "fault",
        "flown",
        "detected",
        "contained",
        "recovered",
        "after its end",
        "unseen",
        "work lost",
        "broken",
    ):
        table.add_column(heading, justify="left" if heading == "fault" else "right")
    for row in summary.kinds:
        table.add_row(
            row.kind,
            str(row.faults),
            spread_text(row.detected),
            spread_text(row.contained),
            spread_text(row.recovered),
            spread_text(row.recovered_since_end),
            str(row.undetected),
            seconds_text(row.work_lost_seconds),
            str(row.broken) if not row.broken else f"[bold red]{row.broken}[/]",
        )
    console.print(table)
    console.print(
        "times: median, worst, after the fault began, or after its end; work lost: the most in one run", style="dim"
    )
    for row in summary.kinds:
        if row.limits_crossed:
            crossed = ", ".join(f"{name} in {count}" for name, count in row.limits_crossed)
            console.print(f"red limits crossed under {row.kind}: {crossed}", highlight=False)
    console.print(
        f"{summary.mission_seconds / HOUR:,.0f} h flown, {sum(summary.jobs.values()):,} jobs, "
        f"{summary.commands:,} telecommands; {len(summary.broken)} of {summary.runs} runs broke an invariant"
    )
    for result in summary.broken:
        console.print(f"seed {result.seed} ({result.kind}):", highlight=False)
        for breach in result.breaches:
            console.print(f"  {breach}", highlight=False, soft_wrap=True)


def spread_text(spread: Spread) -> str:
    """Median and worst, such as ``12 s, 80 s``."""
    if spread.median is None or spread.worst is None:
        return "-"
    return f"{seconds_text(spread.median).removesuffix(' s')}, {seconds_text(spread.worst)}"


def seconds_text(seconds: float) -> str:
    """With a unit, and no more digits than matter."""
    return f"{seconds:.1f} s" if 0 < seconds < 10 else f"{seconds:,.0f} s"


def replay_commands(campaign: Campaign, seed: int, file: Path, *, loss: tuple[float, float, float]) -> tuple[str, str]:
    """What to type to judge a run again, and to fly its faults alone."""
    named = shlex.quote(str(campaign.source if campaign.source.is_absolute() else Path(campaign.source)))
    judged = f"skyrack hil campaign {named} --seeds 1 --first {seed} --faults {shlex.quote(str(file))}"
    hours = campaign.file.run_seconds / HOUR
    flown = (
        f"skyrack twin --constellation {shlex.quote(str(campaign.constellation_path))} "
        f"--satellites {campaign.file.satellites} --hours {hours:g} --seed {seed} "
        f"--jobs-per-hour {campaign.file.workload.jobs_per_hour:g} "
    )
    for option, ratio in zip(("--loss", "--duplication", "--reordering"), loss, strict=True):
        flown += f"{option} {ratio:g} " if ratio else ""
    return judged, f"{flown}--faults {shlex.quote(str(file))}"


def as_plain(summary: Summary) -> dict[str, Any]:
    """For JSON: without the pictures' data."""
    plain = dataclasses.asdict(dataclasses.replace(summary, broken=()))
    plain["broken"] = [run_as_plain(result) for result in summary.broken]
    return plain


def run_as_plain(result: RunResult) -> dict[str, Any]:
    """A run for JSON."""
    return {
        "seed": result.seed,
        "kind": result.kind,
        "faults": msgspec.to_builtins(result.faults),
        "breaches": [dataclasses.asdict(breach) for breach in result.breaches],
        "outcomes": [dataclasses.asdict(outcome) for outcome in result.outcomes],
        "jobs": result.jobs,
        "digest": result.digest,
        "host_seconds": result.host_seconds,
    }
