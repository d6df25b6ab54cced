"""Limits of a value, and which of them it breaks. Pure: persistence is counted by whoever asks."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum
from itertools import pairwise
from typing import TYPE_CHECKING

from skyrack.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Level(Enum):
    """State of a value against its limits; the words are those of telemetry and of fault rules."""

    NOMINAL = "nominal"
    YELLOW_LOW = "yellow_low"
    YELLOW_HIGH = "yellow_high"
    RED_LOW = "red_low"
    RED_HIGH = "red_high"

    @property
    def red(self) -> bool:
        """Beyond a red limit."""
        return self in (Level.RED_LOW, Level.RED_HIGH)

    @property
    def yellow(self) -> bool:
        """Beyond a yellow limit, within the red one."""
        return self in (Level.YELLOW_LOW, Level.YELLOW_HIGH)


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one field, in its unit; ``None`` is no limit. A value exactly at a limit is still within it."""

    red_low: float | None = None
    yellow_low: float | None = None
    yellow_high: float | None = None
    red_high: float | None = None

    def problems(self) -> list[str]:
        """Sentences for people on why these limits cannot be; empty when they can."""
        given = [(name, value) for name, value in self.items() if value is not None]
        found = [f"{name} is {value}: must be a finite number" for name, value in given if not math.isfinite(value)]
        if found:
            return found
        return [
            f"{low_name} is {low:g} and {high_name} is {high:g}: "
            "limits must rise from red_low over yellow_low and yellow_high to red_high"
            for (low_name, low), (high_name, high) in pairwise(given)
            if low > high
        ]

    def items(self) -> Iterator[tuple[str, float | None]]:
        """Names and values from low to high."""
        yield "red_low", self.red_low
        yield "yellow_low", self.yellow_low
        yield "yellow_high", self.yellow_high
        yield "red_high", self.red_high

    def level(self, value: float) -> Level:
        """State of a value. A value that is not a number can be trusted by nobody, and is red."""
        if self.red_high is not None and not value <= self.red_high:
            return Level.RED_HIGH
        if self.red_low is not None and not value >= self.red_low:
            return Level.RED_LOW
        if self.yellow_high is not None and not value <= self.yellow_high:
            return Level.YELLOW_HIGH
        if self.yellow_low is not None and not value >= self.yellow_low:
            return Level.YELLOW_LOW
        return Level.NOMINAL


NONE = Limits()


@dataclass(frozen=True, slots=True)
class LimitSet:
    """Limits in force: those of the dictionary, and overrides by field name ("PowerStatus.state_of_charge_ratio").

    An override replaces all four limits of its field. The set never changes; ``override`` makes a new one.
    """

    defaults: Mapping[str, Limits]
    overrides: Mapping[str, Limits] = field(default_factory=dict)

    def of(self, name: str) -> Limits:
        """Limits in force for a field; no limits when there are none."""
        found = self.overrides.get(name)
        return found if found is not None else self.defaults.get(name, NONE)

    def level(self, name: str, value: float) -> Level:
        """State of a field's value under the limits in force."""
        return self.of(name).level(value)

    def limited(self) -> frozenset[str]:
        """Names of the fields that have a limit."""
        return frozenset(name for name in {*self.defaults, *self.overrides} if self.of(name) != NONE)

    def override(self, name: str, limits: Limits | None) -> LimitSet:
        """Replace the limits of a field; ``None`` returns to the dictionary's.

        Raises:
            UserError: the dictionary has no such numeric field, or the limits do not rise from low to high.
        """
        if name not in self.defaults:
            from skyrack.files import suggest

            raise UserError(f"{name} is no field that can have limits; {suggest(name, self.defaults)}")
        overrides = {key: value for key, value in self.overrides.items() if key != name}
        if limits is not None:
            problems = limits.problems()
            if problems:
                raise UserError(f"limits of {name}: {problems[0]}")
            overrides[name] = limits
        return LimitSet(self.defaults, overrides)
