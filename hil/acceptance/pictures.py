"""Curves as SVG that stands alone: no script, no font, nothing from elsewhere."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

from hil.acceptance.model import Picture

_COLOURS = ("#0b6bcb", "#c2410c", "#15803d", "#7c3aed", "#475569")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a picture; ``panel`` counts from the top."""

    label: str
    seconds: Sequence[float]
    values: Sequence[float]
    unit: str
    panel: int = 0
    dashed: bool = False


def draw(title: str, lines: Sequence[Line], marks: Sequence[float] = ()) -> Picture:
    """Draw lines over seconds, one panel for each unit; ``marks`` are moments at which something was changed."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    # Equal data give equal bytes: the report's hash covers them.
    with mpl.rc_context({"svg.hashsalt": title, "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9}):
        panels = max(line.panel for line in lines) + 1
        figure = Figure(figsize=(7.2, 1.2 + 1.5 * panels), layout="constrained")
        axes = [figure.add_subplot(panels, 1, index + 1) for index in range(panels)]
        for index, axis in enumerate(axes):
            for count, line in enumerate(each for each in lines if each.panel == index):
                style = "--" if line.dashed else "-"
                colour = _COLOURS[(index + count) % len(_COLOURS)]
                axis.plot(line.seconds, line.values, style, label=line.label, color=colour, linewidth=1.3)
                axis.set_ylabel(line.unit)
            for moment in marks:
                axis.axvline(moment, color="#94a3b8", linewidth=0.7, linestyle=":")
            axis.grid(visible=True, color="#e2e8f0", linewidth=0.6)
            axis.legend(loc="best", fontsize=8, frameon=False)
        axes[-1].set_xlabel("s")
        output = io.StringIO()
        figure.savefig(output, format="svg", metadata={"Date": None, "Creator": None})
    svg = output.getvalue()
    return Picture(title=title, svg=re.sub(r"^.*?(?=<svg)", "", svg, count=1, flags=re.DOTALL).strip())
