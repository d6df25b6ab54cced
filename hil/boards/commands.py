"""``skyrack hil scan`` and ``skyrack hil check``."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skyrack.errors import UserError

if TYPE_CHECKING:
    from hil.boards.scan import Scan

_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")


@click.command()
@click.argument("address", default="local")
@click.option("--write", type=click.Path(path_type=Path, dir_okay=False), help="Write a bench file that suits.")
@click.option("--bus", "buses", type=int, multiple=True, help="Ask on this I2C bus too, though it is the computer's.")
@click.option("--python", default="", help="Python with Skyrack on the board. [default: what `provision` installs]")
@_json
def scan(address: str, write: Path | None, buses: tuple[int, ...], python: str, as_json: bool) -> None:
    """Find what is here, or on the board at ADDRESS (ssh://user@host): sensors, buses, chips, lines, permissions.

    Nothing is changed. With --write, a bench file is written that `skyrack hil check` accepts.
    """
    import msgspec

    from hil.boards.present_checks import show_scan
    from hil.boards.suggest import suggest

    if write is not None and write.exists():
        raise UserError(f"--write {write}: is there already; name another file")
    found = _scan(address, buses, python)
    if as_json:
        _print(msgspec.to_builtins(found))
    else:
        show_scan(found)
    suggestion = suggest(found, address, write.stem if write is not None else "mine")
    if write is not None:
        try:
            write.write_text(suggestion, encoding="utf-8")
        except OSError as error:
            raise UserError(f"--write {write}: cannot be written ({error.strerror})") from None
        click.echo(f"{write} is written; look it over, then: skyrack hil check {write}", err=True)
    elif not as_json:
        click.echo("\nA bench file that suits (--write FILE writes it):\n")
        click.echo(suggestion, nl=False)


def _scan(address: str, buses: tuple[int, ...], python: str) -> Scan:
    import msgspec

    from hil.boards.address import parse_address
    from hil.boards.client import Place, connected
    from hil.boards.scan import Scan
    from hil.boards.scan import scan as look
    from hil.devices.host import Host

    try:
        here = parse_address(address) is None
    except ValueError as error:
        raise UserError(f"{address}: {error}") from None
    if here:
        return look(Host(), buses)

    async def ask() -> Scan:
        async with connected(Place(address, address, python)) as agent:
            answer = await agent.ask("scan", seconds=60.0, buses=list(buses))
        return msgspec.convert({key: value for key, value in answer.items() if key != "received"}, Scan)

    return asyncio.run(ask())


@click.command()
@click.argument("bench")
@click.option("--board", "boards", multiple=True, help="Only this board; may be given again.")
@click.option(
    "--seconds", default=5.0, show_default=True, type=click.FloatRange(0.0, 86400.0), help="How long to look."
)
@click.option("--exercise", is_flag=True, help="Switch loads and heaters and turn servos too, and put them back.")
@_json
def check(bench: str, boards: tuple[str, ...], seconds: float, exercise: bool, as_json: bool) -> None:
    """Read and exercise each device of BENCH, a file or the name of a shipped one.

    Throttles are stepped and fans spun, and put back. The exit code is 1 when a device cannot be flown with.
    """
    import msgspec

    from hil.boards import check as checking
    from hil.boards.file import load_bench_and_designs
    from hil.boards.present_checks import show_check, watching
    from skyrack import files, logging

    path = files.find("benches", bench)
    read = checking.Bench(path, *load_bench_and_designs(path))
    logging.silence()
    with watching(quiet=as_json) as tell:
        views = asyncio.run(checking.examine(read, boards, seconds, "all" if exercise else "safe", tell))
    good = all(view.good for view in views)
    if as_json:
        _print(
            {
                "bench": read.file.name,
                "good": good,
                "boards": [
                    {
                        "board": view.name,
                        "address": view.address,
                        "satellite": view.satellite,
                        "rack_node": view.rack_node,
                        "good": view.good,
                        "problem": view.problem,
                        "notes": view.notes,
                        "devices": [{**msgspec.to_builtins(row), "verdict": row.verdict} for row in view.rows],
                    }
                    for view in views
                ],
            }
        )
    else:
        show_check(views)
    sys.exit(0 if good else 1)


def _print(value: Any) -> None:
    json.dump(value, sys.stdout, indent=1, ensure_ascii=False)
    sys.stdout.write("\n")
