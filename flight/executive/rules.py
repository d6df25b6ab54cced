"""Fault rules: when a value stays beyond a limit, what is done about it. A table in TOML that an operator can read.

After NASA's Limit Checker: a watched field and level, a persistence in samples, an action, an event text, and three
states: active, passive (reports what it would have done) and disabled.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta

from skyrack import files
from skyrack.dictionary import telemetry_fields
from skyrack.limits import Level

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from skyrack.limits import LimitSet

_RED = frozenset({Level.RED_LOW, Level.RED_HIGH})
_LOW = frozenset({Level.YELLOW_LOW, Level.RED_LOW})
_HIGH = frozenset({Level.YELLOW_HIGH, Level.RED_HIGH})

# A yellow limit is left behind by a value that is beyond the red one, too.
BEYOND: dict[str, frozenset[Level]] = {
    "red": _RED,
    "red_low": frozenset({Level.RED_LOW}),
    "red_high": frozenset({Level.RED_HIGH}),
    "yellow": _LOW | _HIGH,
    "yellow_low": _LOW,
    "yellow_high": _HIGH,
}


class RuleState(Enum):
    """Whether a rule acts, only reports, or does neither."""

    ACTIVE = "active"
    PASSIVE = "passive"
    DISABLED = "disabled"


class Action(Enum):
    """What a rule does; the event is always sent."""

    EVENT = "event"
    SAFE_MODE = "safe_mode"
    RESTART_SERVICE = "restart_service"
    OPEN_LOAD = "open_load"


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One row of the table."""

    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,60}$")]
    # As in the dictionary: "PowerStatus.state_of_charge_ratio".
    field: str
    level: Literal["red", "red_low", "red_high", "yellow", "yellow_low", "yellow_high"] = "red"
    # Which instance is watched ("node-1"); empty watches each by itself.
    instance: str = ""
    # Consecutive samples beyond the limit before the rule acts, and within it before it may act again.
    persistence: Annotated[int, Meta(ge=1, le=100_000)] = 1
    action: Action = Action.EVENT
    # Service to restart or load to open; empty takes the instance.
    target: str = ""
    state: RuleState = RuleState.ACTIVE
    # What the event says.
    text: Annotated[str, Meta(min_length=1)]

    def target_of(self, instance: str) -> str:
        """Whom the action is for, when this instance left its limits."""
        return self.target or instance.rpartition("/")[2]


class RulesFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of fault rules."""

    rules: tuple[Rule, ...] = ()


def load_rules(path: Path, limits: LimitSet, *, services: Collection[str], loads: Collection[str]) -> tuple[Rule, ...]:
    """Read and check fault rules.

    Args:
        path: the TOML file.
        limits: limits in force: a rule on a limit that does not exist would never act.
        services: services that may be restarted.
        loads: loads that may be opened.

    Raises:
        FileError: what is wrong, with file, key, value and what would be right.
    """
    rules = files.load(path, RulesFile).rules
    seen: set[str] = set()
    for rule in rules:
        if rule.name in seen:
            raise files.FileError(path, "must be a name that no other rule has", key="rules.name", value=rule.name)
        seen.add(rule.name)
        _check(path, rule, limits, services=services, loads=loads)
    return rules


def _check(path: Path, rule: Rule, limits: LimitSet, *, services: Collection[str], loads: Collection[str]) -> None:
    def wrong(key: str, value: str, problem: str) -> files.FileError:
        return files.FileError(path, problem, key=f"rules.{rule.name}.{key}", value=value)

    if rule.field not in limits.defaults:
        raise wrong("field", rule.field, f"is no numeric telemetry field; {files.suggest(rule.field, limits.defaults)}")
    given = limits.of(rule.field)
    sides = {level.value for level in BEYOND[rule.level]}
    if all(limit is None for name, limit in given.items() if name in sides):
        problem = f"{rule.field} has no such limit: add one to the satellite file under limits, or watch another level"
        raise wrong("level", rule.level, problem)
    labels = telemetry_fields()[rule.field].labels
    if rule.instance and not labels:
        raise wrong("instance", rule.instance, f"must be empty: {rule.field} has no instances")
    targets, label, what = {
        Action.RESTART_SERVICE: (services, ("service",), "a service"),
        Action.OPEN_LOAD: (loads, ("load", "node"), "a load"),
    }.get(rule.action, ((), (), "nothing"))
    if not targets:
        if rule.target:
            raise wrong("target", rule.target, f"must be empty: {rule.action.value} has no target")
    elif rule.target and rule.target not in targets:
        raise wrong("target", rule.target, f"must be {what}; {files.suggest(rule.target, targets)}")
    elif not rule.target and (not labels or labels[-1] not in label):
        raise wrong("target", rule.target, f"must name {what}: {rule.field} is not a value of one")
