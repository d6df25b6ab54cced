"""``jetson.rail``: power of a Jetson's supply rails, from the INA3221 monitors on its module.

JetPack 5 and later: hwmon ``ina3221`` with ``inN_label``, millivolts and milliamperes. JetPack 4 (Xavier, TX2, Nano):
NVIDIA's own driver under iio, ``rail_name_N`` and ``in_powerN_input`` in milliwatts.

"total" is VDD_IN (Orin Nano, Orin NX, Xavier NX) or POM_5V_IN (Nano), which feed the whole module; where no rail does,
as on the AGX modules, it is the sum of all, as jtop has it (rbonghi/jetson_stats, jtop/core/power.py, whose names of
files these are); nobody at NVIDIA says that the sum is the module's input. Rail names: Jetson Linux Developer Guide,
"Platform Power and Performance", Orin and Xavier series; "NC" are channels that are not connected.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from flight.hal import DeviceEnvironment
from hil.devices.gauge import GAUGE_SETTINGS, Gauge, Sample
from hil.devices.host import Host, host_of
from hil.devices.linux.hwmon import Product
from hil.devices.linux.hwmon_chips import chips
from hil.devices.options import Options
from hil.devices.sysfs import NumberFile, absent, text_or
from hil.devices.throttle import sentences

TOTAL = "total"
WHOLE_MODULE = ("VDD_IN", "POM_5V_IN")
WATTS_SPAN = (0.0, 200.0)
_IIO = "sys/bus/i2c/devices/*/iio:device*/rail_name_*"
_SHUNTS = "sum of shunt voltages"


@dataclass(frozen=True, slots=True)
class Rail:
    """A rail, and how to measure it (W)."""

    name: str
    open: Callable[[], Sample]


def rails(host: Host) -> list[Rail]:
    """All rails that are connected, by either driver."""
    found = []
    for chip in chips(host):
        if chip.name == "ina3221":
            for index, label in chip.channels("in").items():
                if label and "NC" not in label.split() and label != _SHUNTS:
                    found.append(Rail(label, _product(chip.directory, index)))
    for path in sorted(host.root.glob(_IIO)):
        label = text_or(path, "")
        number = path.name.removeprefix("rail_name_")
        if label and label != "NC":
            found.append(Rail(label, _power(path.with_name(f"in_power{number}_input"))))
    return found


def _product(directory: Path, index: int) -> Callable[[], Sample]:
    volts, amperes = directory / f"in{index}_input", directory / f"curr{index}_input"
    return lambda: Product(NumberFile(volts, 1e-3), NumberFile(amperes, 1e-3))


def _power(path: Path) -> Callable[[], Sample]:
    return lambda: NumberFile(path, 1e-3)


class RailSum:
    """Watts of some rails together; found again when they moved. Raises as :func:`choose` does."""

    def __init__(self, host: Host, rail: str) -> None:
        self._host = host
        self._rail = rail
        self.names: list[str] = []
        self._samples: list[Sample] = []

    def __call__(self) -> float:
        try:
            if self._samples:
                return sum(sample() for sample in self._samples)
        except OSError:
            # A chip that was bound anew has another number.
            self.close()
        chosen = choose(rails(self._host), self._rail)
        self.names = [rail.name for rail in chosen]
        self._samples = [rail.open() for rail in chosen]
        return sum(sample() for sample in self._samples)

    def close(self) -> None:
        """Let go of the files."""
        for sample in self._samples:
            close = getattr(sample, "close", None)
            if close is not None:
                close()
        self._samples = []


def choose(there: list[Rail], rail: str) -> list[Rail]:
    """The rails that a name stands for. Raises FileNotFoundError when there are none."""
    if rail == TOTAL:
        whole = [found for found in there if found.name in WHOLE_MODULE]
        chosen = whole[:1] or there
    else:
        chosen = [found for found in there if found.name == rail]
    if not chosen:
        known = ", ".join(found.name for found in there) or "none"
        raise absent(f"the rail {rail} of a Jetson's INA3221 (here: {known})", "is this a Jetson with JetPack?")
    return chosen


def meter(name: str, settings: Mapping[str, object], environment: DeviceEnvironment) -> Gauge:
    """Entry point ``jetson.rail``. Settings: rail ("VDD_CPU_GPU_CV"; default "total"), a gauge's."""
    options = Options(name, settings, ("rail", *GAUGE_SETTINGS))
    sample = RailSum(host_of(environment), options.text("rail", TOTAL))
    with sentences(name):
        sample()
    return Gauge(name, sample, settings, environment, "W", WATTS_SPAN, how=f"INA3221 {' + '.join(sample.names)}")
