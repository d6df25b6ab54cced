"""``jetson.gpu_frequency``: caps the GPU of a Jetson (Orin, Xavier, TX2), and says how busy it is.

The GPU is found by its name in the device tree: "gpu" (JetPack 6), "ga10b" (Orin, JetPack 5), "gv11b" (Xavier),
"gp10b" (TX2), "gm20b" (Nano); the device is called after it, such as "17000000.gpu". ``load`` is in thousandths.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from flight.hal import DeviceEnvironment
from hil.devices.host import Host, host_of
from hil.devices.linux.devfreq import FrequencyCap, devices, found
from hil.devices.options import Options
from hil.devices.sysfs import absent, read_number
from hil.devices.throttle import Keepsake, KnobThrottle, sentences

GPUS = ("gpu", "ga10b", "gv11b", "gp10b", "gm20b")


def find_gpu(host: Host) -> Path:
    """Directory of the GPU in devfreq. Raises FileNotFoundError."""
    there = devices(host)
    for directory in there:
        if directory.name.rpartition(".")[2] in GPUS:
            return directory
    known = ", ".join(directory.name for directory in there) or "none"
    raise absent(f"the GPU of a Jetson in devfreq (here: {known})", "is this a Jetson with JetPack?")


def gpu_load_ratio(host: Host) -> float:
    """How busy the GPU is, 0 to 1. Raises OSError or ValueError."""
    return read_number(find_gpu(host) / "device" / "load") / 1000.0


def throttle(name: str, settings: Mapping[str, object], environment: DeviceEnvironment) -> KnobThrottle:
    """Entry point ``jetson.gpu_frequency``. It has no settings."""
    Options(name, settings, ())
    with sentences(name):
        directory = find_gpu(host_of(environment))
        knob = FrequencyCap(directory, Keepsake(name, environment, found(directory)))
    span = f"{knob.lowest / 1e6:.0f} to {knob.top / 1e6:.0f} MHz"
    return KnobThrottle(name, knob, environment, f"GPU {directory.name}, {span}")
