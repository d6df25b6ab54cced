"""What a reading says when a device fails: the last good value, how far to trust it, and why, with the remedy."""

from __future__ import annotations

from typing import TypeVar

from flight.hal import DeviceError, Quality, Reading
from hil.devices.host import explain, is_gone

T = TypeVar("T")


def failed(name: str, last: Reading[T], error: Exception, late: str = "no answer in time") -> Reading[T]:
    """The last reading of the device ``name``, after an error.

    ``ABSENT`` when the device is not there or may not be read (a DeviceError says so itself), ``STALE`` for a passing
    fault. ``late`` is what a time-out is called that is ours; the kernel's ETIMEDOUT has a number, and the bus said so.
    """
    if isinstance(error, TimeoutError) and error.errno is None:
        gone, why = False, late
    elif isinstance(error, OSError):
        gone, why = is_gone(error), explain(error)
    else:
        gone, why = isinstance(error, DeviceError), str(error)
    return last._replace(quality=Quality.ABSENT if gone else Quality.STALE, problem=f"{name}: {why}")
