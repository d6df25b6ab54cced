"""``board.rack_node``: a rack node that is a real board, with a meter for what it draws and a throttle to slow it down.

Work runs as processes of the board that flies the services. What the meter says, times ``scale``, is what the satellite
feels of it. A power cap is held in a closed loop on the meter (:mod:`hil.devices.power_cap`). A meter that is silent is
replaced by a model, a throttle that may not be set by pauses, and both are said. When the satellite's load switch is
open, the node draws nothing for the satellite and its work is dead, though the board itself stays on.

Settings: ``meter`` (name of a PowerMeter), ``scale`` (the satellite's watts for one of the meter's; the board's
``watts_scale`` when the bench file says none), and, when there are such, ``throttle``, ``thermometer`` and ``monitor``.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from flight.hal import (
    BoardMonitor,
    DeviceEnvironment,
    DeviceError,
    NodeState,
    PowerMeter,
    Reading,
    TemperatureSensor,
    Throttle,
    Work,
)
from hil.devices.options import Options
from hil.devices.power_cap import CapSettings, Draw, Knobs, PowerCap, Settling
from hil.devices.rack import Ratings
from hil.devices.rack_node import BUSY_POLL_SECONDS, IDLE_POLL_SECONDS, ProcessRackNode

HELPERS = ("meter", "throttle", "thermometer", "monitor")
SETTINGS = ("scale", *HELPERS)
WITHOUT = {
    "meter": "its draw is modelled",
    "throttle": "the cap is held by pauses of the work alone",
    "thermometer": "its temperature is not known",
    "monitor": "whether it slows itself down is not known",
}
NOTES = "board.notes"
"""Attachment: directory, best in memory, for a note of each node's figures."""
GUARDS = "board.guards"
"""Attachment: file in which the bench's guards say what they did."""

# Work is paused five times a second: the meter is read often enough to see how much of it, and at odd times.
SAMPLE_SECONDS = 0.02
NOTE_SECONDS = 0.5
HEALTH_SECONDS = 1.0
SILENT_SECONDS = 1.5


class BoardRackNode(ProcessRackNode):
    """See the module's docstring."""

    def __init__(self, name: str, ratings: Ratings, environment: DeviceEnvironment, options: Options) -> None:
        super().__init__(name, ratings, environment)
        self._scale = options.number("scale", 1.0, 0.0)
        if environment.device is None:
            raise DeviceError(f"{name}: the run has no devices for it to refer to")
        self._device = environment.device
        self._problems: dict[str, str] = {}
        self._names = {key: options.text(key, None if key == "meter" else "") for key in HELPERS}
        self._meter: PowerMeter | None = None
        self._throttle: Throttle | None = None
        self._thermometer: TemperatureSensor | None = None
        self._monitor: BoardMonitor | None = None
        self._find_helpers()
        self._draw = Draw()
        self._cap_law = PowerCap(
            ratings.idle_watts,
            ratings.peak_watts,
            CapSettings(meter_seconds=self._draw.window_seconds + 0.05),
            throttled=bool(self._names["throttle"]),
        )
        self._settling = Settling(0.02 * (ratings.peak_watts - ratings.idle_watts), [])
        self._measured_at = float("-inf")
        self._watched_at = float("-inf")
        self._applied = Knobs()
        self._guarded = ""
        self._note_file = _note_file(name, environment)
        guards = environment.attachments.get(GUARDS)
        self._guards_file = Path(guards) if isinstance(guards, str) and guards else None
        self._celsius: float | None = None

    def _find_helpers(self) -> None:
        """Make those devices that it refers to and are not there yet: what is absent now may come."""
        self._meter = self._meter or cast("PowerMeter | None", self._helper("meter"))
        self._throttle = self._throttle or cast("Throttle | None", self._helper("throttle"))
        self._thermometer = self._thermometer or cast("TemperatureSensor | None", self._helper("thermometer"))
        self._monitor = self._monitor or cast("BoardMonitor | None", self._helper("monitor"))

    def _helper(self, key: str) -> object | None:
        other = self._names[key]
        if not other:
            return None
        try:
            found = self._device(other)
        except DeviceError as error:
            self._problems[key] = f"{error}; {WITHOUT[key]}"
            return None
        self._problems.pop(key, None)
        return found

    async def read(self) -> Reading[NodeState]:
        """Draw (measured, scaled), power, work that runs; ``problem`` says what is not as it should be."""
        found = await super().read()
        return found._replace(problem="; ".join(self._problems.values()))

    async def set_power_cap(self, watts: float) -> None:
        """Draw at most this from now on."""
        now = asyncio.get_running_loop().time()
        self._cap_watts = max(self.idle_watts, min(self.peak_watts, watts))
        if self._running():
            self._settling.cap_changed(self._cap_watts, self._draw_watts, now)
        self._cap_law.set_cap(self._cap_watts, self._draw_watts, now)
        await self._apply(self._cap_law.knobs)
        self._look()

    def _check_ready(self, work: Work) -> None:
        if self._guarded == "stop-work":
            raise DeviceError(f"{self._name}: a guard of the bench has stopped all work here; clear it first")
        if not self._running():
            self._cap_law.begin(min(1.0, work.cores / self._ratings.cores), asyncio.get_running_loop().time())

    def _duty_to_begin(self, cores: int) -> float:
        return self._cap_law.knobs.duty_ratio

    def _drawn(self, busy_cores: float) -> float:
        """What the meter says; or a model of it, without the cap: the loop has to see when it is not held."""
        if asyncio.get_running_loop().time() - self._measured_at <= SILENT_SECONDS:
            return self._draw.watts
        return self._ratings.draw_watts(busy_cores, self._ratings.peak_watts)

    async def _watching(self) -> None:
        loop = asyncio.get_running_loop()
        # At odd times, so that a meter that is read in step with the pauses does not see only one half of them.
        odd = random.Random(0)
        look_at = note_at = health_at = self._watched_at = loop.time()
        while True:
            began = loop.time()
            await self._measure()
            if began >= look_at:
                look_at = began + BUSY_POLL_SECONDS
                self._look()
                await self._hold(began)
            if began >= health_at:
                health_at = began + HEALTH_SECONDS
                await self._look_after_health()
            if began >= note_at:
                note_at = began + NOTE_SECONDS
                self._note()
            busy = bool(self._running())
            await asyncio.sleep(SAMPLE_SECONDS * odd.uniform(0.7, 1.3) if busy else 0.5 * IDLE_POLL_SECONDS)

    async def _measure(self) -> None:
        if self._meter is None:
            return
        reading = await self._meter.read()
        if reading.good:
            now = asyncio.get_running_loop().time()
            self._draw.add(reading.value * self._scale, now)
            self._measured_at = now
            self._problems.pop("meter", None)
        elif asyncio.get_running_loop().time() - max(self._measured_at, self._watched_at) > SILENT_SECONDS:
            why = reading.problem or reading.quality.value
            self._problems["meter"] = f"{why}; {WITHOUT['meter']}"

    async def _hold(self, now: float) -> None:
        """One step of the loop that holds the cap. ``now`` is when the meter was asked."""
        running = bool(self._running())
        if self._guarded:
            await self._apply(Knobs(0.0, 0.05))
            return
        if not running:
            if self._powered and now - self._measured_at <= SILENT_SECONDS:
                self._cap_law.idle(min(self._draw.watts, self._ratings.peak_watts))
            self._settling.pending_since = None
            return
        knobs = self._cap_law.step(self._draw_watts, now)
        if self._draw.settled:
            self._settling.look(self._cap_watts, self._draw_watts, now)
        await self._apply(knobs)

    async def _apply(self, knobs: Knobs) -> None:
        for work in self._running():
            work.control(duty_ratio=knobs.duty_ratio)
        if knobs == self._applied:
            return
        before, self._applied = self._applied, knobs
        self._draw.forget()
        if self._throttle is not None and knobs.throttle_ratio != before.throttle_ratio:
            try:
                await self._throttle.set_ratio(knobs.throttle_ratio)
                self._problems.pop("throttle", None)
            except DeviceError as error:
                self._cap_law.without_throttle()
                self._problems["throttle"] = f"{error}; {WITHOUT['throttle']}"

    async def _look_after_health(self) -> None:
        self._find_helpers()
        if self._thermometer is not None:
            reading = await self._thermometer.read()
            self._celsius = reading.value if reading.good else None
        if self._monitor is not None:
            state = await self._monitor.read()
            slowed = [key for key in ("under_voltage", "frequency_capped", "throttled") if getattr(state.value, key)]
            if state.good and slowed:
                self._problems["monitor"] = f"the board slows itself down: {', '.join(slowed).replace('_', ' ')}"
            else:
                self._problems.pop("monitor", None)
        self._obey_guards()

    def _obey_guards(self) -> None:
        """Guards act by themselves; the node only does not work against them."""
        acted: set[str] = set()
        if self._guards_file is not None:
            try:
                acted = {str(each["action"]) for each in json.loads(self._guards_file.read_bytes())["acted"]}
            except (OSError, ValueError, KeyError, TypeError):
                acted = set()
        self._guarded = next((action for action in ("stop-work", "throttle") if action in acted), "")
        if self._guarded:
            self._problems["guard"] = f"a guard of the bench acted: {', '.join(sorted(acted))}"
        else:
            self._problems.pop("guard", None)
        if self._guarded == "stop-work":
            self._cut_all(f"a guard of the bench stopped all work on {self._name}")

    def _note(self) -> None:
        """Say how it is, for whoever looks at the board from outside."""
        if self._note_file is None:
            return
        measured = asyncio.get_running_loop().time() - self._measured_at <= SILENT_SECONDS
        how = str(getattr(self._meter, "how", "")) or f"measured by {self._names['meter']}"
        note = {
            "mission_time_seconds": self._clock.now(),
            "real_watts": self._draw.watts / self._scale if measured and self._scale else None,
            "watts": self._draw_watts if self._powered else 0.0,
            "idle_watts": self._cap_law.idle_watts,
            "cap_watts": self._cap_watts,
            "how": how if measured else "modelled: the meter is silent",
            "throttle_ratio": None if self._throttle is None else self._applied.throttle_ratio,
            "duty_ratio": self._applied.duty_ratio,
            "celsius": self._celsius,
            "powered": self._powered,
            "running": [work.directory.name for work in self._running()],
            "settled_seconds": self._settling.settled,
            "over_cap_seconds": self._settling.pending_seconds(asyncio.get_running_loop().time()),
            "problem": "; ".join(self._problems.values()),
        }
        temporary = self._note_file.with_suffix(".new")
        try:
            temporary.write_text(json.dumps(note), encoding="utf-8")
            temporary.replace(self._note_file)
        except OSError:
            # It is there to be looked at: a full disk ends nothing.
            return


def _note_file(name: str, environment: DeviceEnvironment) -> Path | None:
    directory = environment.attachments.get(NOTES)
    if not isinstance(directory, str) or not directory:
        return None
    path = Path(directory)
    path.mkdir(parents=True, exist_ok=True)
    return path / f"{name.removeprefix('node.')}.json"


def rack_node(name: str, settings: Mapping[str, object], environment: DeviceEnvironment) -> BoardRackNode:
    """Entry point ``board.rack_node``."""
    return BoardRackNode(name, Ratings.of(name, environment), environment, Options(name, settings, SETTINGS))
