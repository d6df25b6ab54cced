"""Limits and fault rules in force: the contract's, over them the satellite file's, over them what was commanded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flight.executive.monitor import Monitor
from flight.executive.rules import Rule, RuleState
from skyrack.dictionary import default_limits
from skyrack.errors import UserError
from skyrack.files import suggest
from skyrack.limits import NONE, Limits, LimitSet

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flight.executive.memory import Memory
    from skyrack.satellite import SatelliteFile


def limits_of(satellite: SatelliteFile) -> LimitSet:
    """The dictionary's limits with a satellite's overrides.

    Raises:
        UserError: an override names no field, or its limits do not rise from low to high.
    """
    limits = default_limits()
    for name, sides in sorted(satellite.limits.items()):
        try:
            limits = limits.override(name, Limits(**sides))
        except UserError as error:
            raise UserError(f"satellite {satellite.name}: limits: {error}") from None
    return limits


def _limits(name: str, sides: Mapping[str, float]) -> Limits:
    known = [side for side, _ in NONE.items()]
    for side in sides:
        if side not in known:
            raise UserError(f"limits of {name}: there is no side {side}; {suggest(side, known)}")
    return Limits(**sides)


class LimitsInForce:
    """Limits and rules, and how values stand against them; changes go to ``memory``, whose owner saves it.

    Raises:
        UserError: the satellite file's limits cannot be.
    """

    def __init__(self, satellite: SatelliteFile, memory: Memory, rules: tuple[Rule, ...]) -> None:
        self.rules = rules
        self.firings: dict[str, int] = {rule.name: 0 for rule in rules}
        self.states = {rule.name: rule.state for rule in rules}
        # Kept overrides that no longer fit the dictionary: the software was changed since.
        self.problems: list[str] = []
        self._memory = memory
        self._filed = limits_of(satellite)
        for name, state in memory.rule_states().items():
            if name in self.states:
                self.states[name] = state
        limits = self._filed
        for name, sides in memory.limits.items():
            try:
                limits = limits.override(name, _limits(name, sides))
            except UserError as error:
                self.problems.append(str(error))
        self.monitor = Monitor(limits, rules)

    @property
    def overrides(self) -> dict[str, Limits]:
        """Every field whose limits differ from the dictionary's."""
        return dict(self.monitor.limits.overrides)

    def command(self, name: str, limits: Limits) -> None:
        """Override the limits of a field; no limits at all return to the satellite file's and the dictionary's.

        Raises:
            UserError: there is no such field, or the limits do not rise from low to high; nothing is changed.
        """
        given = self._filed.overrides.get(name) if limits == NONE else limits
        changed = self.monitor.limits.override(name, given)
        if limits == NONE:
            self._memory.limits.pop(name, None)
        else:
            self._memory.limits[name] = {side: value for side, value in limits.items() if value is not None}
        self.monitor.use(changed)

    def command_rule(self, name: str, state: RuleState) -> None:
        """Set the state of a rule.

        Raises:
            UserError: there is no such rule.
        """
        if name not in self.states:
            raise UserError(f"there is no fault rule {name}; {suggest(name, self.states)}")
        self.states[name] = state
        self._memory.rules[name] = state.value
