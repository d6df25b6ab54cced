"""What a job uses, against what it may use."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field

from flight.compute.shim import tree
from flight.compute.shim.files import Order

DISK_PERIOD_SECONDS = 1.0


@dataclass(slots=True)
class Meters:
    """Readings of a job that runs, and the limit that it broke, if one."""

    order: Order
    root_pid: int = 0
    cpu_seconds: float = 0.0
    memory_bytes: int = 0
    limit: str = ""
    reason: str = ""
    _disk_at: float = field(default=0.0)

    def read(self, run_seconds: float, now: float) -> None:
        """Read everything; ``run_seconds`` is how long the job has run, ``now`` any monotonic time."""
        pids = tree.descendants(self.root_pid)
        used = tree.cpu_seconds(self.root_pid)
        self.cpu_seconds = max(self.cpu_seconds, used)
        self.memory_bytes = tree.memory_bytes(pids)
        order = self.order
        if len(pids) > order.processes:
            self._broken("processes", f"it started {len(pids)} processes; {order.processes} are the most")
        if 0 < order.memory_bytes < self.memory_bytes:
            used_mib, asked_mib = self.memory_bytes / 2**20, order.memory_bytes / 2**20
            self._broken("memory", f"it used {used_mib:.0f} MiB of memory; it asked for {asked_mib:.0f} MiB")
        if 0 < order.limit_seconds < run_seconds:
            self._broken("time", f"it ran into its limit of {order.limit_seconds:.3g} s of the node's time")
        if order.disk_bytes and now - self._disk_at >= DISK_PERIOD_SECONDS:
            self.read_disk(now)

    def read_disk(self, now: float) -> None:
        """Add up what the job wrote."""
        self._disk_at = now
        order = self.order
        written = sum(_disk_bytes(path) for path in (order.output_dir, order.checkpoint_dir, order.home_dir))
        if written > order.disk_bytes > 0:
            written_mib, asked_mib = written / 2**20, order.disk_bytes / 2**20
            self._broken("disk", f"it wrote {written_mib:.1f} MiB; it asked for {asked_mib:.1f} MiB")

    def _broken(self, limit: str, reason: str) -> None:
        if not self.limit:
            self.limit, self.reason = limit, reason


def _disk_bytes(directory: str) -> int:
    total = 0
    with contextlib.suppress(OSError):
        for entry in os.scandir(directory):
            with contextlib.suppress(OSError):
                if entry.is_dir(follow_symlinks=False):
                    total += _disk_bytes(entry.path)
                else:
                    total += entry.stat(follow_symlinks=False).st_size
    return total
