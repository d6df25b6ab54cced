"""Telemetry as people read it: each field with its unit, its meaning, and its state against the limits in force."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ground.segment import GroundSegment
from skyrack.dictionary import default_limits, read_limits, samples, telemetry_fields
from skyrack.limits import LimitSet
from skyrack.v1 import executive_pb2

__all__ = ["TelemetryValue", "values"]


@dataclass(frozen=True, slots=True)
class TelemetryValue:
    """The newest value of one field of one instance."""

    field: str
    labels: dict[str, str]
    # None where the satellite said that it has no number (NaN, infinity), which JSON cannot say.
    value: float | None
    # The name of a choice, true or false; empty for numbers.
    text: str
    unit: str
    description: str
    # "nominal", "yellow_low", "red_high"...
    level: str
    mission_time_seconds: float


def values(segment: GroundSegment, satellite: str) -> list[TelemetryValue]:
    """All fields of a satellite that have been heard, in the order of the dictionary.

    Raises:
        UnknownError: there is no such satellite.
    """
    newest = segment.telemetry(satellite)
    fields = telemetry_fields()
    limits = default_limits()
    for _, _, message in newest:
        if isinstance(message, executive_pb2.LimitOverrides):
            overrides = {override.field: read_limits(override.limits) for override in message.overrides}
            limits = LimitSet(limits.defaults, {name: found for name, found in overrides.items() if name in fields})
    found: list[TelemetryValue] = []
    for at, _, message in newest:
        for name, labels, value in samples(message):
            field = fields[name]
            text = dict(field.choices).get(int(value), "") if field.choices and math.isfinite(value) else ""
            if isinstance(value, bool):
                text = "true" if value else "false"
            found.append(
                TelemetryValue(
                    field=name,
                    labels=dict(zip(field.labels, labels, strict=True)),
                    value=float(value) if math.isfinite(value) else None,
                    text=text,
                    unit=field.unit,
                    description=field.description,
                    level=limits.level(name, float(value)).value,
                    mission_time_seconds=at,
                )
            )
    return found
