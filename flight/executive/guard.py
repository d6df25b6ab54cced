"""Guards limits on the bus: hears telemetry, tells of crossings, and lets fault rules act."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from flight.executive.rules import Action, Rule, RuleState
from flight.executive.telemetry import crossing_message, overrides_message, rules_message
from skyrack.dictionary import telemetry
from skyrack.v1.common_pb2 import Severity

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from flight.executive.limits import LimitsInForce
    from flight.executive.memory import Memory
    from flight.executive.monitor import Firing
    from flight.service import Service

Act = Callable[[Rule, str], None]
"""Do what a rule asks for, to this target."""


class Guard:
    """Speaks for ``service`` on the bus; red crossings are counted in ``memory``."""

    def __init__(self, service: Service, limits: LimitsInForce, memory: Memory, act: Act) -> None:
        self._service = service
        self._limits = limits
        self._memory = memory
        self._act = act
        self._watched: set[tuple[str, str]] = set()

    def begin(self) -> None:
        """Begin to watch, and publish what is in force. The bus is open."""
        self.limits_changed()
        self.rules_changed()

    def limits_changed(self) -> None:
        """Watch every message that has a field under limits, and publish the limits in force."""
        service = self._service
        for name in sorted(self._limits.monitor.messages):
            meant = telemetry()[name]
            for source in (meant.publisher,) if meant.publisher else service.context.services:
                if source != service.name and (source, name) not in self._watched:
                    self._watched.add((source, name))
                    service.bus.subscribe(source, meant.type, self._check)
        service.publish(overrides_message(self._limits.overrides))

    def rules_changed(self) -> None:
        """Publish the rules in force."""
        self._service.publish(rules_message(self._limits))

    def _check(self, message: Message, _header: object, _key: str) -> None:
        crossings, firings = self._limits.monitor.check(message)
        for crossing in crossings:
            self._service.publish(crossing_message(crossing, self._service.clock.now()))
            self._service.log.warning(
                "limit_crossed",
                field=crossing.field,
                instance=crossing.instance,
                value=crossing.value,
                level=crossing.level.value,
                previous=crossing.previous.value,
            )
            self._memory.violations += crossing.level.red
        for firing in firings:
            self._fire(firing)

    def _fire(self, firing: Firing) -> None:
        rule = firing.rule
        state = self._limits.states[rule.name]
        if state is RuleState.DISABLED:
            return
        self._limits.firings[rule.name] += 1
        target = rule.target_of(firing.instance)
        does = rule.action.value if rule.action in (Action.EVENT, Action.SAFE_MODE) else f"{rule.action.value} {target}"
        passive = state is RuleState.PASSIVE
        text = f"{rule.text}: {rule.field} is {firing.value:.6g}, {firing.level.value}"
        text += f"; passive, would have done {does}" if passive else ""
        severity = Severity.SEVERITY_WARNING if rule.action is Action.EVENT or passive else Severity.SEVERITY_CRITICAL
        self._service.event("fault_rule_fired", severity, text, rule=rule.name, instance=firing.instance, action=does)
        self.rules_changed()
        if not passive:
            self._act(rule, target)
