"""``scpi.electronic_load``: an electronic load that draws what a quantity of the plant says.

Settings: those of the session as in ``scpi.solar_array_simulator``; ``dialect`` "scpi" or "itech"; ``mode`` "power", or
"current" for a load that knows no constant power: it then draws watts over ``volts``, the voltage of the rail;
``maximum_watts`` and ``maximum_amperes``, never exceeded. Commands are those of SCPI-1999 (INPut, FUNCtion), which
ITECH, Rigol DL3000 and Agilent 6050 have; how protection is cleared differs (:mod:`hil.instruments.dialects`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from flight.hal import DeviceError
from hil.devices.options import Options
from hil.instruments.dialects import LOAD_CLEARS, LOAD_CONDITION_BITS, ON_WORDS
from hil.instruments.protocol import InstrumentError, Measured
from hil.instruments.scpi import ScpiSession
from hil.instruments.supply import SESSION_SETTINGS, identify, session_of, tripped

_POWER: Final = "power"
_CURRENT: Final = "current"
_NOTHING_WATTS: Final = 0.01
_SAG_RATIO: Final = 1.05


class ElectronicLoad:
    """Satisfies Instrument."""

    def __init__(
        self,
        session: ScpiSession,
        channel: int,
        identity: str,
        volts: float | None,
        most_watts: float,
        most_amperes: float,
        clear: str,
    ) -> None:
        """``volts`` is the rail's voltage in the mode "current", and ``None`` in the mode "power"."""
        self.name = session.name
        self._session = session
        self._channel = channel
        self._wanted_identity = identity
        self._volts = volts
        self._most_watts = most_watts
        self._most_amperes = most_amperes
        self._clear = clear
        self._level: float | None = None
        self._on = False
        self._sagged = ""

    async def open(self) -> str:
        """Identify it, switch it off, choose its mode."""
        identity = await identify(self._session, self._wanted_identity)
        await self._session.forget_errors()
        if self._channel:
            await self._session.tell(f"INST:NSEL {self._channel}")
        await self._session.tell("INP OFF", "FUNC POW" if self._volts is None else "FUNC CURR")
        self._level, self._on = None, False
        return identity

    async def set_watts(self, watts: float) -> float:
        """Draw so much, within the limits."""
        watts = min(watts, self._most_watts)
        if watts < _NOTHING_WATTS:
            await self.off()
            return 0.0
        if self._volts is None:
            level, word = watts, "POW"
        else:
            level, word = min(watts / self._volts, self._most_amperes), "CURR"
        if self._level is None or abs(level - self._level) > 1e-3:
            await self._session.tell(f"{word} {level:.4f}")
            found = await self._session.number(f"{word}?")
            if abs(found - level) > 0.01 * level + 0.02:
                problem = f"{self.name} was set to {level:.3f} and says {found:.3f}; is it held by its front panel?"
                raise InstrumentError(problem)
            self._level = level
        if not self._on:
            await self._session.tell("INP ON")
            self._on = True
        return watts if self._volts is None else level * self._volts

    async def measure(self) -> Measured:
        """Voltage and current at the terminals. A rail that sags makes constant power draw more: that is a trip."""
        measured = Measured(await self._session.number("MEAS:VOLT?"), await self._session.number("MEAS:CURR?"))
        if self._on and measured.amperes > _SAG_RATIO * self._most_amperes:
            await self.off()
            drew = f"{measured.amperes:.2f} A at {measured.volts:.2f} V"
            self._sagged = f"the rail sagged: it drew {drew}, and maximum_amperes is {self._most_amperes:g}"
        return measured

    async def trip(self) -> str:
        """What its protection says."""
        if self._sagged:
            return self._sagged
        found = await tripped(self._session, "STAT:QUES:COND?", LOAD_CONDITION_BITS)
        if not found and self._on:
            (answer,) = await self._session.ask("INP?")
            if answer.upper() not in ON_WORDS:
                found.append("its input went off: front panel, or a protection that it does not name")
        return " and ".join(found)

    async def clear_trip(self) -> None:
        """Input off first: it must not come on with the trip's cause."""
        self._sagged = ""
        await self.off()
        await self._session.tell(self._clear)

    async def off(self) -> None:
        """Input off."""
        self._on, self._level = False, None
        await self._session.tell("INP OFF")

    async def close(self) -> None:
        """Let go of the connection."""
        await self._session.close()


def electronic_load(name: str, settings: Mapping[str, object]) -> ElectronicLoad:
    """Entry point ``scpi.electronic_load``. Raises DeviceError for settings that do not fit."""
    options = Options(
        name, settings, (*SESSION_SETTINGS, "dialect", "mode", "volts", "maximum_watts", "maximum_amperes")
    )
    for key in ("maximum_watts", "maximum_amperes"):
        if key not in settings:
            raise DeviceError(f"{name}: {key} is missing: say what the load may draw at most")
    by_current = options.choice("mode", (_POWER, _CURRENT), _POWER) == _CURRENT
    if by_current and "volts" not in settings:
        raise DeviceError(f"{name}: volts is missing: a current is the power over the voltage of the rail")
    volts = options.number("volts", 1.0, 0.1, 1000.0) if by_current else None
    watts, amperes = options.number("maximum_watts", 0.0, 1e-3), options.number("maximum_amperes", 0.0, 1e-3)
    session, channel, identity = session_of(options)
    clear = LOAD_CLEARS[options.choice("dialect", LOAD_CLEARS, "scpi")]
    return ElectronicLoad(session, channel, identity, volts, watts, amperes, clear)
