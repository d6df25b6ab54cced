"""``linux.cpufreq``: caps the frequency of all processors (kernel documentation, admin-guide/pm/cpufreq.rst).

Ratio 0 is the lowest frequency of each policy, 1 the cap that was found; between them the nearest step that the driver
lists, or any frequency where it lists none. On close the caps are as they were found.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flight.hal import DeviceEnvironment
from hil.devices.host import Host, host_of
from hil.devices.options import Options
from hil.devices.sysfs import NumberFile, absent, entries, number, read_number, read_text, text_or, write_text
from hil.devices.throttle import Keepsake, KnobThrottle, between, nearest, put_back_files, sentences

CLASS = "/sys/devices/system/cpu/cpufreq"


@dataclass(frozen=True, slots=True)
class Policy:
    """A group of processors of one frequency; frequencies in kHz, ``steps`` empty when any will do."""

    directory: Path
    lowest: int
    highest: int
    steps: tuple[int, ...]

    @property
    def cap(self) -> Path:
        """File of the cap."""
        return self.directory / "scaling_max_freq"


def policies(host: Host) -> list[Policy]:
    """All policies. Raises OSError or ValueError when one cannot be read."""
    found = []
    for entry in entries(host, CLASS):
        if not entry.name.startswith("policy") or not (entry / "scaling_max_freq").exists():
            continue
        listed = text_or(entry / "scaling_available_frequencies", "").split()
        steps = tuple(sorted(number(entry / "scaling_available_frequencies", step) for step in listed))
        lowest, highest = read_number(entry / "cpuinfo_min_freq"), read_number(entry / "cpuinfo_max_freq")
        found.append(Policy(entry, lowest, highest, steps))
    return found


class FrequencyCaps:
    """The knob."""

    def __init__(self, policies: list[Policy], keepsake: Keepsake) -> None:
        self._policies = policies
        self._keepsake = keepsake
        self._caps = [NumberFile(policy.cap) for policy in policies]
        self._tops = [number(policy.cap, keepsake.found[str(policy.cap)]) for policy in policies]

    def get(self) -> float:
        """Mean over the policies."""
        return statistics.fmean(
            between(policy.lowest, top, cap())
            for policy, top, cap in zip(self._policies, self._tops, self._caps, strict=True)
        )

    def turn(self, ratio: float) -> None:
        """Cap every policy."""
        self._keepsake.keep()
        for policy, top in zip(self._policies, self._tops, strict=True):
            wanted = policy.lowest + ratio * (top - policy.lowest)
            steps = [step for step in policy.steps if step <= top]
            cap = top if ratio == 1.0 else nearest(steps, wanted) if steps else round(wanted)
            write_text(policy.cap, str(cap))

    def put_back(self) -> None:
        """Caps as they were found."""
        put_back_files(self._keepsake)


def throttle(name: str, settings: Mapping[str, object], environment: DeviceEnvironment) -> KnobThrottle:
    """Entry point ``linux.cpufreq``. It has no settings."""
    Options(name, settings, ())
    with sentences(name):
        found = policies(host_of(environment))
        if not found:
            remedy = "this is a virtual machine, or there is no cpufreq driver: leave the throttle out"
            raise absent(f"{CLASS}/policy0", remedy)
        keepsake = Keepsake(name, environment, {str(policy.cap): read_text(policy.cap) for policy in found})
        knob = FrequencyCaps(found, keepsake)
    span = f"{min(policy.lowest for policy in found) / 1e6:.2f} to {max(policy.highest for policy in found) / 1e6:.2f}"
    return KnobThrottle(name, knob, environment, f"processor frequency caps, {span} GHz")
