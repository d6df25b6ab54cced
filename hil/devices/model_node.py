"""``model.rack_node``: a rack node whose work is a model, for virtual time.

Work takes ``expected_seconds``, more or less (drawn once per job), at the job's watts, and longer under a lower cap:
speed is in proportion to the watts over idle. Asked to stop, it keeps what it has done when the job checkpoints. When
the switch opens, all is lost that came after the last checkpoint, which is made every ``checkpoint_seconds``.

Work in the rack outlives the driver, as it does on a board where the compute service is started again.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from flight.hal import DeviceEnvironment, DeviceError, NodeState, Reading, Work, WorkReport, WorkState
from hil.devices.rack import Ratings, Supply

CHECKPOINT_SECONDS = 60.0
DURATION_SIGMA = 0.15
UNKNOWN_SECONDS = 600.0
"""How long work takes of which nobody said how long it takes."""


@dataclass(slots=True)
class _Run:
    work: Work
    total_seconds: float
    done_seconds: float
    saved_seconds: float
    at_seconds: float
    run_seconds: float = 0.0
    energy_joules: float = 0.0
    report: WorkReport | None = None
    power_lost: str = ""


@dataclass(slots=True)
class _Node:
    """What a node goes on with while no driver looks."""

    cap_watts: float
    draw_watts: float
    runs: dict[str, _Run] = field(default_factory=dict)


@dataclass(slots=True)
class _Rack:
    """What is in one satellite's rack: nodes by name, and checkpoints by work."""

    seed: int
    nodes: dict[str, _Node] = field(default_factory=dict)
    checkpoints: dict[str, float] = field(default_factory=dict)


_racks: WeakKeyDictionary[object, dict[str, _Rack]] = WeakKeyDictionary()


def _rack(environment: DeviceEnvironment) -> _Rack:
    seed = environment.rng.getrandbits(32)
    plant = environment.attachments.get("plant", environment.clock)
    try:
        racks = _racks.setdefault(plant, {})
    except TypeError:  # nothing that could be held weakly: the work dies with the driver
        racks = {}
    return racks.setdefault(environment.satellite, _Rack(seed))


def cut_power(plant: object, satellite: str) -> None:
    """Everything that runs in a satellite's rack is lost at once, back to its last checkpoint."""
    rack = _racks.get(plant, {}).get(satellite)
    for name, node in rack.nodes.items() if rack is not None else ():
        node.cap_watts = node.draw_watts = 0.0
        for run in node.runs.values():
            if run.report is None:
                run.power_lost = f"{name} lost its power"


class ModelRackNode:
    """See the module's docstring."""

    def __init__(self, name: str, ratings: Ratings, environment: DeviceEnvironment, checkpoint_seconds: float) -> None:
        self.idle_watts = ratings.idle_watts
        self.peak_watts = ratings.peak_watts
        self._name = name
        self._clock = environment.clock
        self._supply = Supply(name, environment)
        self._rack = _rack(environment)
        self._checkpoint_seconds = checkpoint_seconds
        known = self._rack.nodes.get(name)
        self._node = known or _Node(ratings.peak_watts, ratings.idle_watts)
        self._rack.nodes[name] = self._node
        self._runs = self._node.runs
        if known is not None and not known.cap_watts:
            # It had lost its power, and is told no cap yet.
            known.cap_watts = ratings.peak_watts
            self._settle()
            self._set_draw()

    async def read(self) -> Reading[NodeState]:
        """Draw, power, work that runs."""
        powered = self._settle()
        running = tuple(work_id for work_id, run in self._runs.items() if run.report is None)
        draw = self._node.draw_watts if powered else 0.0
        return Reading(NodeState(powered, draw, self._node.cap_watts, running), self._clock.now())

    async def start(self, work: Work) -> None:
        """Begin, or adopt. Raises DeviceError when the node is off or runs something else."""
        if not self._settle():
            raise DeviceError(f"{self._name} is switched off; close its load switch")
        if work.work_id in self._runs:
            return
        if any(run.report is None for run in self._runs.values()):
            raise DeviceError(f"{self._name} runs something already; a node runs one job at a time")
        # The same work takes the same time wherever and whenever it runs.
        rng = random.Random(self._rack.seed ^ zlib.crc32(work.work_id.encode()))
        total = (work.expected_seconds or UNKNOWN_SECONDS) * rng.lognormvariate(0.0, DURATION_SIGMA)
        saved = self._rack.checkpoints.get(work.work_id, 0.0)
        self._runs[work.work_id] = _Run(work, total, saved, saved, self._clock.now())
        self._set_draw()

    async def stop(self, work_id: str) -> None:
        """Stop at once: a model needs no grace."""
        self._settle()
        run = self._runs.get(work_id)
        if run is None or run.report is not None:
            return
        if run.work.checkpoint:
            run.saved_seconds = run.done_seconds
        self._end(run, WorkReport(WorkState.EXITED, exit_code=143, stopped=True))

    async def report(self, work_id: str) -> WorkReport | None:
        """What became of it so far."""
        self._settle()
        run = self._runs.get(work_id)
        return None if run is None else run.report or self._told(run, WorkReport(WorkState.RUNNING))

    async def forget(self, work_id: str) -> None:
        """Drop it; its checkpoint stays for another run."""
        run = self._runs.pop(work_id, None)
        if run is not None and run.report is not None and run.report.exit_code == 0:
            self._rack.checkpoints.pop(work_id, None)

    async def set_power_cap(self, watts: float) -> None:
        """Draw at most this from now on."""
        self._settle()
        self._node.cap_watts = max(self.idle_watts, min(self.peak_watts, watts))
        self._set_draw()

    async def close(self) -> None:
        """Nothing to let go of."""

    def _settle(self) -> bool:
        """Bring everything that runs up to now; whether the node has power."""
        powered = self._supply.is_closed()
        for run in self._runs.values():
            if run.report is None:
                if not run.power_lost:
                    self._advance(run)
                reason = run.power_lost or ("" if powered else f"{self._name} lost its power")
                if run.report is None and reason:
                    run.done_seconds = run.saved_seconds
                    self._end(run, WorkReport(WorkState.LOST, reason=reason))
        return powered

    def _advance(self, run: _Run) -> None:
        now = self._clock.now()
        elapsed = now - run.at_seconds
        if elapsed <= 0:
            return
        run.at_seconds = now
        speed = self._speed(run.work)
        used = min(elapsed, (run.total_seconds - run.done_seconds) / speed) if speed > 0 else elapsed
        run.run_seconds += used
        run.energy_joules += used * self._node.draw_watts
        run.done_seconds = min(run.total_seconds, run.done_seconds + used * speed)
        if run.work.checkpoint:
            whole = run.done_seconds // self._checkpoint_seconds * self._checkpoint_seconds
            run.saved_seconds = max(run.saved_seconds, whole)
        if run.done_seconds >= run.total_seconds:
            self._end(run, WorkReport(WorkState.EXITED, exit_code=0))
        elif 0 < run.work.limit_seconds <= run.run_seconds:
            self._end(run, WorkReport(WorkState.EXITED, exit_code=-9, limit="time"))

    def _end(self, run: _Run, report: WorkReport) -> None:
        if run.saved_seconds > 0:
            self._rack.checkpoints[run.work.work_id] = run.saved_seconds
        run.report = self._told(run, report)
        self._set_draw()

    def _told(self, run: _Run, report: WorkReport) -> WorkReport:
        return WorkReport(
            report.state,
            exit_code=report.exit_code,
            reason=report.reason,
            progress_ratio=run.done_seconds / run.total_seconds,
            energy_joules=run.energy_joules,
            run_seconds=run.run_seconds,
            stopped=report.stopped,
            limit=report.limit,
        )

    def _speed(self, work: Work) -> float:
        wanted = work.power_watts - self.idle_watts
        return 1.0 if wanted <= 0 else min(1.0, max(0.0, (self._node.draw_watts - self.idle_watts) / wanted))

    def _set_draw(self) -> None:
        wanted = max((run.work.power_watts for run in self._runs.values() if run.report is None), default=0.0)
        self._node.draw_watts = max(self.idle_watts, min(wanted, self._node.cap_watts, self.peak_watts))
        self._supply.tell_draw(self._node.draw_watts)


def rack_node(name: str, settings: Mapping[str, object], environment: DeviceEnvironment) -> ModelRackNode:
    """Entry point ``model.rack_node``. Settings: ``checkpoint_seconds``."""
    ratings = Ratings.of(name, environment)
    checkpoint_seconds = settings.get("checkpoint_seconds", CHECKPOINT_SECONDS)
    if not isinstance(checkpoint_seconds, int | float) or checkpoint_seconds <= 0:
        raise DeviceError(f"{name}: checkpoint_seconds = {checkpoint_seconds!r} must be a number above 0")
    return ModelRackNode(name, ratings, environment, float(checkpoint_seconds))
