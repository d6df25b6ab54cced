"""The gimbal's hardware: two servos on a PCA9685 and the detector on an ADS1115. Its methods block for transactions."""

from __future__ import annotations

from dataclasses import dataclass

from hil.devices.beam_fit import Beam, quadrant
from hil.devices.gimbal_servo import ServoModel, ServoScale
from hil.devices.gimbal_settings import NO_CHANNEL, QUADRANT, GimbalSettings
from hil.devices.host import Host
from hil.devices.i2c.ads1115 import Ads1115, light_watts
from hil.devices.i2c.chip import Chip
from hil.devices.i2c.pca9685 import Pca9685

Offset = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Seen:
    """What the detector saw: where the servos stood (radians off the reference), whether they stood still, light."""

    at: Offset
    still: bool
    watts: float
    beam: Beam | None  # of a quadrant detector, from the line of sight


class GimbalHead:
    """Chips, calibration, and the model of where the servos are."""

    def __init__(self, settings: GimbalSettings, host: Host) -> None:
        self._settings = s = settings
        self._servos = Pca9685(Chip("PCA9685", host, s.bus, s.servo_address), s.frequency_hertz)
        self._converter = Ads1115(Chip("ADS1115", host, s.bus, s.converter_address), s.samples_per_second)
        self._scales = [
            ServoScale(centre, per_degree, s.shortest_seconds, s.longest_seconds, self._servos.step_seconds)
            for centre, per_degree in zip(s.centres_seconds, s.seconds_per_degree, strict=True)
        ]
        self._models = [ServoModel(s.degrees_per_second, s.settle_seconds) for _ in range(2)]
        self._steps: list[int | None] = [None, None]
        self._lamp = False
        self._prepared = False

    @property
    def reach_radians(self) -> float:
        """How far the servos turn to either side, in the satellite's angles."""
        return min(scale.reach_degrees for scale in self._scales) / self._settings.degrees_per_radian

    @property
    def floor_watts(self) -> float:
        """Light that is lost in the detector's noise."""
        return light_watts(self._settings.noise_volts, self._settings.resistor_ohms, self._settings.responsivity)

    def refuse_if_claimed(self) -> None:
        """Raises DeviceError when the kernel serves one of the chips."""
        self._servos.chip.refuse_if_claimed()
        self._converter.chip.refuse_if_claimed()

    def prepare(self) -> None:
        """Identify and configure both chips, and look once. Raises OSError."""
        self._servos.prepare()
        if self._settings.transmitter_channel != NO_CHANNEL:
            self._servos.switch(self._settings.transmitter_channel, self._lamp)
        self._converter.volts(self._settings.detector_channel, self._settings.full_scale_volts)
        self._steps = [None, None]
        self._prepared = True

    def look_and_turn(self, now: float, towards: Offset) -> Seen:
        """See what there is from where the servos stand, then turn them. Raises OSError."""
        try:
            if not self._prepared:
                self.prepare()
            self._servos.check()
            seen = self._look(now)
            self._turn(now, towards)
        except OSError:
            self._prepared = False
            raise
        return seen

    def where(self, towards: Offset) -> Offset:
        """Where the servos stand when they are told to turn there: within their stops, in their steps."""
        pan, tilt = (
            scale.degrees(scale.steps(angle * self._settings.degrees_per_radian)) / self._settings.degrees_per_radian
            for scale, angle in zip(self._scales, towards, strict=True)
        )
        return pan, tilt

    def light(self, on: bool) -> None:
        """Switch the transmitter's lamp, if there is one. Raises OSError."""
        self._lamp = on
        if self._settings.transmitter_channel != NO_CHANNEL:
            self._servos.switch(self._settings.transmitter_channel, on)

    def rest(self) -> None:
        """Leave the servos without pulses, and the lamp dark. Raises OSError."""
        for channel in self._settings.channels:
            self._servos.switch(channel, on=False)
        self._steps = [None, None]
        self.light(on=False)

    def _look(self, now: float) -> Seen:
        s = self._settings
        pan, tilt = (model.degrees(now) / s.degrees_per_radian for model in self._models)
        still = all(model.settled(now) for model in self._models)
        if s.detector != QUADRANT:
            return Seen((pan, tilt), still, self._watts(s.detector_channel), None)
        a, b, c, d = (self._watts(channel) for channel in range(4))
        beam = quadrant((a, b, c, d), s.quadrant_slope_radians, 4.0 * self.floor_watts)
        return Seen((pan, tilt), still, beam.watts, beam)

    def _watts(self, channel: int) -> float:
        s = self._settings
        volts = self._converter.volts(channel, s.full_scale_volts) - s.dark_volts
        return light_watts(volts, s.resistor_ohms, s.responsivity)

    def _turn(self, now: float, towards: Offset) -> None:
        for axis, (scale, model) in enumerate(zip(self._scales, self._models, strict=True)):
            steps = scale.steps(towards[axis] * self._settings.degrees_per_radian)
            if steps != self._steps[axis]:
                self._servos.pulse(self._settings.channels[axis], steps)
                self._steps[axis] = steps
                model.command(scale.degrees(steps), now)
