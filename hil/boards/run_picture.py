"""Draws a flight on a bench: what the satellite had, what its board drew and was allowed, how it was slowed down."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from skyrack.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from hil.boards.samples import Sample

MINUTE = 60.0
DARK = 0.5


def draw(samples: Sequence[Sample], path: Path, title: str, how: str, scale_note: str) -> None:
    """Draw one satellite's samples.

    Raises:
        UserError: there is nothing to draw, or the file cannot be written.
    """
    if not samples:
        raise UserError(f"{path}: nothing was seen of the bench, so there is nothing to draw")
    start = samples[0].mission_time_seconds
    minutes = [(sample.mission_time_seconds - start) / MINUTE for sample in samples]
    figure = Figure(figsize=(10.0, 8.0), layout="constrained")
    FigureCanvasAgg(figure)
    power, board, slow, charge, heat = figure.subplots(5, 1, sharex=True, height_ratios=(2.2, 1.6, 1.2, 1.2, 1.6))
    figure.suptitle(f"{title}: eclipse in grey", fontsize=11)

    power.plot(minutes, [sample.array_watts for sample in samples], label="solar array", color="#e0a100")
    power.step(
        minutes, _numbers([s.cap_watts for s in samples]), label="cap of the node", color="#c8553d", where="post"
    )
    power.fill_between(
        minutes, [sample.node_watts for sample in samples], label="node, as the satellite feels it", alpha=0.5
    )
    power.set_ylabel("watts of\nthe satellite")
    board.plot(minutes, _numbers([s.real_watts for s in samples]), color="#2f7fd1", label=f"the board: {how}")
    board.set_ylabel(f"watts of\nthe board\n{scale_note}", fontsize=9)
    slow.plot(minutes, _numbers([s.duty_ratio for s in samples], 100.0), label="work runs", color="#6a4c93")
    if any(sample.throttle_ratio is not None for sample in samples):
        slow.plot(minutes, _numbers([s.throttle_ratio for s in samples], 100.0), label="throttle", color="#888888")
    slow.set_ylim(0.0, 105.0)
    slow.set_ylabel("% of\nfull speed")
    charge.plot(minutes, [100.0 * sample.state_of_charge_ratio for sample in samples], color="#2a9d5c")
    charge.set_ylabel("state of\ncharge, %")
    heat.plot(minutes, _numbers([s.chip_celsius for s in samples]), label="chip", color="#c8553d")
    heat.plot(minutes, [sample.radiator_celsius for sample in samples], label="radiator", color="#6a4c93")
    heat.set_ylabel("°C in the\nplant")
    heat.set_xlabel("minutes of the mission")
    heat.set_xlim(minutes[0], max(minutes[-1], 1.0))
    for axes in (power, board, slow, heat):
        axes.legend(loc="upper right", fontsize=8, frameon=False)
    for axes in (power, board, slow, charge, heat):
        _shade_eclipses(axes, minutes, samples)
        axes.spines[["top", "right"]].set_visible(False)
    try:
        with mpl.rc_context({"svg.hashsalt": "skyrack"}):
            figure.savefig(path, dpi=120, metadata={"Date": None} if path.suffix == ".svg" else None)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: the picture cannot be drawn here ({error}); try a name that ends with .svg") from None


def _numbers(values: Sequence[float | None], factor: float = 1.0) -> list[float]:
    return [float("nan") if value is None else factor * value for value in values]


def _shade_eclipses(axes: Axes, minutes: Sequence[float], samples: Sequence[Sample]) -> None:
    begun: float | None = None
    for minute, sample in zip(minutes, samples, strict=True):
        dark = sample.sunlit_ratio < DARK
        if dark and begun is None:
            begun = minute
        if begun is not None and (not dark or sample is samples[-1]):
            axes.axvspan(begun, minute, color="#000000", alpha=0.08, linewidth=0)
            begun = None
