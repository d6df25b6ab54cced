"""Measurements of the host that runs the software; in the twin there is no host, and every run is equal."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Protocol

_STATM = Path("/proc/self/statm")


class Meter(Protocol):
    """What the health of a service tells of its host."""

    def seconds(self) -> float:
        """Host seconds from any start: only differences mean something."""

    def resident_memory_bytes(self) -> int:
        """Resident memory of this process."""


class HostMeter:
    """Measures the host. Nothing decides by it: it is reported, no more."""

    def seconds(self) -> float:
        """Host seconds from any start."""
        return time.perf_counter()

    def resident_memory_bytes(self) -> int:
        """Resident memory of this process, 0 where the kernel does not tell."""
        try:
            return int(_STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, ValueError, IndexError):
            return 0


class NullMeter:
    """Measures nothing."""

    def seconds(self) -> float:
        """Always 0."""
        return 0.0

    def resident_memory_bytes(self) -> int:
        """Always 0."""
        return 0
