"""Brings faults on when they are due, and mends them; what a run with a plant lets them do."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

from hil.faults import Effects, Fault, Need, PlantFault
from skyrack.clock import Clock
from skyrack.errors import UserError

FOREVER = float("inf")


class FaultSchedule:
    """Brings faults on and mends them as mission time passes."""

    def __init__(
        self, faults: Sequence[Fault], start_seconds: float, effects: Effects, done_until_seconds: float = -FOREVER
    ) -> None:
        """Set up.

        Args:
            faults: what is to happen.
            start_seconds: mission time from which the faults count.
            effects: what the run lets them do.
            done_until_seconds: in a run that goes on, mission time until which faults have struck: those that do not
                last do not strike again; those that last and are not over do, for all begins whole.

        Raises:
            UserError: this run cannot do one of the faults, or what it is to strike is not there.
        """
        self._effects = effects
        for fault in faults:
            if fault.needs not in effects.can:
                can = ", ".join(sorted(effects.can))
                raise UserError(f"fault {fault.kind} of {fault.satellite}: this run has no {fault.needs}; it has {can}")
            effects.check(fault)
            if isinstance(fault, PlantFault):
                fault.end(effects)  # mends what is whole: finds names that are not there before anything begins
        self._due: list[tuple[float, int, Fault, Callable[[Effects], None]]] = []
        for number, fault in enumerate(faults):
            at = start_seconds + fault.at_seconds
            if not fault.lasts and at <= done_until_seconds:
                continue
            self._due.append((at, 2 * number, fault, fault.begin))
            if fault.lasts and fault.duration_seconds is not None:
                self._due.append((at + fault.duration_seconds, 2 * number + 1, fault, fault.end))
        heapq.heapify(self._due)

    @property
    def next_seconds(self) -> float:
        """Mission time at which something happens next; infinity when nothing will."""
        return self._due[0][0] if self._due else FOREVER

    def apply(self, now_seconds: float) -> list[Fault]:
        """Do what is due; returns the faults that began or ended."""
        done: list[Fault] = []
        while self._due and self._due[0][0] <= now_seconds:
            _, _, fault, act = heapq.heappop(self._due)
            act(self._effects)
            done.append(fault)
        return done

    async def run(self, clock: Clock) -> None:
        """Apply faults when they are due, until none is left."""
        while self._due:
            await clock.sleep_until(self.next_seconds)
            self.apply(clock.now())


class PlantEffects:
    """What a run with a plant and nothing else lets faults do; other runs build on it, and add to ``can``."""

    can: frozenset[Need] = frozenset({"plant"})

    def __init__(self, actuate: Callable[[str, str, float], None]) -> None:
        self._actuate = actuate

    def actuate(self, satellite: str, key: str, value: float) -> None:
        """Set one of the plant's fault keys. Raises UserError for a key that the plant does not have."""
        try:
            self._actuate(satellite, key, value)
        except KeyError as error:
            raise UserError(f"fault: {error}") from None

    def kill(self, satellite: str, service: str) -> None:
        """Not served here."""
        raise NotImplementedError

    def check(self, fault: Fault) -> None:
        """Nothing more to check than that the plant has it."""

    def cut_power(self, satellite: str, down_seconds: float) -> None:
        """Not served here."""
        raise NotImplementedError

    def fill_disk(self, satellite: str, *, full: bool) -> None:
        """Not served here."""
        raise NotImplementedError

    def jump_clock(self, satellite: str, seconds: float) -> None:
        """Not served here."""
        raise NotImplementedError

    def flip_bits(self, satellite: str, link: str, count: int) -> None:
        """Not served here."""
        raise NotImplementedError
