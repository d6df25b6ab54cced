"""``scpi.solar_array_simulator``: a programmable supply that plays the satellite's solar array.

Settings: ``resource`` (VISA name, such as "TCPIP0::192.168.1.20::5025::SOCKET" or "ASRL/dev/ttyUSB0::INSTR"),
``dialect`` ("scpi", "keysight-e363x", "keysight-e36300" or "rigol-dp800": :mod:`hil.instruments.dialects` says for
which supplies), ``channel`` (0: it has one), ``identity`` (part of what it must answer to ``*IDN?``),
``timeout_seconds`` (2), ``baud_rate`` (9600).

``volts`` is the voltage of the array's maximum power point; ``curve`` "knee" or "one-diode", the latter with
``open_circuit_volts``. ``maximum_amperes`` and ``maximum_watts`` are never exceeded, whatever the plant says.
``over_voltage_volts`` (a tenth over the highest voltage) and ``over_current_amperes`` (a tenth over the maximum; 0
leaves it alone) are set as the supply's own protection, as far as the dialect has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from flight.hal import DeviceError
from hil.devices.options import Options
from hil.instruments.dialects import CONDITION_BITS, ON_WORDS, SUPPLIES, SupplyDialect
from hil.instruments.protocol import InstrumentError, Measured
from hil.instruments.scpi import ScpiSession
from hil.instruments.solar_curve import SetPoint, SolarCurve

SESSION_SETTINGS: Final = ("resource", "channel", "identity", "timeout_seconds", "baud_rate")
_KNEE: Final = "knee"
_ONE_DIODE: Final = "one-diode"
_DARK_WATTS: Final = 0.01
# A supply keeps what it was set to, to its resolution.
_FIRM_RATIO: Final = 0.01
_FIRM: Final = 0.02


@dataclass(frozen=True, slots=True)
class SupplyLimits:
    """What is never exceeded."""

    volts: float
    amperes: float
    watts: float
    over_voltage_volts: float
    over_current_amperes: float


class SolarArraySimulator:
    """Satisfies Instrument."""

    def __init__(
        self,
        session: ScpiSession,
        dialect: SupplyDialect,
        channel: int,
        curve: SolarCurve,
        limits: SupplyLimits,
        *,
        one_diode: bool,
        identity: str,
    ) -> None:
        self.name = session.name
        self._session = session
        self._dialect = dialect
        self._channel = channel
        self._curve = curve
        self._limits = limits
        self._one_diode = one_diode
        self._wanted_identity = identity
        self._set: SetPoint | None = None
        self._on = False
        self._volts = curve.volts

    async def open(self) -> str:
        """Identify it, switch it off, set its protection."""
        d, limits, session = self._dialect, self._limits, self._session
        if d.first_on_serial and session.on_serial:
            await session.tell(*d.first_on_serial)
        identity = await identify(session, self._wanted_identity)
        await session.forget_errors()
        await self._tell(self._words(d.output, "OFF"), self._words(d.amperes, 0.0), *d.first)
        await session.tell(*(self._words(words, limits.over_voltage_volts) for words in d.over_voltage))
        if limits.over_current_amperes and d.over_current:
            await session.tell(*(self._words(words, limits.over_current_amperes) for words in d.over_current))
        self._set, self._on = None, False
        return identity

    async def set_watts(self, watts: float) -> float:
        """Voltage and current of the array's curve, within the limits."""
        if watts < _DARK_WATTS:
            await self.off()
            return 0.0
        point = self._within_limits(watts)
        if (
            self._set is None
            or abs(point.volts - self._set.volts) > 1e-3
            or abs(point.amperes - self._set.amperes) > 1e-3
        ):
            d = self._dialect
            await self._tell(self._words(d.volts, point.volts), self._words(d.amperes, point.amperes))
            await self._check(d.ask_volts, point.volts, "V")
            await self._check(d.ask_amperes, point.amperes, "A")
            self._set = point
        if not self._on:
            await self._tell(self._words(self._dialect.output, "ON"))
            self._on = True
        return min(watts, self._limits.watts, point.volts * point.amperes)

    async def measure(self) -> Measured:
        """Voltage and current at the terminals."""
        volts = await self._session.number(self._words(self._dialect.measure_volts))
        amperes = await self._session.number(self._words(self._dialect.measure_amperes))
        self._volts = volts if self._on else self._curve.volts
        return Measured(volts, amperes)

    async def trip(self) -> str:
        """What its protection says; an output that went off by itself is a trip too."""
        d = self._dialect
        found = await tripped(self._session, d.condition, CONDITION_BITS) if d.condition else []
        for name, question in d.trips:
            (answer,) = await self._session.ask(self._words(question))
            if answer.upper() in ON_WORDS:
                found.append(name)
        if not found and self._on:
            (answer,) = await self._session.ask(self._words(d.ask_output))
            if answer.upper() not in ON_WORDS:
                found.append("its output went off: interlock, front panel, or a protection that it does not name")
        return " and ".join(found)

    async def clear_trip(self) -> None:
        """Output off first: it must not come on with the trip's cause."""
        await self.off()
        await self._session.tell(*(self._words(words) for words in self._dialect.clear))

    async def off(self) -> None:
        """Output off."""
        self._on, self._set = False, None
        await self._tell(self._words(self._dialect.output, "OFF"))

    async def close(self) -> None:
        """Let go of the connection."""
        await self._session.close()

    def _within_limits(self, watts: float) -> SetPoint:
        limits = self._limits
        watts = min(watts, limits.watts)
        point = self._curve.one_diode(watts, self._volts) if self._one_diode else self._curve.knee(watts)
        return SetPoint(min(point.volts, limits.volts), min(point.amperes, limits.amperes))

    async def _tell(self, *commands: str) -> None:
        """Commands to the channel: somebody at the front panel may have chosen another one."""
        select = (self._words(self._dialect.select),) if self._channel else ()
        await self._session.tell(*select, *commands)

    async def _check(self, question: str, wanted: float, unit: str) -> None:
        found = await self._session.number(self._words(question))
        if abs(found - wanted) > _FIRM_RATIO * abs(wanted) + _FIRM:
            problem = f"{self.name} was set to {wanted:.3f} {unit} and says {found:.3f} {unit}; "
            raise InstrumentError(f"{problem}is it held by its front panel, or by limits of its own?")

    def _words(self, template: str, value: float | str = "") -> str:
        return template.format(c=self._channel or 1, v=value)


async def identify(session: ScpiSession, wanted: str) -> str:
    """What the instrument calls itself. Raises InstrumentError, lasting, when it is another one."""
    (identity,) = await session.ask("*IDN?")
    if wanted.lower() not in identity.lower():
        problem = f'{session.name} at {session.resource} is "{identity}", and should be "{wanted}": another instrument '
        raise InstrumentError(f"{problem}has its address", lasting=True)
    return identity


async def tripped(session: ScpiSession, question: str, bits: tuple[tuple[int, str], ...]) -> list[str]:
    """Names of the bits that are set in a condition register."""
    condition = int(await session.number(question))
    return [name for bit, name in bits if condition & bit]


def session_of(options: Options) -> tuple[ScpiSession, int, str]:
    """Session, channel and identity. Raises DeviceError for settings that do not fit."""
    resource = options.text("resource")
    if not resource.upper().startswith(("TCPIP", "ASRL", "USB", "GPIB")) or "::" not in resource:
        problem = f'{options.name}: resource = "{resource}" must be a VISA name, such as '
        raise DeviceError(f'{problem}"TCPIP0::192.168.1.20::5025::SOCKET" or "ASRL/dev/ttyUSB0::INSTR"')
    timeout = options.number("timeout_seconds", 2.0, 0.05, 60.0)
    session = ScpiSession(options.name, resource, timeout, options.whole("baud_rate", 9600, 300, 4_000_000))
    return session, options.whole("channel", 0, 0, 16), options.text("identity", "")


def solar_array_simulator(name: str, settings: Mapping[str, object]) -> SolarArraySimulator:
    """Entry point ``scpi.solar_array_simulator``. Raises DeviceError for settings that do not fit."""
    own = ("dialect", "volts", "curve", "open_circuit_volts", "maximum_amperes", "maximum_watts")
    protection = ("over_voltage_volts", "over_current_amperes")
    options = Options(name, settings, (*SESSION_SETTINGS, *own, *protection))
    for key, what in (("volts", "of the array's maximum power point"), ("maximum_amperes", "that may ever flow")):
        if key not in settings:
            raise DeviceError(f"{name}: {key} is missing: give the {key.rpartition('_')[2]} {what}")
    volts = options.number("volts", 0.0, 0.1, 1000.0)
    one_diode = options.choice("curve", (_KNEE, _ONE_DIODE), _KNEE) == _ONE_DIODE
    open_circuit = options.number("open_circuit_volts", 1.2 * volts, 1.02 * volts, 3.0 * volts)
    highest = open_circuit if one_diode else volts
    amperes = options.number("maximum_amperes", 0.0, 1e-3, 1000.0)
    limits = SupplyLimits(
        volts=highest,
        amperes=amperes,
        watts=options.number("maximum_watts", volts * amperes, 1e-3),
        over_voltage_volts=options.number("over_voltage_volts", 1.1 * highest, highest),
        over_current_amperes=options.number("over_current_amperes", 1.1 * amperes, 0.0),
    )
    if 0.0 < limits.over_current_amperes < amperes:
        raise DeviceError(f"{name}: over_current_amperes must be at least maximum_amperes, or 0 to leave it alone")
    session, channel, identity = session_of(options)
    dialect = SUPPLIES[options.choice("dialect", SUPPLIES, "scpi")]
    if "{c}" in dialect.output:
        channel = channel or 1
    curve = SolarCurve(volts, open_circuit)
    return SolarArraySimulator(session, dialect, channel, curve, limits, one_diode=one_diode, identity=identity)
