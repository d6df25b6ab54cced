"""``process.rack_node``: a rack node whose work runs as real processes of this host; what board nodes build on.

What the node draws follows from what runs: idle watts, and up to the peak in proportion to the cores kept busy. A power
cap is held by pausing the work for part of each fifth of a second. When the plant opens the node's switch, its
processes are killed at once, and the work is lost back to its last checkpoint.

Work outlives this driver: the next one finds it by its run directory, and by the shim's process id and start time.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path

from flight.hal import DeviceEnvironment, DeviceError, NodeState, Reading, Work, WorkReport
from hil.devices.process_work import ProcessWork
from hil.devices.rack import Ratings, Supply

BUSY_POLL_SECONDS = 0.1
IDLE_POLL_SECONDS = 0.5
KEEP_SECONDS = 2.0
LEAST_DUTY_RATIO = 0.05


class ProcessRackNode:
    """See the module's docstring."""

    def __init__(self, name: str, ratings: Ratings, environment: DeviceEnvironment) -> None:
        if environment.state_dir is None:
            raise DeviceError(f"{name}: processes need a state directory; the run gives none (use model.rack_node)")
        self.idle_watts = ratings.idle_watts
        self.peak_watts = ratings.peak_watts
        self._name = name
        self._ratings = ratings
        self._clock = environment.clock
        self._supply = Supply(name, environment)
        self._base = environment.state_dir / "nodes" / name.removeprefix("node.")
        self._hide = _hidden(environment)
        self._cap_watts = ratings.peak_watts
        self._draw_watts = ratings.idle_watts
        self._powered = True
        self._works: dict[str, ProcessWork] = {}
        self._watch: asyncio.Task[None] | None = None
        self._kept_at = 0.0
        self._find()

    async def read(self) -> Reading[NodeState]:
        """Draw, power, work that runs."""
        self._ensure_watch()
        running = tuple(sorted(work_id for work_id, work in self._works.items() if not work.ended))
        draw = self._draw_watts if self._powered else 0.0
        return Reading(NodeState(self._powered, draw, self._cap_watts, running), self._clock.now())

    async def start(self, work: Work) -> None:
        """Begin, or adopt. Raises DeviceError when the node is off, busy, or cannot start processes."""
        self._ensure_watch()
        if work.work_id in self._works:
            return
        self._look()
        if not self._powered:
            raise DeviceError(f"{self._name} is switched off; close its load switch")
        self._check_ready(work)
        busy = [work_id for work_id, other in self._works.items() if not other.ended]
        if busy:
            raise DeviceError(f"{self._name} runs {busy[0]}; a node runs one job at a time")
        if work.work_dir is None:
            raise DeviceError(f"{self._name}: {work.work_id} has no directory to run in")
        duty = self._duty_to_begin(work.cores)
        try:
            self._works[work.work_id] = ProcessWork.begin(
                self._base / work.work_id, work, self._clock.rate, self._hide, duty
            )
        except OSError as error:
            raise DeviceError(f"{self._name} cannot start {work.work_id}: {error}") from error
        self._look()

    async def stop(self, work_id: str) -> None:
        """Ask to end: SIGTERM, and SIGKILL after the work's grace."""
        work = self._works.get(work_id)
        if work is not None:
            work.control(stop=True)

    async def report(self, work_id: str) -> WorkReport | None:
        """What is known of this work."""
        work = self._works.get(work_id)
        return None if work is None else work.report()

    async def forget(self, work_id: str) -> None:
        """Drop what is kept of an ended work."""
        work = self._works.get(work_id)
        if work is not None and work.ended:
            del self._works[work_id]
            work.remove()

    async def set_power_cap(self, watts: float) -> None:
        """Draw at most this from now on."""
        self._cap_watts = max(self.idle_watts, min(self.peak_watts, watts))
        for work in self._running():
            work.control(duty_ratio=self._duty_ratio(work.meter.cores))
        self._look()

    async def close(self) -> None:
        """Let go; what runs runs on."""
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch
        for work in self._works.values():
            work.keep()

    def _check_ready(self, work: Work) -> None:
        """Raise DeviceError when the node may not begin this now."""

    def _find(self) -> None:
        for directory in sorted(self._base.iterdir()) if self._base.is_dir() else ():
            work = ProcessWork.found(directory, self._clock.rate)
            if work is not None:
                self._works[directory.name] = work

    def _ensure_watch(self) -> None:
        if self._watch is None:
            self._look()
            self._watch = asyncio.get_running_loop().create_task(self._watching(), name=f"{self._name}.watch")

    async def _watching(self) -> None:
        # Processes live in the host's time, and so does the watch over them.
        while True:
            busy = any(not work.ended for work in self._works.values())
            await asyncio.sleep(BUSY_POLL_SECONDS if busy else IDLE_POLL_SECONDS)
            self._look()

    def _look(self) -> None:
        """Bring everything up to date: switch, processes, draw, energy."""
        powered = self._supply.is_closed()
        if self._powered and not powered:
            self._cut_all(f"{self._name} lost its power")
        self._powered = powered
        running = self._running()
        for work in running:
            self._follow(work)
        self._draw_watts = self._drawn(sum(work.busy_cores for work in running if not work.ended))
        if powered:
            self._supply.tell_draw(self._draw_watts)
        now = asyncio.get_running_loop().time()
        if running and now - self._kept_at >= KEEP_SECONDS:
            self._kept_at = now
            for work in running:
                work.keep()

    def _follow(self, work: ProcessWork) -> None:
        supervised = work.is_supervised()
        status = work.look()
        if status is not None:
            work.count(status, self._drawn(work.measure(status)))
        if work.ended:
            work.keep()
        elif not supervised:
            work.cut("its supervisor was killed; nothing of it was left running")

    def _running(self) -> list[ProcessWork]:
        return [work for work in self._works.values() if not work.ended]

    def _drawn(self, busy_cores: float) -> float:
        """Draw of the node with so many cores busy, W."""
        return self._ratings.draw_watts(busy_cores, self._cap_watts)

    def _cut_all(self, reason: str) -> None:
        for work in self._running():
            work.look()
            work.cut(reason)

    def _duty_to_begin(self, cores: int) -> float:
        """Duty of work that is about to begin on so many cores."""
        return self._duty_ratio(cores)

    def _duty_ratio(self, cores: int) -> float:
        """Part of the time that work on so many cores may run under the cap."""
        share = (self._cap_watts - self.idle_watts) / (self.peak_watts - self.idle_watts)
        return min(1.0, max(LEAST_DUTY_RATIO, round(share * self._ratings.cores / min(cores, self._ratings.cores), 2)))


def _hidden(environment: DeviceEnvironment) -> list[str]:
    """What no job may see: state of the satellites here, keys, the home of whoever runs this, sockets."""
    hidden = ["/tmp", "/run", "/dev/shm", str(Path.home())]  # noqa: S108 - hidden, not used
    state = environment.state_dir
    if state is not None:
        state = state.resolve()
        hidden.append(str(state.parent if len(state.parts) > 3 else state))
    keys = environment.attachments.get("keys_dir")
    if isinstance(keys, str) and keys:
        hidden.append(str(Path(keys).resolve()))
    return [path for path in dict.fromkeys(hidden) if path != "/"]


def rack_node(name: str, settings: Mapping[str, object], environment: DeviceEnvironment) -> ProcessRackNode:
    """Entry point ``process.rack_node``. It has no settings."""
    if settings:
        raise DeviceError(f"{name}: no setting {min(settings)!r}; process.rack_node has none")
    return ProcessRackNode(name, Ratings.of(name, environment), environment)
