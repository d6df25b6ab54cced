"""``skyrack topology``: who publishes what on board, who hears it, who answers which command.

Nothing here is drawn by hand: it is what the services declare.
"""

from __future__ import annotations

import importlib
import json
from dataclasses import asdict, dataclass

import click

from flight.board import SERVICES
from flight.service import Service, registry

ALL_SERVICES = ("executive", *SERVICES)
# Published, heard and answered by the base of every service; a table of them would hide the rest.
COMMON_MESSAGES = frozenset({"Health", "Event"})


@dataclass(frozen=True, slots=True)
class Node:
    """One service, as it declares itself. ``hears`` is (message, source), ``rates`` is (method, seconds)."""

    service: str
    publishes: tuple[str, ...]
    hears: tuple[tuple[str, str], ...]
    commands: tuple[str, ...]
    rates: tuple[tuple[str, float], ...]
    parameters: str


@dataclass(frozen=True, slots=True)
class Topology:
    """All services found, and the names of those whose module is not there."""

    nodes: tuple[Node, ...]
    missing: tuple[str, ...]

    def edges(self) -> list[tuple[str, str, str]]:
        """Who sends what to whom: (source, message, service)."""
        names = [node.service for node in self.nodes]
        return [
            (each, message, node.service)
            for node in self.nodes
            for message, source in node.hears
            for each in (names if source == "*" else [source])
            if each != node.service
        ]

    def unheard(self) -> list[tuple[str, str]]:
        """Messages that are heard from a service that does not publish them: (service, message)."""
        published = {(node.service, message) for node in self.nodes for message in node.publishes}
        known = {node.service for node in self.nodes}
        return sorted(
            (source, message)
            for source, message, _ in set(self.edges())
            if source in known and message not in COMMON_MESSAGES and (source, message) not in published
        )


def read_topology(names: tuple[str, ...] = ALL_SERVICES) -> Topology:
    """Import the services and read their declarations. A service whose module is absent is named, not an error."""
    nodes, missing = [], []
    for name in names:
        module = f"flight.{name}.service"
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or not module.startswith(error.name):
                raise
        if name in registry:
            nodes.append(_node(registry[name]))
        else:
            missing.append(name)
    return Topology(tuple(nodes), tuple(missing))


def _node(service: type[Service]) -> Node:
    own = set(vars(Service))
    declared = service.declarations
    return Node(
        service.name,
        tuple(kind.DESCRIPTOR.name for kind in service.publishes),
        tuple((heard.message_type.DESCRIPTOR.name, each) for heard in declared.subscriptions for each in heard.sources),
        tuple(handler.rpc.name for handler in declared.commands if handler.method not in own),
        tuple((group.method, group.seconds) for group in declared.rate_groups if group.method not in own),
        service.parameters.DESCRIPTOR.name if service.parameters is not None else "",
    )


def mermaid(graph: Topology) -> str:
    """The topology as a Mermaid flow chart: services, and the messages between them."""
    lines = ["flowchart LR"]
    lines += [f'    {node.service}["{node.service}"]' for node in graph.nodes]
    lines += [f'    {source} -->|"{"<br>".join(names)}"| {target}' for (source, target), names in _bundles(graph)]
    return "\n".join(lines)


def dot(graph: Topology) -> str:
    """The topology in Graphviz's language."""
    lines = ["digraph skyrack {", "    rankdir=LR;", "    node [shape=box];"]
    lines += [f'    "{node.service}";' for node in graph.nodes]
    for (source, target), names in _bundles(graph):
        label = "\\n".join(names)
        lines.append(f'    "{source}" -> "{target}" [label="{label}"];')
    return "\n".join([*lines, "}"])


def _bundles(graph: Topology) -> list[tuple[tuple[str, str], list[str]]]:
    bundles: dict[tuple[str, str], list[str]] = {}
    for source, message, target in graph.edges():
        # Health and events go from everybody to whoever wants them: said once in the table, noise in a drawing.
        if message not in COMMON_MESSAGES:
            bundles.setdefault((source, target), []).append(message)
    return sorted(bundles.items())


def _table(graph: Topology) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(show_lines=True)
    for column in ("service", "publishes", "hears", "commands", "rate groups"):
        table.add_column(column, overflow="fold")
    for node in graph.nodes:
        table.add_row(
            node.service,
            "\n".join(node.publishes),
            "\n".join(f"{message} ({'every service' if source == '*' else source})" for message, source in node.hears),
            "\n".join(node.commands),
            "\n".join(f"{method} every {seconds:g} s" for method, seconds in node.rates),
        )
    console = Console()
    console.print(table)
    console.print("Every service also publishes Health and Event and answers Ping, SetParameters and GetParameters.")
    if graph.missing:
        console.print(f"Not installed: {', '.join(graph.missing)}.")


@click.command()
@click.option("--graph", is_flag=True, help="Print a Mermaid flow chart.")
@click.option("--dot", "as_dot", is_flag=True, help="Print a graph for Graphviz.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def topology(graph: bool, as_dot: bool, as_json: bool) -> None:
    """Show the on-board services, as they declare themselves: what each publishes, hears and answers."""
    found = read_topology()
    if as_json:
        click.echo(json.dumps(asdict(found), indent=2))
    elif as_dot:
        click.echo(dot(found))
    elif graph:
        click.echo(mermaid(found))
    else:
        _table(found)
