"""``jetson.power_mode``: power modes of a Jetson, in the order of their budgets.

``/etc/nvpmodel.conf`` lists them ("< POWER_MODEL ID=1 NAME=25W >", with cores and frequencies below each), the program
``nvpmodel`` sets one (-m), and ``/var/lib/nvpmodel/status`` holds the one in force ("pmode:0001 fmode:quiet"). Jetson
Linux Developer Guide, "Supported Modes and Power Efficiency"; the list itself as in NVIDIA's MLPerf inference code
(nvpmodel_template_xavier_nx). Numbers and names are of a board and a JetPack: none are built in here.

A change takes a second or two and needs root: no udev rule can give it. Modes with other cores or other parts of the
GPU, such as 7W of an Orin Nano, need a reboot: nvpmodel asks, gets no answer, and changes nothing; leave those out by
the setting ``modes``.
"""

from __future__ import annotations

import math
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flight.hal import DeviceEnvironment, DeviceError
from hil.devices.host import Host, host_of
from hil.devices.options import Options
from hil.devices.sysfs import absent, read_text
from hil.devices.throttle import Keepsake, KnobThrottle, between, sentences

CONFIGURATION = "/etc/nvpmodel.conf"
STATUS = "/var/lib/nvpmodel/status"
PROGRAM = "/usr/sbin/nvpmodel"
BUS = "nvpmodel"
TIMEOUT_SECONDS = 15.0

_ROOT = "only root may set it: run the executive as root, or cap the GPU alone by jetson.gpu_frequency"
_MODE = re.compile(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)\s*>")
_SECTION = re.compile(r"<\s*\w+\s")
_WATTS = re.compile(r"(\d+)W")
_STATUS = re.compile(r"pmode:(\d+)")


@dataclass(frozen=True, slots=True)
class Mode:
    """A power mode: budget (W; infinite for MAXN), cores that are on, and the sum of its frequency caps (Hz)."""

    number: int
    name: str
    budget_watts: float
    cores: int
    frequency_hertz: float


def modes(text: str) -> list[Mode]:
    """Modes of an nvpmodel.conf, the tightest first.

    Raises:
        ValueError: there are none.
    """
    found: list[Mode] = []
    head: tuple[int, str] | None = None
    body: list[str] = []
    for line in [*text.splitlines(), "< END >"]:
        if _SECTION.match(line.strip()):
            if head is not None:
                found.append(_mode(*head, body))
            match = _MODE.match(line.strip())
            head, body = ((int(match[1]), match[2]) if match else None), []
        elif head is not None:
            body.append(line)
    if not found:
        raise ValueError(f"{CONFIGURATION} lists no POWER_MODEL")
    return sorted(found, key=lambda mode: (mode.budget_watts, mode.cores, mode.frequency_hertz, -mode.number))


def _mode(number: int, name: str, body: Sequence[str]) -> Mode:
    match = _WATTS.search(name)
    watts = float(match[1]) if match is not None else math.inf
    cores, hertz = 0, 0.0
    for line in body:
        words = line.split()
        if len(words) == 3 and words[0] == "CPU_ONLINE":
            cores += words[2] == "1"
        elif len(words) == 3 and words[1] == "MAX_FREQ":
            # -1, and 0 for the memory, let it run freely.
            hertz += float(words[2]) if words[2].isdigit() and words[2] != "0" else 1e12
    return Mode(number, name, watts, cores, hertz)


class PowerModes:
    """The knob: ratio 0 is the mode of the least budget, 1 the one of the largest; the others evenly between."""

    def __init__(self, host: Host, modes: list[Mode], keepsake: Keepsake) -> None:
        self._status = host.path(STATUS)
        self._program = host.path(PROGRAM)
        self._modes = modes
        self._keepsake = keepsake

    def get(self) -> float:
        """By the mode in force. Raises ValueError for one that was left out."""
        number = current(self._status)
        for index, mode in enumerate(self._modes):
            if mode.number == number:
                return between(0, len(self._modes) - 1, index)
        raise ValueError(f"the power mode {number} is none of {', '.join(mode.name for mode in self._modes)}")

    def turn(self, ratio: float) -> None:
        """Set the nearest mode."""
        self._keepsake.keep()
        self._set(self._modes[round(ratio * (len(self._modes) - 1))].number)

    def put_back(self) -> None:
        """The mode that was found."""
        if self._keepsake.changed:
            self._set(int(self._keepsake.found[STATUS]))
            self._keepsake.let_go()

    def _set(self, number: int) -> None:
        if number == current(self._status):
            return
        try:
            done = subprocess.run(
                [self._program, "-m", str(number)],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise TimeoutError from None
        said = " ".join((done.stdout + done.stderr).split())
        name = next((mode.name for mode in self._modes if mode.number == number), str(number))
        if "reboot" in said.lower():
            raise DeviceError(f'the power mode {name} needs a reboot; leave it out by the setting "modes"')
        if done.returncode != 0 or "ERROR" in said:
            why = _ROOT if "permission" in said.lower() or "root" in said.lower() else said[-160:]
            raise DeviceError(f"nvpmodel -m {number} ({name}) failed: {why}")


def current(status: Path) -> int:
    """Number of the mode in force. Raises OSError or ValueError."""
    text = read_text(status)
    match = _STATUS.search(text)
    if match is None:
        raise ValueError(f"{status} holds {text[:40]!r}, which is no power mode")
    return int(match[1])


def throttle(name: str, settings: Mapping[str, object], environment: DeviceEnvironment) -> KnobThrottle:
    """Entry point ``jetson.power_mode``. Setting: modes, those that may be used ("15W,25W"; all if empty)."""
    options = Options(name, settings, ("modes",))
    wanted = [word.strip() for word in options.text("modes", "").split(",") if word.strip()]
    host = host_of(environment)
    with sentences(name):
        if not host.path(CONFIGURATION).exists():
            raise absent(CONFIGURATION, "is this a Jetson with JetPack?")
        there = modes(read_text(host.path(CONFIGURATION)))
        known = ", ".join(mode.name for mode in there)
        for word in wanted:
            if word not in [mode.name for mode in there]:
                raise DeviceError(f"there is no power mode {word!r}; known are {known}")
        usable = [mode for mode in there if not wanted or mode.name in wanted]
        keepsake = Keepsake(name, environment, {STATUS: str(current(host.path(STATUS)))})
        knob = PowerModes(host, usable, keepsake)
    how = f"power modes {', '.join(mode.name for mode in usable)}"
    return KnobThrottle(name, knob, environment, how, bus=BUS, timeout=TIMEOUT_SECONDS + 1.0)
