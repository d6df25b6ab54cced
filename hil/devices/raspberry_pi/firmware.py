"""``raspberry_pi.firmware``: under-voltage, capped and throttled, as the firmware of a Raspberry Pi 3, 4 or 5 says.

Three ways, the best that works here:

1. the firmware itself, by the command ``get_throttled`` (group video): now, and what has been since boot;
2. ``get_throttled`` of the firmware's device in sysfs: what raspberrypi-hwmon asked for last, every 2 s
   (raspberrypi/linux, drivers/firmware/raspberrypi.c), and what has been since it asked before;
3. the hwmon chip ``rpi_volt``, which mainline kernels have too: under-voltage only (drivers/hwmon/raspberrypi-hwmon.c).

The bits are those of ``vcgencmd get_throttled``: raspberrypi/linux issue 2367, where its makers list them, and the
Raspberry Pi documentation, "vcgencmd"; those of the Pi 5 are the same (raspberrypi/documentation issue 3257). The
mailbox's property GET_THROTTLED has the same bits, but raspberrypi-hwmon clears its memory each time that it asks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from flight.hal import BoardState, DeviceEnvironment, DeviceError, Reading
from hil.devices.host import Host, explain, host_of
from hil.devices.linux.hwmon_chips import chips
from hil.devices.options import Options
from hil.devices.raspberry_pi import mailbox
from hil.devices.sysfs import absent, read_number, read_text
from hil.devices.trouble import failed

COMMAND = "get_throttled"
SYSFS = "sys/devices/platform/soc*/*firmware/get_throttled"
CHIP = "rpi_volt"
TIMEOUT_SECONDS = 1.5

_UNDER_VOLTAGE = 1 << 0
_FREQUENCY_CAPPED = 1 << 1
_THROTTLED = 1 << 2
_SOFT_TEMPERATURE_LIMIT = 1 << 3
# The same bits, of some time before: since boot, where the firmware itself is asked.
_SINCE_BOOT = 16


def board_state(bits: int) -> BoardState:
    """What the bits of ``get_throttled`` say. The soft temperature limit (Pi 3A+ and 3B+) caps the frequency."""
    before = bits >> _SINCE_BOOT
    capped = _FREQUENCY_CAPPED | _SOFT_TEMPERATURE_LIMIT
    return BoardState(
        under_voltage=bool(bits & _UNDER_VOLTAGE),
        frequency_capped=bool(bits & capped),
        throttled=bool(bits & _THROTTLED),
        was_under_voltage=bool(before & _UNDER_VOLTAGE),
        was_frequency_capped=bool(before & capped),
        was_throttled=bool(before & _THROTTLED),
    )


class FirmwareMonitor:
    """Satisfies BoardMonitor of :mod:`flight.hal`.

    Attributes:
        name: of the device.
        how: which of the three ways it asks.
    """

    def __init__(self, name: str, environment: DeviceEnvironment) -> None:
        self.name = name
        self._host = host_of(environment)
        self._now = environment.clock.now
        self.how, self._ask, state = _best_way(name, self._host)
        self._last = Reading(state, self._now())

    async def read(self) -> Reading[BoardState]:
        """Ask the firmware."""
        try:
            bits = await self._host.on_bus(mailbox.BUS, self._ask, TIMEOUT_SECONDS)
        except (OSError, ValueError) as error:
            return failed(self.name, self._last, error, f"the firmware did not answer within {TIMEOUT_SECONDS:g} s")
        self._last = Reading(board_state(bits), self._now())
        return self._last


def _best_way(name: str, host: Host) -> tuple[str, Callable[[], int], BoardState]:
    ways: list[tuple[str, Callable[[Host], int]]] = [
        ("the firmware's get_throttled", _by_command),
        ("get_throttled of the kernel", _by_sysfs),
        (f"hwmon {CHIP}, under-voltage only", _by_hwmon),
    ]
    problems = []
    for how, ask in ways:
        try:
            return how, partial(ask, host), board_state(ask(host))
        except OSError as error:
            problems.append(explain(error))
        except ValueError as error:
            problems.append(str(error))
    raise DeviceError(f"{name}: this is no Raspberry Pi, or its firmware may not be asked: {problems[0]}")


def _by_command(host: Host) -> int:
    return _hexadecimal("the firmware", mailbox.command(host, COMMAND).removeprefix("throttled="))


def _by_sysfs(host: Host) -> int:
    for path in sorted(host.root.glob(SYSFS)):
        return _hexadecimal(path, read_text(path))
    raise absent(f"/{SYSFS}")


def _hexadecimal(whose: object, text: str) -> int:
    try:
        return int(text, 16)
    except ValueError:
        raise ValueError(f"{whose} says {text[:20]!r}, which is no hexadecimal number") from None


def _by_hwmon(host: Host) -> int:
    for chip in chips(host):
        if chip.name == CHIP:
            return _UNDER_VOLTAGE if read_number(chip.directory / "in0_lcrit_alarm") else 0
    raise absent(f"the hwmon chip {CHIP}")


def monitor(name: str, settings: Mapping[str, object], environment: DeviceEnvironment) -> FirmwareMonitor:
    """Entry point ``raspberry_pi.firmware``. It has no settings."""
    Options(name, settings, ())
    return FirmwareMonitor(name, environment)
