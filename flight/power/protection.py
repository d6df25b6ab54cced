"""Which switches must open, from the present alone: no budget, no forecast, no other service is asked.

Three reasons trip a load: it draws more than its rating for a time; thermal protection names it; the battery gives
more than it may for a time, and the load has the lowest priority of those that are on. A trip holds until a person
resets it, but for loads by which the satellite is heard: those are tried again after some minutes, as long as it takes
(a retriggerable latching current limiter in the words of ECSS-E-ST-20-20C). When the battery is low, loads are shed one
after the other, lowest priority first; a shed load comes back when the battery has recovered well over the threshold,
highest priority first. Switches that fell open by themselves are closed again (:mod:`flight.power.fallen`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from flight.power.fallen import FallenSwitches

_OVERDRAW_RATIO = 1.05
_OVERDRAW_WATTS = 2.0
_SHED_PAUSE_SECONDS = 5.0
_RESTORE_PAUSE_SECONDS = 30.0
_RESTORE_MARGIN_RATIO = 0.05
_RETRY_SECONDS = 300.0


class Cause(Enum):
    """Why protection opened a switch, or let it close."""

    OVERDRAW = "draws more than its rating"
    THERMAL = "is too hot"
    LOW_CHARGE = "battery is low"
    BUS_OVERLOAD = "battery gives more than it may"
    RECOVERED = "battery has recovered"
    BROWN_OUT = "pulls the bus down"
    FELL_OPEN = "its switch fell open"
    RETRIED = "is tried again, for it is needed to be heard"


@dataclass(frozen=True, slots=True)
class LoadRating:
    """A load behind a switch; lower priority is shed first, 0 never. ``is_retried``: not tripped for good."""

    name: str
    watts: float
    priority: int
    sheddable: bool
    is_retried: bool = False


class LoadReading(NamedTuple):
    """What the switch's meter says; ``fresh`` is false where it did not answer."""

    watts: float
    closed: bool
    fresh: bool = True


@dataclass(frozen=True, slots=True)
class ProtectionSettings:
    """Thresholds: state of charge for shedding, and how long overdraw is borne."""

    shed_state_of_charge_ratio: float
    overdraw_persistence_seconds: float
    maximum_discharge_watts: float


@dataclass(frozen=True, slots=True)
class Order:
    """A switch to open or close."""

    load: str
    closed: bool
    cause: Cause


class Protection:
    """State of protection: what is tripped, what is shed, what has been over its rating and since when."""

    def __init__(self, ratings: Sequence[LoadRating]) -> None:
        self._ratings = {rating.name: rating for rating in ratings}
        # Order of shedding; a load's place in the file breaks ties, last first.
        placed = sorted(enumerate(ratings), key=lambda item: (item[1].priority, -item[0]))
        self._shed_order = tuple(rating.name for _, rating in placed if rating.sheddable and rating.priority > 0)
        self._over_since: dict[str, float] = {}
        self._overload_since: float | None = None
        self._next_step = float("-inf")
        self._retry_at: dict[str, float] = {}
        self.tripped: dict[str, Cause] = {}
        self.shed: list[str] = []
        # Priority 0 is never shed: it comes first.
        self.fallen = FallenSwitches([r.name for r in sorted(ratings, key=lambda r: (r.priority > 0, -r.priority))])
        self.fell: tuple[str, ...] = ()
        """Loads whose switches were found fallen open in the last step."""

    def is_held_open(self, load: str) -> bool:
        """Whether protection keeps this load's switch open."""
        return load in self.tripped or load in self.shed

    def trip(self, load: str, cause: Cause) -> Order | None:
        """Trip a load at once; ``None`` when it is tripped already or unknown."""
        if load in self.tripped or load not in self._ratings:
            return None
        self.tripped[load] = cause
        return Order(load, closed=False, cause=cause)

    def reset(self, load: str) -> bool:
        """Forget a trip; the load stays off until somebody closes its switch. False when it was not tripped."""
        self._over_since.pop(load, None)
        if load in self.tripped:
            self.fallen.mean(load, closed=False)
        return self.tripped.pop(load, None) is not None

    def restore(self, tripped: Mapping[str, Cause], shed: Sequence[str], meant: Sequence[str] = ()) -> None:
        """Take up what was known before a restart; loads that are no more are left out."""
        self.tripped = {load: cause for load, cause in tripped.items() if load in self._ratings}
        self.shed = [load for load in shed if load in self._ratings]
        self.fallen.meant = {load for load in meant if load in self._ratings}

    def step(
        self,
        now: float,
        loads: Mapping[str, LoadReading],
        battery_watts: float,
        state_of_charge_ratio: float | None,
        settings: ProtectionSettings,
    ) -> list[Order]:
        """Decide once a second. Battery power is positive when charging; unknown state of charge sheds nothing."""
        orders: list[Order] = []
        for name, reading in loads.items():
            order = self._check_overdraw(now, name, reading, settings)
            if order is not None:
                orders.append(order)
            elif reading.closed and self.is_held_open(name):
                # The switch did not obey, or somebody closed it.
                orders.append(Order(name, closed=False, cause=self.tripped.get(name, Cause.LOW_CHARGE)))
        order = self._shed_or_restore(now, loads, battery_watts, state_of_charge_ratio, settings)
        if order is not None:
            orders.append(order)
        is_low = state_of_charge_ratio is not None and state_of_charge_ratio < settings.shed_state_of_charge_ratio
        orders += self._retry(now)
        orders += self._close_fallen(now, loads, may_close=not is_low)
        return orders

    def _retry(self, now: float) -> list[Order]:
        """Power again what the satellite is heard by; should it still draw too much, it is tripped again."""
        orders = []
        for load, cause in list(self.tripped.items()):
            if not self._ratings[load].is_retried or cause is Cause.THERMAL:
                continue
            if now >= self._retry_at.setdefault(load, now + _RETRY_SECONDS):
                self.tripped.pop(load)
                self._over_since.pop(load, None)
                orders.append(Order(load, closed=True, cause=Cause.RETRIED))
        self._retry_at = {load: at for load, at in self._retry_at.items() if load in self.tripped}
        return orders

    def _close_fallen(self, now: float, loads: Mapping[str, LoadReading], *, may_close: bool) -> list[Order]:
        closed = {name: reading.closed for name, reading in loads.items() if reading.fresh}
        step = self.fallen.step(now, closed, self.is_held_open, may_close=may_close)
        self.fell = step.fell
        if step.guilty:
            order = self.trip(step.guilty, Cause.BROWN_OUT)
            return [] if order is None else [order]
        return [Order(step.close, closed=True, cause=Cause.FELL_OPEN)] if step.close else []

    def _check_overdraw(
        self, now: float, name: str, reading: LoadReading, settings: ProtectionSettings
    ) -> Order | None:
        if not reading.fresh:
            return None
        rating = self._ratings[name]
        if reading.watts <= rating.watts * _OVERDRAW_RATIO + _OVERDRAW_WATTS:
            self._over_since.pop(name, None)
            return None
        since = self._over_since.setdefault(name, now)
        if now - since < settings.overdraw_persistence_seconds:
            return None
        return self.trip(name, Cause.OVERDRAW)

    def _shed_or_restore(
        self,
        now: float,
        loads: Mapping[str, LoadReading],
        battery_watts: float,
        state_of_charge_ratio: float | None,
        settings: ProtectionSettings,
    ) -> Order | None:
        if now < self._next_step:
            return None
        low = state_of_charge_ratio is not None and state_of_charge_ratio < settings.shed_state_of_charge_ratio
        if low or self._is_overloaded(now, battery_watts, settings):
            victim = next(
                (n for n in self._shed_order if n in loads and loads[n].closed and not self.is_held_open(n)), ""
            )
            if not victim:
                return None
            self._next_step = now + _SHED_PAUSE_SECONDS
            if not low:
                return self.trip(victim, Cause.BUS_OVERLOAD)
            self.shed.append(victim)
            return Order(victim, closed=False, cause=Cause.LOW_CHARGE)
        recovered = (
            state_of_charge_ratio is not None
            and state_of_charge_ratio > settings.shed_state_of_charge_ratio + _RESTORE_MARGIN_RATIO
        )
        while self.shed and recovered:
            name = self.shed.pop()
            if name not in self.tripped:
                self._next_step = now + _RESTORE_PAUSE_SECONDS
                return Order(name, closed=True, cause=Cause.RECOVERED)
        return None

    def _is_overloaded(self, now: float, battery_watts: float, settings: ProtectionSettings) -> bool:
        if -battery_watts <= settings.maximum_discharge_watts * _OVERDRAW_RATIO:
            self._overload_since = None
            return False
        if self._overload_since is None:
            self._overload_since = now
        return now - self._overload_since >= settings.overdraw_persistence_seconds
