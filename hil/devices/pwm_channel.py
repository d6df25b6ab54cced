"""One channel of a PWM chip in sysfs (Documentation/driver-api/pwm.rst): exported, set, read back.

The kernel refuses a period shorter than the duty cycle that is set, and a change of polarity while the channel runs:
the order of the writes below follows from that.
"""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import Final

from flight.hal import DeviceError
from hil.devices.host import Host, ToldError, explain
from hil.devices.options import Options

CHANNEL_SETTINGS: Final = ("chip", "channel", "frequency_hertz", "inverted")

_UDEV_PATIENCE_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 0.02


class PwmChannel:
    """A channel. Its methods block for writes of sysfs, microseconds each."""

    def __init__(self, host: Host, chip: str, channel: int, frequency_hertz: float, *, inverted: bool) -> None:
        """``chip`` is such as "pwmchip0"."""
        self._chip = host.path(f"/sys/class/pwm/{chip}")
        self._number = channel
        self._directory = self._chip / f"pwm{channel}"
        self._period_nanoseconds = round(1e9 / frequency_hertz)
        self._polarity = "inversed" if inverted else "normal"

    def claim(self) -> None:
        """Export the channel and set its period. One that runs goes on with its duty.

        Raises:
            OSError: it is not there, not ours, or cannot have this frequency; the message says which.
        """
        if not self._chip.is_dir():
            known = ", ".join(sorted(path.name for path in self._chip.parent.glob("pwmchip*"))) or "none"
            problem = f"there is no {self._chip}, there is {known}; switch PWM on (Raspberry Pi: dtoverlay=pwm-2chan)"
            raise ToldError(errno.ENOENT, problem)
        count = int((self._chip / "npwm").read_text())
        if self._number >= count:
            raise ToldError(errno.EINVAL, f"{self._chip} has channels 0 to {count - 1}, and no {self._number}")
        if not self._directory.is_dir():
            self._export()
        self._set_up(self.read_ratio())

    def read_ratio(self) -> float:
        """Part of the time that the output is active. Raises OSError."""
        period = int(self._get("period"))
        if not period or self._get("enable") != "1":
            return 0.0
        return int(self._get("duty_cycle")) / period

    def set_ratio(self, ratio: float) -> None:
        """Set the duty, 0 to 1. Raises OSError."""
        if not self._directory.is_dir() or self._get("enable") != "1":
            # The chip was away, or somebody switched the channel off.
            if not self._directory.is_dir():
                self._export()
            self._set_up(ratio)
        else:
            self._put("duty_cycle", self._nanoseconds(ratio))

    def _set_up(self, ratio: float) -> None:
        if self._get("polarity") != self._polarity:
            self._put("enable", "0")
            self._put("polarity", self._polarity)
        period = int(self._get("period"))
        if period != self._period_nanoseconds:
            if period:
                self._put("duty_cycle", "0")
            self._put("period", str(self._period_nanoseconds))
        self._put("duty_cycle", self._nanoseconds(ratio))
        if self._get("enable") != "1":
            self._put("enable", "1")

    def _nanoseconds(self, ratio: float) -> str:
        return str(round(ratio * self._period_nanoseconds))

    def _export(self) -> None:
        try:
            (self._chip / "export").write_text(str(self._number))
        except OSError as error:
            if error.errno == errno.EBUSY:
                problem = f"channel {self._number} of {self._chip} is in use by the kernel (a fan or a backlight?); "
                raise ToldError(errno.EBUSY, f"{problem}/sys/kernel/debug/pwm says by what") from error
            raise
        # udev gives the new files to the group a moment later.
        end = time.monotonic() + _UDEV_PATIENCE_SECONDS
        while not os.access(self._directory / "duty_cycle", os.W_OK) and time.monotonic() < end:
            time.sleep(_LOOK_SECONDS)

    def _get(self, file: str) -> str:
        return (self._directory / file).read_text().strip()

    def _put(self, file: str, value: str) -> None:
        path = self._directory / file
        try:
            path.write_text(value)
        except OSError as error:
            if error.errno == errno.EINVAL:
                problem = f"{path} does not take {value}: the chip cannot have this frequency or duty; try another"
                raise ToldError(errno.EINVAL, problem) from error
            raise ToldError(error.errno, explain(error, str(path))) from error


def channel_of(options: Options, host: Host, usual_hertz: float) -> PwmChannel:
    """The channel that the settings name, claimed. Raises DeviceError."""
    chip = options.text("chip", "pwmchip0")
    if not chip.startswith("pwmchip") or "/" in chip:
        raise DeviceError(f'{options.name}: chip = "{chip}" must be such as "pwmchip0" (see /sys/class/pwm)')
    channel = PwmChannel(
        host,
        chip,
        options.whole("channel", 0, 0, 63),
        options.number("frequency_hertz", usual_hertz, 0.1, 1e6),
        inverted=options.flag("inverted", default=False),
    )
    try:
        channel.claim()
    except OSError as error:
        raise DeviceError(f"{options.name}: {explain(error, str(Path('/sys/class/pwm') / chip))}") from error
    return channel
