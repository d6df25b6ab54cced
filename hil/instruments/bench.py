"""The instruments of a bench, while it flies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from flight.hal import DeviceError
from hil.instruments.follow import InstrumentStatus, follow
from hil.instruments.protocol import InstrumentError, load_instrument, sense_of
from skyrack.clock import Clock
from skyrack.errors import UserError

if TYPE_CHECKING:
    from hil.boards.file import BenchInstrument
    from hil.plant.link import PlantLink


def start_following(
    instruments: Sequence[BenchInstrument],
    link: PlantLink,
    clock: Clock,
    tell: Callable[[str, str], None],
    show: Callable[[InstrumentStatus], None] = lambda _status: None,
) -> list[asyncio.Task[None]]:
    """One task for each instrument that follows something. Cancel and await them: that switches the instruments off.

    ``tell`` gets an instrument's name and what became of it. A task ends by itself, with an InstrumentError, where
    trying again would not help.

    Raises:
        UserError: an instrument's driver or settings do not fit.
    """
    made = []
    for bench in instruments:
        try:
            made.append((bench, load_instrument(bench)))
        except (DeviceError, InstrumentError) as error:
            raise UserError(f"instruments: {error}") from error
    return [
        asyncio.create_task(
            follow(
                instrument,
                sense_of(link, bench.follows),
                clock,
                watts_scale=bench.watts_scale,
                say=partial(_say, tell, bench.name),
                show=show,
            ),
            name=bench.name,
        )
        for bench, instrument in made
        if bench.follows
    ]


def _say(tell: Callable[[str, str], None], name: str, sentence: str) -> None:
    tell(name, sentence.removeprefix(f"{name} "))
