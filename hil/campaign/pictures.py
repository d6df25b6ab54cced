"""Pictures of a campaign, as SVG that stands inside a page."""

from __future__ import annotations

import io
import itertools
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from flight.executive.limits import limits_of
from hil.faults import BROKER, GROUND

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from hil.campaign.evidence import Look
    from hil.campaign.file import Campaign
    from hil.campaign.result import RunResult

MINUTE = 60.0
DARK = 0.5
STATE_COLOURS = {"ACCEPTED": "#c9d3df", "RUNNING": "#2f7fd1", "PREEMPTED": "#f0a202"}
MODE_COLOURS = {"BOOT": "#999999", "NOMINAL": "#2a9d5c", "SAFE": "#c8553d"}
FAULT_COLOUR = "#c8553d"
LIMIT_STYLE = {"color": "#c8553d", "linewidth": 0.8, "linestyle": ":"}


def timeline(campaign: Campaign, result: RunResult, satellite: str) -> str:
    """State of charge, temperatures, mode and jobs of one satellite in one run, with faults and eclipses behind."""
    looks = result.looks[satellite]
    bars = [bar for bar in result.bars if bar.satellite == satellite]
    names = sorted({bar.job_id for bar in bars})
    figure = Figure(figsize=(9.0, 4.6 + 0.09 * len(names)), layout="constrained")
    FigureCanvasAgg(figure)
    charge, heat, mode, work = figure.subplots(4, 1, sharex=True, height_ratios=(2, 2, 0.5, 1 + 0.12 * len(names)))
    minutes = [look.seconds / MINUTE for look in looks]
    limits = limits_of(campaign.designs[satellite])
    charge.plot(minutes, [100 * look.state_of_charge_ratio for look in looks], color="#2a9d5c")
    least = limits.of("PowerStatus.state_of_charge_ratio").red_low
    if least is not None:
        charge.axhline(100 * least, **LIMIT_STYLE)
    charge.set_ylabel("charge, %")
    heat.plot(minutes, [look.chip_celsius for look in looks], label="hottest chip", color="#c8553d")
    heat.plot(minutes, [look.battery_celsius for look in looks], label="battery", color="#6a4c93")
    for value in (
        limits.of("ThermalStatus.chip_maximum_celsius").red_high,
        limits.of("ThermalStatus.battery_celsius").red_high,
    ):
        if value is not None:
            heat.axhline(value, **LIMIT_STYLE)
    heat.set_ylabel("°C")
    heat.legend(loc="upper right", fontsize=7, frameon=False, ncols=2)
    _modes(mode, looks)
    for row, name in enumerate(names):
        for bar in bars:
            if bar.job_id == name:
                colour = STATE_COLOURS.get(bar.state, "#999999")
                work.barh(row, (bar.end - bar.start) / MINUTE, left=bar.start / MINUTE, height=0.8, color=colour)
    handles = [work.barh(0, 0, color=colour, label=state.lower()) for state, colour in STATE_COLOURS.items()]
    work.legend(handles=handles, loc="upper right", fontsize=7, frameon=False, ncols=3)
    work.set_yticks([])
    work.set_ylim(len(names) + 0.5, -2.0)
    work.set_ylabel("jobs")
    work.set_xlabel("minutes of the run")
    for axes in (charge, heat, mode, work):
        _shade(axes, looks)
        _faults(axes, result, satellite, named=axes is charge)
        axes.spines[["top", "right"]].set_visible(False)
    work.set_xlim(0.0, minutes[-1] if minutes else 1.0)
    return _svg(figure)


def recovery_times(groups: Sequence[tuple[str, Sequence[float]]]) -> str:
    """How the times of recovery are distributed, one row a kind of fault; seconds, on a logarithmic axis."""
    shown = [(kind, times) for kind, times in groups if times]
    figure = Figure(figsize=(9.0, 0.8 + 0.35 * max(1, len(shown))), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for row, (_, times) in enumerate(shown):
        axes.plot([max(time, 1.0) for time in times], [row] * len(times), "|", color="#2f7fd1", markersize=9, alpha=0.7)
        ordered = sorted(times)
        axes.plot([max(ordered[len(ordered) // 2], 1.0)], [row], "o", color="#c8553d", markersize=5)
    axes.set_yticks(range(len(shown)), [kind for kind, _ in shown])
    axes.set_ylim(max(1, len(shown)) - 0.5, -0.5)
    axes.set_xscale("log")
    axes.set_xlabel("recovered after, seconds (dot: median)")
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    return _svg(figure)


def _modes(axes: Axes, looks: Sequence[Look]) -> None:
    stretches = [(mode, list(group)) for mode, group in itertools.groupby(looks, lambda look: look.mode)]
    ends = [group[0].seconds for _, group in stretches[1:]] + [looks[-1].seconds if looks else 0.0]
    for (mode, group), end in zip(stretches, ends, strict=True):
        colour = MODE_COLOURS.get(mode, "#dddddd")
        axes.axvspan(group[0].seconds / MINUTE, end / MINUTE, color=colour, alpha=0.8, linewidth=0)
    axes.set_yticks([])
    axes.set_ylabel("mode", rotation=0, ha="right", va="center")


def _shade(axes: Axes, looks: Sequence[Look]) -> None:
    begun: float | None = None
    for look in looks:
        dark = look.sunlit_ratio < DARK
        if dark and begun is None:
            begun = look.seconds
        if begun is not None and (not dark or look is looks[-1]):
            axes.axvspan(begun / MINUTE, look.seconds / MINUTE, color="#000000", alpha=0.08, linewidth=0)
            begun = None


def _faults(axes: Axes, result: RunResult, satellite: str, *, named: bool = False) -> None:
    struck = [fault for fault in result.faults if fault.satellite in (satellite, GROUND, BROKER)]
    for row, fault in enumerate(struck):
        begin = fault.at_seconds / MINUTE
        axes.axvline(begin, color=FAULT_COLOUR, linewidth=0.8)
        if fault.duration_seconds is not None:
            axes.axvspan(begin, begin + fault.duration_seconds / MINUTE, color=FAULT_COLOUR, alpha=0.07, linewidth=0)
        if named:
            text = f"{fault.kind} {fault.target}".strip()
            axes.annotate(
                text,
                (begin, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(2, 2 + 8 * row),
                textcoords="offset points",
                fontsize=7,
                color=FAULT_COLOUR,
            )


def _svg(figure: Figure) -> str:
    out = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "skyrack", "svg.fonttype": "none"}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    return text[text.index("<svg") :]
