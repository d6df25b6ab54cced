"""What one satellite's services cost at rate 1: proportional memory (PSS) and idle CPU, per process."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hil.processes import process_table
from hil.sil.bring_up import brought_up
from hil.sil.instance import Instance
from hil.sil.system import SystemSettings
from skyrack import files

SETTLE_SECONDS = 15.0
MEASURE_SECONDS = 30.0
TARGET_PSS_BYTES = 200e6
TARGET_CPU_RATIO = 0.05


@dataclass(frozen=True, slots=True)
class Footprint:
    """One process: its name, proportional memory, and part of a core that it used."""

    name: str
    pss_bytes: int
    cpu_ratio: float


async def measure() -> list[Footprint]:
    """Bring the demo up at rate 1 without jobs, let it settle, and measure the first satellite."""
    home = Path(tempfile.mkdtemp(prefix="skyrack-bench-"))
    try:
        settings = SystemSettings(files.shipped("constellations", "demo").resolve(), rate=1.0)
        async with brought_up(Instance.named("footprint", home), settings) as running:
            await asyncio.sleep(SETTLE_SECONDS)
            root = running.supervisor.pid(running.system.names[0])
            pids = _descendants(root) if root is not None else []
            before = {pid: _cpu_seconds(pid) for pid in pids}
            await asyncio.sleep(MEASURE_SECONDS)
            return [
                Footprint(_name(pid), _pss_bytes(pid), (_cpu_seconds(pid) - before[pid]) / MEASURE_SECONDS)
                for pid in pids
            ]
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _descendants(root: int) -> list[int]:
    table = process_table()
    found = [root]
    for pid in found:
        found += sorted(entry.pid for entry in table.values() if entry.parent == pid)
    return found


def _name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()


def _pss_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run_bench() -> dict[str, Any]:
    """Measure; per process and in sum."""
    found = asyncio.run(measure())
    return {
        "processes": [{"name": f.name, "pss_bytes": f.pss_bytes, "cpu_ratio": f.cpu_ratio} for f in found],
        "pss_bytes": sum(f.pss_bytes for f in found),
        "target_pss_bytes": TARGET_PSS_BYTES,
        "cpu_ratio": sum(f.cpu_ratio for f in found),
        "target_cpu_ratio": TARGET_CPU_RATIO,
    }
