"""``board.cpu_meter``: what a computer draws, when nothing on the bench measures it.

Measured by RAPL where the processor counts its energy and lets this user read it. Else modelled: ``idle_watts``, and up
to ``peak_watts`` in proportion to busy processor time (``/proc/stat``) and to the frequency cap in force: at a fixed
voltage a processor's power is proportional to its frequency. ``how`` says which of the two it is.

A model is no measurement: it knows nothing of voltages, memory, radios, supplies. Find idle_watts and peak_watts once,
with a meter at the wall.
"""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path

from flight.hal import DeviceEnvironment
from hil.devices.gauge import GAUGE_SETTINGS, Gauge
from hil.devices.host import explain, host_of
from hil.devices.linux.cpufreq import Policy, policies
from hil.devices.linux.powercap import PACKAGES, WATTS_SPAN, energy_meter
from hil.devices.options import Options
from hil.devices.sysfs import NumberFile

IDLE_WATTS = 5.0
PEAK_WATTS = 25.0
# Processor time is counted in ticks of 10 ms; a shorter look sees too few of them.
SHORTEST_LOOK_SECONDS = 0.2
_FIRST_LINE_BYTES = 256


def processor_ticks(line: bytes) -> tuple[int, int]:
    """Busy and all ticks of the first line of ``/proc/stat`` (proc_stat(5)): waiting for I/O is idle.

    What a hypervisor took ("steal") is neither: it says nothing of what this machine drew.

    Raises:
        ValueError: it is another line.
    """
    name, *fields = line.split()
    if name != b"cpu" or len(fields) < 4:
        raise ValueError(f"/proc/stat begins with {line[:40]!r}, which is no processor time")
    ticks = [int(field) for field in fields[:7]] + [0] * (7 - len(fields))
    idle = ticks[3] + ticks[4]
    everything = sum(ticks)
    return everything - idle, everything


class ModelledPower:
    """Watts by busy processor time between one call and the next."""

    def __init__(
        self, stat: Path, policies: list[Policy], watts: tuple[float, float], now: Callable[[], float]
    ) -> None:
        """``watts`` idle and at the peak; ``now`` in host seconds. Raises OSError or ValueError."""
        self._descriptor = os.open(stat, os.O_RDONLY | os.O_CLOEXEC)
        self._caps = [(NumberFile(policy.cap), policy.highest) for policy in policies]
        self._idle_watts, self._peak_watts = watts
        self._now = now
        self._busy, self._all = self._look()
        self._looked_at = now()
        self._watts = math.nan

    def __call__(self) -> float:
        now = self._now()
        if now - self._looked_at < SHORTEST_LOOK_SECONDS:
            return self._watts
        busy, everything = self._look()
        spent = everything - self._all
        load = (busy - self._busy) / spent if spent > 0 else 0.0
        self._busy, self._all, self._looked_at = busy, everything, now
        self._watts = self._idle_watts + (self._peak_watts - self._idle_watts) * min(1.0, max(0.0, load)) * self._cap()
        return self._watts

    def close(self) -> None:
        """Let go of the files."""
        os.close(self._descriptor)
        for cap, _ in self._caps:
            cap.close()

    def _look(self) -> tuple[int, int]:
        return processor_ticks(os.pread(self._descriptor, _FIRST_LINE_BYTES, 0).split(b"\n", 1)[0])

    def _cap(self) -> float:
        return statistics.fmean(cap() / highest for cap, highest in self._caps) if self._caps else 1.0


def meter(name: str, settings: Mapping[str, object], environment: DeviceEnvironment) -> Gauge:
    """Entry point ``board.cpu_meter``. Settings: idle_watts, peak_watts (of the model), a gauge's."""
    options = Options(name, settings, ("idle_watts", "peak_watts", *GAUGE_SETTINGS))
    idle = options.number("idle_watts", IDLE_WATTS, 0.0)
    peak = options.number("peak_watts", PEAK_WATTS, idle)
    try:
        counted = energy_meter(PACKAGES, environment)
    except FileNotFoundError:
        why = "no energy counter here"
    except OSError as error:
        why = explain(error)
    except ValueError as error:
        why = str(error)
    else:
        return Gauge(name, counted, settings, environment, "W", WATTS_SPAN, how="measured by RAPL package")
    host, clock = host_of(environment), environment.clock
    try:
        caps = policies(host)
    except (OSError, ValueError):
        caps = []
    modelled = ModelledPower(host.path("/proc/stat"), caps, (idle, peak), lambda: clock.now() / clock.rate)
    how = f"modelled from processor time, {idle:g} to {peak:g} W ({why})"
    return Gauge(name, modelled, settings, environment, "W", WATTS_SPAN, how=how)
