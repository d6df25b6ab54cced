"""The board's side of acceptance: an agent that loads, caps, samples and, when it may, resets the board it runs on.

``python -m hil.acceptance.board_agent`` answers what :mod:`hil.boards.agent` answers, and

    identity       who the board is: serial, machine id, public key, versions, digests
    accept-open    bench, board, satellite (paths, put before) -> the names of the board's real devices, by what they do
    accept-look    reads all devices -> rows as ``check`` gives them
    accept-sample  values {device: number} of meters and thermometers, hertz, work_seconds, monotonic_seconds
    accept-load    cores -> so many processes keep as many cores busy; 0 ends them
    accept-node    node, does ("start", "stop"), watts -> work on a rack node, and the power cap on it
    accept-cap     throttle, ratio
    accept-kill    directory, service -> SIGKILL for a service of the flight that is kept there
    accept-let-go  closes the devices: flight services may have them
    accept-reset   how: "watchdog" (device) opens it and never strokes it again; "reboot" is a reboot without goodbye;
                   "kill-all" (directory) is SIGKILL for all that the keeper of a run in that directory keeps

What is loaded ends with the agent.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from flight.compute.shim import tree
from flight.devices import DeviceRegistry
from flight.executive.watchdog import Watchdog
from flight.hal import DeviceEnvironment, RackNode, Throttle, Work
from hil import processes
from hil.boards import keeper, kept
from hil.boards.agent import Agent, Answer, serve
from hil.boards.check_here import NOT_HERE
from hil.boards.file import BenchFile
from hil.boards.requests import RequestError, number, text
from hil.boards.resolve import resolve
from hil.boards.watched import Watched
from hil.provision.identity import identity
from skyrack import files
from skyrack.clock import Anchor, MissionClock
from skyrack.satellite import load_satellite

SAMPLED = ("meter", "thermal", "sensor", "node")
WORK = "acceptance-load"
_CURRENT = "/sys/devices/system/cpu/cpufreq"
# Sums what fits into the caches: all of a core's power, nothing of the memory's.
_BURN = (
    "import ctypes, signal\nctypes.CDLL(None).prctl(1, signal.SIGKILL)\nx = 1\nwhile True: x = x * 48271 % 2147483647"
)

# As many processes as cores; they end with the one that started them.
_BURN_ALL = f"""import os, subprocess, sys
burn = [sys.executable, "-I", "-S", "-c", {_BURN!r}]
for one in [subprocess.Popen(burn) for _ in range(os.cpu_count() or 1)]:
    one.wait()
"""


class _Devices:
    """The real devices of a board."""

    def __init__(self, bench: Path, board: str, satellite: Path) -> None:
        design = load_satellite(satellite)
        try:
            resolved = resolve(files.load(bench, BenchFile), board, design)
        except LookupError as error:
            raise RequestError(str(error.args[0])) from None
        self.directory = tempfile.TemporaryDirectory(prefix="skyrack-accept-")
        environment = DeviceEnvironment(
            satellite=resolved.board.satellite,
            clock=MissionClock(Anchor.utc()),
            rng=random.Random(0),
            state_dir=Path(self.directory.name),
            design=design,
        )
        self.chosen = {
            name: device for name, device in resolved.devices.items() if not device.driver.startswith(NOT_HERE)
        }
        self.registry = DeviceRegistry(environment, self.chosen, {})
        self.watched = {name: Watched(name, device.driver, self.registry.get) for name, device in self.chosen.items()}
        self.design = design


class AcceptanceAgent(Agent):
    """An agent that can load and reset its board."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._devices: _Devices | None = None
        self._burners: list[subprocess.Popen[bytes]] = []
        self._watchdog: Watchdog | None = None
        self._requests |= {
            "identity": lambda _: identity(),
            "accept-open": self._open,
            "accept-look": self._look,
            "accept-sample": self._sample,
            "accept-load": self._load,
            "accept-node": self._node,
            "accept-cap": self._cap,
            "accept-let-go": self._let_go,
            "accept-kill": self._kill_service,
            "accept-reset": self._reset,
        }

    async def close(self) -> None:
        """Leave the board as it was found."""
        self._end_load()
        devices, self._devices = self._devices, None
        if devices is not None:
            for name in devices.chosen:
                if name.startswith("node."):
                    with contextlib.suppress(Exception):
                        await self._stop_work(devices.registry.get(name))
            await devices.registry.close()
            with contextlib.suppress(OSError):
                devices.directory.cleanup()

    @property
    def _opened(self) -> _Devices:
        if self._devices is None:
            raise RequestError("no bench is open: accept-open comes first")
        return self._devices

    async def _open(self, request: Mapping[str, Any]) -> Answer:
        await self.close()
        bench, satellite = self._inside(text(request, "bench")), self._inside(text(request, "satellite"))
        self._devices = _Devices(bench, text(request, "board"), satellite)
        peaks = {f"node.{node.name}": (node.idle_watts, node.peak_watts) for node in self._devices.design.nodes}
        return {
            "devices": {name: device.driver for name, device in self._devices.chosen.items()},
            "nodes": {
                name: {
                    "idle_watts": peaks[name][0],
                    "peak_watts": peaks[name][1],
                    "scale": float(device.settings.get("scale", 1.0)),
                    "meter": str(device.settings.get("meter", "")),
                }
                for name, device in self._devices.chosen.items()
                if name in peaks
            },
        }

    async def _look(self, request: Mapping[str, Any]) -> Answer:
        rows = await asyncio.gather(*(one.look() for one in self._opened.watched.values()))
        if request.get("exercise"):
            for one in self._opened.watched.values():
                await one.exercise(dangerous=False)
            rows = [one.row for one in self._opened.watched.values()]
        return {"rows": msgspec.to_builtins(rows)}

    async def _sample(self, _request: Mapping[str, Any]) -> Answer:
        values: dict[str, float] = {}
        for name, one in self._opened.watched.items():
            if name.partition(".")[0] in SAMPLED:
                row = await one.look()
                if row.value is not None and row.quality == "good":
                    values[name] = row.value
        return {"monotonic_seconds": time.monotonic(), "values": values, "hertz": _hertz()}

    async def _load(self, request: Mapping[str, Any]) -> Answer:
        self._end_load()
        self._begin_load(int(number(request, "cores")))
        return {"processes": len(self._burners), "cores": os.cpu_count() or 1}

    def _begin_load(self, cores: int) -> None:
        burn = [sys.executable, "-I", "-S", "-c", _BURN]
        self._burners += [subprocess.Popen(burn, stdin=subprocess.DEVNULL) for _ in range(cores)]

    def _end_load(self) -> None:
        burners, self._burners = self._burners, []
        for burner in burners:
            burner.kill()
            burner.wait()

    async def _node(self, request: Mapping[str, Any]) -> Answer:
        devices, name = self._opened, text(request, "node")
        if name not in devices.chosen:
            raise RequestError(f"{name}: the bench has no such rack node")
        node: RackNode = devices.registry.get(name)
        if text(request, "does") == "start":
            base = Path(devices.directory.name) / "work"
            shutil.rmtree(base, ignore_errors=True)
            program, outputs, inputs = base / "program", base / "out", base / "in"
            for directory in (program, outputs, inputs):
                directory.mkdir(parents=True)
            (program / "burn.py").write_text(_BURN_ALL)
            work = Work(
                work_id=WORK,
                command=(sys.executable, "burn.py"),
                power_watts=node.peak_watts,
                memory_bytes=256 << 20,
                cores=os.cpu_count() or 1,
                grace_seconds=0.5,
                limit_seconds=3600.0,
                expected_seconds=3600.0,
                disk_bytes=1 << 20,
                work_dir=base,
                input_dir=inputs,
                output_dir=outputs,
            )
            await node.start(work)
        elif text(request, "does") == "stop":
            await self._stop_work(node)
        if "watts" in request:
            await node.set_power_cap(number(request, "watts"))
        report = await node.report(WORK)
        return {"state": report.state.value if report else "none", "reason": report.reason if report else ""}

    async def _stop_work(self, node: RackNode) -> None:
        await node.stop(WORK)
        for _ in range(40):
            report = await node.report(WORK)
            if report is None or report.state.value != "running":
                break
            await asyncio.sleep(0.1)
        await node.forget(WORK)

    async def _cap(self, request: Mapping[str, Any]) -> Answer:
        throttle: Throttle = self._opened.registry.get(text(request, "throttle"))
        await throttle.set_ratio(number(request, "ratio"))
        return {"ratio": (await throttle.read_ratio()).value}

    def _kill_service(self, request: Mapping[str, Any]) -> Answer:
        directory = Path(text(request, "directory")).expanduser()
        return {"pid": kept.kill(directory, text(request, "service"), signal.SIGKILL)}

    async def _let_go(self, _request: Mapping[str, Any]) -> Answer:
        await self.close()
        return {}

    def _reset(self, request: Mapping[str, Any]) -> Answer:
        how = text(request, "how")
        if how == "watchdog":
            try:
                # Kept open and never stroked: from here the board has as long as the watchdog's time-out.
                self._watchdog = Watchdog(text(request, "device"))
                self._watchdog.stroke()
            except OSError as error:
                raise RequestError(f"{request.get('device')}: {error.strerror}; who strokes it must let go") from None
            return {"armed": True}
        if how == "reboot":
            program = shutil.which("reboot") or "/sbin/reboot"
            command = [program, "-f"] if os.geteuid() == 0 else ["sudo", "-n", program, "-f"]
            # -f: no service is asked to end, and no file system is unmounted; what was not synced is lost.
            self._rebooting = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=2, stderr=2)
            return {"asked": True}
        if how == "kill-all":
            return {"killed": _kill_all(Path(text(request, "directory")).expanduser())}
        raise RequestError(f'how is "{how}"; it must be watchdog, reboot or kill-all')


def _kill_all(directory: Path) -> int:
    """What comes nearest to a power cut: the keeper, its services and the jobs' shims end in the middle of things."""
    holder = keeper.holder_of(directory / keeper.LOCK)
    if holder is None:
        raise RequestError(f"{directory}: no flight is kept here")
    pid, run_id = holder
    found = {pid} | {entry.pid for entry in processes.belonging_to(run_id)} | set(tree.descendants(pid))
    # Jobs clear their environment and leave their parents: they are found by where they run.
    nodes = str((directory / "state" / "nodes").resolve())
    for entry in processes.process_table().values():
        with contextlib.suppress(OSError):
            if nodes in Path(f"/proc/{entry.pid}/cmdline").read_bytes().decode(errors="replace"):
                found |= {entry.pid, *tree.descendants(entry.pid)}
    found.discard(os.getpid())
    for victim in found:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(victim, signal.SIGKILL)
    return len(found)


def _hertz() -> float | None:
    """Mean frequency of the cores, where the kernel tells (Documentation/admin-guide/pm/cpufreq.rst)."""
    found: list[float] = []
    with contextlib.suppress(OSError, ValueError):
        found += [1000.0 * int(path.read_text()) for path in Path(_CURRENT).glob("policy*/scaling_cur_freq")]
    return math.fsum(found) / len(found) if found else None


async def _serve(directory: Path, output: int) -> None:
    agent = AcceptanceAgent(directory)
    try:
        await serve(agent, output)
    finally:
        await agent.close()


def main() -> int:
    """Process entry."""
    parser = argparse.ArgumentParser(prog="python -m hil.acceptance.board_agent", description="Be accepted.")
    parser.add_argument("--directory", default="~/.skyrack/board")
    arguments = parser.parse_args()
    directory = Path(arguments.directory).expanduser().absolute()
    output = os.dup(1)
    os.dup2(2, 1)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        asyncio.run(_serve(directory, output))
    return 0


if __name__ == "__main__":
    sys.exit(main())
