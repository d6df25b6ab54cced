"""What to do when somebody is called: a section for each alert, with what the dictionary knows of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from typing import Final

from ground.dashboards.rules import Alert, alerts
from skyrack.dictionary import TelemetryField, telemetry

__all__ = ["runbooks"]

_VALUE: Final = re.compile(r"\{\{[^}]*\}\}")
_BEGINNING: Final = """\
# Runbooks

What to do when an alert of `deploy/prometheus/skyrack-alerts.yml` fires. This page is made from the dictionary by
`skyrack dashboards`; alerts link to its sections.

A satellite protects itself: load switches and over-temperature trips act without the ground, and a limit that stays red
leads to what its fault rules say. An alert calls a person to see why, not to be quick.

The limits below are those of the dictionary. A satellite's own may differ (`skyrack send SATELLITE SetLimits`); its
alarms on the ground (`skyrack alarms`) heed those.
"""

_STEPS: Final = {
    "power": (
        "Look at the satellite dashboard: is the array in sunlight, and does it bring what it should?",
        "Look at the draw of each load. What draws more than its rating is opened by protection after some seconds.",
        "Take load off: `skyrack send SATELLITE SetDrain draining=true` lets no new job begin.",
    ),
    "thermal": (
        "Look at the pump's speed and the radiator: does the heat leave?",
        "Hold the pump up: `skyrack send SATELLITE SetPump duty_ratio=1 hold_seconds=600`.",
        "Take heat away: `skyrack send SATELLITE SetDrain draining=true` lets no new job begin.",
    ),
    "navigation": (
        "Is the receiver in order? Compare with the satellite's neighbours.",
        "Old elements drift: load new ones before the forecast of eclipses and contacts is wrong.",
    ),
    "gateway": (
        "Look at the links dashboard: how long has the satellite been without the optical link?",
        "It empties by itself when the link is back; what is shed is counted, and is telemetry only.",
    ),
    "": (
        "Which service is it? `skyrack events --satellite SATELLITE` tells what it said.",
        "Restart it: `skyrack send SATELLITE RestartService service=NAME`.",
    ),
}


def runbooks() -> str:
    """The page, in Markdown."""
    sections = [_BEGINNING]
    found = alerts()
    limited = [alert for alert in found if alert.field is not None]
    for field, group in groupby(limited, key=lambda alert: alert.field):
        if field is not None:
            sections.append("\n".join(_of_field(field, list(group))))
    sections += ["\n".join(_of_ground(alert)) for alert in found if alert.field is None]
    return "\n".join(sections)


def _of_field(field: TelemetryField, found: list[Alert]) -> Iterator[str]:
    unit = f" {field.unit}" if field.unit else ""
    yield f"## {field.name}\n"
    yield f"{field.description}.\n"
    yield "| limit | value |\n|---|---|"
    for side, value in field.limits.items():
        if value is not None:
            yield f"| {side.replace('_', ' ')} | {value:g}{unit} |"
    yield ""
    for alert in found:
        yield f"`{alert.name}` ({alert.severity}) fires after {alert.for_} beyond the limit.\n"
    publisher = telemetry()[field.message].publisher
    for number, step in enumerate(_STEPS[publisher], 1):
        yield f"{number}. {step}"
    yield ""


def _of_ground(alert: Alert) -> Iterator[str]:
    yield f"## {alert.anchor.replace('-', ' ').capitalize()}\n"
    yield f"{_VALUE.sub('...', alert.description)}\n"
    yield f"`{alert.name}` ({alert.severity}) fires after {alert.for_} of `{alert.expr}`.\n"
    for number, step in enumerate(alert.steps, 1):
        yield f"{number}. {step}"
    yield ""
