"""Draws a flight: power, charge, heat and jobs over time, with the eclipses behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from skyrack.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from ground.records import JobRecord
    from hil.twin.observe import Moment
    from hil.twin.run import Flown

MINUTE = 60.0
DARK = 0.5
STATE_COLOURS = {"ACCEPTED": "#c9d3df", "RUNNING": "#2f7fd1", "PREEMPTED": "#f0a202"}
MOST_JOBS = 40


def draw(flown: Flown, path: Path, satellite: str | None = None) -> None:
    """Draw one satellite of a flight, the first when none is named, and the jobs that ran on it.

    Raises:
        UserError: the file cannot be written, or its ending names no format of pictures.
    """
    name = satellite or next(iter(flown.traces))
    trace = flown.traces[name]
    jobs = [job for job in flown.jobs if any(step.satellite == name for step in job.history)][-MOST_JOBS:]
    figure = Figure(figsize=(10.0, 7.5 + 0.12 * len(jobs)), layout="constrained")
    FigureCanvasAgg(figure)
    power, charge, heat, work = figure.subplots(4, 1, sharex=True, height_ratios=(3, 1.5, 2, 1 + 0.15 * len(jobs)))
    minutes = [moment.seconds / MINUTE for moment in trace]
    report = flown.report
    figure.suptitle(f"{name} of {report.constellation}, seed {report.seed}: eclipses in grey", fontsize=11)

    power.plot(minutes, [moment.array_watts for moment in trace], label="array", color="#e0a100")
    power.plot(minutes, [moment.load_watts for moment in trace], label="all loads", color="#555555")
    power.fill_between(minutes, [moment.compute_watts for moment in trace], label="compute", color="#2f7fd1", alpha=0.5)
    power.set_ylabel("watts")
    charge.plot(minutes, [100 * moment.state_of_charge_ratio for moment in trace], color="#2a9d5c")
    charge.set_ylabel("state of\ncharge, %")
    heat.plot(minutes, [moment.chip_celsius for moment in trace], label="hottest chip", color="#c8553d")
    heat.plot(minutes, [moment.radiator_celsius for moment in trace], label="radiator", color="#6a4c93")
    heat.set_ylabel("°C")
    for axes in (power, heat):
        axes.legend(loc="upper right", fontsize=8, frameon=False)
    _draw_jobs(work, jobs, flown.start_seconds, name, minutes[-1] if minutes else 0.0)
    for axes in (power, charge, heat, work):
        _shade_eclipses(axes, trace)
        axes.spines[["top", "right"]].set_visible(False)
    work.set_xlabel("minutes of the mission")
    work.set_xlim(0.0, minutes[-1] if minutes else 1.0)
    try:
        with mpl.rc_context({"svg.hashsalt": "skyrack"}):
            figure.savefig(path, dpi=120, metadata={"Date": None} if path.suffix == ".svg" else None)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: the picture cannot be drawn here ({error}); try a name that ends with .svg") from None


def _shade_eclipses(axes: Axes, trace: list[Moment]) -> None:
    begun: float | None = None
    for moment in trace:
        dark = moment.sunlit_ratio < DARK
        if dark and begun is None:
            begun = moment.seconds
        if begun is not None and (not dark or moment is trace[-1]):
            axes.axvspan(begun / MINUTE, moment.seconds / MINUTE, color="#000000", alpha=0.08, linewidth=0)
            begun = None


def _draw_jobs(axes: Axes, jobs: list[JobRecord], start: float, satellite: str, end_minutes: float) -> None:
    for row, job in enumerate(jobs):
        steps = [step for step in job.history if step.is_applied]
        for step, following in zip(steps, [*steps[1:], None], strict=True):
            colour = STATE_COLOURS.get(step.state)
            if colour is None or step.satellite != satellite:
                continue
            begin = (step.mission_time_seconds - start) / MINUTE
            end = (following.mission_time_seconds - start) / MINUTE if following is not None else end_minutes
            axes.barh(row, max(0.0, end - begin), left=begin, height=0.8, color=colour)
    handles = [axes.barh(0, 0, color=colour, label=state.lower()) for state, colour in STATE_COLOURS.items()]
    axes.legend(handles=handles, loc="upper right", fontsize=8, frameon=False, ncols=len(handles))
    axes.set_yticks([])
    axes.set_ylim(len(jobs) + 0.5, -1.5)
    axes.set_ylabel("jobs")
