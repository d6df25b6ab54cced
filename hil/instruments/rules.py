"""What an instrument does that follows the plant: rules, as a state machine without I/O.

- The plant's word is followed while it is fresh. A word older than ``stale_seconds`` (mission time) switches the
  instrument off until there is a fresh one: nobody watches the physics that it plays.
- A trip of its protection is said, and the instrument is off. It is cleared and tried again after ``rest_seconds``, at
  most ``tries`` times within ``forgive_seconds``; then it stays off until a person looks.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import Final

from flight.hal import Reading


class Doing(Enum):
    """What the instrument is to do."""

    FOLLOW = "follows"
    OFF = "off"
    REST = "rests after a trip"
    CLEAR = "is tried again"
    GIVEN_UP = "off until a person looks"


@dataclass(frozen=True, slots=True)
class Order:
    """What to do now; ``said`` is a sentence for people when that changed."""

    doing: Doing
    watts: float = 0.0
    said: str = ""


@dataclass(frozen=True, slots=True)
class Patience:
    """Times in seconds: ``stale_seconds`` of mission time, the others of the host's, in which hardware cools."""

    stale_seconds: float = 5.0
    rest_seconds: float = 10.0
    tries: int = 3
    forgive_seconds: float = 600.0


_USUAL: Final = Patience()


class Rules:
    """One instrument's state. ``step`` is called once a cycle."""

    def __init__(self, name: str, patience: Patience = _USUAL, rate: float = 1.0) -> None:
        """``rate`` is mission seconds per second of the host."""
        self._name = name
        self._rate = rate
        self._patience = patience
        self._trips: deque[float] = deque()
        self._rest_until = -math.inf
        self.doing = Doing.OFF

    def step(self, now: float, word: Reading[float] | None, trip: str) -> Order:
        """Decide; ``word`` is the plant's, ``trip`` what the instrument's protection says."""
        if trip and self.doing not in (Doing.REST, Doing.GIVEN_UP):
            return self._tripped(now, trip)
        if self.doing is Doing.GIVEN_UP:
            return Order(Doing.GIVEN_UP)
        if self.doing is Doing.REST:
            if now < self._rest_until:
                return Order(Doing.REST)
            self.doing = Doing.CLEAR
            return Order(Doing.CLEAR, said=f"{self._name} is switched on again")
        return self._follow(now, word)

    def _follow(self, now: float, word: Reading[float] | None) -> Order:
        before, stale = self.doing, self._stale(now, word)
        self.doing = Doing.OFF if stale else Doing.FOLLOW
        said = ""
        if self.doing is not before:
            said = f"{self._name} is off: {stale}" if stale else f"{self._name} follows the plant"
        return Order(self.doing, 0.0 if stale or word is None else max(0.0, word.value), said)

    def _stale(self, now: float, word: Reading[float] | None) -> str:
        if word is None or not math.isfinite(word.mission_time_seconds) or not math.isfinite(word.value):
            return "the plant has not said anything yet"
        age = now - word.mission_time_seconds
        if age > self._patience.stale_seconds:
            return f"the plant has not said anything for {age:.0f} s"
        return "" if word.good else f"the plant's word is {word.quality.value}"

    def _tripped(self, now: float, trip: str) -> Order:
        patience = self._patience
        while self._trips and now - self._trips[0] > patience.forgive_seconds * self._rate:
            self._trips.popleft()
        self._trips.append(now)
        if len(self._trips) > patience.tries:
            self.doing = Doing.GIVEN_UP
            said = f"{self._name} tripped ({trip}) {len(self._trips)} times within {patience.forgive_seconds:.0f} s "
            return Order(self.doing, said=f"{said}and stays off: look at what hangs on it, and start the run again")
        self.doing = Doing.REST
        self._rest_until = now + patience.rest_seconds * self._rate
        said = f"{self._name} tripped ({trip}) and is off; it is tried again in {patience.rest_seconds:.0f} s"
        return Order(self.doing, said=said)
