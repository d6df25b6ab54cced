"""``raspberry_pi.pmic``: what a Raspberry Pi 5 draws, from the rails of its power chip.

``pmic_read_adc`` gives amperes and volts of each rail ("VDD_CORE_A current(7)=1.50A", "VDD_CORE_V volt(15)=0.75V");
watts are the sum of their products. EXT5V and BATT have a voltage only and do not count.

What bypasses the power chip is not in it: USB devices, HATs and fan on the 5 V rail, and the converters' own losses. A
meter in the supply line shows more, by a part that grows with the load. Calibrate against one with ``gain`` and
``offset``; 1.145 and 0.59 W are what others found for a bare board (github.com/jfikar/RPi5-power).
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from flight.hal import DeviceEnvironment
from hil.devices.gauge import GAUGE_SETTINGS, Gauge
from hil.devices.host import Host, host_of
from hil.devices.options import Options
from hil.devices.raspberry_pi import mailbox

COMMAND = "pmic_read_adc"
WATTS_SPAN = (0.2, 40.0)
_PROGRAM = "/usr/bin/vcgencmd"
_LINE = re.compile(r"(\w+)_([AV])\s+(?:current|volt)\(\d+\)=([-+.\d]+)[AV]")
_PROGRAM_TIMEOUT_SECONDS = 2.0


def rails(text: str) -> dict[str, float]:
    """Watts of every rail that has amperes and volts.

    Raises:
        ValueError: there is none in the text.
    """
    amperes: dict[str, float] = {}
    volts: dict[str, float] = {}
    for rail, unit, value in _LINE.findall(text):
        (amperes if unit == "A" else volts)[rail] = float(value)
    watts = {rail: amperes[rail] * volts[rail] for rail in amperes if rail in volts}
    if not watts:
        raise ValueError(f"{COMMAND} answered {text.strip()[:60]!r}, which has no rails; is this a Raspberry Pi 5?")
    return watts


def read_rails(host: Host) -> dict[str, float]:
    """Watts of every rail, from the mailbox, or else from the program vcgencmd, which may have more rights.

    Raises:
        OSError: neither is here, or neither may be used.
        ValueError: there are no rails.
    """
    try:
        return rails(mailbox.command(host, COMMAND))
    except OSError:
        program = host.path(_PROGRAM)
        if not program.exists():
            raise
    return rails(_run(program))


def _run(program: Path) -> str:
    try:
        done = subprocess.run(
            [program, COMMAND], capture_output=True, text=True, timeout=_PROGRAM_TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"{program} did not answer") from None
    return done.stdout + done.stderr


def meter(name: str, settings: Mapping[str, object], environment: DeviceEnvironment) -> Gauge:
    """Entry point ``raspberry_pi.pmic``. Settings: rail ("VDD_CORE"; the sum of all by default), a gauge's."""
    options = Options(name, settings, ("rail", *GAUGE_SETTINGS))
    rail = options.text("rail", "")
    host = host_of(environment)

    def sample() -> float:
        watts = read_rails(host)
        if not rail:
            return sum(watts.values())
        if rail not in watts:
            raise ValueError(f"there is no rail {rail} (here: {', '.join(watts)})")
        return watts[rail]

    # One rail alone may well draw nothing.
    span = (0.0, WATTS_SPAN[1]) if rail else WATTS_SPAN
    how = f"rail {rail} of the power chip" if rail else "sum of the power chip's rails, without what bypasses it"
    return Gauge(name, sample, settings, environment, "W", span, bus=mailbox.BUS, how=how)
