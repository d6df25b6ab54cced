"""Questions to the archive: fields over time, as they came or step by step, a window at a time."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np

from ground.telemetry.archiver import Archiver
from ground.telemetry.columns import Floats
from ground.telemetry.history import Downsampled, Part, Values, collect, downsample
from skyrack.dictionary import telemetry, telemetry_fields
from skyrack.errors import UserError
from skyrack.files import suggest
from skyrack.limits import Level, LimitSet

__all__ = ["FIELDS_MAXIMUM", "POINTS_MAXIMUM", "TelemetryHistory", "TelemetrySeries", "history_of", "types_of"]

POINTS_MAXIMUM: Final = 200_000
FIELDS_MAXIMUM: Final = 50
_WINDOW_SECONDS: Final = 86_400.0
_STEPS_MAXIMUM: Final = 20_000


@dataclass(frozen=True, slots=True)
class TelemetrySeries:
    """One field of one instance over time; lists are of equal length. Times in mission seconds.

    Of a question with a step, ``mission_time_seconds`` are the beginnings of the steps, ``value`` is the mean of each.
    """

    field: str
    labels: dict[str, str]
    source: str
    unit: str
    description: str
    mission_time_seconds: list[float]
    # None is no number.
    value: list[float | None]
    # Only without a step: when it came to the ground, and how it stood against the limits: nominal, yellow_high...
    received_seconds: list[float]
    quality: list[str]
    # Only with a step.
    minimum: list[float | None]
    maximum: list[float | None]
    count: list[int]


@dataclass(frozen=True, slots=True)
class TelemetryHistory:
    """An answer; when it is truncated, what is later than its last point was left out."""

    satellite: str
    start_seconds: float
    end_seconds: float
    step_seconds: float
    is_truncated: bool
    series: tuple[TelemetrySeries, ...]


def types_of(fields: Sequence[str]) -> dict[str, frozenset[str]]:
    """Full names of message types, and the wanted fields of each.

    Raises:
        UserError: there is no such field.
    """
    known = telemetry_fields()
    found: dict[str, set[str]] = {}
    for name in fields:
        if name not in known or not known[name].kind.numeric:
            raise UserError(f"there is no telemetry field {name}; {suggest(name, known)}")
        found.setdefault(telemetry()[known[name].message].full_name, set()).add(name)
    return {name: frozenset(wanted) for name, wanted in found.items()}


async def history_of(
    archiver: Archiver,
    satellite: str,
    fields: Sequence[str],
    limits: LimitSet,
    start_seconds: float,
    end_seconds: float,
    step_seconds: float = 0.0,
    limit: int = POINTS_MAXIMUM,
) -> TelemetryHistory:
    """Fields in [start, end), at most ``limit`` points of each; with a step, at most 20,000 steps.

    Raises:
        UserError: a field, an interval or a step that cannot be.
        StorageError: the archive cannot be read.
    """
    if not fields or len(fields) > FIELDS_MAXIMUM:
        raise UserError(f"{len(fields)} fields are asked for, must be from 1 to {FIELDS_MAXIMUM}")
    if not start_seconds < end_seconds:
        raise UserError("end_seconds must be greater than start_seconds")
    if step_seconds and (end_seconds - start_seconds) / step_seconds > _STEPS_MAXIMUM:
        raise UserError(
            f"step_seconds is {step_seconds:g}: more than {_STEPS_MAXIMUM:,} steps; "
            f"must be at least {math.ceil((end_seconds - start_seconds) / _STEPS_MAXIMUM)}"
        )
    gathered: dict[tuple[str, tuple[str, ...], str, str], _Series] = {}
    is_truncated = False
    for message_type, wanted in types_of(fields).items():
        window = max(step_seconds, _WINDOW_SECONDS // step_seconds * step_seconds) if step_seconds else _WINDOW_SECONDS
        begin = start_seconds
        async for parts_begin, parts_end, parts in _windows(
            archiver, satellite, message_type, begin, end_seconds, window
        ):
            read = partial(collect, parts, wanted, parts_begin, parts_end)
            for values in await asyncio.get_running_loop().run_in_executor(None, read):
                name = (values.field, values.labels, values.source, values.key)
                gathered.setdefault(name, _Series(values.field, values.labels, values.source)).add(
                    values, start_seconds, step_seconds
                )
            if not step_seconds and any(series.points > limit for series in gathered.values()):
                is_truncated = True
                break
    series = tuple(gathered[name].record(limits, limit) for name in sorted(gathered))
    return TelemetryHistory(satellite, start_seconds, end_seconds, step_seconds, is_truncated, series)


async def _windows(
    archiver: Archiver, satellite: str, message_type: str, start: float, end: float, window: float
) -> Any:
    """(begin, end, parts) of each window that has any."""
    extent = await archiver.extent(satellite, message_type)
    if extent is None:
        return
    first, last = extent
    if first > start:
        start += (first - start) // window * window
    end = min(end, math.nextafter(last, math.inf))
    while start < end:
        stop = min(start + window, end)
        parts: list[Part] = await archiver.parts(satellite, message_type, start, stop)
        if parts:
            yield start, stop, parts
        start += window


class _Series:
    def __init__(self, field: str, labels: tuple[str, ...], source: str) -> None:
        self._field = telemetry_fields()[field]
        self._labels = labels
        self._source = source
        self._raw: list[Values] = []
        self._steps: list[Downsampled] = []
        self.points = 0

    def add(self, values: Values, start_seconds: float, step_seconds: float) -> None:
        if step_seconds:
            self._steps.append(downsample(values.times, values.values, start_seconds, step_seconds))
        else:
            self._raw.append(values)
            self.points += len(values.times)

    def record(self, limits: LimitSet, limit: int) -> TelemetrySeries:
        def joined(arrays: Sequence[Any]) -> list[Any]:
            found: list[Any] = np.concatenate(arrays)[:limit].tolist() if arrays else []
            return found

        raw, steps = self._raw, self._steps
        values: Floats = np.concatenate([one.values for one in raw])[:limit] if raw else np.empty(0)
        shown: list[float | None] = joined([one.values for one in raw] or [one.mean for one in steps])
        return TelemetrySeries(
            field=self._field.name,
            labels=dict(zip(self._field.labels, self._labels, strict=True)),
            source=self._source,
            unit=self._field.unit,
            description=self._field.description,
            mission_time_seconds=joined([one.times for one in raw] or [one.starts for one in steps]),
            value=shown,
            received_seconds=joined([one.received for one in raw]),
            quality=_qualities(limits, self._field.name, values),
            minimum=joined([one.minimum for one in steps]),
            maximum=joined([one.maximum for one in steps]),
            count=joined([one.count for one in steps]),
        )


def _qualities(limits: LimitSet, name: str, values: Floats) -> list[str]:
    """How each value stands against the limits in force now; what is no number is ``invalid``."""
    of = limits.of(name)
    found = np.full(len(values), Level.NOMINAL.value, dtype=object)
    edges = (
        (of.yellow_low, Level.YELLOW_LOW, np.less),
        (of.yellow_high, Level.YELLOW_HIGH, np.greater),
        (of.red_low, Level.RED_LOW, np.less),
        (of.red_high, Level.RED_HIGH, np.greater),
    )
    with np.errstate(invalid="ignore"):
        for edge, level, beyond in edges:
            if edge is not None:
                found[beyond(values, edge)] = level.value
    found[np.isnan(values)] = "invalid"
    return list(found)
