"""``gimbal.laser``: a laser terminal that one can build, from two servos and a photodiode.

A pan-and-tilt head of two servos on a PCA9685 carries a photodiode in a tube (or four behind a cross) on an ADS1115,
and looks at a lamp across the room. ``degrees_per_microradian`` (0.02) says what of the servos stands for the
satellite's angles; :mod:`hil.devices.gimbal_frame` says how a head that turns by degrees plays one that turns through
the sky. It serves the same protocol as ``simulated.laser``.

Settings: ``bus`` (1), ``servo_address`` (0x40), ``converter_address`` (0x48), ``pan_channel`` (0), ``tilt_channel``
(1), ``transmitter_channel`` (of the PCA9685, to a lamp's MOSFET; -1 is none); ``frequency_hertz`` (50; digital servos
take 333, and then turn in finer steps), ``pan_centre_microseconds``, ``tilt_centre_microseconds`` (1500),
``microseconds_per_degree`` (11.1), ``pan_reversed``, ``tilt_reversed``, ``shortest_microseconds`` (600),
``longest_microseconds`` (2400), ``degrees_per_second`` (300) and ``settle_seconds`` (0.06) of the servos; ``detector``
("photodiode" on ``detector_channel``, or "quadrant" on channels 0 to 3: +x+y, -x+y, -x-y, +x-y),
``resistor_ohms``, ``responsivity_amperes_per_watt``, ``dark_volts``, ``noise_volts``, ``full_scale_volts`` as in
i2c.photodiode, ``scale`` (watts that the satellite receives for one of the photodiode's),
``acceptance_microradians`` (1/e^2 half angle of the photodiode's tube), ``dither_microradians``,
``quadrant_slope_microradians`` and ``period_seconds`` (0.1) between looks.

A single photodiode cannot tell where the light comes from: the head leads it around a small circle, four looks each,
and :mod:`hil.devices.beam_fit` works the partner's place out. With a plant, the plant's terminal is turned as far off
its partner as the head is off the lamp, so that the link follows what happens on the bench.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from flight.hal import DeviceEnvironment, DeviceError, LaserReading, Quality, Reading
from hil.devices.beam_fit import Beam, BeamFit, Look, circle
from hil.devices.gimbal_frame import Command, HeldReference, Line, Offset, PlantReference, Reference
from hil.devices.gimbal_head import GimbalHead, Seen
from hil.devices.gimbal_settings import QUADRANT, GimbalSettings, read_settings
from hil.devices.host import explain, host_of
from hil.devices.instrument import Instrument
from hil.devices.trouble import failed

Settings = Mapping[str, object]
T = TypeVar("T")

_WINDOW_PERIODS: Final = 12.0
_LATE_PERIODS: Final = 20.0
_RETRY_SECONDS: Final = 1.0
_BUS_SECONDS: Final = 1.0
# How far off its partner the plant's terminal is turned while the head sees no light: out of its field of view, and
# near enough to keep the partner.
_DARK_FIELDS: Final = 4.0


class GimbalLaser:
    """See the module's docstring. A task turns the head; :meth:`read` tells what it saw last."""

    def __init__(self, name: str, settings: GimbalSettings, environment: DeviceEnvironment) -> None:
        self._name = name
        self._settings = s = settings
        self._clock = environment.clock
        self._host = host_of(environment)
        self._head = GimbalHead(s, self._host)
        self._plant: Instrument | None = None
        self._reference: Reference
        if "plant" in environment.attachments:
            self._plant = Instrument(name, {}, environment, noise=0.0, bias=0.0)
            self._reference = PlantReference(self._plant)
        else:
            self._reference = HeldReference(self._head.reach_radians)
        period = s.period_seconds * self._clock.rate
        self._period = period
        self._fit = BeamFit(s.acceptance_radians, self._head.floor_watts, _WINDOW_PERIODS * period)
        self._command: Command | None = None
        self._ahead: Offset = (0.0, 0.0)
        self._learned: Offset = (0.0, 0.0)
        self._look = 0
        self._task: asyncio.Task[None] | None = None
        self._lamp: bool | None = None
        nothing = LaserReading(0.0, 0.0, 0.0, (0.0, 0.0), slewing=True)
        problem = f"{name}: it has not looked around yet; it will in a second"
        self._last = Reading(nothing, self._clock.now(), Quality.STALE, problem)

    def begin(self) -> None:
        """Find the chips. Raises DeviceError."""
        self._head.refuse_if_claimed()
        try:
            self._head.prepare()
        except OSError as error:
            raise DeviceError(explain(error)) from error

    async def read(self) -> Reading[LaserReading]:
        """Angles and light of the last look."""
        self._ensure_task()
        last = self._last
        late = self._clock.now() - last.mission_time_seconds
        if last.good and late > _LATE_PERIODS * self._period:
            problem = f"{self._name}: the head has not looked for {late:.1f} s; its I2C bus is held up"
            return last._replace(quality=Quality.STALE, problem=problem)
        return last

    async def point(
        self,
        azimuth_radians: float,
        elevation_radians: float,
        point_ahead: tuple[float, float] = (0.0, 0.0),
        rates: tuple[float, float] = (0.0, 0.0),
        at_seconds: float | None = None,
    ) -> None:
        """Turn the line of sight, and go on at ``rates``."""
        at = self._clock.now() if at_seconds is None else at_seconds
        self._command = Command(Line(azimuth_radians, elevation_radians), rates, at)
        self._ahead = point_ahead
        self._reference.command(self._command, self._learned)
        self._ensure_task()

    async def set_transmitter(self, on: bool) -> None:
        """Switch the lamp, and the plant's beam."""
        self._lamp = on
        if self._plant is not None:
            self._plant.actuate({f"{self._name}.transmit": float(on)})
        try:
            await self._on_bus(lambda: self._head.light(on))
        except (OSError, TimeoutError) as error:
            self._failed(error)

    async def close(self) -> None:
        """Stop; the servos hang loose, and the lamp is dark."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        with contextlib.suppress(OSError):
            await self._on_bus(self._head.rest)

    def _ensure_task(self) -> None:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._turning(), name=f"{self._name}.head")

    async def _turning(self) -> None:
        while True:
            try:
                await self._step()
            except (OSError, TimeoutError) as error:
                self._failed(error)
                await self._clock.sleep(_RETRY_SECONDS * self._clock.rate)
            await self._clock.sleep(self._period)

    async def _step(self) -> None:
        now = self._clock.now()
        reference = self._reference.line(now)
        centre = self._centre(now, reference)
        if centre is None:
            await self._turn_far(now)
            return
        assert reference is not None  # noqa: S101 - a centre is off something
        towards = centre
        if self._settings.detector != QUADRANT:
            self._look += 1
            dx, dy = circle(self._look, self._settings.dither_radians)
            towards = centre[0] + dx, centre[1] + dy
        seen = await self._on_bus(lambda: self._head.look_and_turn(now, towards))
        beam = self._beam(now, seen)
        if beam is not None:
            self._tell(now, reference, self._head.where(centre), beam, seen)

    def _centre(self, now: float, reference: Line | None) -> Offset | None:
        """Where the servos are to look, off the reference; ``None`` while the terminal turns far."""
        if self._command is None or reference is None:
            return None
        off = self._command.at(now).off(reference)
        return off if math.hypot(*off) <= self._head.reach_radians else None

    async def _turn_far(self, now: float) -> None:
        """There is no partner near: the plant's gimbal turns, the head waits in its middle."""
        self._fit.forget()
        seen = await self._on_bus(lambda: self._head.look_and_turn(now, (0.0, 0.0)))
        command, plant = self._command, self._plant
        line, slewing = (command.at(now) if command is not None else Line(0.0, 0.0)), command is not None
        if plant is not None:
            if command is not None:
                self._steer(line, now)
            keys = [f"{self._name}.{key}" for key in ("azimuth_radians", "elevation_radians", "slewing")]
            azimuth, elevation, turning = plant.sense_together(keys)
            line, slewing = Line(azimuth, elevation), turning > 0.5
        value = LaserReading(line.azimuth_radians, line.elevation_radians, 0.0, (0.0, 0.0), slewing or not seen.still)
        self._last = Reading(value, now)

    def _beam(self, now: float, seen: Seen) -> Beam | None:
        """The partner, off the reference."""
        if seen.beam is not None:
            beam = seen.beam
            if not seen.still:
                return beam._replace(lit=False)
            return beam._replace(x=seen.at[0] + beam.x, y=seen.at[1] + beam.y)
        if seen.still:
            self._fit.add(Look(seen.at[0], seen.at[1], seen.watts, now))
        return self._fit.beam(now)

    def _tell(self, now: float, reference: Line, centre: Offset, beam: Beam, seen: Seen) -> None:
        error = (beam.x - centre[0], beam.y - centre[1]) if beam.lit else (0.0, 0.0)
        if beam.lit:
            self._learned = (beam.x, beam.y)
        line = reference.shifted(centre)
        value = LaserReading(
            azimuth_radians=line.azimuth_radians,
            elevation_radians=line.elevation_radians,
            received_power_watts=self._settings.scale * beam.watts,
            tracking_error_radians=error,
            slewing=not seen.still,
        )
        self._last = Reading(value, now)
        if self._plant is not None:
            dark = (_DARK_FIELDS * self._settings.half_field_radians, 0.0)
            off = error if beam.lit else dark
            self._steer(reference.shifted((-off[0], -off[1])), now)

    def _steer(self, line: Line, now: float) -> None:
        """Turn the plant's terminal."""
        plant, command, name = self._plant, self._command, self._name
        if plant is None or command is None:
            return
        plant.actuate(
            {
                f"{name}.azimuth_radians": line.azimuth_radians,
                f"{name}.elevation_radians": line.elevation_radians,
                f"{name}.azimuth_rate": command.rates[0],
                f"{name}.elevation_rate": command.rates[1],
                f"{name}.at_seconds": now,
                f"{name}.ahead_azimuth_radians": self._ahead[0],
                f"{name}.ahead_elevation_radians": self._ahead[1],
            }
        )

    def _failed(self, error: OSError) -> None:
        self._fit.forget()
        late = f"no answer within {_BUS_SECONDS:g} s; its bus is held up"
        self._last = failed(self._name, self._last, error, late)

    async def _on_bus(self, work: Callable[[], T]) -> T:
        return await self._host.on_bus(f"i2c-{self._settings.bus}", work, _BUS_SECONDS)


def laser(name: str, settings: Settings, environment: DeviceEnvironment) -> GimbalLaser:
    """Entry point ``gimbal.laser``."""
    terminal = GimbalLaser(name, read_settings(name, settings, environment), environment)
    try:
        terminal.begin()
    except DeviceError as error:
        raise DeviceError(f"{name}: {error}") from error
    return terminal
