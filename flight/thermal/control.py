"""Pump and heaters: a PI law on the hottest chip, and a thermostat."""

from __future__ import annotations

from dataclasses import dataclass

_PROPORTIONAL_PER_KELVIN = 0.01
_INTEGRAL_PER_KELVIN_SECOND = 0.01 / 120.0
_HYSTERESIS_KELVIN = 3.0
MINIMUM_DUTY_RATIO = 0.15
# This close under the limit the pump gives all it can, whatever the integral says.
_ALARM_KELVIN = 5.0


class PumpControl:
    """PI control of pump duty, with its integral held inside the duty's range."""

    __slots__ = ("_integral", "duty_ratio")

    def __init__(self) -> None:
        self._integral = MINIMUM_DUTY_RATIO
        self.duty_ratio = MINIMUM_DUTY_RATIO

    def step(
        self, seconds: float, hottest_celsius: float, target_celsius: float, limit_celsius: float, *, trusted: bool
    ) -> float:
        """Duty for the next second; full where the temperature cannot be trusted."""
        if not trusted or hottest_celsius >= limit_celsius - _ALARM_KELVIN:
            self.duty_ratio = 1.0
            return self.duty_ratio
        error = hottest_celsius - target_celsius
        self._integral = _within(self._integral + _INTEGRAL_PER_KELVIN_SECOND * error * seconds)
        self.duty_ratio = _within(self._integral + _PROPORTIONAL_PER_KELVIN * error)
        return self.duty_ratio


@dataclass(slots=True)
class Thermostat:
    """Heater switch: on below a temperature, off again a little above it."""

    on: bool = False

    def step(self, celsius: float, on_below_celsius: float) -> bool:
        """Whether the heater shall be on."""
        if celsius < on_below_celsius:
            self.on = True
        elif celsius > on_below_celsius + _HYSTERESIS_KELVIN:
            self.on = False
        return self.on


def _within(duty_ratio: float) -> float:
    return min(1.0, max(MINIMUM_DUTY_RATIO, duty_ratio))
