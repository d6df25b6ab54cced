"""A rack node on another board: a real node process, real jobs, and whatever can come between the two."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import tomli_w

from flight.hal import DeviceEnvironment, DeviceError, Quality, Work, WorkReport, WorkState
from hil.devices.remote_node.driver import RemoteRackNode, rack_node
from hil.devices.remote_node.keys import read_or_make
from hil.plant.link import Sample
from hil.processes import kill_all
from skyrack import files
from skyrack.clock import Anchor, MissionClock, write_anchor
from skyrack.satellite import RackNode, load_constellation, load_satellite

_, _designs = load_constellation(files.find("constellations", "demo"))
DESIGN = msgspec.structs.replace(
    next(iter(_designs.values())),
    nodes=(RackNode(name="node-2", idle_watts=60.0, peak_watts=700.0, memory_bytes=1 << 31),),
)

RUN_MARK = "SKYRACK_RUN"


class Switch:
    """The plant of the flight software's board: one switch, and what it is told."""

    def __init__(self) -> None:
        self.closed = 1.0
        self.draws: list[float] = []

    def read(self, _satellite: str, _key: str) -> Sample:
        return Sample(self.closed, 0.0)

    def actuate(self, _satellite: str, values: dict[str, float]) -> None:
        self.draws += values.values()


class Rack:
    """Two boards: the flight computer with the driver, and a node process."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.switch = Switch()
        self.server: subprocess.Popen[bytes] | None = None
        self.bind = "tcp://127.0.0.1:*"
        self.design = base / "satellite.toml"
        self.design.write_text(tomli_w.dumps(msgspec.to_builtins(DESIGN)))
        assert load_satellite(self.design) == DESIGN
        write_anchor(base / "clock.json", Anchor.here(1e9, 10.0))
        self.key = base / "flight.key"
        self.node: RemoteRackNode | None = None

    def serve(self, allow: str = "") -> None:
        ready = self.base / "ready"
        ready.unlink(missing_ok=True)
        arguments = {
            "node": "node-2",
            "satellite": "sat",
            "satellite-file": self.design,
            "clock": self.base / "clock.json",
            "bind": self.bind,
            "key": self.base / "node.key",
            "allow": allow or read_or_make(self.key).public,
            "state": self.base / "board-2" / "state",
            "ready": ready,
        }
        command = [sys.executable, "-m", "hil.devices.remote_node"]
        command += [part for key, value in arguments.items() for part in (f"--{key}", str(value))]
        self.server = subprocess.Popen(command, env={**os.environ, RUN_MARK: str(self.base)})
        deadline = time.monotonic() + 20
        while not ready.exists():
            assert self.server.poll() is None, "the node process ended"
            assert time.monotonic() < deadline, "the node process was not ready in time"
            time.sleep(0.02)
        self.bind = ready.read_text().split()[0]

    def driver(self, patience_seconds: float = 30.0) -> RemoteRackNode:
        environment = DeviceEnvironment(
            "sat",
            MissionClock.from_file(self.base / "clock.json"),
            random.Random(1),
            self.base / "board-1" / "state",
            {"plant": self.switch},
            DESIGN,
        )
        settings = {
            "address": self.bind,
            "server_key": read_or_make(self.base / "node.key").public,
            "key_file": str(self.key),
            "patience_seconds": patience_seconds,
        }
        self.node = rack_node("node.node-2", settings, environment)
        return self.node

    def work(self, program: str, work_id: str = "job.1") -> Work:
        directory = self.base / "board-1" / "work" / work_id
        for name in ("program", "input", "output", "checkpoint"):
            (directory / name).mkdir(parents=True, exist_ok=True)
        (directory / "program" / "job.py").write_text(program)
        (directory / "input" / "numbers").mkdir(exist_ok=True)
        (directory / "input" / "numbers" / "a.txt").write_text("20 22")
        return Work(
            work_id=work_id,
            command=("python3", "job.py"),
            power_watts=700.0,
            memory_bytes=256 << 20,
            cores=1,
            grace_seconds=20.0,
            limit_seconds=0.0,
            expected_seconds=60.0,
            disk_bytes=8 << 20,
            checkpoint=True,
            work_dir=directory,
            input_dir=directory / "input",
            output_dir=directory / "output",
            checkpoint_dir=directory / "checkpoint",
        )

    async def answering(self) -> RemoteRackNode:
        """Wait until the node is heard of."""
        node = self.node or self.driver()
        deadline = time.monotonic() + 15
        while (reading := await node.read()).quality is not Quality.GOOD:
            assert time.monotonic() < deadline, reading
            await asyncio.sleep(0.02)
        return node

    async def until(self, condition: Callable[[WorkReport], bool], work_id: str = "job.1") -> WorkReport:
        assert self.node is not None
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            report = await self.node.report(work_id)
            if report is not None and condition(report):
                return report
            await asyncio.sleep(0.02)
        raise AssertionError(f"not in time: {report}")

    def local(self, area: str, name: str, work_id: str = "job.1") -> Path:
        return self.base / "board-1" / "work" / work_id / area / name

    def remote(self, area: str, name: str, work_id: str = "job.1") -> Path:
        return self.base / "board-2" / "state" / "work" / work_id / area / name


Story = Callable[[Callable[[Rack], Awaitable[None]]], None]


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    rack = Rack(tmp_path)

    def run(tell: Callable[[Rack], Awaitable[None]]) -> None:
        async def main() -> None:
            try:
                await tell(rack)
            finally:
                if rack.node is not None:
                    await rack.node.close()

        asyncio.run(main())

    try:
        yield run
    finally:
        if rack.server is not None:
            rack.server.kill()
            rack.server.wait()
        kill_all(str(tmp_path))


ended = lambda report: report.state is not WorkState.RUNNING  # noqa: E731

ADDS = """
import os
numbers = open(os.environ["SKYRACK_INPUT_DIR"] + "/numbers/a.txt").read().split()
os.makedirs(os.environ["SKYRACK_OUTPUT_DIR"] + "/deep")
open(os.environ["SKYRACK_OUTPUT_DIR"] + "/deep/sum.txt", "w").write(str(sum(map(int, numbers))))
"""

# Waits for a word on the node's disk; keeps a checkpoint, and takes one up.
WAITS = """
import os, pathlib, signal, sys, time
checkpoint = pathlib.Path(os.environ["SKYRACK_CHECKPOINT_DIR"], "steps")
steps = int(checkpoint.read_text()) if checkpoint.exists() else 0
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
while not pathlib.Path(os.environ["SKYRACK_CHECKPOINT_DIR"], "go").exists():
    steps += 1
    new = checkpoint.with_name("steps.new"); new.write_text(str(steps)); new.replace(checkpoint)
    time.sleep(0.1)
pathlib.Path(os.environ["SKYRACK_OUTPUT_DIR"], "steps").write_text(str(steps))
"""


async def until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 15
    while not happened():
        assert time.monotonic() < deadline, "not in time"
        await asyncio.sleep(0.02)


def steps(path: Path) -> int:
    return int(path.read_text()) if path.exists() and path.read_text() else 0


def test_a_job_runs_on_the_other_board_and_its_files_come_home(story: Story) -> None:
    async def tell(rack: Rack) -> None:
        rack.serve()
        node = await rack.answering()
        await node.start(rack.work(ADDS))
        report = await rack.until(ended)
        assert (report.state, report.exit_code) == (WorkState.EXITED, 0)
        assert rack.local("output", "deep/sum.txt").read_text() == "42"
        assert [output.path for output in report.outputs] == ["deep/sum.txt"]
        assert rack.switch.draws[0] == pytest.approx(60.0)
        await node.forget("job.1")
        assert await node.report("job.1") is None
        await until(lambda: not rack.remote("", "").exists())

    story(tell)


def test_a_stopped_job_goes_on_from_its_checkpoint(story: Story) -> None:
    async def tell(rack: Rack) -> None:
        rack.serve()
        node = await rack.answering()
        work = rack.work(WAITS)
        await node.start(work)
        await until(lambda: steps(rack.remote("checkpoint", "steps")) >= 3)
        await node.stop("job.1")
        report = await rack.until(ended)
        assert (report.state, report.stopped) == (WorkState.EXITED, True)
        kept = steps(rack.local("checkpoint", "steps"))
        assert kept >= 3
        await node.forget("job.1")
        rack.local("checkpoint", "go").touch()
        await node.start(work)
        assert (await rack.until(ended)).exit_code == 0
        assert steps(rack.local("output", "steps")) == kept

    story(tell)


def test_a_node_process_that_is_killed_costs_nothing(story: Story) -> None:
    async def tell(rack: Rack) -> None:
        rack.serve()
        node = await rack.answering()
        await node.start(rack.work(WAITS))
        await until(lambda: steps(rack.remote("checkpoint", "steps")) >= 2)
        assert rack.server is not None
        rack.server.kill()
        rack.server.wait()
        rack.serve()
        before = steps(rack.remote("checkpoint", "steps"))
        rack.remote("checkpoint", "go").touch()
        report = await rack.until(ended)
        assert (report.state, report.exit_code) == (WorkState.EXITED, 0)
        assert steps(rack.local("output", "steps")) >= before

    story(tell)


def test_a_driver_that_is_started_again_adopts(story: Story) -> None:
    async def tell(rack: Rack) -> None:
        rack.serve()
        node = await rack.answering()
        await node.start(rack.work(WAITS))
        # A checkpoint comes home while the job runs: with the board lost, no more than that is.
        await until(lambda: steps(rack.local("checkpoint", "steps")) >= 1)
        await node.close()
        node = rack.driver()
        first = await node.report("job.1")
        assert first is not None
        assert first.state is WorkState.RUNNING
        rack.remote("checkpoint", "go").touch()
        assert (await rack.until(ended)).exit_code == 0

    story(tell)


def test_a_switch_that_opens_kills_what_runs(story: Story) -> None:
    async def tell(rack: Rack) -> None:
        rack.serve()
        node = await rack.answering()
        await node.start(rack.work(WAITS))
        await until(lambda: steps(rack.remote("checkpoint", "steps")) >= 1)
        rack.switch.closed = 0.0
        report = await rack.until(ended)
        assert (report.state, report.reason) == (WorkState.LOST, "node.node-2 lost its power")
        with pytest.raises(DeviceError, match="switched off"):
            await node.start(rack.work(ADDS, "job.2"))
        deadline = time.monotonic() + 10
        while (await node.read()).value.powered or rack.remote("", "").exists():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)

    story(tell)


def test_silence_loses_the_work_and_what_was_lost_does_not_run_on(story: Story) -> None:
    async def tell(rack: Rack) -> None:
        rack.serve()
        rack.driver(patience_seconds=1.0)
        node = await rack.answering()
        await node.start(rack.work(WAITS))
        await until(lambda: steps(rack.local("checkpoint", "steps")) >= 1)
        assert rack.server is not None
        rack.server.send_signal(signal.SIGSTOP)
        try:
            report = await rack.until(ended)
            assert (report.state, report.reason) == (WorkState.LOST, "node.node-2 was silent for 1 s")
            assert steps(rack.local("checkpoint", "steps")) >= 1
        finally:
            rack.server.send_signal(signal.SIGCONT)
        await until(lambda: not rack.remote("", "").exists())

    story(tell)


def test_who_has_no_key_is_not_let_in(story: Story, tmp_path: Path) -> None:
    async def tell(rack: Rack) -> None:
        rack.serve(allow=read_or_make(tmp_path / "another.key").public)
        node = rack.driver()
        reading = await node.read()
        assert reading.quality is Quality.ABSENT
        with pytest.raises(DeviceError, match=r"heard of yet|does not answer"):
            await node.start(rack.work(ADDS))

    story(tell)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"address": "pi-2:7400"}, "must be like tcp://pi-2.local:7400"),
        ({"server_key": "short"}, "is no CURVE key; it must be 40 characters of Z85"),
        ({"adress": "tcp://pi-2:1"}, 'did you mean "address"'),
    ],
)
def test_settings_that_do_not_fit_are_refused_in_a_sentence(
    settings: dict[str, object], sentence: str, tmp_path: Path
) -> None:
    rack = Rack(tmp_path)
    environment = DeviceEnvironment(
        "sat", MissionClock.starting_at(0.0), random.Random(1), tmp_path, {"plant": rack.switch}, DESIGN
    )
    good = {"address": "tcp://127.0.0.1:1", "server_key": read_or_make(rack.key).public, "key_file": str(rack.key)}
    with pytest.raises(DeviceError, match=sentence):
        rack_node("node.node-2", {**good, **settings}, environment)
