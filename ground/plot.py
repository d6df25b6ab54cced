"""Values over time as text: a line of blocks, or a small plot of Braille dots. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

__all__ = ["plot", "sparkline"]

_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_BRAILLE: Final = 0x2800
_DOTS: Final = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bits of a Braille character, by row and column."""


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None and math.isfinite(value)]


def sparkline(values: Sequence[float | None]) -> str:
    """A block for each value, a space where there is none."""
    known = _known(values)
    if not known:
        return ""
    low, high = min(known), max(known)
    scale = (len(_BLOCKS) - 1) / (high - low) if high > low else 0.0
    return "".join(
        _BLOCKS[round((value - low) * scale)] if value is not None and math.isfinite(value) else " " for value in values
    )


def plot(
    times: Sequence[float], lows: Sequence[float | None], highs: Sequence[float | None], width: int, height: int
) -> tuple[list[str], float, float]:
    """Lines of Braille from top to bottom, and the values at their lower and upper edge.

    Between the least and the greatest value of a time a stroke is drawn. ``width`` and ``height`` in characters.
    """
    known = _known(lows) + _known(highs)
    if not known:
        return [" " * width] * height, 0.0, 0.0
    low, high = min(known), max(known)
    if high == low:
        low, high = low - (abs(low) or 1.0) / 10, high + (abs(high) or 1.0) / 10
    cells = [[0] * width for _ in range(height)]
    begin, end = times[0], times[-1]
    rows, columns = 4 * height, 2 * width
    for at, least, greatest in zip(times, lows, highs, strict=True):
        if least is None or greatest is None or not math.isfinite(least + greatest):
            continue
        column = round((at - begin) / (end - begin) * (columns - 1)) if end > begin else 0
        bottom = round((least - low) / (high - low) * (rows - 1))
        top = round((greatest - low) / (high - low) * (rows - 1))
        for row in range(bottom, top + 1):
            line, dot = divmod(rows - 1 - row, 4)
            cells[line][column // 2] |= _DOTS[dot][column % 2]
    return ["".join(chr(_BRAILLE + bits) for bits in line) for line in cells], low, high
