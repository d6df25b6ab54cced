"""The process rack node and its shim, with real processes: jobs end, are told of, and leave nothing running."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flight.compute.shim import files as shim_files
from flight.compute.shim import tree
from flight.hal import DeviceEnvironment, DeviceError, Work, WorkReport, WorkState
from hil.devices.rack_node import ProcessRackNode, rack_node
from hil.plant.link import Sample
from skyrack import files
from skyrack.clock import MissionClock
from skyrack.satellite import RackNode, SatelliteFile, load_constellation

RATE = 60.0
_, _designs = load_constellation(files.shipped("constellations", files.shipped_names("constellations")[0]))
_NODE = RackNode(name="node-1", idle_watts=60.0, peak_watts=700.0, cores=1, memory_bytes=1 << 31)
DESIGN: SatelliteFile = msgspec.structs.replace(next(iter(_designs.values())), nodes=(_NODE,))


class Switch:
    """A plant that is one switch."""

    def __init__(self) -> None:
        self.closed = 1.0
        self.draws: list[float] = []

    def read(self, _satellite: str, _key: str) -> Sample:
        return Sample(self.closed, 0.0)

    def actuate(self, _satellite: str, values: dict[str, float]) -> None:
        self.draws += values.values()


class Rack:
    """A node, and directories for work on it."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.switch = Switch()
        self.clock = MissionClock.starting_at(1e6, rate=RATE)
        self.node = self.driver()

    def driver(self) -> ProcessRackNode:
        environment = DeviceEnvironment(
            "sat", self.clock, random.Random(1), self.base / "state" / "sat", {"plant": self.switch}, DESIGN
        )
        return rack_node("node.node-1", {}, environment)

    def work(self, program: str, work_id: str = "job.1", **changes: Any) -> Work:
        directory = self.base / "state" / "sat" / "compute" / "work" / work_id
        for name in ("program", "input", "output", "checkpoint"):
            (directory / name).mkdir(parents=True, exist_ok=True)
        (directory / "program" / "job.py").write_text(program)
        values: dict[str, Any] = {
            "work_id": work_id,
            "command": ("python3", "job.py"),
            "power_watts": 700.0,
            "memory_bytes": 256 << 20,
            "cores": 1,
            "grace_seconds": 5.0,
            "limit_seconds": 0.0,
            "expected_seconds": 60.0,
            "disk_bytes": 8 << 20,
            "checkpoint": True,
            "work_dir": directory,
            "input_dir": directory / "input",
            "output_dir": directory / "output",
            "checkpoint_dir": directory / "checkpoint",
        }
        return Work(**(values | changes))

    def token(self, work_id: str = "job.1") -> str:
        order = shim_files.read(self.base / "state/sat/nodes/node-1" / work_id, shim_files.ORDER, shim_files.Order)
        assert order is not None
        return f"SKYRACK_WORK={order.token}"

    async def until(self, condition: Callable[[WorkReport], bool], work_id: str = "job.1") -> WorkReport:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            report = await self.node.report(work_id)
            if report is not None and condition(report):
                return report
            await asyncio.sleep(0.02)
        log = (self.base / "state/sat/nodes/node-1" / work_id / "shim.log").read_text()
        raise AssertionError(f"not in time: {report}; {log}")

    async def ended(self, work_id: str = "job.1") -> WorkReport:
        return await self.until(lambda report: report.state is not WorkState.RUNNING, work_id)


@pytest.fixture
def story(tmp_path: Path) -> Callable[[Callable[[Rack], Awaitable[None]]], None]:
    def run(tell: Callable[[Rack], Awaitable[None]]) -> None:
        async def main() -> None:
            rack = Rack(tmp_path)
            try:
                await tell(rack)
            finally:
                for work in rack.node._works.values():
                    work.cut("the test is over")
                await rack.node.close()

        asyncio.run(main())

    return run


FILLS_DISK = """
import os, time
for i in range(20):
    open(os.environ["SKYRACK_OUTPUT_DIR"] + f"/{i}", "wb").write(bytes(1 << 20))
time.sleep(600)
"""

LARGE = {"memory_bytes": 8 << 30}

Story = Callable[[Callable[[Rack], Awaitable[None]]], None]


def test_a_job_that_goes_well(story: Story) -> None:
    program = """
import json, os, sys
os.write(int(os.environ["SKYRACK_PROGRESS_FD"]), b'{"progress": 0.25}\\n')
x = 0
for i in range(4_000_000): x += i
open(os.environ["SKYRACK_OUTPUT_DIR"] + "/sum.txt", "w").write(str(x))
print("done", file=sys.stderr)
"""

    async def tell(rack: Rack) -> None:
        await rack.node.start(rack.work(program))
        report = await rack.ended()
        assert (report.state, report.exit_code, report.limit, report.stopped) == (WorkState.EXITED, 0, "", False)
        assert report.progress_ratio == 0.25
        assert report.stderr_tail == "done\n"
        assert report.outputs[0].path == "sum.txt"
        assert report.run_seconds > 1.0
        assert 60 * report.run_seconds * 0.5 < report.energy_joules <= 700 * report.run_seconds * 1.01
        assert max(rack.switch.draws) > 300
        # A finished one is never run again, until it is forgotten.
        await rack.node.start(rack.work("raise SystemExit(9)"))
        assert (await rack.ended()).exit_code == 0
        await rack.node.forget("job.1")
        assert await rack.node.report("job.1") is None

    story(tell)


@pytest.mark.parametrize(
    ("program", "changes", "expected"),
    [
        ("import sys; sys.exit('no such luck')", {}, (1, "", "no such luck")),
        ("import os; os.abort()", {}, (-signal.SIGABRT, "", "")),
        ("import time; time.sleep(600)", {"limit_seconds": 60.0}, (-9, "time", "limit of 1 s")),
        (
            "x = bytearray(200 << 20); import time; time.sleep(600)",
            {"memory_bytes": 64 << 20},
            (-9, "memory", "64 MiB"),
        ),
        (
            FILLS_DISK,
            {},
            (-9, "disk", "8.0 MiB"),
        ),
        ("import os, time\nwhile True:\n  if os.fork() == 0: time.sleep(600)", LARGE, (-9, "processes", "128")),
    ],
    ids=["exit", "abort", "hang", "memory", "disk", "fork bomb"],
)
def test_bad_jobs_are_ended_and_explained(
    story: Story, program: str, changes: dict[str, Any], expected: tuple[int, str, str]
) -> None:
    async def tell(rack: Rack) -> None:
        await rack.node.start(rack.work(program, **changes))
        report = await rack.ended()
        code, limit, words = expected
        assert (report.state, report.limit) == (WorkState.EXITED, limit)
        # At its limit of processes the kernel may refuse a fork before the shim ends the job.
        assert report.exit_code == code or limit == "processes"
        assert words in report.reason + report.stderr_tail
        assert tree.marked(rack.token()) == []

    story(tell)


def test_a_program_that_is_not_there(story: Story) -> None:
    async def tell(rack: Rack) -> None:
        await rack.node.start(rack.work("", command=("no-such-program",)))
        report = await rack.ended()
        assert report.exit_code == 127
        assert "cannot run no-such-program" in report.reason

    story(tell)


def test_a_double_fork_does_not_escape(story: Story) -> None:
    program = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(600)
    os._exit(0)
os.wait()
sys.exit(3)
"""

    async def tell(rack: Rack) -> None:
        await rack.node.start(rack.work(program))
        assert (await rack.ended()).exit_code == 3
        assert tree.marked(rack.token()) == []

    story(tell)


WAITS = """
import os, signal, sys, time
state = os.environ["SKYRACK_CHECKPOINT_DIR"] + "/state"
begun = os.path.exists(state)
def stop(*_):
    open(state, "w").write("here")
    sys.exit(75)
signal.signal(signal.SIGTERM, stop)
os.write(3, b'{"progress": %s}\\n' % (b"0.7" if begun else b"0.1"))
while True:
    time.sleep(0.01)
"""


def test_stop_gives_grace_and_the_checkpoint_is_there_for_the_next_run(story: Story) -> None:
    async def tell(rack: Rack) -> None:
        await rack.node.start(rack.work(WAITS))
        await rack.until(lambda report: report.progress_ratio == 0.1)
        await rack.node.stop("job.1")
        report = await rack.ended()
        assert (report.exit_code, report.stopped) == (75, True)
        await rack.node.forget("job.1")
        await rack.node.start(rack.work(WAITS))
        await rack.until(lambda report: report.progress_ratio == 0.7)

    story(tell)


def test_a_job_that_ignores_sigterm_is_killed_after_its_grace(story: Story) -> None:
    program = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.write(3, b'{"progress": 1}\\n')
time.sleep(600)
"""

    async def tell(rack: Rack) -> None:
        await rack.node.start(rack.work(program, grace_seconds=0.3))
        await rack.until(lambda report: report.progress_ratio == 1.0)
        await rack.node.stop("job.1")
        report = await rack.ended()
        assert (report.exit_code, report.stopped) == (-9, True)

    story(tell)


def test_an_open_switch_kills_at_once_and_the_node_comes_back(story: Story) -> None:
    async def tell(rack: Rack) -> None:
        await rack.node.start(rack.work(WAITS))
        await rack.until(lambda report: report.progress_ratio == 0.1)
        rack.switch.closed = 0.0
        report = await rack.ended()
        assert report.state is WorkState.LOST
        assert "power" in report.reason
        assert tree.marked(rack.token()) == []
        assert not (await rack.node.read()).value.powered
        await rack.node.forget("job.1")
        with pytest.raises(DeviceError, match="switched off"):
            await rack.node.start(rack.work(WAITS))
        rack.switch.closed = 1.0
        await rack.node.start(rack.work(WAITS))
        await rack.until(lambda report: report.progress_ratio == 0.1)

    story(tell)


def test_a_new_driver_adopts_what_runs_and_what_ended_meanwhile(story: Story) -> None:
    async def tell(rack: Rack) -> None:
        await rack.node.start(rack.work(WAITS))
        await rack.until(lambda report: report.progress_ratio == 0.1)
        shim = rack.node._works["job.1"].status.shim_pid
        await rack.node.close()
        # As after a SIGKILL of the process that held the driver: its child lives, its memory is gone.
        held, rack.node = rack.node, rack.driver()
        await rack.node.start(rack.work(WAITS))
        assert rack.node._works["job.1"].status.shim_pid == shim
        assert (await rack.node.read()).value.running == ("job.1",)
        await rack.node.stop("job.1")
        assert (await rack.ended()).stopped
        rack.node = rack.driver()
        assert (await rack.ended()).exit_code == 75
        del held

    story(tell)


def test_a_killed_shim_takes_its_job_along_and_the_work_is_lost(story: Story) -> None:
    async def tell(rack: Rack) -> None:
        await rack.node.start(rack.work(WAITS))
        await rack.until(lambda report: report.progress_ratio == 0.1)
        os.kill(rack.node._works["job.1"].status.shim_pid, signal.SIGKILL)
        report = await rack.ended()
        assert report.state is WorkState.LOST
        assert "supervisor" in report.reason
        assert tree.marked(rack.token()) == []

    story(tell)


def test_a_power_cap_slows_the_job_down(story: Story) -> None:
    program = "import os\nos.write(3, b'{\"progress\": 0.5}\\n')\nwhile True: pass"

    async def tell(rack: Rack) -> None:
        await rack.node.set_power_cap(60.0 + 0.25 * 640.0)
        await rack.node.start(rack.work(program))
        report = await rack.until(lambda report: report.run_seconds > 120.0)
        assert report.energy_joules <= 220.0 * report.run_seconds * 1.02
        used = rack.node._works["job.1"].status
        assert used.cpu_seconds / used.wall_seconds < 0.5
        assert (await rack.node.read()).value.draw_watts <= 220.0

    story(tell)


def test_keys_other_jobs_and_the_network_are_out_of_reach(story: Story, tmp_path: Path) -> None:
    secret = tmp_path / "state" / "sat" / "keys" / "sat.key"
    secret.parent.mkdir(parents=True)
    secret.write_text("secret")
    program = f"""
import os, socket, sys
for path in ({str(secret)!r}, "/proc/1/environ"):
    try:
        print("READ", path, open(path).read(), file=sys.stderr)
    except OSError:
        pass
try:
    socket.create_connection(("127.0.0.1", 1), 1)
except ConnectionRefusedError:
    print("NETWORK", file=sys.stderr)
except OSError:
    pass
print("SKYRACK_SECRET" in os.environ, os.environ["HOME"], file=sys.stderr)
"""

    async def tell(rack: Rack) -> None:
        os.environ["SKYRACK_SECRET"] = "x"
        try:
            await rack.node.start(rack.work(program))
            report = await rack.ended()
        finally:
            del os.environ["SKYRACK_SECRET"]
        walls = rack.node._works["job.1"].status.isolation
        if not any(wall.startswith("hidden") for wall in walls):
            pytest.skip(f"this kernel gives no namespaces here: {walls}")
        assert "secret" not in report.stderr_tail
        assert "False" in report.stderr_tail

    story(tell)


def test_node_python_is_the_drivers(story: Story) -> None:
    program = "import sys; print(sys.prefix, file=sys.stderr)"

    async def tell(rack: Rack) -> None:
        await rack.node.start(rack.work(program))
        assert (await rack.ended()).stderr_tail.strip() == sys.prefix

    story(tell)
