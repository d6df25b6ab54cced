"""Chips of the kernel's hwmon class, and how settings choose a channel of one."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from flight.hal import DeviceError
from hil.devices.host import Host
from hil.devices.options import Options
from hil.devices.sysfs import absent, entries, text_or

CLASS = "/sys/class/hwmon"
CHIP_SETTINGS = ("chip", "device", "label", "index")

_CHANNEL = re.compile(r"(in|curr|power|temp|fan|pwm)(\d+)(?:_(input|average))?")


@dataclass(frozen=True, slots=True)
class Chip:
    """A chip as the kernel shows it: ``directory`` holds its attributes, ``device`` is what it is attached to."""

    name: str
    device: str
    directory: Path

    def channels(self, kind: str) -> dict[int, str]:
        """Channels of a kind ("in", "curr", "power", "temp", "fan", "pwm") with their labels."""
        found: dict[int, str] = {}
        for entry in self.directory.iterdir():
            match = _CHANNEL.fullmatch(entry.name)
            if match is not None and match[1] == kind and (match[3] or kind == "pwm"):
                index = int(match[2])
                found[index] = text_or(self.directory / f"{kind}{index}_label", "")
        return dict(sorted(found.items()))


def chips(host: Host) -> list[Chip]:
    """All chips of a computer."""
    found = []
    for entry in entries(host, CLASS):
        # Drivers of old keep their attributes with the device.
        for directory in (entry, entry / "device"):
            name = text_or(directory / "name", "")
            if name:
                device = entry / "device"
                found.append(Chip(name, device.resolve().name if device.exists() else "", directory))
                break
    return found


def find_chip(host: Host, name: str, device: str = "") -> Chip:
    """The one chip of a name.

    Raises:
        FileNotFoundError: there is none.
        DeviceError: there are several, and ``device`` does not say which.
    """
    there = chips(host)
    found = [chip for chip in there if chip.name == name and device in ("", chip.device)]
    if not found:
        others = ", ".join(sorted({f"{chip.name} ({chip.device})" if chip.device else chip.name for chip in there}))
        raise absent(f"the hwmon chip {name}{f' at {device}' if device else ''} (here: {others or 'none'})")
    if len(found) > 1:
        devices = ", ".join(chip.device for chip in found)
        raise DeviceError(f'there are several chips {name}; say which by the setting "device": {devices}')
    return found[0]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the settings ask for: a chip, and a channel of it by label or index (-1: the only one)."""

    host: Host
    chip: str
    device: str
    label: str
    index: int

    @classmethod
    def of(cls, options: Options, host: Host) -> Wanted:
        """Read the settings that all drivers of hwmon share."""
        return cls(
            host,
            options.text("chip"),
            options.text("device", ""),
            options.text("label", ""),
            options.whole("index", -1, -1, 99),
        )

    def find(self) -> Chip:
        """The chip. Raises as :func:`find_chip` does."""
        return find_chip(self.host, self.chip, self.device)

    def channel(self, chip: Chip, kind: str) -> int | None:
        """Index of the channel; None when the chip has none of this kind.

        Raises:
            DeviceError: it has others than the one that is wanted, or several.
        """
        there = chip.channels(kind)
        if not there:
            return None
        if self.label:
            found = [index for index, label in there.items() if label == self.label]
        elif self.index >= 0:
            found = [index for index in there if index == self.index]
        else:
            found = list(there)
        if len(found) == 1:
            return found[0]
        known = ", ".join(f"{index}{f' ({label})' if label else ''}" for index, label in there.items())
        asked = f"label {self.label!r}" if self.label else f"index {self.index}" if self.index >= 0 else "choice"
        raise DeviceError(
            f'the chip {chip.name} has no {kind} channel of that {asked}; say "label" or "index": {known}'
        )

    def file(self, kind: str, suffixes: tuple[str, ...] = ("_input",)) -> Callable[[], Path]:
        """Finds the file of the channel, again whenever it is asked."""

        def locate() -> Path:
            chip = self.find()
            index = self.channel(chip, kind)
            if index is None:
                raise absent(f"{_KINDS[kind]} of the hwmon chip {chip.name}")
            for suffix in suffixes:
                path = chip.directory / f"{kind}{index}{suffix}"
                if path.exists():
                    return path
            raise absent(str(chip.directory / f"{kind}{index}{suffixes[0]}"))

        return locate


_KINDS = {"in": "voltage", "curr": "current", "power": "power", "temp": "temperature", "fan": "speed", "pwm": "duty"}
