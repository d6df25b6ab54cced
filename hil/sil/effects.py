"""What faults may do to a run of processes: everything but step the machine's clock.

The plant's own faults and those of links go to the plant over its actuation socket; processes are killed where they
are. A full disk is RLIMIT_FSIZE, set with prlimit(2) on every process of the satellite: it needs no privilege, reaches
processes that run, and is taken back by the same call. No file may be written then (EFBIG); a small tmpfs would say
ENOSPC, but needs root and a mount under files that are open. Sockets and pipes go on, as they do on a full disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hil.fault_schedule import PlantEffects
from hil.faults import BROKER, GROUND, DiskFull, Fault, Need, PlantFault, ProcessKill
from hil.plant.client import RemotePlantLink
from hil.processes import belonging_to, process_table
from skyrack.errors import UserError
from skyrack.files import suggest

if TYPE_CHECKING:
    from hil.sil.system import System
    from hil.supervisor import Supervisor

EXECUTIVE = "executive"
AGAIN_SECONDS = 0.5
"""Processes that are started while a disk is full meet it so long after."""

KillElsewhere = Callable[[str], None]
"""Kill a service on a board, by name."""


class ProcessEffects(PlantEffects):
    """Acts on the processes of a run, and on its plant. ``open`` it in the loop, and ``close`` it."""

    can: frozenset[Need] = frozenset({"plant", "links", "processes", "disks"})

    def __init__(self, system: System, supervisor: Supervisor, services: tuple[str, ...]) -> None:
        self._system = system
        self._supervisor = supervisor
        self._services = services
        self._link = RemotePlantLink(system.plant_url)
        self._full: dict[str, None] = {}
        self._filling: asyncio.Task[None] | None = None
        self.elsewhere: dict[str, KillElsewhere] = {}
        """Satellites whose services run on boards, and how one of them is killed."""
        super().__init__(self._send)

    def _send(self, satellite: str, key: str, value: float) -> None:
        self._link.actuate(satellite, {key: value})

    def check(self, fault: Fault) -> None:
        """Raises UserError where a fault cannot be done here, or strikes what is not there."""
        kind = "bench" if self._system.settings.elsewhere else "software"
        refused = fault.refused.get(kind)  # type: ignore[call-overload]
        if refused:
            raise UserError(f"fault {fault.kind} of {fault.satellite}: {refused}; the twin has it")
        names = self._system.names
        grounds = {ProcessKill: (GROUND, BROKER), DiskFull: (GROUND,)}.get(type(fault), ())
        if fault.satellite not in {*names, *grounds}:
            problem = f'there is no satellite "{fault.satellite}"; {suggest(fault.satellite, (*names, *grounds))}'
            raise UserError(f"fault {fault.kind}: {problem}")
        if fault.satellite == BROKER and self._system.settings.broker:
            raise UserError(f"fault {fault.kind}: the broker {self._system.broker} is not of this run")
        nodes = self._system.settings.nodes_elsewhere.get(fault.satellite, frozenset())
        known = (*self._services, EXECUTIVE, *sorted(nodes))
        if isinstance(fault, ProcessKill) and fault.satellite in names and fault.service not in known:
            problem = f'there is no service "{fault.service}"; {suggest(fault.service, known)}'
            raise UserError(f"fault {fault.kind} of {fault.satellite}: {problem}")
        if isinstance(fault, PlantFault):
            self._system.check_key(fault.satellite, fault.setting()[0])

    def kill(self, satellite: str, service: str) -> None:
        if satellite in {GROUND, BROKER}:
            self._supervisor.kill(satellite)
        elif satellite in self._system.settings.elsewhere:
            if satellite not in self.elsewhere:
                raise UserError(f"fault process-kill of {satellite}: its board is not reached")
            self.elsewhere[satellite](service)
        elif service == EXECUTIVE:
            self._supervisor.kill(satellite)
        else:
            pid = self._service_pids(satellite).get(service)
            if pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def cut_power(self, satellite: str, down_seconds: float) -> None:
        if satellite in self._system.settings.elsewhere:
            self.kill(satellite, EXECUTIVE)
            return
        self._supervisor.hold_back(satellite, down_seconds / self._system.settings.rate)
        for pid in self._pids(satellite):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)

    def fill_disk(self, satellite: str, *, full: bool) -> None:
        if full:
            self._full[satellite] = None
            self._limit(satellite)
            if self._filling is None or self._filling.done():
                self._filling = asyncio.get_running_loop().create_task(self._keep_full(), name="full disks")
        else:
            self._full.pop(satellite, None)
            self._limit(satellite)

    def flip_bits(self, satellite: str, link: str, count: int) -> None:
        self._link.actuate(satellite, {f"fault.link.{link}.flip_bits": float(count)})

    def close(self) -> None:
        """Let go of the plant, and of disks that are still full."""
        for satellite in list(self._full):
            self.fill_disk(satellite, full=False)
        if self._filling is not None:
            self._filling.cancel()
        self._link.close()

    async def _keep_full(self) -> None:
        while self._full:
            await asyncio.sleep(AGAIN_SECONDS)
            for satellite in self._full:
                self._limit(satellite)

    def _limit(self, satellite: str) -> None:
        for pid in self._pids(satellite):
            with contextlib.suppress(ProcessLookupError, PermissionError, ValueError):
                _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (0 if satellite in self._full else hard, hard))

    def _service_pids(self, satellite: str) -> dict[str, int]:
        """Flight services by name: children of the zygote, which is the executive's."""
        executive, table = self._supervisor.pid(satellite), process_table()
        zygotes = {pid for pid, entry in table.items() if entry.parent == executive}
        return {_name(pid): pid for pid, entry in table.items() if entry.parent in zygotes}

    def _pids(self, satellite: str) -> list[int]:
        """All processes of a satellite, or of the ground: descendants, and jobs whose parents are gone."""
        first, table = self._supervisor.pid(satellite), process_table()
        found = {first} if first is not None else set()
        grown = bool(found)
        while grown:
            more = {pid for pid, entry in table.items() if entry.parent in found} - found
            found |= more
            grown = bool(more)
        if satellite in self._system.names:
            state = str(self._system.instance.state(satellite))
            found |= {entry.pid for entry in belonging_to(self._supervisor.run_id) if _is_below(entry.pid, state)}
        return sorted(found - {os.getpid()})


def _is_below(pid: int, directory: str) -> bool:
    """Whether a process works in a directory, or was told of it."""
    with contextlib.suppress(OSError):
        where = str(Path(f"/proc/{pid}/cwd").readlink())
        line = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
        return where == directory or where.startswith(f"{directory}/") or f"{directory}/" in line
    return False


def _name(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
    return ""
