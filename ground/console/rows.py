"""Records as rows of tables: pure. Colours are the levels nominal, active, caution, critical and off."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from ground.console.columns import NOTHING, Column
from ground.records import CommandStage, EventRecord, JobRecord, JobStep, SatelliteRecord, TelecommandRecord
from skyrack.limits import LimitSet

__all__ = [
    "COMMAND_COLUMNS",
    "EVENT_COLUMNS",
    "JOB_COLUMNS",
    "SATELLITE_COLUMNS",
    "Column",
    "command_row",
    "event_row",
    "job_life",
    "job_outcome",
    "job_row",
    "job_state",
    "level_of",
    "satellite_level",
    "satellite_row",
    "stage_cells",
    "stage_level",
    "stage_word",
]

Row = dict[str, Any]

JOB_LEVELS: Final = {
    "SUBMITTED": "off",
    "PLACED": "active",
    "ACCEPTED": "active",
    "RUNNING": "active",
    "PREEMPTED": "caution",
    "COMPLETED": "nominal",
    "FAILED": "critical",
    "EXPIRED": "caution",
    "CANCELLED": "off",
    "REJECTED": "critical",
}
_SEVERITY_LEVELS: Final = {"WARNING": "caution", "ERROR": "critical", "CRITICAL": "critical", "DEBUG": "off"}
_STAGE_LEVELS: Final = {
    "COMPLETED": "nominal",
    "FAILED": "critical",
    "EXPIRED": "caution",
    "HELD": "caution",
    "NEEDS_SIGNATURE": "caution",
    "WITHDRAWN": "caution",
}
_ARGUMENTS_SHOWN: Final = 60
_WORST: Final = ("critical", "caution")

SATELLITE_COLUMNS: Final = (
    Column("Satellite"),
    Column("State", "state"),
    Column("Battery", "ratio", hint="State of charge"),
    Column("Use of budget", "use", hint="Watts drawn by the rack, and what power and cooling allow now"),
    Column("Hottest chip", "level", "celsius", 1),
    Column("Light", "state", style="sr-hide"),
    Column("Free nodes", "number", digits=0, style="sr-hide"),
    Column("Jobs", "number", digits=0, style="sr-hide"),
    Column("Link", style="sr-hide"),
    Column("Next contact", "until", style="sr-hide"),
    Column("Heard", "age", hint="Mission time since the last message"),
)
JOB_COLUMNS: Final = (
    Column("Job", sortable=False),
    Column("Id", "id", sortable=False, style="sr-hide"),
    Column("State", "state", sortable=False),
    Column("Progress", "progress", sortable=False),
    Column("Satellite", sortable=False),
    Column("By", sortable=False, style="sr-hide"),
    Column("Submitted", "time", sortable=False),
    Column("", "text", sortable=False, style="wide soft"),
)
COMMAND_COLUMNS: Final = (
    Column("Command", sortable=False),
    Column("Arguments", sortable=False, style="sr-hide cut soft"),
    Column("Satellite", sortable=False),
    Column("Given", "time", sortable=False),
    Column("Stages", "stages", sortable=False),
    Column("By", sortable=False, style="sr-hide"),
    Column("", "text", sortable=False, style="wide soft"),
)
EVENT_COLUMNS: Final = (
    Column("Time", "time", sortable=False),
    Column("Severity", "state", sortable=False),
    Column("Satellite", sortable=False),
    Column("Event", "id", sortable=False, style="sr-hide"),
    Column("", "text", sortable=False, style="wide"),
)


def level_of(limits: LimitSet, field: str, value: float) -> str:
    """Colour of a value against the limits in force."""
    return {"yellow": "caution", "red": "critical"}.get(limits.level(field, value).value.partition("_")[0], "nominal")


def satellite_level(record: SatelliteRecord, limits: LimitSet, alarm: str = "nominal") -> str:
    """Colour of a satellite: the worst of its alarms and of what is known at a glance."""
    if record.heard_seconds is None or not record.is_reachable:
        return "off"
    found = {alarm, "critical" if record.mode == "safe" else "nominal"}
    if record.state_of_charge_ratio is not None:
        found.add(level_of(limits, "PowerStatus.state_of_charge_ratio", record.state_of_charge_ratio))
    if record.chip_maximum_celsius is not None:
        found.add(level_of(limits, "ThermalStatus.chip_maximum_celsius", record.chip_maximum_celsius))
    return next((level for level in _WORST if level in found), "nominal")


def satellite_row(record: SatelliteRecord, limits: LimitSet, href: str, level: str) -> Row:
    """A satellite at a glance."""
    charge, chip = record.state_of_charge_ratio, record.chip_maximum_celsius
    budgets = [watts for watts in (record.compute_power_watts, record.compute_heat_watts) if watts is not None]
    cells = [
        record.name,
        _satellite_state(record),
        None
        if charge is None
        else {"value": round(charge, 3), "level": level_of(limits, "PowerStatus.state_of_charge_ratio", charge)},
        {"used": round(record.draw_watts or 0.0, 1), "of": round(min(budgets), 1)} if budgets else None,
        None
        if chip is None
        else {"value": round(chip, 1), "level": level_of(limits, "ThermalStatus.chip_maximum_celsius", chip)},
        _light(record.sunlit_ratio),
        record.free_nodes,
        record.jobs_open,
        record.link or NOTHING,
        record.next_contact_seconds,
        record.heard_seconds,
    ]
    return {"key": record.name, "href": href, "cells": cells, "level": level}


def _satellite_state(record: SatelliteRecord) -> Row:
    if record.heard_seconds is None:
        return {"text": "not heard yet", "level": "off"}
    if not record.is_reachable:
        return {"text": "out of contact", "level": "off"}
    levels = {"nominal": "nominal", "safe": "critical"}
    return {"text": record.mode or "in contact", "level": levels.get(record.mode, "active")}


def _light(ratio: float | None) -> Row | None:
    if ratio is None:
        return None
    if ratio >= 0.999:
        return {"text": "sunlit", "level": "off"}
    return {"text": "eclipse", "level": "active"} if ratio <= 0.001 else {"text": "penumbra", "level": "off"}


def job_row(record: JobRecord, href: str) -> Row:
    """A job in a list."""
    runs = record.state in ("RUNNING", "PREEMPTED")
    cells = [
        record.name or record.job_id,
        record.job_id,
        job_state(record),
        record.progress_ratio if runs else None,
        f"{record.satellite} {record.node}".strip(),
        record.submitter,
        record.submitted_seconds,
        record.waiting_reason or (record.reason if record.state != "COMPLETED" else job_outcome(record)),
    ]
    return {"key": record.job_id, "href": href, "cells": cells}


def job_state(record: JobRecord) -> Row:
    """The state of a job as a coloured word."""
    text = record.state.lower()
    if record.cancel_requested and not record.is_final:
        return {"text": "cancelling", "level": "caution"}
    return {"text": text, "level": JOB_LEVELS.get(record.state, "off")}


def job_outcome(record: JobRecord) -> str:
    """What there is to say of a job that completed."""
    if record.result_problem:
        return record.result_problem
    if record.result_sha256 and record.result_received_seconds is None:
        return "its result is coming down"
    return f"{record.energy_joules / 1e3:,.1f} kJ, ran {record.run_seconds:,.0f} s" if record.run_seconds else ""


def job_life(record: JobRecord) -> Row:
    """A job's steps as ``life.js`` draws them."""
    steps: list[Row] = []
    for step in map(_step, record.history):
        same = ("attempt", "state", "node", "is_applied")
        is_progress = bool(steps) and not step["reason"] and all(steps[-1][key] == step[key] for key in same)
        if not is_progress:  # what only told how far the job is says nothing new here
            steps.append(step)
    return {"is_final": record.is_final, "steps": steps}


def _step(step: JobStep) -> Row:
    return {
        "attempt": step.attempt,
        "state": step.state,
        "level": JOB_LEVELS.get(step.state, "off"),
        "satellite": step.satellite,
        "node": step.node,
        "reason": step.reason,
        "time": step.mission_time_seconds,
        "is_applied": step.is_applied,
    }


def stage_word(stage: str) -> str:
    """A stage as people say it."""
    return stage.lower().replace("_", " ")


def stage_level(stage: str, present: str) -> str:
    """Colour of a stage: those that were passed are grey."""
    if stage != present:
        return "off"
    return _STAGE_LEVELS.get(stage, "active")


def stage_cells(stages: Iterable[CommandStage], present: str) -> list[Row]:
    """Stages one after the other, as a table shows them."""
    return [
        {
            "text": stage_word(stage.stage),
            "level": stage_level(stage.stage, present),
            "title": f"{stage.mission_time_seconds:.0f} s {stage.reason}".strip(),
        }
        for stage in stages
    ]


def command_row(record: TelecommandRecord, href: str) -> Row:
    """A command with its stages."""
    said = record.reason or record.response
    arguments = record.arguments
    if len(arguments) > _ARGUMENTS_SHOWN:
        arguments = f"{arguments[:_ARGUMENTS_SHOWN]}…"
    return {
        "key": record.command_id,
        "href": href,
        "cells": [
            record.method,
            arguments,
            record.satellite,
            record.created_seconds,
            stage_cells(record.stages, record.stage),
            record.submitter,
            said,
        ],
    }


def event_row(record: EventRecord) -> Row:
    """An event."""
    level = _SEVERITY_LEVELS.get(record.severity, "active")
    return {
        "key": str(record.id),
        "level": level if level in _WORST else "",
        "cells": [
            record.mission_time_seconds,
            {"text": record.severity.lower(), "level": level},
            record.satellite or "ground",
            record.name,
            record.text,
        ],
    }
