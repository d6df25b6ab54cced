"""Commands of the bench: ``up``, ``run``, ``down``, ``twin``, ``hil``, ``bench``."""

from __future__ import annotations

import dataclasses
import importlib
import json
import math
import os
import sys
from pathlib import Path
from typing import Any

import click

from skyrack.errors import UserError


class _Number(click.FloatRange):
    """A number in a range; nan and inf, which slip through ranges, are none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is no finite number", param, ctx)
        return number


_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
_constellation = click.option(
    "--constellation", default="demo", show_default=True, help="Constellation file, or the name of a shipped one."
)


@click.command()
@_constellation
@click.option("--hours", default=24.0, show_default=True, type=_Number(min=0, min_open=True))
@click.option("--seed", default=0, show_default=True, help="Equal seeds give equal runs, to the last bit.")
@click.option("--satellites", type=click.IntRange(min=1), help="Fly only the first so many.")
@click.option("--jobs-per-hour", default=4.0, show_default=True, type=_Number(min=0, min_open=True))
@click.option("--loss", default=0.0, show_default=True, type=_Number(0, 0.9), help="Frames lost, of 1.")
@click.option("--duplication", default=0.0, show_default=True, type=_Number(0, 0.9), help="Frames doubled.")
@click.option("--reordering", default=0.0, show_default=True, type=_Number(0, 0.9), help="Frames overtaken.")
@click.option(
    "--faults", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="TOML file of faults to bring on."
)
@click.option(
    "--record", type=click.Path(path_type=Path, dir_okay=False, writable=True), help="Keep every message in this file."
)
@click.option(
    "--picture", type=click.Path(path_type=Path, dir_okay=False), help="Draw the flight into this .svg or .png file."
)
@_json
def twin(
    constellation: str,
    hours: float,
    seed: int,
    satellites: int | None,
    jobs_per_hour: float,
    loss: float,
    duplication: float,
    reordering: float,
    faults: Path | None,
    record: Path | None,
    picture: Path | None,
    as_json: bool,
) -> None:
    """Fly a whole constellation in virtual time, in this process: a day takes minutes, and can be replayed."""
    from hil.faults import load_faults
    from hil.twin.present import show_report, watching
    from hil.twin.run import Flight, fly
    from hil.twin.workload import Workload
    from hil.twin.world import TwinSettings
    from skyrack import files
    from skyrack.backhaul.memory import Impairments
    from skyrack.satellite import load_constellation

    settings = TwinSettings(
        seed=seed,
        impairments=Impairments(loss, duplication, reordering),
        faults=load_faults(faults) if faults is not None else (),
    )
    if picture is not None:
        _check_picture(picture)
    path = files.find("constellations", constellation)
    load_constellation(path)  # what does not add up is said before anything is drawn
    flight = Flight(path, hours, settings, Workload(jobs_per_hour), satellites, record)
    with watching(hours * 3600.0, quiet=as_json) as progress:
        flown = fly(flight, progress)
    report = flown.report
    if picture is not None:
        from hil.twin.picture import draw

        draw(flown, picture)
    if as_json:
        json.dump({**dataclasses.asdict(report), "speed": report.speed}, sys.stdout, indent=1)
        sys.stdout.write("\n")
    else:
        show_report(report)


def _check_picture(path: Path) -> None:
    """What a whole flight later could not be drawn is said now."""
    if path.suffix not in (".svg", ".png"):
        raise UserError(f"--picture {path}: its name must end with .svg or .png")
    if not path.absolute().parent.is_dir():
        raise UserError(f"--picture {path}: there is no directory {path.parent}")


_name = click.option("--name", default="up", show_default=True, help="Name of the run: its directory below .skyrack.")
_rate = click.option(
    "--rate", default=60.0, show_default=True, type=_Number(0.1, 1000), help="Mission seconds per second."
)
_broker = click.option("--broker", default="", help="URL of an MQTT broker; without it an embedded one is started.")


@click.command()
@_constellation
@_name
@_rate
@_broker
@click.option("--http-port", default=0, type=click.IntRange(0, 65535), help="Port of the ground; 0 takes a free one.")
@click.option("--faults", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="TOML file of faults.")
@_json
def up(
    constellation: str, name: str, rate: float, broker: str, http_port: int, faults: Path | None, as_json: bool
) -> None:
    """Bring a constellation up on this machine, and leave it running."""
    from hil.sil import daemon
    from hil.sil.instance import Instance
    from hil.sil.present import say_up, starting
    from hil.sil.system import SystemSettings
    from skyrack import files

    settings = SystemSettings(files.find("constellations", constellation).resolve(), rate, broker, http_port, faults)
    with starting(quiet=as_json) as waiting:
        record = daemon.start(Instance.named(name), settings, waiting)
    say_up(record, as_json=as_json)


@click.command()
@click.option("--name", help="Name of the run; without it, every run below .skyrack that is up.")
@_json
def down(name: str | None, as_json: bool) -> None:
    """End what `skyrack up` started."""
    from hil.sil import daemon
    from hil.sil.instance import live_instances

    ended = []
    for instance in live_instances():
        if name in (None, instance.name):
            daemon.stop(instance)
            ended.append(instance.name)
    if as_json:
        json.dump({"ended": ended}, sys.stdout)
        sys.stdout.write("\n")
    else:
        click.echo(f"ended: {', '.join(ended)}" if ended else "nothing is up here")


@click.command()
@_constellation
@_rate
@_broker
@click.option("--name", help="Name of the run. [default: run-<process id>]")
@click.option(
    "--limit", default=170.0, show_default=True, type=_Number(min=1), help="Longest time it may take, seconds."
)
@_json
def run(constellation: str, rate: float, broker: str, name: str | None, limit: float, as_json: bool) -> None:
    """Fly a small constellation through an eclipse, run real jobs on it, and show what came back."""
    import asyncio

    from hil.sil.demo import Demo, demonstrate
    from hil.sil.instance import Instance
    from hil.sil.system import SystemSettings
    from hil.sil.watch import show_outcome, watching
    from hil.supervisor import SupervisorError
    from skyrack import files

    settings = SystemSettings(files.find("constellations", constellation).resolve(), rate, broker)
    instance = Instance.named(name or f"run-{os.getpid()}")
    try:
        with watching(quiet=as_json) as show:
            outcome = asyncio.run(demonstrate(instance, settings, Demo.shipped(limit), show))
    except (asyncio.CancelledError, KeyboardInterrupt):
        click.echo("interrupted; everything was ended", err=True)
        sys.exit(130)
    except SupervisorError as error:
        raise click.ClickException(str(error)) from None
    show_outcome(outcome, as_json=as_json)
    sys.exit(1 if outcome.problem else 0)


BENCHES = ("bus", "plant", "twin", "footprint", "drivers")
GROUND = "ground"


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--only", multiple=True, metavar="PART", help="Of ground: only this part; may be given again.")
@click.option("--jobs", default=10_000, show_default=True, type=click.IntRange(1), help="Of ground exactly-once.")
@click.option("--batches", default=100_000, show_default=True, type=click.IntRange(0), help="Of ground exactly-once.")
@click.option(
    "--kill-seconds", default=10.0, show_default=True, type=_Number(min=0.5), help="Mean time between its kills."
)
@click.option("--seed", default=0, show_default=True, help="Of what ground does at random.")
@_json
def bench(
    names: tuple[str, ...],
    only: tuple[str, ...],
    jobs: int,
    batches: int,
    kill_seconds: float,
    seed: int,
    as_json: bool,
) -> None:
    """Measure bus, plant, twin, footprint, drivers or ground, each beside its baseline in the same run.

    Without a NAME all but ground are measured, which takes longer than the others together. The exit code is 1 when
    something was lost.
    """
    from hil.bench import ground as ground_bench
    from hil.bench.present import show_bench

    for name in names:
        if name not in (*BENCHES, GROUND):
            raise click.BadParameter(f"there is no bench {name}; there are {', '.join((*BENCHES, GROUND))}")
    for part in only:
        if part not in ground_bench.PARTS:
            raise click.BadParameter(f"ground has no part {part}; it has {', '.join(ground_bench.PARTS)}")
    options = ground_bench.Options(jobs=jobs, batches=batches, kill_seconds=kill_seconds, seed=seed)
    found: dict[str, Any] = {}
    for name in names or BENCHES:
        click.echo(f"measuring {name}", err=True)
        if name == GROUND:
            found[name] = ground_bench.measure(only, options, lambda text: click.echo(text, err=True))
        else:
            found[name] = importlib.import_module(f"hil.bench.{name}").run_bench()
        if not as_json:
            show_bench(name, found[name])
    if as_json:
        json.dump(found, sys.stdout, indent=1)
        sys.stdout.write("\n")
    sys.exit(int(any(part.get("lost") for part in found.get(GROUND, {}).values())))
