"""``python -m hil.boards.guarding``: a board's guards at work, whatever the software under test does.

It runs as a process of its own, reads the devices that guards watch, without scale, and acts by itself: it takes the
board's throttles to their slowest and holds them there, ends all work below the board's directory, opens a switch of
its own, powers the board off. Nothing of the flight software is asked or needed.

What was done stands in ``guards.json`` of the board's directory, and is a line of JSON on standard output when it is
done. It holds, over restarts and reboots, until the file ``guards.clear`` appears there; then throttles and switches go
back to what they were.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar, get_args

from flight.devices import DeviceRegistry
from flight.hal import DeviceEnvironment, LoadSwitch, Quality, Reading, TemperatureSensor, Throttle
from hil.boards.file import Action, BenchFile, Guard
from hil.boards.guard_acts import power_off, stop_work_below
from hil.boards.guards import GuardState, step
from hil.boards.kept import CLEAR
from hil.boards.kept import GUARDS as STATE
from hil.boards.parts import PARTS, Part
from hil.boards.resolve import resolve
from skyrack import files
from skyrack.clock import Anchor, MissionClock
from skyrack.satellite import Device, load_satellite

PERIOD_SECONDS = 0.5
DEVICE_SECONDS = 3.0
"""A device that hangs for longer is silent: it must not keep the other guards from looking."""

T = TypeVar("T")
PowerOff = Callable[[], None]
StopWork = Callable[[], int]


class Devices(Protocol):
    """Where devices come from: a :class:`~flight.devices.DeviceRegistry`."""

    def get(self, name: str, protocol: type[T] | None = None) -> T:
        """A device by name. Raises DeviceError."""
        ...


class Guarding:
    """The guards of a board. ``stop_work`` ends all work and tells how much that was."""

    def __init__(
        self,
        guards: Sequence[Guard],
        devices: Devices,
        throttles: Sequence[str],
        directory: Path,
        stop_work: StopWork,
        power_off: PowerOff,
    ) -> None:
        self.guards = tuple(guards)
        self.states = [GuardState() for _ in guards]
        self._devices = devices
        self._throttles = tuple(throttles)
        self._directory = directory
        self._stop_work = stop_work
        self._power_off = power_off
        self._before: dict[str, float] = {}
        self._problems: dict[str, str] = {}
        self._still_on = ""
        self._written = b""
        self._remember()

    async def run(self) -> None:
        """Guard until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(PERIOD_SECONDS)

    async def look(self) -> None:
        """Read, decide, act, tell; once."""
        if (self._directory / CLEAR).exists():
            self._clear()
        readings = {name: await self._read(name) for name in dict.fromkeys(guard.device for guard in self.guards)}
        now = asyncio.get_running_loop().time()
        for index, guard in enumerate(self.guards):
            value, problem, unit = readings[guard.device]
            before = self.states[index]
            after = self.states[index] = step(guard, before, value, problem, now, unit)
            if after.acted and not before.acted:
                _say("guard-acted", guard, after.why)
                # Before anything is done that may not come back.
                self._write(readings)
                if after.action == "power-off":
                    try:
                        self._power_off()
                    except OSError as error:
                        self._still_on = str(error)
        await self._hold()
        self._write(readings)

    async def _hold(self) -> None:
        """Do what those that acted say, again and again: whoever undoes it is overruled."""
        actions = {state.action for state in self.states}
        self._problems = {"power": self._still_on} if self._still_on else {}
        # A board that would not be powered off is kept as quiet as can be.
        if actions & {"throttle", "power-off"}:
            for name in self._throttles:
                await self._slow(name)
        else:
            for name in list(self._before):
                await self._put_back(name)
        if actions & {"stop-work", "power-off"}:
            try:
                if ended := self._stop_work():
                    _say("guard-stopped-work", None, f"{ended} jobs were ended")
            except OSError as error:
                self._problems["work"] = f"it cannot be stopped: {error}"
        for guard, state in zip(self.guards, self.states, strict=True):
            if guard.load:
                await self._switch(guard.load, closed=state.action != "open-load")

    async def _slow(self, name: str) -> None:
        try:
            async with asyncio.timeout(DEVICE_SECONDS):
                throttle = self._devices.get(name, Throttle)
                found = await throttle.read_ratio()
                self._before.setdefault(name, found.value)
                if not found.good or found.value > 0.0:
                    await throttle.set_ratio(0.0)
        except Exception as error:  # noqa: BLE001 - see _read
            self._problems[name] = _why(error)

    async def _put_back(self, name: str) -> None:
        """Again and again until it is done: a board that stays slow would be nobody's doing."""
        try:
            async with asyncio.timeout(DEVICE_SECONDS):
                await self._devices.get(name, Throttle).set_ratio(self._before[name])
            del self._before[name]
        except Exception as error:  # noqa: BLE001 - see _read
            self._problems[name] = f"it cannot be put back: {_why(error)}"

    async def _switch(self, name: str, *, closed: bool) -> None:
        try:
            async with asyncio.timeout(DEVICE_SECONDS):
                switch = self._devices.get(name, LoadSwitch)
                found = await switch.is_closed()
                if not found.good or found.value != closed:
                    await switch.set_closed(closed)
        except Exception as error:  # noqa: BLE001 - see _read
            self._problems[name] = _why(error)

    def _clear(self) -> None:
        acted = [guard for guard, state in zip(self.guards, self.states, strict=True) if state.acted]
        self.states = [GuardState() for _ in self.guards]
        self._still_on = ""
        (self._directory / CLEAR).unlink(missing_ok=True)
        for guard in acted:
            _say("guard-cleared", guard, f"the guard of {guard.device} was cleared; it acts again when it has to")

    async def _read(self, name: str) -> tuple[float | None, str, str]:
        """A good value, or None and why there is none; the unit. Raises nothing."""
        try:
            async with asyncio.timeout(DEVICE_SECONDS):
                device = self._devices.get(name, TemperatureSensor)
                reading: Reading[float] = await device.read()
        except Exception as error:  # noqa: BLE001 - a driver is other people's code; it must not end the guard
            return None, _why(error), ""
        good = reading.quality is Quality.GOOD and math.isfinite(reading.value)
        return (reading.value if good else None), reading.problem, getattr(device, "unit", "")

    def _write(self, readings: Mapping[str, tuple[float | None, str, str]]) -> None:
        """Write the state file when anything but a reading's digits changed: a card does not live for ever."""
        acted = [
            {
                "guard": index,
                "device": guard.device,
                "action": state.action,
                "load": guard.load,
                "why": state.why,
                "limits": _limits(guard),
            }
            for index, (guard, state) in enumerate(zip(self.guards, self.states, strict=True))
            if state.acted
        ]
        blind = {name: problem or "silent" for name, (value, problem, _) in readings.items() if value is None}
        state = {
            "acted": acted,
            "guards": len(self.guards),
            "blind": blind,
            "problems": self._problems,
            "before": self._before,
        }
        content = json.dumps(state).encode()
        if content == self._written:
            return
        temporary = self._directory / f".{STATE}.new"
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._directory / STATE)
        except OSError as error:
            # A full disk does not keep a guard from acting.
            sys.stderr.write(f"{STATE} cannot be written: {error}\n")
            return
        self._written = content

    def _remember(self) -> None:
        """Take up what was done before a restart, as far as the guards are still the same."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            kept = json.loads((self._directory / STATE).read_bytes())
            self._before = {str(name): float(ratio) for name, ratio in kept.get("before", {}).items()}
            for each in kept["acted"]:
                index = each["guard"]
                guard = self.guards[index] if 0 <= index < len(self.guards) else None
                if guard is not None and guard.device == each["device"] and each["action"] in get_args(Action):
                    # What was powered off is on again because a person wanted that.
                    action: Action = "stop-work" if each["action"] == "power-off" else each["action"]
                    self.states[index] = GuardState(action=action, why=each["why"])


def _why(error: Exception) -> str:
    return f"it gave no answer within {DEVICE_SECONDS:g} s" if isinstance(error, TimeoutError) else str(error)


def _limits(guard: Guard) -> dict[str, float]:
    return {side: limit for side, limit in (("low", guard.low), ("high", guard.high)) if limit is not None}


def _say(event: str, guard: Guard | None, why: str) -> None:
    line: dict[str, Any] = {"event": event, "realtime_seconds": time.time(), "why": why}
    if guard is not None:
        line |= {"device": guard.device, "action": guard.action}
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def guarding_of(
    bench: BenchFile, board: str, environment: DeviceEnvironment, directory: Path, power_off: PowerOff = power_off
) -> Guarding:
    """The guards of a board of a bench.

    Raises:
        LookupError: the bench has no such board.
    """
    if environment.design is None:
        raise LookupError("guards need the satellite's design")
    found = resolve(bench, board, environment.design).board
    real: dict[str, Device] = dict(found.devices)
    throttles = [name for name, device in real.items() if PARTS.get(device.driver) is Part.THROTTLE]
    throttles += [name for name in real if name.startswith("throttle.") and name not in throttles]
    registry = DeviceRegistry(environment, real, {})
    return Guarding(found.guards, registry, throttles, directory, lambda: stop_work_below(directory), power_off)


async def _guard(arguments: argparse.Namespace) -> int:
    bench = files.load(arguments.bench, BenchFile)
    design = load_satellite(arguments.satellite)
    with tempfile.TemporaryDirectory(prefix="skyrack-guards-") as state:
        environment = DeviceEnvironment(
            satellite=design.name,
            clock=MissionClock(Anchor.utc()),
            rng=random.Random(0),
            state_dir=Path(state),
            design=design,
        )
        guarding = guarding_of(bench, arguments.board, environment, arguments.directory)
        running = asyncio.create_task(guarding.run())
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, running.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await running
    return 0


def main() -> int:
    """Process entry."""
    parser = argparse.ArgumentParser(prog="python -m hil.boards.guarding", description="Guard a board of a bench.")
    parser.add_argument("--bench", type=Path, required=True, help="bench file")
    parser.add_argument("--board", required=True, help="which of its boards this is")
    parser.add_argument("--satellite", type=Path, required=True, help="file of the satellite that it flies")
    parser.add_argument("--directory", type=Path, required=True, help="the board's directory: its state, its work")
    return asyncio.run(_guard(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
