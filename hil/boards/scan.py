"""What is here: a board, its buses and chips, sensors, limits, lines, and which permissions are missing.

:func:`scan` looks at a host and gives a plain struct, which an agent can send as JSON. Nothing is changed on the board.
"""

from __future__ import annotations

import contextlib
import errno
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import msgspec

from hil.boards import scan_sysfs as sysfs
from hil.boards.file import Kind
from hil.boards.scan_i2c import FoundBus, scan_i2c
from hil.devices.host import Host, explain

Access = Callable[[str, int], bool]


class Gpu(msgspec.Struct, frozen=True, kw_only=True):
    """A GPU that NVML knows."""

    index: int
    name: str


class Scan(msgspec.Struct, frozen=True, kw_only=True):
    """All that was found. ``problems`` are sentences: what cannot be used, and what gives it."""

    model: str
    kind: Kind
    kernel: str
    machine: str
    hostname: str
    cores: int
    memory_bytes: int
    hwmon: tuple[sysfs.HwmonChip, ...] = ()
    thermal_zones: tuple[sysfs.ThermalZone, ...] = ()
    cpufreq: tuple[sysfs.CpuPolicy, ...] = ()
    powercap: tuple[sysfs.PowerZone, ...] = ()
    i2c: tuple[FoundBus, ...] = ()
    one_wire: tuple[str, ...] = ()
    gpiochips: tuple[sysfs.Named, ...] = ()
    pwmchips: tuple[sysfs.Named, ...] = ()
    watchdogs: tuple[sysfs.Named, ...] = ()
    clocks: tuple[sysfs.Named, ...] = ()
    power_supplies: tuple[sysfs.Named, ...] = ()
    devfreq: tuple[sysfs.Named, ...] = ()
    gpus: tuple[Gpu, ...] = ()
    # A Raspberry Pi's firmware answers at /dev/vcio; a Jetson's power modes are set with nvpmodel.
    firmware: bool = False
    nvpmodel: bool = False
    problems: tuple[str, ...] = ()


def scan(host: Host, also_buses: Sequence[int] = (), access: Access = os.access) -> Scan:
    """Look at a host. I2C buses that belong to the computer itself are probed only when they are in ``also_buses``."""
    model = _model(host)
    i2c = scan_i2c(host, also_buses)
    lost = [bus.problem for bus in i2c if bus.problem and not bus.problem.startswith("left alone")]
    return Scan(
        model=model,
        kind=kind_of_board(host, model),
        kernel=sysfs.text(host.path("/proc/sys/kernel/osrelease")) or platform.release(),
        machine=platform.machine(),
        hostname=sysfs.text(host.path("/proc/sys/kernel/hostname")),
        cores=len(list(host.path("/sys/devices/system/cpu").glob("cpu[0-9]*"))) or os.cpu_count() or 1,
        memory_bytes=_memory_bytes(host),
        hwmon=sysfs.hwmon(host),
        thermal_zones=sysfs.thermal_zones(host),
        cpufreq=sysfs.cpufreq(host),
        powercap=sysfs.powercap(host),
        i2c=i2c,
        one_wire=sysfs.one_wire(host),
        gpiochips=sysfs.gpiochips(host),
        pwmchips=sysfs.pwmchips(host),
        watchdogs=sysfs.watchdogs(host),
        clocks=sysfs.clocks(host),
        power_supplies=sysfs.power_supplies(host),
        devfreq=sysfs.devfreq(host),
        gpus=_gpus(host),
        firmware=host.path("/dev/vcio").exists(),
        nvpmodel=host.path("/usr/sbin/nvpmodel").exists(),
        problems=(*lost, *_missing_permissions(host, access)),
    )


def scan_here(also_buses: Sequence[int] = ()) -> Mapping[str, Any]:
    """What this machine is, as JSON takes it."""
    return cast("Mapping[str, Any]", msgspec.to_builtins(scan(Host(), also_buses)))


def kind_of_board(host: Host, model: str) -> Kind:
    """Kind of a board, by its device tree."""
    compatible = sysfs.text(host.path("/proc/device-tree/compatible"))
    if "raspberrypi" in compatible or model.startswith("Raspberry Pi"):
        return "raspberry-pi"
    if "nvidia,tegra" in compatible or "Jetson" in model:
        return "jetson"
    return "computer"


def _model(host: Host) -> str:
    """By the device tree of a board, by the firmware of a computer."""
    dmi = "/sys/class/dmi/id"
    computer = " ".join(
        part for name in ("sys_vendor", "product_name") if (part := sysfs.text(host.path(f"{dmi}/{name}")))
    )
    return sysfs.text(host.path("/proc/device-tree/model")) or computer or platform.machine()


def _memory_bytes(host: Host) -> int:
    for line in sysfs.text(host.path("/proc/meminfo")).splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return 0


def _gpus(host: Host) -> tuple[Gpu, ...]:
    if not host.path("/dev/nvidiactl").exists():
        return ()
    found: list[Gpu] = []
    # Of a library that is not installed, a driver that does not run, a GPU that fell off its bus, nothing is listed.
    with contextlib.suppress(Exception):
        import pynvml

        pynvml.nvmlInit()
        for index in range(pynvml.nvmlDeviceGetCount()):
            name = pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByIndex(index))
            found.append(Gpu(index=index, name=name if isinstance(name, str) else name.decode()))
        pynvml.nvmlShutdown()
    return tuple(found)


# What a bench wants to do to which files; one of each is enough to know.
PERMISSIONS: tuple[tuple[str, int], ...] = (
    ("/dev/i2c-*", os.R_OK | os.W_OK),
    ("/dev/gpiochip*", os.R_OK | os.W_OK),
    ("/dev/vcio", os.R_OK | os.W_OK),
    ("/dev/watchdog*", os.W_OK),
    ("/sys/class/powercap/*:*/energy_uj", os.R_OK),
    ("/sys/devices/system/cpu/cpufreq/policy*/scaling_max_freq", os.W_OK),
    ("/sys/class/pwm/pwmchip*/export", os.W_OK),
    ("/sys/class/hwmon/hwmon*/pwm[0-9]", os.W_OK),
    ("/sys/class/devfreq/*/max_freq", os.W_OK),
)


def _missing_permissions(host: Host, access: Access) -> Iterator[str]:
    for pattern, mode in PERMISSIONS:
        directory, _, name = pattern.partition("*")
        base, _, start = directory.rpartition("/")
        for path in sorted(host.path(base).glob(f"{start}*{name}")):
            if not access(str(path), mode):
                here = f"/{path.relative_to(host.root)}"
                yield explain(PermissionError(errno.EACCES, os.strerror(errno.EACCES), here))
                break
