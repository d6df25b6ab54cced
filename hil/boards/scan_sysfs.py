"""What the kernel tells of a board: sensors, clocks, limits, lines; from sysfs, and nothing is written.

Layouts are those of the kernel's documentation: hwmon/sysfs-interface, driver-api/thermal/sysfs-api, power/powercap,
admin-guide/pm/cpufreq, w1/w1-generic, driver-api/pwm, watchdog/watchdog-api, ABI/testing/sysfs-class-*.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from hil.devices.host import Host

_CHANNEL = re.compile(r"(?P<kind>temp|power|curr|in|fan)(?P<number>[0-9]+)_(?:input|average)")
# Quantity, unit, and how many of the kernel's units make one of ours.
_QUANTITIES = {
    "temp": ("temperature", "°C", 1e3),
    "power": ("power", "W", 1e6),
    "curr": ("current", "A", 1e3),
    "in": ("voltage", "V", 1e3),
    "fan": ("fan", "1/min", 1.0),
}


class Channel(msgspec.Struct, frozen=True, kw_only=True):
    """A channel of an hwmon chip, by the kernel's name ("power1"), with what it reads now (None: it cannot be read)."""

    name: str
    label: str
    quantity: str
    unit: str
    value: float | None


class HwmonChip(msgspec.Struct, frozen=True, kw_only=True):
    """A chip of /sys/class/hwmon; ``place`` says where it sits, such as "1-0040". ``pwm`` are its fan controls."""

    name: str
    directory: str
    place: str
    channels: tuple[Channel, ...]
    pwm: tuple[str, ...] = ()


class ThermalZone(msgspec.Struct, frozen=True, kw_only=True):
    """A thermal zone, and the temperature at which the kernel would shut the board down, where it says so."""

    zone: str
    kind: str
    celsius: float | None
    critical_celsius: float | None = None


class CpuPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Cores whose frequency is set together; Hz."""

    policy: str
    cpus: str
    driver: str
    governor: str
    minimum_hertz: float
    maximum_hertz: float


class PowerZone(msgspec.Struct, frozen=True, kw_only=True):
    """A powercap zone, such as intel-rapl:0 called package-0; its long-term limit, W."""

    zone: str
    name: str
    limit_watts: float | None


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """Something with a name and what it is."""

    name: str
    what: str


def text(path: Path) -> str:
    """A small file, or "" when it cannot be read."""
    with contextlib.suppress(OSError):
        return path.read_text(errors="replace").replace("\0", "").strip()
    return ""


def number(path: Path) -> float | None:
    """A number in a small file."""
    with contextlib.suppress(ValueError):
        return float(text(path))
    return None


def _entries(host: Host, directory: str, pattern: str) -> Iterator[Path]:
    """Entries in the order of their numbers."""
    found = host.path(directory).glob(pattern)
    return iter(sorted(found, key=lambda path: (len(path.name), path.name)))


def hwmon(host: Host) -> tuple[HwmonChip, ...]:
    """Chips of /sys/class/hwmon."""
    chips = []
    for path in _entries(host, "/sys/class/hwmon", "hwmon*"):
        channels = {}
        for file in sorted(path.iterdir()):
            match = _CHANNEL.fullmatch(file.name)
            if match is not None:
                quantity, unit, factor = _QUANTITIES[match["kind"]]
                name = f"{match['kind']}{match['number']}"
                raw = number(file)
                value = raw / factor if raw is not None else None
                label = text(path / f"{name}_label")
                channels[name] = Channel(name=name, label=label, quantity=quantity, unit=unit, value=value)
        device = path / "device"
        place = device.resolve().name if device.exists() else ""
        pwm = tuple(sorted(file.name for file in path.glob("pwm[0-9]")))
        chips.append(
            HwmonChip(
                name=text(path / "name"),
                directory=path.name,
                place=place,
                channels=tuple(channels.values()),
                pwm=pwm,
            )
        )
    return tuple(chips)


def thermal_zones(host: Host) -> tuple[ThermalZone, ...]:
    """Zones of /sys/class/thermal."""
    zones = []
    for path in _entries(host, "/sys/class/thermal", "thermal_zone*"):
        milli = number(path / "temp")
        critical = None
        for kind in sorted(path.glob("trip_point_*_type")):
            if text(kind) == "critical":
                trip = number(kind.with_name(kind.name.replace("_type", "_temp")))
                critical = trip / 1e3 if trip is not None else None
        zones.append(
            ThermalZone(
                zone=path.name,
                kind=text(path / "type"),
                celsius=milli / 1e3 if milli is not None else None,
                critical_celsius=critical,
            )
        )
    return tuple(zones)


def cpufreq(host: Host) -> tuple[CpuPolicy, ...]:
    """Frequency policies of the processors."""
    return tuple(
        CpuPolicy(
            policy=path.name,
            cpus=text(path / "related_cpus"),
            driver=text(path / "scaling_driver"),
            governor=text(path / "scaling_governor"),
            minimum_hertz=1e3 * (number(path / "cpuinfo_min_freq") or 0.0),
            maximum_hertz=1e3 * (number(path / "cpuinfo_max_freq") or 0.0),
        )
        for path in _entries(host, "/sys/devices/system/cpu/cpufreq", "policy*")
    )


def powercap(host: Host) -> tuple[PowerZone, ...]:
    """Zones of /sys/class/powercap that count energy."""
    zones = []
    for path in _entries(host, "/sys/class/powercap", "*:*"):
        if (path / "energy_uj").exists():
            limit = number(path / "constraint_0_power_limit_uw")
            zones.append(
                PowerZone(
                    zone=path.name, name=text(path / "name"), limit_watts=limit / 1e6 if limit is not None else None
                )
            )
    return tuple(zones)


def one_wire(host: Host) -> tuple[str, ...]:
    """Thermometers of the 1-Wire bus, by id: families 10 (DS18S20), 22 (DS1822), 28 (DS18B20), 3b and 42."""
    families = ("10-", "22-", "28-", "3b-", "42-")
    return tuple(path.name for path in _entries(host, "/sys/bus/w1/devices", "*-*") if path.name.startswith(families))


def gpiochips(host: Host) -> tuple[Named, ...]:
    """GPIO chips with their labels, as far as sysfs knows them."""
    found = []
    for path in _entries(host, "/sys/bus/gpio/devices", "gpiochip*"):
        labels = {text(legacy / "label") for legacy in path.resolve().parent.glob("gpio/gpiochip*")}
        of_node = text(path / "of_node/name") or text(path.resolve().parent / "of_node/name")
        found.append(Named(name=path.name, what=min(labels - {""}, default=of_node or path.resolve().parent.name)))
    seen = {item.name for item in found}
    found += [Named(name=path.name, what="") for path in _entries(host, "/dev", "gpiochip*") if path.name not in seen]
    return tuple(found)


def pwmchips(host: Host) -> tuple[Named, ...]:
    """PWM chips, with how many channels."""
    return tuple(
        Named(name=path.name, what=f"{text(path / 'npwm') or '?'} channels, {(path / 'device').resolve().name}")
        for path in _entries(host, "/sys/class/pwm", "pwmchip*")
    )


def watchdogs(host: Host) -> tuple[Named, ...]:
    """Watchdogs, with their identity and time-out."""
    return tuple(
        Named(
            name=f"/dev/{path.name}",
            what=", ".join(
                part
                for part in (text(path / "identity"), f"{text(path / 'timeout')} s" if text(path / "timeout") else "")
                if part
            ),
        )
        for path in _entries(host, "/sys/class/watchdog", "watchdog*")
    )


def clocks(host: Host) -> tuple[Named, ...]:
    """Real-time clocks."""
    return tuple(Named(name=path.name, what=text(path / "name")) for path in _entries(host, "/sys/class/rtc", "rtc*"))


def power_supplies(host: Host) -> tuple[Named, ...]:
    """Batteries and mains."""
    return tuple(
        Named(name=path.name, what=text(path / "type")) for path in _entries(host, "/sys/class/power_supply", "*")
    )


def devfreq(host: Host) -> tuple[Named, ...]:
    """Devices with a clock of their own, such as GPUs of Jetsons, with their governor."""
    return tuple(
        Named(name=path.name, what=text(path / "governor")) for path in _entries(host, "/sys/class/devfreq", "*")
    )
