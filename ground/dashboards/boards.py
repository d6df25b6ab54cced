"""What is on which dashboard."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any, Final

from ground.dashboards.panels import Panel, Query, Row, dashboard, field_panel, selector
from skyrack.dictionary import TelemetryField, TelemetryMessage, telemetry, telemetry_fields
from skyrack.limits import NONE, Limits

__all__ = ["boards"]

_GROUND: Final = "skyrack_ground_"
_MOST_IN_ONE: Final = 4
_COMPUTE: Final = ("jobs_running", "jobs_queued", "free_nodes", "nodes.draw_watts", "nodes.jobs_running")


def _field(name: str) -> TelemetryField:
    return telemetry_fields()[name]


def _of(name: str) -> Panel:
    return field_panel(_field(name))


def _ground(title: str, *exprs: tuple[str, str], **options: Any) -> Panel:
    return Panel(title, tuple(Query(expr, legend) for expr, legend in exprs), **options)


def _stat(title: str, expr: str, description: str, **options: Any) -> Panel:
    query = Query(expr, "", instant=True)
    return Panel(title, (query,), description, kind="stat", width=4, height=4, **options)


def boards() -> dict[str, Any]:
    """All dashboards, by the name of their file."""
    return {
        "constellation": _constellation(),
        "satellite": _satellite(),
        "jobs": _jobs(),
        "links": _links(),
        "delivery": _delivery(),
    }


def _variables() -> list[dict[str, Any]]:
    charge = "skyrack_power_status_state_of_charge_ratio"
    return [
        {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"},
        {
            "name": "source",
            "type": "custom",
            "label": "Telemetry from",
            "description": "Scraped from the ground, scraped from the satellites, or written by the ground",
            "query": "ground : ground, satellite : satellite, remote write : ^$",
            "current": {"text": "ground", "value": "ground"},
            "options": [
                {"text": "ground", "value": "ground", "selected": True},
                {"text": "satellite", "value": "satellite", "selected": False},
                {"text": "remote write", "value": "^$", "selected": False},
            ],
        },
        {
            "name": "satellite",
            "type": "query",
            "label": "Satellite",
            "datasource": {"type": "prometheus", "uid": "${datasource}"},
            "query": {"query": f'label_values({charge}{{job=~"$source"}}, satellite)', "refId": "satellite"},
            "refresh": 2,
            "sort": 1,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
            "current": {"text": "All", "value": "$__all"},
        },
    ]


def _constellation() -> Any:
    heard = Limits(yellow_high=120, red_high=600)
    at_a_glance = Row(
        "At a glance",
        (
            _stat("Satellites in reach", f"sum({_GROUND}satellite_in_reach)", "Can be reached at this moment"),
            _stat("Jobs open", f"sum({_GROUND}jobs_open)", "Submitted, placed, accepted, running or preempted"),
            _stat(
                "Alarms active",
                f'sum({_GROUND}alarms{{state="active"}})',
                "Limit alarms that nobody has acknowledged",
                limits=Limits(red_high=1),
            ),
            _stat(
                "Least charge",
                f"min({selector(_field('PowerStatus.state_of_charge_ratio'))})",
                _field("PowerStatus.state_of_charge_ratio").description,
                unit="percentunit",
                limits=_field("PowerStatus.state_of_charge_ratio").limits,
            ),
            _stat(
                "Hottest chip",
                f"max({selector(_field('ThermalStatus.chip_maximum_celsius'))})",
                _field("ThermalStatus.chip_maximum_celsius").description,
                unit="celsius",
                limits=_field("ThermalStatus.chip_maximum_celsius").limits,
            ),
            _stat("Mission time", f"{_GROUND}mission_time_seconds * 1000", "UTC", unit="dateTimeAsIso"),
        ),
    )
    power_and_heat = Row(
        "Power and heat",
        (
            _of("PowerStatus.state_of_charge_ratio"),
            _of("OrbitState.sunlit_ratio"),
            _of("ThermalStatus.chip_maximum_celsius"),
            field_panel(_field("ComputeStatus.draw_watts"), _field("ComputeStatus.budget_watts")),
            _of("PowerStatus.array_power_watts"),
            _of("ComputeStatus.jobs_running"),
        ),
    )
    ground = Row(
        "Contact",
        (
            _ground(
                "Heard ago",
                (f"{_GROUND}satellite_age_seconds", "{{satellite}}"),
                description="Mission time since each satellite was heard",
                unit="s",
                limits=heard,
            ),
            _ground(
                "In reach",
                (f"{_GROUND}satellite_in_reach", "{{satellite}}"),
                description="Whether what is handed to delivery would leave now",
                kind="state-timeline",
                choices=((0, "NO"), (1, "YES")),
            ),
            _of("SatelliteStatus.mode"),
            _ground(
                "Commands that wait",
                (f"{_GROUND}command_queue_items", "{{satellite}}"),
                (f"{_GROUND}command_queue_held", "{{satellite}} held"),
                description="Commands and sequences that have not left, and whether somebody holds the queue",
            ),
            _ground("Alarms", (f"{_GROUND}alarms", "{{state}}"), description="Limit alarms by state", stacked=True),
            _of("SatelliteStatus.limit_violations_total"),
        ),
    )
    title, about = "Skyrack: constellation", "All satellites: power, heat, contact, alarms"
    return dashboard("skyrack-constellation", title, about, (at_a_glance, power_and_heat, ground), _variables())


def _satellite() -> Any:
    """Every field of every state message, as the dictionary has it."""
    rows = []
    for message in telemetry().values():
        panels = tuple(_panels_of(message))
        if message.state and panels:
            rows.append(Row(f"{message.name}: {message.description}", panels, collapsed=message.name == "Health"))
    about = "Every telemetry field of a satellite, with its limits"
    return dashboard("skyrack-satellite", "Skyrack: satellite", about, rows, _variables())


def _panels_of(message: TelemetryMessage) -> Iterator[Panel]:
    """Fields with limits or states stand alone; the rest share a panel with those of their unit and labels."""
    fields = [field for field in message.fields if field.kind.numeric and not field.label]
    alone = [field for field in fields if field.limits != NONE or field.choices]
    yield from (field_panel(field) for field in alone)

    def like(field: TelemetryField) -> tuple[str, tuple[str, ...], bool]:
        return field.unit, field.labels, field.counter

    rest = sorted((field for field in fields if field not in alone), key=like)
    for _, group in groupby(rest, like):
        members = list(group)
        for start in range(0, len(members), _MOST_IN_ONE):
            yield field_panel(*members[start : start + _MOST_IN_ONE])


def _jobs() -> Any:
    on_ground = Row(
        "On the ground",
        (
            _ground("Jobs by state", (f"{_GROUND}jobs", "{{state}}"), description="All that are kept", stacked=True),
            _ground(
                "Open jobs", (f"{_GROUND}jobs_open", "{{satellite}}"), description="By where they are", stacked=True
            ),
            Panel(
                "Running time of jobs that ended",
                (
                    Query(_quantile(0.5), "half"),
                    Query(_quantile(0.95), "95 %"),
                ),
                "Mission seconds from the first start to the end, over all jobs since the ground's start",
                unit="s",
            ),
            _ground(
                "Jobs ended",
                (f"{_GROUND}job_run_seconds_count", "since the ground's start"),
                description="Jobs that ran and ended",
            ),
        ),
    )
    on_board = Row(
        "On board",
        (
            *(_of(f"ComputeStatus.{path}") for path in _COMPUTE),
            field_panel(_field("ComputeStatus.draw_watts"), _field("ComputeStatus.budget_watts")),
            field_panel(_field("ComputeStatus.jobs_completed_total"), _field("ComputeStatus.jobs_failed_total")),
            _of("ComputeStatus.preemptions_total"),
            Panel(
                "Energy used by jobs",
                (Query(selector(_field("ComputeStatus.energy_joules_total")), "{{satellite}}"),),
                _field("ComputeStatus.energy_joules_total").description,
                unit="joule",
            ),
        ),
    )
    about = "Jobs: where they are, how long they run, what they draw"
    return dashboard("skyrack-jobs", "Skyrack: jobs", about, (on_ground, on_board), _variables())


def _quantile(part: float) -> str:
    """Of the distribution so far; 0 before a job has ended, when there is none."""
    found = f"histogram_quantile({part}, sum by (le) ({_GROUND}job_run_seconds_bucket))"
    return f"({found} >= 0) or vector(0)"


def _links() -> Any:
    rows = [
        Row(f"{message.name}: {message.description}", tuple(_panels_of(message)))
        for message in (telemetry()["LaserStatus"], telemetry()["LinkStatus"])
    ]
    contact = _ground(
        "In reach of the ground",
        (f"{_GROUND}satellite_in_reach", "{{satellite}}"),
        description="Whether what is handed to delivery would leave now",
        kind="state-timeline",
        choices=((0, "NO"), (1, "YES")),
        width=24,
        height=5,
    )
    about = "Lasers and the backhaul: states, power on the detector, rates, what waits"
    return dashboard("skyrack-links", "Skyrack: links", about, [Row("Contact", (contact,)), *rows], _variables())


def _delivery() -> Any:
    def rate(name: str, by: str) -> str:
        return f"sum by ({by}) (rate({_GROUND}{name}[$__rate_interval]))"

    streams = "{{satellite}} {{stream}}"
    delivery = Row(
        "Delivery",
        (
            _ground(
                "Items stored per second",
                (rate("items_delivered_total", "satellite, stream"), streams),
                description="From each satellite, by stream",
                unit="cps",
            ),
            _ground(
                "Items handed to delivery per second",
                (rate("items_accepted_total", "satellite, stream"), streams),
                description="For each satellite, by stream",
                unit="cps",
            ),
            _ground(
                "Items that wait for acknowledgement",
                (f"{_GROUND}outbox_items", streams),
                description="On the ground, for each satellite",
            ),
            _ground(
                "Items received again per second",
                (rate("items_duplicates_total", "satellite, stream"), streams),
                description="Harmless: stored once",
                unit="cps",
            ),
            _ground(
                "Items given up by their sender",
                (f"sum by (satellite, stream) ({_GROUND}items_skipped_total)", streams),
                description="Expired or shed telemetry: counted, and never waited for",
            ),
            _ground(
                "Frames per second",
                (rate("frames_sent_total", "job"), "sent"),
                (rate("frames_received_total", "job"), "received"),
                description="Repeats included",
                unit="cps",
            ),
            _ground(
                "Frames refused",
                (f"sum(rate({_GROUND}frames_refused_total[$__rate_interval])) or vector(0)", "per second"),
                description="Malformed, forged, replayed, or not for us; 0 while there was none",
                unit="cps",
            ),
            _ground("Connected", (f"{_GROUND}connected", "broker"), description="A session with the broker is up"),
            _ground(
                "Storage errors",
                (f"{_GROUND}storage_errors_total", "since the start"),
                description="Times that the database failed",
            ),
        ),
    )
    telemetry_row = Row(
        "Telemetry",
        (
            _ground("Values per second", (rate("values_total", "job"), "values"), description="Received", unit="cps"),
            _ground("Messages kept", (f"{_GROUND}archive_samples", "messages"), description="In the archive"),
            _ground(
                "Archive", (f"{_GROUND}archive_chunk_bytes", "sealed"), description="Size on the disk", unit="bytes"
            ),
        ),
    )
    commands = Row(
        "Commands",
        (
            _ground("Telecommands", (f"{_GROUND}telecommands", "{{stage}}"), description="Kept, by stage"),
            _ground("Sequences", (f"{_GROUND}sequences", "{{stage}}"), description="Kept, by stage"),
            _ground(
                "Commands that wait", (f"{_GROUND}command_queue_items", "{{satellite}}"), description="Not left yet"
            ),
        ),
    )
    about = "What goes up and comes down: counted, and where it waits"
    rows = (delivery, telemetry_row, commands)
    return dashboard("skyrack-delivery", "Skyrack: delivery", about, rows, _variables())
