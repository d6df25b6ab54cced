"""What a computer says of itself beside its sensors: pressure, clocks, watchdogs. Read by scan, check and accept."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from hil.devices.host import Host
from hil.devices.sysfs import entries, read_number, read_text, text_or

RESOURCES = ("cpu", "memory", "io")


@dataclass(frozen=True, slots=True)
class Pressure:
    """Part of the time in which some, or all, tasks waited for a resource, over the last 10 s and 60 s (0 to 1)."""

    some_10s_ratio: float
    some_60s_ratio: float
    full_10s_ratio: float
    full_60s_ratio: float


def pressure(host: Host, resource: str) -> Pressure:
    """Pressure stall information of "cpu", "memory" or "io" (kernel documentation, accounting/psi.rst).

    Raises:
        OSError: the kernel keeps none; boot it with ``psi=1``.
        ValueError: the file holds something else.
    """
    path = host.path(f"/proc/pressure/{resource}")
    ratios = {"some": (0.0, 0.0), "full": (0.0, 0.0)}
    for line in read_text(path).splitlines():
        share, *fields = line.split()
        values = dict(field.partition("=")[::2] for field in fields)
        try:
            ratios[share] = (float(values["avg10"]) / 100.0, float(values["avg60"]) / 100.0)
        except (KeyError, ValueError):
            raise ValueError(f"{path} holds {line[:60]!r}, which is no pressure") from None
    return Pressure(*ratios["some"], *ratios["full"])


@dataclass(frozen=True, slots=True)
class RealTimeClock:
    """A clock that runs while the board is off: Unix time (s); ``sets_system_clock`` when the kernel starts from it."""

    device: str
    chip: str
    unix_seconds: int
    sets_system_clock: bool


def real_time_clocks(host: Host) -> list[RealTimeClock]:
    """Clocks of a computer (kernel documentation, ABI/testing/sysfs-class-rtc); one that cannot be read is left out.

    A Raspberry Pi before the 5 has none: its time after a power cut is that of its last shutdown until NTP answers.
    """
    found = []
    for entry in entries(host, "/sys/class/rtc"):
        with contextlib.suppress(OSError, ValueError):
            since = read_number(entry / "since_epoch")
            sets = text_or(entry / "hctosys", "0") == "1"
            found.append(RealTimeClock(entry.name, text_or(entry / "name", ""), since, sets))
    return found


@dataclass(frozen=True, slots=True)
class Watchdog:
    """A hardware watchdog: ``resets`` says whether it caused the last boot; None where the driver does not know."""

    device: str
    identity: str
    timeout_seconds: int
    active: bool
    cannot_stop: bool
    resets: bool | None


# WDIOF_CARDRESET of linux/watchdog.h.
_CARD_RESET = 0x20


def watchdogs(host: Host) -> list[Watchdog]:
    """Watchdogs of a computer (kernel documentation, ABI/testing/sysfs-class-watchdog); nothing is opened or started.

    ``timeout_seconds`` is 0, and the rest unknown, where the kernel was built without CONFIG_WATCHDOG_SYSFS.
    """
    found = []
    for entry in entries(host, "/sys/class/watchdog"):
        status = text_or(entry / "bootstatus", "")
        timeout = text_or(entry / "timeout", "0")
        found.append(
            Watchdog(
                device=f"/dev/{entry.name}",
                identity=text_or(entry / "identity", ""),
                timeout_seconds=int(timeout) if timeout.isdigit() else 0,
                active=text_or(entry / "state", "") == "active",
                cannot_stop=text_or(entry / "nowayout", "0") == "1",
                resets=bool(int(status) & _CARD_RESET) if status.isdigit() else None,
            )
        )
    return found


def board_model(host: Host) -> str:
    """What the machine calls itself: the device tree's model, or the vendor and product of its firmware; or ""."""
    model = text_or(host.path("/proc/device-tree/model"), "") or text_or(
        host.path("/sys/firmware/devicetree/base/model"), ""
    )
    if model:
        return model
    words = [text_or(host.path(f"/sys/class/dmi/id/{key}"), "") for key in ("sys_vendor", "product_name")]
    return " ".join(word for word in words if word)
