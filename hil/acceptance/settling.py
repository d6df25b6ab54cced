"""How fast a value follows a step, and how well it holds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """What followed a step. ``settling_seconds`` is ``None`` when the value never came to rest."""

    settling_seconds: float | None
    final: float
    overshoot: float


def settled(
    seconds: Sequence[float], values: Sequence[float], began: float, band: float, *, window_seconds: float = 0.0
) -> Step:
    """Look at the samples since ``began``.

    The final value is the median of the last third; the settling time ends where the value, as a mean over
    ``window_seconds``, enters the band around it for good.

    Raises:
        ValueError: fewer than three samples.
    """
    after = [(moment, value) for moment, value in zip(seconds, values, strict=True) if moment >= began]
    if len(after) < 3:
        raise ValueError(f"{len(after)} samples after the step are too few; 3 are needed")
    smooth = []
    for index, (moment, _) in enumerate(after):
        near = [value for other, value in after[: index + 1] if other >= moment - window_seconds]
        smooth.append((moment, statistics.fmean(near)))
    tail = [value for _, value in smooth[-max(3, len(smooth) // 3) :]]
    final = statistics.median(tail)
    outside = [index for index, (_, value) in enumerate(smooth) if abs(value - final) > band]
    last = outside[-1] if outside else -1
    when = smooth[last + 1][0] - began if last + 1 < len(smooth) else None
    # The first sample that is in the band may come long after the value was.
    return Step(when if last >= 0 else 0.0, final, max(abs(value - final) for _, value in smooth))
