"""Leads an instrument along a quantity of the plant, for as long as a run lasts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from flight.hal import Reading
from hil.instruments.protocol import Instrument, InstrumentError, Measured
from hil.instruments.rules import Doing, Order, Patience, Rules
from skyrack.clock import Clock

_PERIOD_SECONDS: Final = 1.0
_RETRY_PERIODS: Final = 2.0
# A word may be late by a few steps of mission time, and by a second of the host's.
_STALE_MISSION_SECONDS: Final = 5.0
_STALE_HOST_SECONDS: Final = 1.0
_LAST_WORD_SECONDS: Final = 10.0
_NOTHING: Final = Measured(0.0, 0.0)


@dataclass(frozen=True, slots=True)
class InstrumentStatus:
    """What an instrument does: real watts, and satellite watts by the scale."""

    name: str
    identity: str = ""
    doing: str = Doing.OFF.value
    asked_watts: float = 0.0
    set_watts: float = 0.0
    measured: Measured = _NOTHING
    problem: str = ""


def _nobody(_status: InstrumentStatus) -> None:
    pass


async def follow(
    instrument: Instrument,
    sense: Callable[[], Reading[float]],
    clock: Clock,
    *,
    watts_scale: float = 1.0,
    say: Callable[[str], None],
    show: Callable[[InstrumentStatus], None] = _nobody,
    patience: Patience | None = None,
    period_seconds: float = _PERIOD_SECONDS,
) -> None:
    """Follow ``sense()`` until cancelled, by the rules of :mod:`hil.instruments.rules`; then switch off.

    ``sense`` gives the plant's quantity in satellite watts; the instrument plays 1/``watts_scale`` of it. ``say`` gets
    a sentence when something changed, ``show`` the status once a cycle, which takes ``period_seconds`` of the host's
    time: instruments live there. One that does not answer is tried again after two cycles, and then set up anew.

    Raises:
        InstrumentError: it is another instrument, or its settings do not fit: trying again would not help.
    """
    stale_seconds = _STALE_MISSION_SECONDS + _STALE_HOST_SECONDS * clock.rate
    rules = Rules(instrument.name, patience or Patience(stale_seconds), clock.rate)
    period = period_seconds * clock.rate
    follower = _Follower(instrument, sense, clock, watts_scale, say, show, rules, period)
    try:
        await follower.run()
    finally:
        await asyncio.shield(follower.end())


class _Follower:
    def __init__(
        self,
        instrument: Instrument,
        sense: Callable[[], Reading[float]],
        clock: Clock,
        watts_scale: float,
        say: Callable[[str], None],
        show: Callable[[InstrumentStatus], None],
        rules: Rules,
        period: float,
    ) -> None:
        self._instrument = instrument
        self._sense = sense
        self._clock = clock
        self._scale = watts_scale
        self._say = say
        self._show = show
        self._rules = rules
        self._period = period
        self._identity = ""
        self._problem = ""
        self._on = False

    async def run(self) -> None:
        while True:
            try:
                if not self._identity:
                    self._identity = await self._instrument.open()
                    self._say(f"{self._instrument.name} is {self._identity}")
                    self._on = False
                    self._problem = ""
                await self._cycle()
                await self._clock.sleep(self._period)
            except InstrumentError as error:
                if error.lasting:
                    raise
                self._lost(error)
                await self._clock.sleep(_RETRY_PERIODS * self._period)

    async def end(self) -> None:
        """Switch off, whatever state it is in."""
        try:
            async with asyncio.timeout(_LAST_WORD_SECONDS):
                await self._instrument.off()
        except (InstrumentError, TimeoutError) as error:
            self._say(f"{self._instrument.name} could not be switched off ({error}); switch it off by hand")
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORD_SECONDS):
                    await self._instrument.close()

    async def _cycle(self) -> None:
        trip = await self._instrument.trip()
        word = self._sense()
        order = self._rules.step(self._clock.now(), word, trip)
        if order.said:
            self._say(order.said)
        asked = order.watts / self._scale
        did = await self._obey(order, asked)
        measured = await self._instrument.measure()
        self._show(
            InstrumentStatus(self._instrument.name, self._identity, order.doing.value, asked, did, measured, trip)
        )

    async def _obey(self, order: Order, asked: float) -> float:
        if order.doing is Doing.CLEAR:
            await self._instrument.clear_trip()
            return 0.0
        if order.doing is Doing.FOLLOW:
            self._on = True
            return await self._instrument.set_watts(asked)
        if self._on:
            await self._instrument.off()
            self._on = False
        return 0.0

    def _lost(self, error: InstrumentError) -> None:
        self._identity = ""
        if str(error) != self._problem:
            self._problem = str(error)
            self._say(f"{self._problem}; it is tried again")
        self._show(InstrumentStatus(self._instrument.name, doing="does not answer", problem=self._problem))
