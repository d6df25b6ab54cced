"""``jetson.gpu_frequency``: caps the GPU of a Jetson (Orin, Xavier, TX2, Nano).

The GPU is found by its name in the device tree: "gpu" (JetPack 6), "ga10b" (Orin, JetPack 5), "gv11b" (Xavier),
"gp10b" (TX2); the device is called after it, such as "17000000.gpu", and "57000000.gpu" on a Nano. Names:
rbonghi/jetson_stats, jtop/core/gpu.py; a Thor has other ones, and is not served.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from flight.hal import DeviceEnvironment
from hil.devices.host import Host, host_of
from hil.devices.linux.devfreq import FrequencyCap, devices, found
from hil.devices.options import Options
from hil.devices.sysfs import absent
from hil.devices.throttle import Keepsake, KnobThrottle, sentences

GPUS = ("gpu", "ga10b", "gv11b", "gp10b")


def find_gpu(host: Host) -> Path:
    """Directory of the GPU in devfreq. Raises FileNotFoundError."""
    there = devices(host)
    for directory in there:
        if directory.name.rpartition(".")[2] in GPUS:
            return directory
    known = ", ".join(directory.name for directory in there) or "none"
    raise absent(f"the GPU of a Jetson in devfreq (here: {known})", "is this a Jetson with JetPack?")


def throttle(name: str, settings: Mapping[str, object], environment: DeviceEnvironment) -> KnobThrottle:
    """Entry point ``jetson.gpu_frequency``. It has no settings."""
    Options(name, settings, ())
    with sentences(name):
        directory = find_gpu(host_of(environment))
        knob = FrequencyCap(directory, Keepsake(name, environment, found(directory)))
    span = f"{knob.lowest / 1e6:.0f} to {knob.top / 1e6:.0f} MHz"
    return KnobThrottle(name, knob, environment, f"GPU {directory.name}, {span}")
