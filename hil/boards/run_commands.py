"""``skyrack hil run BENCH``."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from skyrack.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hil.boards.bench_run import BenchRun, BenchSettings, BenchView
    from hil.sil.instance import Instance


@click.command()
@click.argument("bench")
@click.option(
    "--seconds", type=click.FloatRange(min=0, min_open=True), help="Mission seconds to fly; else until Ctrl-C."
)
@click.option("--orbits", type=click.FloatRange(min=0, min_open=True), help="Orbits to fly, of the first satellite.")
@click.option("--rate", type=click.FloatRange(0.1, 1000), help="Mission seconds per second; else the bench file's.")
@click.option("--name", default="", help="Name of the run: its directory below .skyrack. [default: the bench's name]")
@click.option(
    "--jobs",
    "jobs",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Job file to submit when all is up; may be given again.",
)
@click.option("--faults", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="TOML file of faults.")
@click.option("--http-port", default=0, type=click.IntRange(0, 65535), help="Port of the ground; 0 takes a free one.")
@click.option(
    "--record",
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    help="Keep every message of the satellites that fly on this computer in this file.",
)
@click.option("--picture", type=click.Path(path_type=Path, dir_okay=False), help="Draw the flight into this file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
def run(
    bench: str,
    seconds: float | None,
    orbits: float | None,
    rate: float | None,
    name: str,
    jobs: tuple[Path, ...],
    faults: Path | None,
    http_port: int,
    record: Path | None,
    picture: Path | None,
    as_json: bool,
) -> None:
    """Fly a bench: plant and ground on this computer, flight services on the boards of BENCH.

    BENCH is a file, or the name of a shipped one. Ctrl-C ends it, and so does `skyrack down`. The exit code is 1 when
    something broke.
    """
    from hil.boards.bench_run import BenchSettings
    from hil.boards.file import load_bench_and_designs
    from hil.boards.run_present import show_report
    from hil.sil.instance import Instance
    from hil.supervisor import SupervisorError
    from skyrack import files

    path = files.find("benches", bench).resolve()
    found, constellation, _ = load_bench_and_designs(path)
    if seconds is not None and orbits is not None:
        raise UserError("--seconds and --orbits say the same thing: give one of them")
    if orbits is not None:
        seconds = orbits * _period_seconds(constellation.satellites[0].altitude_meters)
    if picture is not None and picture.suffix not in (".svg", ".png"):
        raise UserError(f"--picture {picture}: its name must end with .svg or .png")
    settings = BenchSettings(path, rate, http_port, jobs, record, faults)
    instance = Instance.named(name or found.name)
    try:
        flown, view, problem = asyncio.run(_fly(instance, settings, seconds, as_json=as_json))
    except SupervisorError as error:
        raise click.ClickException(str(error)) from None
    except (asyncio.CancelledError, KeyboardInterrupt):
        click.echo("interrupted before all was up; everything was ended", err=True)
        sys.exit(130)
    if picture is not None:
        _draw(flown, view, picture)
    show_report(flown, view, problem, as_json=as_json)
    sys.exit(1 if problem else 0)


async def _fly(
    instance: Instance, settings: BenchSettings, seconds: float | None, *, as_json: bool
) -> tuple[BenchRun, BenchView, str]:
    from hil.boards.bench_run import fly
    from hil.boards.run_present import say_up, watching

    task = asyncio.current_task()
    ended = False

    def end() -> None:
        # Once: what is being ended is not to be interrupted.
        nonlocal ended
        if not ended and task is not None:
            ended = True
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, end)
    with contextlib.ExitStack() as stack:

        def up(bench_run: BenchRun) -> Callable[[BenchView], None]:
            if not as_json:
                say_up(bench_run)
            return stack.enter_context(watching(quiet=as_json))

        return await fly(instance, settings, seconds, up)


def _draw(flown: BenchRun, view: BenchView, path: Path) -> None:
    from hil.boards.figures import figures_of
    from hil.boards.run_picture import draw
    from hil.boards.samples import together

    board = view.boards[0]
    figures = figures_of(board, flown.samples)
    samples = together([sample for sample in flown.samples if sample.satellite == board.satellite])
    title = (
        f"{flown.bench.name} at {flown.running.system.settings.rate:g}x, {board.hello.get('model', os.uname().machine)}"
    )
    scale = next(each.watts_scale for each in flown.bench.boards if each.name == board.name)
    draw(samples, path, title, figures.how or "silent", f"(1 W is {scale:g} W)")


def _period_seconds(altitude_meters: float) -> float:
    """Period of a circular orbit: 2 pi sqrt(a^3 / mu), WGS 84's mu and equatorial radius."""
    semi_major = 6_378_137.0 + altitude_meters
    return float(2.0 * 3.141592653589793 * (semi_major**3 / 3.986004418e14) ** 0.5)
