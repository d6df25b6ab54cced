"""``skyrack record``, ``replay`` and ``diff``: what was published on board, kept, shown again, compared."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from flight.recording import Record


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--run-dir",
    "run_dirs",
    multiple=True,
    required=True,
    metavar="[SATELLITE=]DIR",
    help="Where a satellite's sockets are, once for each satellite, which is named by the directory if not here.",
)
@click.option("--clock", "clock_file", type=click.Path(path_type=Path), help="Clock file of the run; UTC without it.")
def record(file: Path, run_dirs: tuple[str, ...], clock_file: Path | None) -> None:
    """Record what the services of running satellites publish into FILE, until Ctrl-C."""
    from flight.record import record as record_buses
    from flight.recording import Recorder
    from skyrack.clock import Anchor, MissionClock
    from skyrack.errors import UserError

    satellites: dict[str, Path] = {}
    for each in run_dirs:
        name, equals, directory = each.partition("=")
        path = Path(directory if equals else each)
        if not path.is_dir():
            raise UserError(f"--run-dir {path}: there is no such directory; name the one with the satellite's sockets")
        satellites[name if equals else path.resolve().name] = path

    async def main() -> int:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        clock = MissionClock.from_file(clock_file) if clock_file else MissionClock(Anchor.utc())
        recorder = Recorder(file, {"satellites": sorted(satellites)})
        await record_buses(recorder, satellites, clock, stop)
        return recorder.count

    click.echo(f"{file}: {asyncio.run(main())} messages recorded")


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object per message and line.")
@click.option("--message", "wanted", help="Only messages of this name, such as PowerStatus.")
@click.option("--source", help="Only what this service published.")
@click.option("--satellite", help="Only this satellite; with --service, the one whose service is replayed.")
@click.option("--service", help="Replay into this service in virtual time, and print what it publishes.")
@click.option("--constellation", help="With --service: constellation file, when the recording does not name it.")
def replay(
    file: Path,
    as_json: bool,
    wanted: str | None,
    source: str | None,
    satellite: str | None,
    service: str | None,
    constellation: str | None,
) -> None:
    """Print the messages of a recording, or replay it into one service."""
    from flight.recording import read_recording

    def show(record: Record) -> None:
        if wanted not in (None, record.name_and_key()[0]) or source not in (None, record.read_header().source):
            return
        click.echo(_line(record, as_json))

    if service is None:
        for each in read_recording(file):
            if satellite in (None, each.satellite):
                show(each)
        return
    _replay_into(file, service, satellite, constellation, show)


def _replay_into(
    file: Path, service: str, satellite: str | None, constellation: str | None, show: Callable[[Record], None]
) -> None:
    from flight.recording import Record as Message
    from flight.recording import read_about
    from flight.replay import replay_into
    from skyrack import files
    from skyrack.errors import UserError
    from skyrack.logging import silence
    from skyrack.satellite import load_constellation

    name = constellation or read_about(file).get("constellation")
    if not name:
        raise UserError(f"{file}: the recording does not name its constellation; say --constellation FILE")
    flown, designs = load_constellation(files.find("constellations", str(name)))
    satellite = satellite or next(iter(designs))
    if satellite not in designs:
        raise UserError(f"--satellite {satellite}: {files.suggest(satellite, designs)}")
    silence()
    chosen = satellite

    def published(topic: bytes, header: bytes, payload: bytes) -> None:
        show(Message(chosen, topic, header, payload))

    replay_into(service, file, satellite, designs[satellite], flown, published)


def _line(record: Record, as_json: bool) -> str:
    from flight.recording_compare import as_dict, describe

    values = as_dict(record)
    if as_json:
        return json.dumps(values)
    return f"{describe(record)} {json.dumps(values['fields'])}"


@click.command()
@click.argument("left", metavar="A", type=click.Path(path_type=Path))
@click.argument("right", metavar="B", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def diff(context: click.Context, left: Path, right: Path, as_json: bool) -> None:
    """Compare two recordings: the first message that differs, field by field. Exit code 1 when they differ."""
    from flight.recording_compare import as_dict, count_records, describe, first_difference

    found = first_difference(left, right)
    if found is None:
        count = count_records(left)
        click.echo(json.dumps({"equal": True, "messages": count}) if as_json else f"equal: {count} messages")
        return
    if as_json:
        sides = {"left": found.left, "right": found.right}
        click.echo(
            json.dumps(
                {
                    "equal": False,
                    "index": found.index,
                    "fields": {field.name: [field.left, field.right] for field in found.fields},
                    **{side: None if record is None else as_dict(record) for side, record in sides.items()},
                }
            )
        )
    else:
        click.echo(f"message {found.index + 1} is the first that differs")
        click.echo(f"  {left}: {describe(found.left)}")
        click.echo(f"  {right}: {describe(found.right)}")
        for field in found.fields:
            click.echo(f"    {field.name}: {field.left!r} here, {field.right!r} there")
    context.exit(1)
