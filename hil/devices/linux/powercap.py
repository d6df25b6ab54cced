"""``linux.powercap`` and ``linux.powercap_limit``: energy that a processor counts (RAPL), and a limit of its power.

Kernel documentation, power/powercap/powercap.rst: zones have a ``name`` ("package-0", "core", "psys"), ``energy_uj``
counts microjoules and wraps at ``max_energy_range_uj``, ``constraint_N_power_limit_uw`` bounds the power. Only root may
read ``energy_uj`` since Linux 5.10 (CVE-2020-8694); a udev rule gives it to a group.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path

from flight.hal import DeviceEnvironment, DeviceError
from hil.devices.gauge import GAUGE_SETTINGS, Gauge
from hil.devices.host import Host, host_of
from hil.devices.options import Options
from hil.devices.sysfs import NumberFile, absent, entries, number, read_number, read_text, text_or, write_text
from hil.devices.throttle import Keepsake, KnobThrottle, between, put_back_files, sentences

CLASS = "/sys/class/powercap"
# All packages of the machine together.
PACKAGES = "package"
WATTS_SPAN = (0.0, 2000.0)
# The counter moves every millisecond; a shorter look says more of that than of power.
SHORTEST_LOOK_SECONDS = 0.02
# Below this part of its limit a processor hardly computes at all.
LOWEST_RATIO = 0.2


def zones(host: Host) -> list[tuple[str, Path]]:
    """Name and directory of every zone; a zone that shows itself under two control types (MMIO) counts once."""
    found = []
    for entry in entries(host, CLASS):
        if ":" in entry.name and "mmio" not in entry.name:
            name = text_or(entry / "name", "")
            if name:
                found.append((name, entry))
    return found


def find_zones(host: Host, zone: str) -> list[Path]:
    """The zones of a name; "package" is all packages. Raises FileNotFoundError when there is none."""
    there = zones(host)
    found = [path for name, path in there if name == zone or (zone == PACKAGES and name.startswith("package-"))]
    if not found:
        known = ", ".join(name for name, _ in there) or "none"
        remedy = "the processor counts no energy, or is virtual; use board.cpu_meter or a meter on the bench"
        raise absent(f"the powercap zone {zone} (here: {known})", remedy)
    return found


class EnergyMeter:
    """Watts from counters of energy, between one call and the next."""

    def __init__(self, counters: list[tuple[NumberFile, float]], now: Callable[[], float]) -> None:
        """``counters`` are in joules, each with the value at which it wraps; ``now`` in host seconds."""
        self._counters = counters
        self._now = now
        self._joules = [counter() for counter, _ in counters]
        self._looked_at = now()
        self._watts = math.nan

    def __call__(self) -> float:
        now = self._now()
        seconds = now - self._looked_at
        if seconds < SHORTEST_LOOK_SECONDS:
            return self._watts
        joules = [counter() for counter, _ in self._counters]
        spent = 0.0
        for before, after, (_, wrap) in zip(self._joules, joules, self._counters, strict=True):
            spent += after - before if after >= before else after - before + wrap
        self._joules, self._looked_at = joules, now
        self._watts = spent / seconds
        return self._watts

    def close(self) -> None:
        """Let go of the files."""
        for counter, _ in self._counters:
            counter.close()


def energy_meter(zone: str, environment: DeviceEnvironment) -> EnergyMeter:
    """A meter of the zones of a name. Raises OSError or ValueError when there is none, or it may not be read."""
    clock = environment.clock
    counters = []
    for path in find_zones(host_of(environment), zone):
        wrap = read_number(path / "max_energy_range_uj") * 1e-6
        counters.append((NumberFile(path / "energy_uj", 1e-6), wrap))
    return EnergyMeter(counters, lambda: clock.now() / clock.rate)


def meter(name: str, settings: Mapping[str, object], environment: DeviceEnvironment) -> Gauge:
    """Entry point ``linux.powercap``: watts since the last reading. Settings: zone (default "package"), a gauge's."""
    options = Options(name, settings, ("zone", *GAUGE_SETTINGS))
    zone = options.text("zone", PACKAGES)
    with sentences(name):
        sample = energy_meter(zone, environment)
    return Gauge(name, sample, settings, environment, "W", WATTS_SPAN, how=f"measured by RAPL {zone}")


class PowerLimit:
    """The knob: every constraint of a zone that allows more than what is wanted is brought down to it; microwatts."""

    def __init__(self, keepsake: Keepsake, zone: Path, lowest: int) -> None:
        self._keepsake = keepsake
        self._enabled = zone / "enabled"
        self._limits = {
            Path(path): number(Path(path), text)
            for path, text in keepsake.found.items()
            if path.endswith("_power_limit_uw")
        }
        self._top = min(self._limits.values())
        self._lowest = min(lowest, self._top)
        self._files = [NumberFile(path) for path in self._limits]

    def get(self) -> float:
        """By the tightest constraint."""
        return between(self._lowest, self._top, min(file() for file in self._files))

    def turn(self, ratio: float) -> None:
        """Limit the power."""
        self._keepsake.keep()
        wanted = round(self._lowest + ratio * (self._top - self._lowest))
        for path, found in self._limits.items():
            write_text(path, str(min(found, wanted) if ratio < 1.0 else found))
        if str(self._enabled) in self._keepsake.found and text_or(self._enabled, "1") != "1":
            write_text(self._enabled, "1")

    def put_back(self) -> None:
        """Limits as they were found, then whether they hold."""
        put_back_files(self._keepsake, [path for path in self._keepsake.found if path.endswith("enabled")])


def throttle(name: str, settings: Mapping[str, object], environment: DeviceEnvironment) -> KnobThrottle:
    """Entry point ``linux.powercap_limit``. Settings: zone (default "package-0"), lowest_watts (for ratio 0).

    Ratio 1 is the tightest limit that was found. ``lowest_watts`` is a fifth of that unless it is said.
    """
    options = Options(name, settings, ("zone", "lowest_watts"))
    zone = options.text("zone", "package-0")
    lowest_watts = options.number("lowest_watts", 0.0, 0.0)
    with sentences(name):
        path = find_zones(host_of(environment), zone)[0]
        limits = sorted(path.glob("constraint_*_power_limit_uw"))
        found = {str(file): read_text(file) for file in limits if text_or(file, "0") not in ("0", "")}
        if not found:
            raise DeviceError(f"the powercap zone {zone} ({path}) has no limit of its power that could be set")
        if (path / "enabled").exists():
            found[str(path / "enabled")] = read_text(path / "enabled")
        keepsake = Keepsake(name, environment, found)
        top = min(int(text) for file, text in keepsake.found.items() if file.endswith("_uw"))
        lowest = round(lowest_watts * 1e6) or round(top * LOWEST_RATIO)
        knob = PowerLimit(keepsake, path, lowest)
    return KnobThrottle(name, knob, environment, f"power limit of {zone}, {lowest / 1e6:g} to {top / 1e6:g} W")
