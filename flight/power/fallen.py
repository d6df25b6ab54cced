"""Switches that fell open by themselves, as they do when the bus browns out, and how they are closed again.

A load is meant to be on once it was seen on, until somebody opens its switch. Undervoltage opens all sheddable loads at
once and does not say whose fault it was. So they are closed one at a time, the most important first, and each is on
trial for some seconds: when others fall in this time, it is the one that pulls the bus down, and stays off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

_PATIENCE_SECONDS = 3.0
_TRIAL_SECONDS = 10.0
_PAUSE_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Step:
    """What is to be done now; all empty on a good day."""

    fell: tuple[str, ...] = ()
    """Loads that are found open, to be told."""
    close: str = ""
    guilty: str = ""
    """Closed a moment ago, and others fell: to be tripped."""


@dataclass(slots=True)
class FallenSwitches:
    """State: what is meant to be on, what has fallen, and what is on trial.

    ``order`` names all loads that may fall, the most important first.
    """

    order: Sequence[str]
    meant: set[str] = field(default_factory=set)
    _open_since: dict[str, float] = field(default_factory=dict)
    _fallen: set[str] = field(default_factory=set)
    _tries: dict[str, int] = field(default_factory=dict)
    _trial: tuple[str, float] = ("", 0.0)
    _next_close: float = float("-inf")

    def mean(self, load: str, *, closed: bool) -> None:
        """Somebody wants a load's switch like that."""
        if closed:
            self.meant.add(load)
        else:
            self.meant.discard(load)

    def step(
        self, now: float, closed: Mapping[str, bool], is_held_open: Callable[[str], bool], *, may_close: bool
    ) -> Step:
        """Decide once a second.

        Args:
            now: mission time.
            closed: state of each switch whose reading is fresh.
            is_held_open: whether protection keeps a load off for a reason of its own.
            may_close: whether there is charge to close anything.
        """
        found = self._found(now, closed, is_held_open)
        for load in list(self._fallen):
            if load not in self.meant or is_held_open(load) or closed.get(load, False):
                self._fallen.discard(load)
        guilty = self._guilty(now, found)
        self._fallen.update(found)
        self._fallen.discard(guilty)
        return Step(tuple(found), self._next(now) if may_close and not guilty else "", guilty)

    def _found(self, now: float, closed: Mapping[str, bool], is_held_open: Callable[[str], bool]) -> list[str]:
        """Loads that have newly been open for the patience."""
        found = []
        for load in self.order:
            if load not in closed:
                continue
            if closed[load]:
                self._open_since.pop(load, None)
                if not is_held_open(load):
                    self.meant.add(load)
                if self._trial[0] != load:
                    self._tries.pop(load, None)
            elif load not in self.meant or is_held_open(load):
                self._open_since.pop(load, None)
            elif now - self._open_since.setdefault(load, now) >= _PATIENCE_SECONDS and load not in self._fallen:
                found.append(load)
        return found

    def _guilty(self, now: float, found: Iterable[str]) -> str:
        load, at = self._trial
        if not load or not any(fallen != load for fallen in found):
            return ""
        self._trial = ("", 0.0)
        return load if now - at <= _TRIAL_SECONDS + _PATIENCE_SECONDS else ""

    def _next(self, now: float) -> str:
        if now < self._next_close or not self._fallen:
            return ""
        # One that does not close must not keep the others waiting.
        load = min(self._fallen, key=lambda name: (self._tries.get(name, 0), self.order.index(name)))
        self._tries[load] = self._tries.get(load, 0) + 1
        self._trial, self._next_close = (load, now), now + _PAUSE_SECONDS
        return load
