"""Devices whose frequency the kernel scales: memory, GPUs (kernel documentation, ABI/testing/sysfs-class-devfreq)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hil.devices.host import Host
from hil.devices.sysfs import NumberFile, entries, number, read_number, read_text, text_or, write_text
from hil.devices.throttle import Keepsake, between, nearest, put_back_files

CLASS = "/sys/class/devfreq"


def devices(host: Host) -> list[Path]:
    """Directories of all of them; their names are those of the devices, such as "17000000.gpu"."""
    return [entry for entry in entries(host, CLASS) if (entry / "max_freq").exists()]


def steps(directory: Path) -> tuple[int, ...]:
    """Frequencies that the device has, Hz, rising; empty when it does not list them."""
    path = directory / "available_frequencies"
    return tuple(sorted(number(path, step) for step in text_or(path, "").split()))


def found(directory: Path) -> Mapping[str, str]:
    """What is to be put back. Raises OSError."""
    return {str(directory / key): read_text(directory / key) for key in ("max_freq", "min_freq")}


class FrequencyCap:
    """The knob: ratio 0 is the lowest frequency, 1 the cap that was found."""

    def __init__(self, directory: Path, keepsake: Keepsake) -> None:
        self._cap = directory / "max_freq"
        self._floor = directory / "min_freq"
        self._keepsake = keepsake
        self._top = number(self._cap, keepsake.found[str(self._cap)])
        self._steps = [step for step in steps(directory) if step <= self._top]
        self.lowest = self._steps[0] if self._steps else read_number(self._floor)
        self.top = self._top
        self._file = NumberFile(self._cap)

    def get(self) -> float:
        """Ratio in force."""
        return between(self.lowest, self._top, self._file())

    def turn(self, ratio: float) -> None:
        """Cap the frequency; a floor above the cap goes down with it."""
        self._keepsake.keep()
        wanted = self.lowest + ratio * (self._top - self.lowest)
        cap = self._top if ratio == 1.0 else nearest(self._steps, wanted) if self._steps else round(wanted)
        if read_number(self._floor) > cap:
            write_text(self._floor, str(cap))
        write_text(self._cap, str(cap))

    def put_back(self) -> None:
        """First the cap, then the floor: a floor above its cap would be refused."""
        put_back_files(self._keepsake, [str(self._floor)])
