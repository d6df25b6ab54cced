"""``skyrack dictionary``: the contract as tables or as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from skyrack.limits import Limits

SECTIONS = ("telemetry", "commands", "parameters")


def entries(pattern: str = "") -> dict[str, list[dict[str, Any]]]:
    """Everything in the dictionary whose name contains ``pattern``, as plain values."""
    from skyrack import dictionary as contract
    from skyrack.v1 import options_pb2

    streams = options_pb2.Stream.DESCRIPTOR.values_by_number
    significances = options_pb2.Significance.DESCRIPTOR.values_by_number
    wanted = pattern.lower()
    telemetry = [
        {
            "name": field.name,
            "kind": field.kind.value,
            "unit": field.unit,
            "description": field.description,
            "limits": {side: value for side, value in field.limits.items() if value is not None},
            "labels": list(field.labels),
            "is_label": field.label,
            "publisher": message.publisher or "every service",
            "stream": streams[message.stream].name.removeprefix("STREAM_").lower(),
            "choices": {str(number): name for number, name in field.choices},
        }
        for message in contract.telemetry().values()
        for field in message.fields
        if wanted in field.name.lower()
    ]
    commands = [
        {
            "name": command.name,
            "service": command.rpc.on_board or "every service",
            "significance": significances[command.significance].name.removeprefix("SIGNIFICANCE_").lower(),
            "description": command.description,
            "arguments": [
                {
                    "name": argument.name,
                    "kind": argument.kind.value,
                    "description": argument.description,
                    "required": argument.required,
                    "minimum": argument.minimum,
                    "maximum": argument.maximum,
                    "choices": {str(number): name for number, name in argument.choices},
                }
                for argument in command.arguments
            ],
        }
        for command in contract.commands().values()
        if wanted in command.name.lower()
    ]
    parameters = [
        {
            "name": f"{parameter.message}.{parameter.name}",
            "unit": parameter.unit,
            "description": parameter.description,
            "minimum": parameter.minimum,
            "maximum": parameter.maximum,
            "default": parameter.default,
        }
        for parameter in contract.parameters()
        if wanted in f"{parameter.message}.{parameter.name}".lower()
    ]
    return {"telemetry": telemetry, "commands": commands, "parameters": parameters}


def _limits_text(limits: Limits | dict[str, float]) -> str:
    return ", ".join(f"{side.replace('_', ' ')} {value:g}" for side, value in limits.items() if value is not None)


def _print_tables(found: dict[str, list[dict[str, Any]]]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()

    def table(title: str, *columns: str) -> Table:
        made = Table(title=f"{title}", title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
        for column in columns:
            made.add_column(column, overflow="fold")
        return made

    if found["telemetry"]:
        made = table("Telemetry", "field", "unit", "limits", "description", "from")
        for row in found["telemetry"]:
            unit = row["unit"] or ("label" if row["is_label"] else row["kind"])
            made.add_row(row["name"], unit, _limits_text(row["limits"]), row["description"], row["publisher"])
        console.print(made, "")
    if found["commands"]:
        made = table("Commands", "command", "service", "significance", "arguments", "description")
        for row in found["commands"]:
            names = ", ".join(a["name"] + ("" if a["required"] else "?") for a in row["arguments"])
            made.add_row(row["name"], row["service"], row["significance"], names, row["description"])
        console.print(made, "")
    if found["parameters"]:
        made = table("Parameters", "parameter", "unit", "range", "default", "description")
        for row in found["parameters"]:
            bounds = f"{row['minimum']:g} to {row['maximum']:g}"
            made.add_row(row["name"], row["unit"], bounds, f"{row['default']:g}", row["description"])
        console.print(made, "")


@click.command()
@click.argument("name", default="")
@click.option("--only", type=click.Choice(SECTIONS), help="One section only.")
@click.option("--json", "as_json", is_flag=True, help="JSON for scripts.")
def dictionary(name: str, only: str | None, as_json: bool) -> None:
    """Print what telemetry, commands and parameters mean.

    NAME is a part of a name, in any case: `skyrack dictionary charge`.
    """
    found = entries(name)
    if only is not None:
        found = {section: found[section] if section == only else [] for section in SECTIONS}
    if as_json:
        shown = found if only is None else {only: found[only]}
        click.echo(json.dumps(shown, indent=2))
        return
    if not any(found.values()):
        raise click.UsageError(f'nothing in the dictionary has "{name}" in its name; `skyrack dictionary` lists all')
    _print_tables(found)
