"""Satellites: all figures of all of them, and one of them over time."""

from __future__ import annotations

from typing import Final

from nicegui import ui

from ground.console import rows
from ground.console.columns import NOTHING, Column
from ground.console.elements import Grid, Plot
from ground.console.feed import Frame
from ground.console.trends import Trends
from ground.console.visit import Visit
from ground.console.widgets import element, facts, heading, panel, search, text
from ground.telemetry import values as telemetry
from skyrack.v1 import compute_pb2, executive_pb2, laser_pb2, navigation_pb2

__all__ = ["detail", "page"]

_PLOT_SECONDS: Final = 2.0
_TELEMETRY: Final = (
    Column("Field"),
    Column("Of"),
    Column("Value", "level", sortable=False),
    Column("Measured", "age"),
    Column("Meaning", sortable=False, style="soft fill"),
)
_NODES: Final = (
    Column("Node", sortable=False),
    Column("Power", "state", sortable=False),
    Column("Draw / cap", "use", sortable=False),
    Column("Job", "id", sortable=False, style="cut"),
)
_SERVICES: Final = (
    Column("Service", sortable=False),
    Column("State", "state", sortable=False),
    Column("Restarts", "number", digits=0, sortable=False),
)
_LASERS: Final = (
    Column("Terminal", sortable=False),
    Column("State", "state", sortable=False),
    Column("Peer", sortable=False),
    Column("Rate", sortable=False),
)
_CONTACTS: Final = (
    Column("Contact", sortable=False),
    Column("By", sortable=False),
    Column("In", "until", sortable=False),
    Column("Lasts", sortable=False),
)


def page(visit: Visit) -> None:
    """All of them."""
    heading("Satellites")
    with element("section", "sr-panel", aria_label="Satellites"):
        grid = Grid(
            "Satellites",
            rows.SATELLITE_COLUMNS,
            visit.frame.satellites,
            "No satellite is in this ground's files.",
            is_cards=True,
        )

    def show(frame: Frame) -> None:
        if frame.changed:
            grid.update_rows(frame.changed)

    visit.on_frame(grid, show)


def detail(visit: Visit, name: str) -> None:
    """One of them."""
    back = ("Satellites", f"{visit.prefix}/satellites")
    if name not in visit.segment.picture:
        heading("There is no such satellite", back)
        text("p", f"The constellation has {', '.join(visit.segment.picture.names)}.", "sr-problem")
        return
    _SatellitePage(visit, name, back)


class _SatellitePage:
    def __init__(self, visit: Visit, name: str, back: tuple[str, str]) -> None:
        self._visit = visit
        self._name = name
        self._words = ""
        self._trends = Trends(visit.segment, name, visit.feed.limits)
        with heading(name, back):
            element("span", "grow")
            element("a", "sr-button", "Send a command", href=f"{visit.prefix}/commands?satellite={name}")
        self._facts_place = element("section", "sr-panel", aria_label="At a glance")
        with self._facts_place:
            self._facts = facts(dict.fromkeys(_FACTS, NOTHING))
        with element("div", "sr-cols").style("margin-top: 12px"):
            with element("div", "sr-stack"):
                with panel("Over time"):
                    self._plot = Plot(self._trends.data())
                with panel("Telemetry") as head:
                    self._telemetry = Grid("Telemetry", _TELEMETRY, [], "Nothing has been heard of this satellite yet.")
                    self._telemetry.style("--rows: 60vh")
                with head:
                    search("Search fields", self._search)
            with element("div", "sr-stack"):
                with panel("Rack nodes"):
                    self._nodes = Grid("Rack nodes", _NODES, [], "Nothing has been heard of its rack yet.")
                with panel("Lasers"):
                    self._lasers = Grid("Lasers", _LASERS, [], "Nothing has been heard of its lasers yet.")
                with panel("Contacts ahead"):
                    self._contacts = Grid("Contacts ahead", _CONTACTS, [], "No contact is forecast.")
                with panel("Services on board"):
                    self._services = Grid("Services", _SERVICES, [], "Nothing has been heard of its services yet.")
        self._is_reading = False
        self._next_plot = 0.0
        self._show_facts(visit.frame)
        self._show_parts()
        visit.on_frame(self._plot, self._hear)

    def _search(self, words: str) -> None:
        self._words = words.lower()
        self._telemetry.replace(self._values())

    def _hear(self, frame: Frame) -> None:
        self._show_facts(frame)
        self._show_parts()
        if not self._is_reading:
            self._is_reading = True
            self._visit.later(self._read(), self._plot)

    async def _read(self) -> None:
        try:
            await self._trends.read()
            if not self._plot.is_deleted:
                self._plot.push(self._trends.data())
        finally:
            ui.timer(_PLOT_SECONDS, self._rested, once=True)

    def _rested(self) -> None:
        self._is_reading = False

    def _show_facts(self, frame: Frame) -> None:
        row = next((row for row in frame.satellites if row["key"] == self._name), None)
        if row is not None:
            cells = row["cells"]
            self._facts.show(_figures(cells))

    def _show_parts(self) -> None:
        picture, name = self._visit.segment.picture, self._name
        self._telemetry.replace(self._values())
        compute = picture.newest(name, "ComputeStatus")
        if compute is not None and isinstance(compute[1], compute_pb2.ComputeStatus):
            self._nodes.replace([_node(node) for node in compute[1].nodes])
        lasers = [_laser(laser) for laser in picture.instances(name, "LaserStatus") if isinstance(laser, _LASER)]
        self._lasers.replace(lasers)
        status = picture.newest(name, "SatelliteStatus")
        if status is not None and isinstance(status[1], executive_pb2.SatelliteStatus):
            self._services.replace([_service(service) for service in status[1].services])
        ahead = picture.newest(name, "OrbitForecast")
        if ahead is not None and isinstance(ahead[1], navigation_pb2.OrbitForecast):
            now = self._visit.segment.clock.now()
            coming = [contact for contact in ahead[1].contacts if contact.end_seconds > now][:8]
            self._contacts.replace([_contact(contact) for contact in coming])

    def _values(self) -> list[rows.Row]:
        found = telemetry.values(self._visit.segment, self._name)
        levels = {"nominal": "nominal-plain", "yellow": "caution", "red": "critical"}
        made = []
        for value in found:
            of = " ".join(value.labels.values())
            if self._words and self._words not in f"{value.field} {of} {value.description}".lower():
                continue
            level = levels.get(value.level.partition("_")[0], "")
            shown = {"text": value.text, "level": level} if value.text else None
            made.append(
                {
                    "key": f"{value.field} {of}",
                    "level": level if level in ("caution", "critical") else "",
                    "cells": [
                        value.field,
                        of,
                        {"value": value.value, "level": level, "unit": value.unit} | (shown or {}),
                        value.mission_time_seconds,
                        value.description,
                    ],
                }
            )
        return made


_LASER = laser_pb2.LaserStatus
_FACTS: Final = ("State", "Battery", "Light", "Hottest chip", "Use", "Budget", "Free nodes", "Jobs", "Link")


def _figures(cells: list[object]) -> dict[str, str | tuple[str, str]]:
    _, state, charge, use, chip, light, nodes, jobs, link, *_ = cells

    def of(cell: object, key: str) -> str:
        return str(cell[key]) if isinstance(cell, dict) else ""

    return {
        "State": (of(state, "text"), of(state, "level")),
        "Battery": (f"{float(of(charge, 'value')):.0%}", of(charge, "level")) if charge else NOTHING,
        "Light": of(light, "text") or NOTHING,
        "Hottest chip": (f"{of(chip, 'value')} °C", of(chip, "level")) if chip else NOTHING,
        "Use": f"{float(of(use, 'used')):,.0f} W" if use else NOTHING,
        "Budget": f"{float(of(use, 'of')):,.0f} W" if use else NOTHING,
        "Free nodes": NOTHING if nodes is None else str(nodes),
        "Jobs": str(jobs),
        "Link": str(link),
    }


def _node(node: compute_pb2.RackNodeStatus) -> rows.Row:
    power = {"text": "on", "level": "nominal"} if node.powered else {"text": "off", "level": "off"}
    cells = [node.node, power, {"used": round(node.draw_watts, 1), "of": round(node.cap_watts, 1)}, node.job_id]
    return {"key": node.node, "cells": cells}


def _laser(laser: laser_pb2.LaserStatus) -> rows.Row:
    state = laser_pb2.LaserState.Name(laser.state).removeprefix("LASER_STATE_").lower()
    levels = {"communicate": "nominal", "idle": "off", "reacquire": "caution"}
    rate = f"{laser.rate_bits_per_second / 1e9:,.0f} Gbit/s" if laser.rate_bits_per_second else NOTHING
    cells = [laser.terminal, {"text": state, "level": levels.get(state, "active")}, laser.peer or NOTHING, rate]
    return {"key": laser.terminal, "cells": cells}


def _service(service: executive_pb2.ManagedService) -> rows.Row:
    state = executive_pb2.ServiceState.Name(service.state).removeprefix("SERVICE_STATE_").lower()
    levels = {"running": "nominal", "failed": "critical", "backoff": "caution"}
    cells = [service.service, {"text": state, "level": levels.get(state, "off")}, service.restarts_total]
    return {"key": service.service, "cells": cells}


def _contact(contact: navigation_pb2.Contact) -> rows.Row:
    lasts = f"{(contact.end_seconds - contact.start_seconds) / 60:,.0f} min"
    key = f"{contact.peer} {contact.start_seconds} {contact.link}"
    return {"key": key, "cells": [contact.peer, contact.link, contact.start_seconds, lasts]}
