"""A PCA9685: sixteen pulses of one frequency, for servos, and a switch for a lamp.

Data sheet NXP PCA9685, rev. 4; the kernel's drivers/pwm/pwm-pca9685.c and Adafruit's adafruit_pca9685.py agree.
"""

from __future__ import annotations

import errno
import time
from typing import Final

from hil.devices.i2c.chip import Chip, ChipFaultError

STEPS: Final = 4096
_OSCILLATOR_HERTZ: Final = 25e6

_MODE1: Final = 0x00
_FIRST_CHANNEL: Final = 0x06
_PRESCALE: Final = 0xFE
_AUTO_INCREMENT: Final = 0x20
_SLEEP: Final = 0x10
_FULL: Final = 0x10
_WAKE_SECONDS: Final = 0.0006  # the oscillator needs 500 us


class Pca9685:
    """The chip; its methods block for transactions, and raise ChipFaultError."""

    def __init__(self, chip: Chip, frequency_hertz: float) -> None:
        """``frequency_hertz`` is 24 to 1526: 50 for analogue servos, up to 333 for digital ones."""
        self.chip = chip
        self._prescale = min(255, max(3, round(_OSCILLATOR_HERTZ / (STEPS * frequency_hertz)) - 1))

    @property
    def step_seconds(self) -> float:
        """Length of one of a pulse's steps."""
        return (self._prescale + 1) / _OSCILLATOR_HERTZ

    def prepare(self) -> None:
        """Set the frequency, which it takes only asleep, and wake it. Pulses that run go on."""
        chip = self.chip
        if chip.read_byte(_PRESCALE) != self._prescale:
            chip.write_byte(_MODE1, _SLEEP | _AUTO_INCREMENT)
            chip.write_byte(_PRESCALE, self._prescale)
            if chip.read_byte(_PRESCALE) != self._prescale:
                problem = f"what answers as {chip.where} is no PCA9685: it does not keep the prescaler that is written"
                raise ChipFaultError(errno.ENODEV, problem)
        chip.write_byte(_MODE1, _AUTO_INCREMENT)
        time.sleep(_WAKE_SECONDS)

    def check(self) -> None:
        """Raises ChipFaultError when the chip was reset: it sleeps then, and servos hang loose."""
        mode = self.chip.read_byte(_MODE1)
        if mode & (_SLEEP | _AUTO_INCREMENT) != _AUTO_INCREMENT:
            problem = f"the {self.chip.where} lost its settings: its supply dipped; they are written again"
            raise ChipFaultError(errno.EAGAIN, problem)

    def pulse(self, channel: int, steps: int) -> None:
        """Pulses of so many steps, from the beginning of each period."""
        self._write(channel, [0, 0, steps & 0xFF, steps >> 8])

    def switch(self, channel: int, on: bool) -> None:
        """All of the time, or none of it: none leaves a servo loose."""
        self._write(channel, [0, _FULL if on else 0, 0, 0 if on else _FULL])

    def _write(self, channel: int, values: list[int]) -> None:
        self.chip.write_bytes(_FIRST_CHANNEL + 4 * channel, values)
