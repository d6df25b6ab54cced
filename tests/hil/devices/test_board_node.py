"""A board as a rack node, with real processes and a made-up meter that sees whether they run at this instant."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flight.compute.shim import tree
from flight.hal import BoardState, DeviceEnvironment, DeviceError, Quality, Reading, Work, WorkState
from hil.devices.board_node import BoardRackNode, rack_node
from hil.plant.link import Sample
from skyrack import files
from skyrack.clock import MissionClock
from skyrack.satellite import RackNode, SatelliteFile, load_constellation

SCALE = 100.0
IDLE, PEAK = 2.7, 7.0
_, _designs = load_constellation(files.shipped("constellations", "demo"))
_NODE = RackNode(name="node-1", idle_watts=SCALE * IDLE, peak_watts=SCALE * PEAK, cores=1, memory_bytes=1 << 31)
DESIGN: SatelliteFile = msgspec.structs.replace(next(iter(_designs.values())), nodes=(_NODE,))
BUSY = "while True: pass"


class Plant:
    """A plant that is one switch."""

    def __init__(self) -> None:
        self.closed = 1.0
        self.told = -1.0

    def read(self, _satellite: str, _key: str) -> Sample:
        return Sample(self.closed, 0.0)

    def actuate(self, _satellite: str, values: dict[str, float]) -> None:
        self.told = values["node.node-1.draw_watts"]


class Bench:
    """A board: its meter looks at the processes of the work, its throttle makes them draw less."""

    how = "made up"

    def __init__(self, base: Path, **devices: object) -> None:
        self.base, self.plant = base, Plant()
        self.clock = MissionClock.starting_at(1e6)
        self.ratio, self.quality, self.refusal = 1.0, Quality.GOOD, ""
        self.devices: dict[str, object] = {"meter.board": self, "throttle.cpu": _Throttle(self), **devices}
        environment = DeviceEnvironment(
            "sat",
            self.clock,
            random.Random(1),
            base / "state",
            {"plant": self.plant, "board.notes": str(base / "notes"), "board.guards": str(base / "guards.json")},
            DESIGN,
            self.device,
        )
        settings = {"meter": "meter.board", "throttle": "throttle.cpu", "scale": SCALE, "monitor": "monitor.board"}
        self.environment = environment
        self.node: BoardRackNode = rack_node("node.node-1", settings, environment)

    def device(self, name: str) -> object:
        if name not in self.devices:
            raise DeviceError(f"{name}: not there; plug it in")
        return self.devices[name]

    async def read(self) -> Reading[float]:
        roots = [work.status.root_pid for work in self.node._works.values() if not work.ended]
        jobs = [tree.process(pid) for root in roots if root for pid in tree.descendants(root)]
        busy = any(job is not None and job.state == "R" for job in jobs)
        watts = IDLE + (PEAK - IDLE) * busy * (0.3 + 0.7 * self.ratio)
        if self.quality is not Quality.GOOD:
            return Reading(watts, self.clock.now(), self.quality, "meter.board: silent; look at its wires")
        return Reading(watts, self.clock.now())

    def work(self, program: str = BUSY, work_id: str = "job.1", **changes: Any) -> Work:
        directory = self.base / "state" / "compute" / "work" / work_id
        for name in ("program", "input", "output", "checkpoint"):
            (directory / name).mkdir(parents=True, exist_ok=True)
        (directory / "program" / "job.py").write_text(program)
        values: dict[str, Any] = {
            "work_id": work_id,
            "command": ("python3", "job.py"),
            "power_watts": 700.0,
            "memory_bytes": 256 << 20,
            "cores": 1,
            "grace_seconds": 1.0,
            "limit_seconds": 0.0,
            "expected_seconds": 60.0,
            "work_dir": directory,
            "input_dir": directory / "input",
            "output_dir": directory / "output",
            "checkpoint_dir": directory / "checkpoint",
        }
        return Work(**(values | changes))

    async def until(self, condition: Callable[[], bool], what: str, seconds: float = 15.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"not in time: {what}; {self.note()}"
            await asyncio.sleep(0.02)

    async def under(self, cap: float, seconds: float) -> None:
        """Watch the mean draw over two whole periods of pausing."""
        await self.until(lambda: self.node._draw_watts <= cap + 10.0, f"under {cap} W", seconds)

    def note(self) -> dict[str, Any]:
        try:
            return dict(json.loads((self.base / "notes" / "node-1.json").read_text()))
        except OSError:
            return {}


class _Throttle:
    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    async def read_ratio(self) -> Reading[float]:
        return Reading(self.bench.ratio, 0.0)

    async def set_ratio(self, ratio: float) -> None:
        if self.bench.refusal:
            raise DeviceError(self.bench.refusal)
        self.bench.ratio = ratio

    async def close(self) -> None:
        self.bench.ratio = 1.0


class _Monitor:
    state = BoardState()

    async def read(self) -> Reading[BoardState]:
        return Reading(self.state, 0.0)


Story = Callable[[Callable[[Bench], Awaitable[None]]], None]


@pytest.fixture
def story(tmp_path: Path) -> Story:
    def run(tell: Callable[[Bench], Awaitable[None]]) -> None:
        async def main() -> None:
            bench = Bench(tmp_path)
            try:
                await tell(bench)
            finally:
                for work in bench.node._works.values():
                    work.cut("the test is over")
                await bench.node.close()

        asyncio.run(main())

    return run


def test_measured_draw_is_scaled_and_a_cap_is_held_on_the_meter(story: Story) -> None:
    async def tell(bench: Bench) -> None:
        await bench.node.read()
        await bench.until(lambda: bench.plant.told == pytest.approx(SCALE * IDLE), "idle draw is told")
        await bench.node.start(bench.work())
        await bench.until(lambda: bench.plant.told > 650.0, "full draw is told")
        began = time.monotonic()
        await bench.node.set_power_cap(400.0)
        await bench.under(400.0, 2.0)
        assert time.monotonic() - began < 2.0
        # It stays there, and the throttle did a part of it.
        await bench.until(lambda: bench.ratio < 1.0, "slower clocks")
        await bench.under(400.0, 1.0)
        report = await bench.node.report("job.1")
        assert report is not None
        assert report.state is WorkState.RUNNING
        assert report.energy_joules > 0.0
        await bench.until(lambda: bool(bench.note().get("settled_seconds")), "how long it took is noted")
        note = bench.note()
        assert note["settled_seconds"][0] < 2.0
        assert note["cap_watts"] == 400.0
        assert note["how"] == "made up"
        assert (note["running"], note["problem"]) == (["job.1"], "monitor.board: not there; plug it in; " + _UNKNOWN)
        bench.devices["monitor.board"] = monitor = _Monitor()
        monitor.state = replace(BoardState(), under_voltage=True)
        await bench.until(lambda: "under voltage" in str(bench.note().get("problem")), "the board's own words")

    story(tell)


_UNKNOWN = "whether it slows itself down is not known"


def test_a_meter_that_is_silent_gives_way_to_a_model_and_comes_back(story: Story) -> None:
    async def tell(bench: Bench) -> None:
        bench.quality = Quality.ABSENT
        await bench.node.start(bench.work())
        await bench.until(lambda: bench.plant.told > 600.0, "a model says that it is busy")
        await bench.until(lambda: "look at its wires; its draw is modelled" in bench.note().get("problem", ""), "said")
        assert bench.note()["real_watts"] is None
        bench.quality = Quality.GOOD
        await bench.until(lambda: bench.note().get("real_watts") is not None, "measured again")
        assert "modelled" not in bench.note()["problem"]

    story(tell)


def test_a_throttle_that_is_refused_leaves_the_cap_to_pauses(story: Story) -> None:
    async def tell(bench: Bench) -> None:
        bench.refusal = "throttle.cpu: may not be written; add yourself to the group skyrack"
        await bench.node.start(bench.work())
        await bench.until(lambda: bench.plant.told > 600.0, "full draw")
        await bench.node.set_power_cap(380.0)
        await bench.under(380.0, 2.0)
        await bench.until(lambda: "group skyrack; the cap is held by pauses" in bench.note()["problem"], "said")
        await asyncio.sleep(1.0)
        await bench.under(380.0, 1.0)
        assert bench.ratio == 1.0

    story(tell)


def test_an_open_load_switch_kills_the_work_and_nothing_is_drawn(story: Story) -> None:
    async def tell(bench: Bench) -> None:
        await bench.node.start(bench.work())
        await bench.until(lambda: bench.plant.told > 600.0, "full draw")
        bench.plant.closed = 0.0
        await bench.until(lambda: bench.node._works["job.1"].ended, "dead")
        state = (await bench.node.read()).value
        assert (state.powered, state.draw_watts, state.running) == (False, 0.0, ())
        with pytest.raises(DeviceError, match="switched off"):
            await bench.node.start(bench.work(work_id="job.2"))

    story(tell)


def test_a_guard_that_stopped_work_keeps_it_stopped_until_it_is_cleared(story: Story) -> None:
    async def tell(bench: Bench) -> None:
        await bench.node.start(bench.work())
        guards = bench.base / "guards.json"
        guards.write_text(json.dumps({"acted": [{"action": "stop-work"}]}))
        await bench.until(lambda: bench.node._works["job.1"].ended, "stopped")
        with pytest.raises(DeviceError, match="guard"):
            await bench.node.start(bench.work(work_id="job.2"))
        assert "guard of the bench acted" in (await bench.node.read()).problem
        guards.unlink()
        await bench.until(lambda: not bench.node._guarded, "cleared")
        await bench.node.start(bench.work(work_id="job.2"))

    story(tell)


def test_a_meter_that_is_not_there_is_looked_for_again(tmp_path: Path) -> None:
    async def main() -> None:
        bench = Bench(tmp_path)
        meter = bench.devices.pop("meter.board")
        del bench.node
        settings = {"meter": "meter.board", "scale": SCALE}
        bench.node = rack_node("node.node-1", settings, bench.environment)
        assert "plug it in; its draw is modelled" in (await bench.node.read()).problem
        bench.devices["meter.board"] = meter
        await bench.until(lambda: bench.node._meter is meter, "found")
        await bench.until(lambda: bench.note().get("real_watts") is not None, "measured")
        await bench.node.close()

    asyncio.run(main())


def test_settings_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    bench_environment = DeviceEnvironment("sat", MissionClock.starting_at(0.0), random.Random(1), tmp_path, {}, DESIGN)
    with pytest.raises(DeviceError, match='no setting "metre"'):
        rack_node("node.node-1", {"metre": "x"}, bench_environment)
    with pytest.raises(DeviceError, match="no devices"):
        rack_node("node.node-1", {"meter": "x"}, bench_environment)
