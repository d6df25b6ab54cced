"""The overview: the map, every satellite at a glance, the newest jobs and events."""

from __future__ import annotations

from ground.console import rows
from ground.console.columns import Column
from ground.console.elements import Grid, WorldMap
from ground.console.feed import Frame
from ground.console.highlights import highlights
from ground.console.submit import SubmitDialog
from ground.console.visit import Visit
from ground.console.widgets import button, element, panel, raw

__all__ = ["page"]

_LEGEND = """<span style="--c:var(--nominal)">nominal</span><span style="--c:var(--caution)">yellow</span>
<span style="--c:var(--critical)">red or safe mode</span><span style="--c:var(--off)">out of contact</span>
<span class="line" style="--c:var(--nominal)">laser</span>
<span class="line" style="--c:var(--caution)">antenna</span>"""
_NO_SATELLITES = "No satellite is in this ground's constellation file."
_NO_EVENTS = "Nothing has happened yet. What satellites and the ground report stands here."
_SHORT = 8


def page(visit: Visit, dialog: SubmitDialog) -> None:
    """Build it, with all that is known now."""
    frame = visit.frame
    with element("div", "sr-cols"):
        with element("div", "sr-stack"):
            with panel("Constellation") as head:
                scenery = visit.feed.scenery
                scene = frame.scene | {
                    "stations": scenery.stations(),
                    "relays": scenery.relays(visit.segment.clock.now()),
                }
                world = WorldMap(scene)
            with head:
                raw(_LEGEND, "sr-legend")
            with panel("Satellites", ("All figures", f"{visit.prefix}/satellites")):
                satellites = Grid("Satellites", rows.SATELLITE_COLUMNS, frame.satellites, _NO_SATELLITES, is_cards=True)
                satellites.style("--rows: 46vh")
        with element("div", "sr-stack"):
            with panel("Jobs", ("All jobs", f"{visit.prefix}/jobs")) as head:
                jobs = Grid("Newest jobs", _JOB_COLUMNS, _jobs(visit, frame), no_jobs(), is_cards=True)
            with head:
                button("Submit a job", dialog.open, "primary", visit.refusal(dialog.role))
            with panel("Events", ("All events", f"{visit.prefix}/events")):
                events = Grid("Newest events", _EVENT_COLUMNS, _events(frame), _NO_EVENTS, is_cards=True)

    def show(frame: Frame) -> None:
        scene = dict(frame.scene)
        relays = scenery.relays(visit.segment.clock.now())
        if relays is not shown[0]:
            shown[0] = scene["relays"] = relays
        world.push(scene)
        if frame.changed:
            satellites.update_rows(frame.changed)
        if frame.is_news:
            jobs.replace(_jobs(visit, frame))
            events.replace(_events(frame))

    shown = [scene["relays"]]
    visit.on_frame(world, show)


def no_jobs() -> str:
    """What to do where no jobs are."""
    return (
        "No jobs yet. Press <kbd>n</kbd> to submit one here, or type "
        "<code>skyrack submit examples/jobs/digits-training/job.toml</code>"
    )


_JOB_COLUMNS = tuple(rows.JOB_COLUMNS[index] for index in (0, 2, 3, 4))
_EVENT_COLUMNS = (rows.EVENT_COLUMNS[0], rows.EVENT_COLUMNS[1], Column("", sortable=False, style="fill"))


def _jobs(visit: Visit, frame: Frame) -> list[rows.Row]:
    found = [rows.job_row(record, f"{visit.prefix}/jobs/{record.job_id}") for record in frame.jobs[:_SHORT]]
    return [
        row | {"cells": [*(row["cells"][index] for index in (0, 2, 3)), row["cells"][4].partition(" ")[0]]}
        for row in found
    ]


def _events(frame: Frame) -> list[rows.Row]:
    return highlights(frame.notable_events, frame.events, 2 * _SHORT)
