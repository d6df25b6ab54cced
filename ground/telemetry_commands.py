"""``skyrack telemetry``, ``export`` and ``alarms``."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final

import click
from rich.progress import DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TransferSpeedColumn

from ground import present
from ground.client import SkyrackClient
from ground.client.calls import Call, part
from ground.job_commands import as_json, asking, at_ground
from ground.telemetry_present import alarm, alarms_table, gaps_table, series_lines
from skyrack.dictionary import telemetry_fields
from skyrack.errors import UserError
from skyrack.files import suggest

__all__ = ["alarms", "export", "telemetry"]

_GAPS: Final = "gaps"
_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_STEPS: Final = 100
_TOLD_BYTES: Final = 32 << 20
_FIELDS_MAXIMUM: Final = 20


def seconds_of(text: str) -> float:
    """A time span as a person types it: 90, 90s, 15m, 1h, 2d.

    Raises:
        UserError: it is none.
    """
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([smhd]?)", text.strip().lower())
    if not found or not float(found[1]):
        raise UserError(f'"{text}" is no time span: must be like 90s, 15m, 1h or 2d')
    return float(found[1]) * _UNITS[found[2] or "s"]


def _matches(name: str, wanted: str) -> bool:
    name, wanted = name.lower(), wanted.lower()
    return fnmatch(name, wanted) if any(sign in wanted for sign in "*?[") else wanted in name


@click.command()
@click.argument("satellite", required=False)
@click.argument("fields", nargs=-1)
@click.option("--since", metavar="SPAN", default="", help="Values of the last SPAN of mission time: 90s, 15m, 1h, 2d.")
@click.option("--step", metavar="SPAN", default="", help="With --since: mean, least and greatest of each step.")
@click.option("--plot", "is_plot", is_flag=True, help="With --since: draw the values.")
@as_json
@at_ground
def telemetry(
    satellite: str | None, fields: tuple[str, ...], since: str, step: str, is_plot: bool, is_json: bool, url: str
) -> None:
    """Print the newest telemetry of SATELLITE, or of all; or what it was, --since when.

    FIELDS choose by name, part of a name or pattern: state_of_charge, PowerStatus, "*.draw_watts".

    skyrack telemetry gaps [SATELLITE]... tells what is missing, and what was filled.
    """
    if satellite == _GAPS:
        _gaps(fields, is_json=is_json, url=url)
        return
    for wanted in fields:
        if not any(_matches(name, wanted) for name in telemetry_fields()):
            raise UserError(f'no telemetry field matches "{wanted}"; {suggest(wanted, telemetry_fields())}')
    if since or is_plot or step:
        _history(satellite, fields, since or "1h", step, is_plot=is_plot, is_json=is_json, url=url)
        return
    with asking(url) as client:
        names = [satellite] if satellite else [record["name"] for record in client.satellites()]
        found = [(name, value) for name in names for value in client.telemetry(name)]
    if fields:
        found = [(name, value) for name, value in found if any(_matches(value["field"], field) for field in fields)]
    if is_json:
        present.print_json([{"satellite": name, **value} for name, value in found])
    elif found:
        present.console().print(present.telemetry(found))
    else:
        click.echo(f"nothing of this has been heard from {satellite or 'any satellite'} yet")


def _history(
    satellite: str | None, fields: Sequence[str], since: str, step: str, *, is_plot: bool, is_json: bool, url: str
) -> None:
    if not satellite or not fields:
        raise UserError("values over time are those of fields: name a satellite and at least one field")
    known = [name for name, field in telemetry_fields().items() if field.kind.numeric and not field.label]
    wanted = [name for name in known if any(_matches(name, field) for field in fields)]
    if not wanted:
        raise UserError(f"{', '.join(fields)}: no numbers, and only these have a history")
    if len(wanted) > _FIELDS_MAXIMUM:
        raise UserError(f"{len(wanted)} fields match, at most {_FIELDS_MAXIMUM} can be shown; name fewer")
    span = seconds_of(since)
    width = max(20, shutil.get_terminal_size((100, 24)).columns)
    columns = min(width - 20, _STEPS)
    step_seconds = seconds_of(step) if step else (0.0 if is_json else span / columns)
    with asking(url) as client:
        now = client.health()["mission_time_seconds"]
        found = client.ask(_history_call(satellite, wanted, now - span, now, step_seconds))
    if is_json:
        present.print_json(found)
    elif not found["series"]:
        click.echo(f"nothing of this has been heard from {satellite} in this time")
    else:
        out = present.console()
        for series in found["series"]:
            for line in series_lines(series, found, columns, is_plot=is_plot):
                out.print(line)


def _history_call(satellite: str, fields: Sequence[str], start: float, end: float, step: float) -> Call:
    params = {
        "field": list(fields),
        "start_seconds": start,
        "end_seconds": end,
        "step_seconds": step,
        "limit": 200_000,
    }
    return Call("GET", f"/v1/satellites/{part(satellite)}/telemetry/history", params)


def _gaps(satellites: Sequence[str], *, is_json: bool, url: str) -> None:
    with asking(url) as client:
        names = satellites or [record["name"] for record in client.satellites()]
        found = [
            gap for name in names for gap in client.ask(Call("GET", f"/v1/satellites/{part(name)}/telemetry/gaps"))
        ]
    if is_json:
        present.print_json(found)
    elif found:
        present.console().print(gaps_table(found))
    else:
        click.echo("nothing is missing")


@click.command()
@click.argument("satellite")
@click.option("--since", metavar="SPAN", default="", help="Only the last SPAN of mission time: 15m, 1h, 2d.")
@click.option("--field", "fields", multiple=True, help="Only this field; may be given again.")
@click.option("--format", "kind", type=click.Choice(["parquet", "csv"]), help="[default: as the file's name ends]")
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path, dir_okay=False), help="File to write.")
@click.option("--force", is_flag=True, help="Overwrite the file.")
@at_ground
def export(
    satellite: str, since: str, fields: tuple[str, ...], kind: str | None, output: Path, force: bool, url: str
) -> None:
    """Write the telemetry of SATELLITE, or of all, to a Parquet or CSV file.

    One row for each value: satellite, field, labels, source, on-board time, received time, value, unit.
    """
    kind = kind or ("csv" if output.suffix.lower() == ".csv" else "parquet")
    if output.exists() and not force:
        raise UserError(f"{output} exists; --force overwrites it")
    if not output.parent.is_dir():
        raise UserError(f"{output.parent} is no directory; make it first")
    with asking(url) as client:
        now = client.health()["mission_time_seconds"]
        params: dict[str, Any] = {"format": kind, "end_seconds": now, "field": list(fields)}
        if satellite != "all":
            params["satellite"] = satellite
        if since:
            params["start_seconds"] = now - seconds_of(since)
        written = _download(client, Call("GET", "/v1/telemetry/export", params), output)
    click.echo(f"{output}: {written:,} bytes")


def _download(client: SkyrackClient, call: Call, output: Path) -> int:
    temporary = output.with_name(output.name + ".part")
    written = told = 0
    columns = (SpinnerColumn(), TextColumn("{task.description}"), DownloadColumn(), TransferSpeedColumn())
    out = present.console(stderr=True)
    try:
        with (
            temporary.open("wb") as file,
            client.streaming(call) as pieces,
            Progress(*columns, TimeElapsedColumn(), console=out, transient=True) as bar,
        ):
            task = bar.add_task(output.name, total=None)
            for piece in pieces:
                file.write(piece)
                written += len(piece)
                bar.update(task, completed=written)
                if not out.is_terminal and written - told >= _TOLD_BYTES:
                    told = written
                    out.print(f"{output.name}: {written:,} bytes")
        temporary.replace(output)
    except OSError as error:
        raise UserError(f"{output} cannot be written ({error.strerror or error})") from None
    finally:
        temporary.unlink(missing_ok=True)
    return written


@click.group(invoke_without_command=True)
@click.option("--satellite", default="", help="Only of this satellite.")
@click.option("--all", "with_cleared", is_flag=True, help="Also those that are over and acknowledged.")
@as_json
@at_ground
@click.pass_context
def alarms(context: click.Context, satellite: str, with_cleared: bool, is_json: bool, url: str) -> None:
    """List alarms, what needs somebody first; or acknowledge, shelve and show one."""
    context.obj = (url, is_json)
    if context.invoked_subcommand is not None:
        return
    with asking(url) as client:
        found = client.ask(Call("GET", "/v1/alarms", {"satellite": satellite, "with_cleared": with_cleared}))
    if is_json:
        present.print_json(found)
    elif found:
        present.console().print(alarms_table(found))
    else:
        click.echo("no alarms")


def _act(context: click.Context, alarm_ids: Sequence[int], action: str, body: Mapping[str, Any] | None) -> None:
    url, is_json = context.obj
    with asking(url) as client:
        method, path = ("GET", "") if body is None else ("POST", f"/{action}")
        found = [client.ask(Call(method, f"/v1/alarms/{number}{path}", json=body)) for number in alarm_ids]
    if is_json:
        present.print_json(found)
        return
    out = present.console()
    for record in found:
        for line in alarm(record):
            out.print(line)


_ids = click.argument("alarm_ids", metavar="ID...", nargs=-1, required=True, type=click.IntRange(min=1))


@alarms.command("show")
@_ids
@click.pass_context
def show_alarm(context: click.Context, alarm_ids: tuple[int, ...]) -> None:
    """Show alarms with all that became of them."""
    _act(context, alarm_ids, "", None)


@alarms.command("ack")
@_ids
@click.option("--comment", "-m", default="", help="What you make of it.")
@click.pass_context
def acknowledge_alarm(context: click.Context, alarm_ids: tuple[int, ...], comment: str) -> None:
    """Acknowledge alarms: somebody has seen them."""
    _act(context, alarm_ids, "acknowledge", {"comment": comment})


@alarms.command("shelve")
@_ids
@click.option("--for", "span", metavar="SPAN", required=True, help="Mission time for which it is shelved: 1h, 2d.")
@click.option("--reason", "-m", required=True, help="Why, for whoever comes next.")
@click.pass_context
def shelve_alarm(context: click.Context, alarm_ids: tuple[int, ...], span: str, reason: str) -> None:
    """Shelve alarms: they trouble nobody for a while."""
    _act(context, alarm_ids, "shelve", {"for_seconds": seconds_of(span), "reason": reason})


@alarms.command("unshelve")
@_ids
@click.pass_context
def unshelve_alarm(context: click.Context, alarm_ids: tuple[int, ...]) -> None:
    """Let shelved alarms trouble people again."""
    _act(context, alarm_ids, "unshelve", {})
