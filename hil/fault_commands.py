"""``skyrack hil fault``: bring a fault on in a run that is up, mend it, or list the faults there are."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any, cast

import click

from skyrack.errors import UserError

if TYPE_CHECKING:
    from hil.faults import Run

POLL_SECONDS = 0.2
COMMON = ("at_seconds", "duration_seconds", "satellite")


@click.command()
@click.argument("run", required=False, metavar="[RUN_OR_BENCH]")
@click.argument("kind", required=False, metavar="[KIND]")
@click.option("--list", "is_list", is_flag=True, help="List the kinds, or what is on in RUN_OR_BENCH.")
@click.option("--satellite", default="", help='Whom it strikes; "ground" and "broker" where a process is meant.')
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A parameter of the kind; again for more.")
@click.option(
    "--for",
    "seconds",
    type=click.FloatRange(min=0.0, min_open=True),
    help="Mend it after so many mission seconds. Without it, it stays until --end.",
)
@click.option("--wait", is_flag=True, help="With --for: come back when it has ended.")
@click.option("--end", "is_end", is_flag=True, help="Mend what was brought on: of KIND and --satellite, or all.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
def fault(
    run: str | None,
    kind: str | None,
    is_list: bool,
    satellite: str,
    settings: tuple[str, ...],
    seconds: float | None,
    wait: bool,
    is_end: bool,
    as_json: bool,
) -> None:
    """Bring a fault on in a run that is up.

    RUN_OR_BENCH is the name of a run that `up`, `run` or `hil run` keeps, KIND one of `--list`:

        skyrack hil fault up pump-stop --satellite sat-1 --for 300
    """
    if is_list and run is None:
        _list_kinds(as_json=as_json)
        return
    directory = _sockets_of(run)
    from hil.fault_control import ask

    if is_list:
        told = ask(directory, {"do": "list"})
    elif is_end:
        told = ask(directory, {"do": "end", "kind": kind or "", "satellite": satellite})
    else:
        table = _table(kind, satellite, settings, seconds)
        told = ask(directory, {"do": "begin", "fault": table})
        while wait and seconds is not None and told[0] in ask(directory, {"do": "list"}):
            time.sleep(POLL_SECONDS)
    if as_json:
        json.dump(told, sys.stdout, indent=1)
        sys.stdout.write("\n")
        return
    for one in told:
        click.echo(_sentence(one, is_end=is_end or wait))
    if not told:
        click.echo("no fault is on")


def _sentence(one: dict[str, Any], *, is_end: bool) -> str:
    what = f"{one['kind']} {one['target']}".strip()
    if is_end:
        return f"{what} of {one['satellite']} has ended"
    ends = one["ends_seconds"]
    until = "" if ends is None else f", for {ends - one['began_seconds']:g} s of mission time"
    return f"{what} of {one['satellite']} since mission time {one['began_seconds']:.1f} s{until}"


def _table(kind: str | None, satellite: str, settings: tuple[str, ...], seconds: float | None) -> dict[str, Any]:
    """A fault as a file has it; what does not add up is told before anything is asked of the run."""
    from hil.faults import KINDS, parse_faults
    from skyrack.files import suggest

    if kind is None:
        raise UserError(f"which fault? {suggest('', KINDS)}")
    if kind not in KINDS:
        raise UserError(f'"{kind}" is no kind of fault; {suggest(kind, KINDS)}')
    if not satellite:
        raise UserError(f"fault {kind}: whom does it strike? give --satellite")
    known = [name for name in KINDS[kind].__struct_fields__ if name not in COMMON]
    table: dict[str, Any] = {"kind": kind, "satellite": satellite}
    for setting in settings:
        key, separator, value = setting.partition("=")
        if not separator:
            raise UserError(f'--set "{setting}": must be KEY=VALUE, such as {known[0] if known else "key"}=1')
        if key not in known:
            raise UserError(f'--set {key}: fault {kind} has no parameter "{key}"; {suggest(key, known)}')
        table[key] = _value(value)
    missing = [name for name in KINDS[kind].__struct_fields__ if name in _required(kind) and name not in table]
    if missing:
        raise UserError(f"fault {kind}: {missing[0]} is missing; give --set {missing[0]}=…")
    if seconds is not None:
        if not KINDS[kind].lasts:
            raise UserError(f"fault {kind} is over at once; leave --for away")
        table["duration_seconds"] = seconds
    parse_faults([{**table, "at_seconds": 0.0}], "fault")
    return table


def _required(kind: str) -> set[str]:
    import msgspec
    from msgspec import NODEFAULT

    from hil.faults import KINDS

    fields = msgspec.structs.fields(KINDS[kind])
    return {
        field.name
        for field in fields
        if field.default is NODEFAULT and field.default_factory is NODEFAULT and field.name != "at_seconds"
    }


def _value(text: str) -> float | int | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _sockets_of(run: str | None) -> Any:
    from pathlib import Path

    from hil.sil.instance import HOME, Instance, live_instances
    from skyrack.files import suggest

    live = [instance.name for instance in live_instances()]
    if run is None:
        raise UserError(f"which run? {suggest('', live) if live else 'none is up below .skyrack; start one'}")
    if run not in live:
        raise UserError(f'no run "{run}" is up below {HOME.resolve()}; {suggest(run, live)}')
    record = Instance(run, (HOME / run).resolve()).read_record()
    if record is None:
        raise UserError(f"{run} is coming up or going down; try again in a moment")
    return Path(record.run_dir)


def _list_kinds(*, as_json: bool) -> None:
    found = catalogue()
    if as_json:
        json.dump(found, sys.stdout, indent=1)
        sys.stdout.write("\n")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("kind", "what it does", "parameters", "twin", "software", "bench"):
        table.add_column(heading, no_wrap=heading in {"kind", "twin", "software", "bench"})
    for one in found:
        parameters = ", ".join(f"{p['name']} ({p['unit']})" if p["unit"] else p["name"] for p in one["parameters"])
        marks = [{"yes": "yes", "restricted": "partly", "no": "no"}[one["runs"][run]["works"]] for run in RUNS]
        table.add_row(one["kind"], one["description"], parameters, *marks)
    console = Console()
    console.print(table)
    notes = {
        f"{run}: {one['runs'][run]['why']}": one["kind"] for one in found for run in RUNS if one["runs"][run]["why"]
    }
    for note in notes:
        kinds = ", ".join(one["kind"] for one in found for run in RUNS if note == f"{run}: {one['runs'][run]['why']}")
        console.print(f"{kinds} in {note}", style="dim")


RUNS: tuple[Run, ...] = ("twin", "software", "bench")


def catalogue() -> list[dict[str, Any]]:
    """Every kind: what it does, its parameters with units, and where it works, with why not."""
    import msgspec

    from hil.faults import KINDS

    found = []
    for name, kind in KINDS.items():
        info = cast("msgspec.inspect.StructType", msgspec.inspect.type_info(kind))
        parameters = [_parameter(field) for field in info.fields if field.name not in COMMON]
        runs = {
            run: {
                "works": "no" if run in kind.refused else "restricted" if run in kind.restricted else "yes",
                "why": kind.refused.get(run) or kind.restricted.get(run) or "",
            }
            for run in RUNS
        }
        found.append(
            {
                "kind": name,
                "description": (kind.__doc__ or "").strip(),
                "lasts": kind.lasts,
                "parameters": parameters,
                "runs": runs,
            }
        )
    return found


def _parameter(field: Any) -> dict[str, Any]:
    described: dict[str, Any] = {}
    shape = field.type
    while hasattr(shape, "extra_json_schema") or hasattr(shape, "extra"):
        described |= {**(shape.extra_json_schema or {}), **(shape.extra or {})}
        shape = shape.type
    return {
        "name": field.name,
        "unit": described.get("unit", ""),
        "description": described.get("description", ""),
        "required": field.required,
        "default": None if field.required else field.default,
    }
