"""Watches telemetry against limits and fault rules. Pure: messages in, findings out.

A level gets worse at the first sample that says so; it gets better after ``SAMPLES_TO_RECOVER`` samples, so that a
value that trembles around its limit is reported once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flight.executive.readers import Reader, reader
from flight.executive.rules import BEYOND, Rule
from skyrack.dictionary import telemetry, telemetry_fields
from skyrack.limits import Level, Limits, LimitSet

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf.message import Message

SAMPLES_TO_RECOVER = 3

_SEVERITY = {Level.NOMINAL: 0, Level.YELLOW_LOW: 1, Level.YELLOW_HIGH: 1, Level.RED_LOW: 2, Level.RED_HIGH: 2}


@dataclass(frozen=True, slots=True)
class Crossing:
    """A value went from one level to another."""

    field: str
    instance: str
    value: float
    previous: Level
    level: Level


@dataclass(frozen=True, slots=True)
class Firing:
    """A rule's value stayed beyond its limit for the rule's persistence."""

    rule: Rule
    instance: str
    value: float
    level: Level


@dataclass(slots=True)
class _RuleCount:
    rule: Rule
    beyond: int = 0
    within: int = 0
    fired: bool = False

    def count(self, level: Level) -> bool:
        """Take one sample; whether the rule fires on it."""
        if level in BEYOND[self.rule.level]:
            self.beyond += 1
            self.within = 0
            if self.beyond >= self.rule.persistence and not self.fired:
                self.fired = True
                return True
            return False
        self.beyond = 0
        self.within += 1
        if self.within >= self.rule.persistence:
            self.fired = False
        return False

    @property
    def idle(self) -> bool:
        return not self.fired and not self.beyond


@dataclass(slots=True)
class _Trouble:
    """State of an instance that is not, or was not lately, within all its limits."""

    level: Level
    better: int
    counts: list[_RuleCount]


@dataclass(slots=True)
class _Watch:
    """A field under limits."""

    name: str
    read: Reader
    limits: Limits
    low: float
    high: float
    rules: tuple[Rule, ...]
    troubles: dict[str, _Trouble] = field(default_factory=dict)

    def sample(self, instance: str, value: float, crossings: list[Crossing], firings: list[Firing]) -> None:
        level = self.limits.level(value)
        trouble = self.troubles.get(instance)
        if trouble is None:
            counts = [_RuleCount(rule) for rule in self.rules if rule.instance in ("", instance)]
            trouble = self.troubles[instance] = _Trouble(Level.NOMINAL, 0, counts)
        if level is trouble.level:
            trouble.better = 0
        elif _SEVERITY[level] < _SEVERITY[trouble.level] and trouble.better + 1 < SAMPLES_TO_RECOVER:
            trouble.better += 1
        else:
            crossings.append(Crossing(self.name, instance, value, trouble.level, level))
            trouble.level, trouble.better = level, 0
        fired = [count.rule for count in trouble.counts if count.count(level)]
        firings += [Firing(rule, instance, value, level) for rule in fired]
        if trouble.level is Level.NOMINAL and all(count.idle for count in trouble.counts):
            del self.troubles[instance]


class Monitor:
    """Limits and rules in force, and how each watched value stands."""

    def __init__(self, limits: LimitSet, rules: Iterable[Rule] = ()) -> None:
        self._rules = tuple(rules)
        self._watches: dict[str, list[_Watch]] = {}
        self.limits = limits
        self.use(limits)

    @property
    def messages(self) -> frozenset[str]:
        """Short names of the messages that have a field under limits."""
        return frozenset(self._watches)

    def use(self, limits: LimitSet) -> None:
        """Put limits in force; fields whose limits stay as they were keep their state."""
        old = {watch.name: watch for watches in self._watches.values() for watch in watches}
        self.limits = limits
        self._watches = {}
        for name in sorted(limits.limited()):
            meant = telemetry_fields()[name]
            given = limits.of(name)
            kept = old.get(name)
            if kept is None or kept.limits != given:
                low = [limit for limit in (given.red_low, given.yellow_low) if limit is not None]
                high = [limit for limit in (given.red_high, given.yellow_high) if limit is not None]
                kept = _Watch(
                    name=name,
                    read=reader(telemetry()[meant.message].type, meant.path),
                    limits=given,
                    low=max(low, default=-math.inf),
                    high=min(high, default=math.inf),
                    rules=tuple(rule for rule in self._rules if rule.field == name),
                )
            self._watches.setdefault(meant.message, []).append(kept)

    def check(self, message: Message | Any) -> tuple[list[Crossing], list[Firing]]:
        """Take one telemetry message."""
        crossings: list[Crossing] = []
        firings: list[Firing] = []
        for watch in self._watches.get(message.DESCRIPTOR.name, ()):
            for instance, value in watch.read(message):
                # Nearly every sample of a healthy satellite ends here. Not a number fails both comparisons.
                if not watch.low <= value <= watch.high or instance in watch.troubles:
                    watch.sample(instance, value, crossings, firings)
        return crossings, firings

    def levels(self) -> dict[tuple[str, str], Level]:
        """Every value that is not nominal, by field and instance."""
        return {
            (watch.name, instance): trouble.level
            for watches in self._watches.values()
            for watch in watches
            for instance, trouble in watch.troubles.items()
            if trouble.level is not Level.NOMINAL
        }
