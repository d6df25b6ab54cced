"""What a driver costs: a reading through it beside a bare read of the same file or register, in turn in the same run.

A bare read of a file is ``int(os.pread(...))`` of a file that is open already, the least that Python can do; opening it
anew for each read, as a script would, is told beside it. A bare read of a register is one transfer on the open bus, in
the thread that asks.

The file is a sensor of this machine where it has one. Else it is another attribute of sysfs that holds a number, shown
to the driver under a sensor's name: the kernel makes its text anew at each read in the same way. There is seldom a chip
to be read on the machine that measures: the bus is made up and waits as long as the wire of a real one takes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from flight.hal import DeviceEnvironment
from hil.devices.cpu_meter import meter as cpu_meter
from hil.devices.gauge import Gauge
from hil.devices.host import Host, I2cBus, attach
from hil.devices.i2c.thermometers import tmp102
from hil.devices.linux.hwmon import power
from hil.devices.linux.thermal_zone import temperature
from skyrack.clock import Anchor, MissionClock

CYCLE_DEVICES = 16
TARGET_RATIO = 2.0
ROUNDS = 101
FILE_READS = 100
REGISTER_READS = 4

# Stands for a sensor where there is none: 65536, 65.536 "degrees".
_STAND_IN = Path("/sys/class/net/lo/mtu")
_SENSORS = (
    "class/thermal/thermal_zone*/temp",
    "class/hwmon/hwmon*/temp*_input",
    "class/hwmon/hwmon*/device/temp*_input",
)
_PROCESSOR_TIME = Path("/proc/stat")

# A word is read in 47 bit times (SMBus 3.1, 6.5.5: start, three addresses and commands with their acknowledges, a
# repeated start, two bytes, stop). A Raspberry Pi's bus has 100 kHz by default; fast mode is 400 kHz.
_WORD_BITS = 47
_KILOHERTZ_OF_BUS = {1: 100, 4: 400}
_TMP102_CONFIGURATION = 0x01


def run_bench() -> dict[str, Any]:
    """Measure. Times are those of the fastest of the rounds, which take turns."""
    with tempfile.TemporaryDirectory(prefix="skyrack-bench-") as directory:
        root = Path(directory)
        sensor = real_sensor()
        file = sensor or (_STAND_IN if _STAND_IN.exists() else _on_disk(root / "temp"))
        host = Host(root=root, open_i2c=lambda number: cast("I2cBus", WireBus(_wire_seconds(number))))
        _plant(host, file)
        found = asyncio.run(_measure(host, file))
    told = "a sensor of this machine" if sensor else "no sensor, read as if it were one"
    return {"file": str(file), "file_is": told, "target_ratio": TARGET_RATIO, **found}


async def _measure(host: Host, file: Path) -> dict[str, Any]:
    environment = DeviceEnvironment(
        "bench", MissionClock.starting_at(time.time()), random.Random(0), None, attach(host)
    )
    zones = [temperature(f"thermal.{n}", {"zone": f"zone-{n}"}, environment) for n in range(CYCLE_DEVICES)]
    meter = power("meter.board", {"chip": "bench", "high": 1e12}, environment)
    here = replace(environment, clock=_Hurried(), attachments=attach(_OnlyProcessorTime()))
    modelled = cpu_meter("meter.cpu", {}, here)
    with contextlib.ExitStack() as stack:
        pairs = {
            "file_read": Pair(FILE_READS, _bare_files(stack, [file]), [zones[0]], partial(_open_and_read, file)),
            "volts_times_amperes": Pair(FILE_READS, _bare_files(stack, [file, file]), [meter]),
            "processor_time": Pair(FILE_READS // 4, _bare_files(stack, [_PROCESSOR_TIME], len), [modelled]),
            f"cycle_of_{CYCLE_DEVICES}_files": Pair(FILE_READS // 4, _bare_files(stack, [file for _ in zones]), zones),
        }
        for number, kilohertz in _KILOHERTZ_OF_BUS.items():
            chip = tmp102("thermal.rack", {"bus": number}, environment)
            bare = partial(_bare_words, host.i2c(number))
            pairs[f"register_read_at_{kilohertz}_khz"] = Pair(REGISTER_READS, bare, [chip])
        # All take turns in every round, so that a busy moment of the machine falls on all of them.
        for _ in range(ROUNDS):
            for pair in pairs.values():
                await pair.once()
    return {name: pair.figures() for name, pair in pairs.items()}


def _bare_files(
    stack: contextlib.ExitStack, files: list[Path], parse: Callable[[bytes], int] = int
) -> Callable[[int], None]:
    descriptors = [os.open(file, os.O_RDONLY) for file in files]
    for descriptor in descriptors:
        stack.callback(os.close, descriptor)

    def bare(passes: int) -> None:
        for _ in range(passes):
            for descriptor in descriptors:
                parse(os.pread(descriptor, 64, 0))

    return bare


def _bare_words(bus: I2cBus, passes: int) -> None:
    for _ in range(passes):
        bus.read_word_data(0x48, 0)


class Pair:
    """Bare reads, and drivers that read the same; what is timed is a pass over all of either."""

    def __init__(
        self, passes: int, bare: Callable[[int], None], drivers: list[Gauge], anew: Callable[[], int] | None = None
    ) -> None:
        self._passes = passes
        self._bare = bare
        self._drivers = drivers
        self._anew = anew
        self._found: dict[str, list[float]] = {}

    async def once(self) -> None:
        """Take the time of each."""
        begun = time.perf_counter()
        self._bare(self._passes)
        self._note("bare_us", begun)
        begun = time.perf_counter()
        for _ in range(self._passes):
            for driver in self._drivers:
                await driver.read()
        self._note("driver_us", begun)
        if self._anew is not None:
            begun = time.perf_counter()
            for _ in range(self._passes):
                self._anew()
            self._note("opened_anew_us", begun)

    def figures(self) -> dict[str, float]:
        """Time of the fastest pass over each, microseconds, and the ratio of the drivers' to the bare one.

        What else the machine does only ever adds to a time, and at no fixed rate: on a busy one the medians of the two
        are of different moments (Python's documentation of timeit says the same of its own results).
        """
        fastest = {name: min(values) for name, values in self._found.items()}
        return {**fastest, "ratio": fastest["driver_us"] / fastest["bare_us"]}

    def _note(self, name: str, begun: float) -> None:
        self._found.setdefault(name, []).append((time.perf_counter() - begun) / self._passes * 1e6)


def real_sensor() -> Path | None:
    """A thermometer of this machine that can be read."""
    for pattern in _SENSORS:
        for path in sorted(Path("/sys").glob(pattern)):
            try:
                _open_and_read(path)
            except (OSError, ValueError):
                continue
            return path
    return None


def _wire_seconds(number: int) -> float:
    """What a word takes on a bus."""
    return _WORD_BITS / (_KILOHERTZ_OF_BUS[number] * 1e3)


class WireBus:
    """A TMP102 on a bus that takes its time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def read_word_data(self, i2c_addr: int, register: int) -> int:
        """Any register; low byte first, as SMBus has it."""
        del i2c_addr
        time.sleep(self._seconds)
        return 0xA060 if register == _TMP102_CONFIGURATION else 0x8017

    def write_word_data(self, i2c_addr: int, register: int, value: int) -> None:
        """Takes as long."""
        del i2c_addr, register, value
        time.sleep(self._seconds)

    def close(self) -> None:
        """There is nothing to close."""


class _Hurried(MissionClock):
    """A clock on which a second passes at each look, so that the meter looks at its file every time."""

    __slots__ = ("_seconds",)

    def __init__(self) -> None:
        super().__init__(Anchor(0.0, 0.0), since_anchor_seconds=0.0)
        self._seconds = 0.0

    def now(self) -> float:
        self._seconds += 1.0
        return self._seconds


class _OnlyProcessorTime(Host):
    """This machine as one that counts no energy and scales no frequency."""

    def path(self, absolute: str) -> Path:
        return Path(absolute) if absolute == str(_PROCESSOR_TIME) else Path("/nonexistent")


def _plant(host: Host, file: Path) -> None:
    """Sensors of a made-up host that are all this file."""

    def write(path: str, content: str) -> None:
        target = host.path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(f"{content}\n", encoding="ascii")

    for n in range(CYCLE_DEVICES):
        write(f"/sys/class/thermal/thermal_zone{n}/type", f"zone-{n}")
        host.path(f"/sys/class/thermal/thermal_zone{n}/temp").symlink_to(file)
    write("/sys/class/hwmon/hwmon0/name", "bench")
    for name in ("in1_input", "curr1_input"):
        host.path(f"/sys/class/hwmon/hwmon0/{name}").symlink_to(file)


def _open_and_read(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))


def _on_disk(path: Path) -> Path:
    path.write_text("48199\n", encoding="ascii")
    return path
