"""When a guard of a bench acts: pure limit logic.

A guard that was out of its limits for ``for_seconds`` acts, and stays so until a person clears it. A reading that comes
back inside ends the count only when it is inside by ``hysteresis``. A sensor that gives no good reading protects
nobody: a guard that is blind for ten times ``for_seconds`` acts too, though it never powers a board off for that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from hil.boards.file import Action, Guard

BLIND_FACTOR = 10.0


@dataclass(frozen=True, slots=True)
class GuardState:
    """How a guard stands; times in seconds of any clock that only runs forwards.

    ``action`` is empty as long as it has not acted; ``why`` is the sentence of what it did.
    """

    outside_since: float | None = None
    blind_since: float | None = None
    action: Action | None = None
    why: str = ""

    @property
    def acted(self) -> bool:
        """Whether it acted, and has not been cleared."""
        return self.action is not None


def step(guard: Guard, state: GuardState, value: float | None, problem: str, now: float, unit: str = "") -> GuardState:
    """Take a reading in.

    Args:
        guard: the guard.
        state: how it stood.
        value: a good reading in the device's own unit, or None.
        problem: why there is none.
        now: seconds.
        unit: of the reading, for the sentence.
    """
    if state.acted:
        return state
    if value is None:
        since = now if state.blind_since is None else state.blind_since
        state = replace(state, blind_since=since)
        if now - since < BLIND_FACTOR * guard.for_seconds:
            return state
        action: Action = "stop-work" if guard.action == "power-off" else guard.action
        why = f"{guard.device} gave no good reading for {now - since:.0f} s ({problem or 'it is silent'}): "
        return replace(state, action=action, why=why + _did(action, guard))
    state = replace(state, blind_since=None)
    side = _side(guard, value)
    if side:
        since = now if state.outside_since is None else state.outside_since
        state = replace(state, outside_since=since)
        if now - since < guard.for_seconds:
            return state
        why = f"{guard.device} was {side} for {now - since:.0f} s, now {value:.4g}{f' {unit}' if unit else ''}: "
        return replace(state, action=guard.action, why=why + _did(guard.action, guard))
    inside = (guard.high is None or value <= guard.high - guard.hysteresis) and (
        guard.low is None or value >= guard.low + guard.hysteresis
    )
    return replace(state, outside_since=None) if inside else state


def _side(guard: Guard, value: float) -> str:
    if guard.high is not None and value > guard.high:
        return f"over its limit of {guard.high:g}"
    if guard.low is not None and value < guard.low:
        return f"under its limit of {guard.low:g}"
    return ""


def _did(action: Action, guard: Guard) -> str:
    return {
        "throttle": "the board is throttled to its slowest",
        "stop-work": "all work on the board is stopped",
        "open-load": f"{guard.load} is opened",
        "power-off": "the board is powered off",
    }[action]
