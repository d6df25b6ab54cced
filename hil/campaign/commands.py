"""``skyrack hil campaign``."""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from skyrack import files
from skyrack.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hil.campaign.file import Campaign
    from hil.campaign.result import RunResult
    from hil.campaign.summary import Summary
    from hil.faults import Fault


@click.command()
@click.argument("campaign_file", metavar="FILE")
@click.option("--seeds", default=26, show_default=True, type=click.IntRange(1), help="How many runs.")
@click.option(
    "--first", default=0, show_default=True, type=click.IntRange(0), metavar="SEED", help="Seed of the first."
)
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1, 256), help="Processes that fly.")
@click.option(
    "--faults",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="TOML file of faults that strike every run in place of those drawn.",
)
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Write a report with pictures.")
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep fault files of what broke here, each at once.",
)
@click.option(
    "--table", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Put the table into a page."
)
@click.option("--no-minimise", is_flag=True, help="Tell what broke as it was drawn.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
def campaign(
    campaign_file: str,
    seeds: int,
    first: int,
    workers: int,
    faults: Path | None,
    html: Path | None,
    keep: Path | None,
    table: Path | None,
    no_minimise: bool,
    as_json: bool,
) -> None:
    """Fly seeded runs under faults in the twin, and judge them: FILE is a campaign file, or a shipped one's name.

    Exit code 0 says that every invariant held in every run; 1, that one was broken; 130, that the campaign was
    interrupted, and what there was is shown. A broken run is reduced to the fewest and simplest faults that break it.
    """
    from hil.campaign.file import load_campaign
    from hil.campaign.present import as_plain, show, watching
    from hil.campaign.summary import summarise
    from hil.faults import load_faults

    flown = load_campaign(files.find("campaigns", campaign_file))
    given = load_faults(faults) if faults is not None else None
    for path in (html, table):
        if path is not None and not path.absolute().parent.is_dir():
            raise UserError(f"{path}: there is no directory {path.parent}")
    results: list[RunResult] = []
    interrupted = False
    with watching(seeds, quiet=as_json) as tell:
        try:
            _fly(flown, range(first, first + seeds), given, workers, keep, results, tell)
        except KeyboardInterrupt:
            interrupted = True
    kinds = [kind.kind for kind in flown.file.kinds]
    kinds += sorted({fault.kind for result in results for fault in result.faults} - set(kinds))
    summary = summarise(flown.file.name, kinds, first, results)
    if not as_json:
        show(summary)
    minimal: dict[int, list[str]] = {}
    if summary.broken and not interrupted:
        minimal = _minimise(flown, summary, keep, quiet=as_json, as_drawn=no_minimise)
    if html is not None:
        from hil.campaign.html import write_report

        write_report(html, flown, summary, results, minimal)
    if table is not None:
        _write_table(table, summary)
    if as_json:
        plain = as_plain(summary)
        plain |= {"seeds": seeds, "interrupted": interrupted, "replay": minimal}
        json.dump(plain, sys.stdout, indent=1)
        sys.stdout.write("\n")
    sys.exit(130 if interrupted else int(bool(summary.broken)))


def _fly(
    flown: Campaign,
    seeds: Sequence[int],
    given: tuple[Fault, ...] | None,
    workers: int,
    keep: Path | None,
    results: list[RunResult],
    tell: Callable[[RunResult], None],
) -> None:
    from hil.campaign.pool import Task, run_all

    tasks = [Task(seed, given) for seed in seeds]
    with contextlib.closing(run_all(flown, tasks, min(workers, len(tasks)))) as coming:
        for result in coming:
            results.append(result)
            tell(result)
            if keep is not None and result.is_broken:
                # At once: a campaign may take hours, or be ended.
                _keep(flown, keep, result, result.faults)


def _keep(flown: Campaign, directory: Path, result: RunResult, faults: tuple[Fault, ...]) -> Path:
    from hil.campaign.faultfile import write_faults

    path = directory / f"{flown.file.name}-{result.seed}.toml"
    about = "\n".join([f"seed {result.seed} of {flown.file.name} broke:", *map(str, result.breaches)])
    write_faults(path, faults, about)
    return path


MOST_MINIMISED = 10
"""Runs that are reduced; those after them are told as they were drawn."""


def _minimise(
    flown: Campaign, summary: Summary, keep: Path | None, *, quiet: bool, as_drawn: bool
) -> dict[int, list[str]]:
    """The fewest faults that break each broken run, as files; what to type, by seed."""
    from hil.campaign.draw import draw_impairments
    from hil.campaign.present import replay_commands

    directory = keep or Path(tempfile.mkdtemp(prefix="skyrack-campaign-"))
    told: dict[int, list[str]] = {}
    for number, result in enumerate(summary.broken):
        least = result.faults
        if not as_drawn and number < MOST_MINIMISED:
            if not quiet:
                click.echo(f"seed {result.seed}: looking for the fewest faults that break it", err=True)
            least = _least(flown, result)
        path = _keep(flown, directory, result, least)
        drawn = draw_impairments(flown, result.seed)
        loss = (drawn.loss_ratio, drawn.duplication_ratio, drawn.reordering_ratio)
        told[result.seed] = list(replay_commands(flown, result.seed, path, loss=loss))
        if not quiet:
            click.echo(f"seed {result.seed} with {len(least)} of {len(result.faults)} faults, in {path}:")
            click.echo(f"  {told[result.seed][0]}\n  {told[result.seed][1]}")
    return told


def _least(flown: Campaign, result: RunResult) -> tuple[Fault, ...]:
    from hil.campaign.minimise import minimise
    from hil.campaign.pool import Task, run_all

    wanted = {breach.invariant for breach in result.breaches}

    def breaks(faults: tuple[Fault, ...]) -> bool:
        with contextlib.closing(run_all(flown, [Task(result.seed, faults)], 1)) as coming:
            return any(wanted & {breach.invariant for breach in again.breaches} for again in coming)

    return minimise(result.faults, breaks)


def _write_table(path: Path, summary: Summary) -> None:
    from hil.campaign.page import with_table

    today = datetime.now(tz=UTC).date().isoformat()  # a page says when it was measured; nothing is decided by it
    typed = f"skyrack hil campaign {summary.campaign} --seeds {summary.runs}"
    if summary.first_seed:
        typed += f" --first {summary.first_seed}"
    try:
        path.write_text(with_table(path.read_text(encoding="utf-8"), summary, typed, today), encoding="utf-8")
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None
