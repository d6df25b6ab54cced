"""The executive's state as messages of the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flight.executive.rules import RuleState
from skyrack.dictionary import write_limits
from skyrack.v1 import executive_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flight.executive.limits import LimitsInForce
    from flight.executive.memory import Memory
    from flight.executive.modes import Mode
    from flight.executive.monitor import Crossing
    from flight.executive.supervision import Supervision
    from skyrack.limits import Limits

RULE_STATES: dict[executive_pb2.RuleState, RuleState] = {
    executive_pb2.RULE_STATE_ACTIVE: RuleState.ACTIVE,
    executive_pb2.RULE_STATE_PASSIVE: RuleState.PASSIVE,
    executive_pb2.RULE_STATE_DISABLED: RuleState.DISABLED,
}
_RULE_STATE_NUMBERS = {state: number for number, state in RULE_STATES.items()}


def status_message(
    supervision: Supervision, memory: Memory, mode: Mode, reason: str, *, now: float, started_at: float
) -> executive_pb2.SatelliteStatus:
    """Mode and services; ``now`` and ``started_at`` are mission time."""
    return executive_pb2.SatelliteStatus(
        mission_time_seconds=now,
        mode=mode.value,
        reason=reason,
        services=[
            executive_pb2.ManagedService(
                service=name,
                state=service.state.value,
                restarts_total=service.restarts,
                ping_seconds=service.ping_seconds,
            )
            for name, service in supervision.services.items()
        ],
        uptime_seconds=now - started_at,
        boots_total=memory.boots,
        limit_violations_total=memory.violations,
    )


def overrides_message(overrides: Mapping[str, Limits]) -> executive_pb2.LimitOverrides:
    """Limits that differ from the dictionary's."""
    return executive_pb2.LimitOverrides(
        overrides=[
            executive_pb2.LimitOverride(field=name, limits=write_limits(limits))
            for name, limits in sorted(overrides.items())
        ]
    )


def rules_message(limits: LimitsInForce) -> executive_pb2.FaultRules:
    """Fault rules in force."""
    return executive_pb2.FaultRules(
        rules=[
            executive_pb2.RuleStatus(
                rule=rule.name,
                state=_RULE_STATE_NUMBERS[limits.states[rule.name]],
                firings_total=limits.firings[rule.name],
                watched_field=rule.field,
                level=rule.level,
                persistence_samples=rule.persistence,
                action=rule.action.value,
                target=rule.target,
            )
            for rule in limits.rules
        ]
    )


def crossing_message(crossing: Crossing, now: float) -> executive_pb2.LimitViolation:
    """A value that left its limits, or came back; ``now`` is mission time."""
    return executive_pb2.LimitViolation(
        mission_time_seconds=now,
        field=crossing.field,
        instance=crossing.instance,
        value=crossing.value,
        level=crossing.level.value,
    )
