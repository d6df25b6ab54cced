"""A rack of boards: one satellite whose rack nodes are boards of their own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from ground.client import SkyrackClient
from hil.boards.bench_run import BenchRun, BenchSettings, flying
from hil.boards.derive import derive
from hil.boards.figures import figures_of
from hil.boards.file import load_bench, load_bench_and_designs
from hil.boards.keeper import holder_of
from hil.boards.racks import racks_of
from hil.faults import ProcessKill
from hil.hil_commands import hil
from hil.processes import process_table
from hil.sil.instance import Instance
from skyrack import archive, files, jobfile
from skyrack.satellite import load_satellite

BENCH = """
name = "rack"
constellation = "rack.toml"
rate = 20

[[boards]]
name = "pi-1"
satellite = "sat-1"
devices = { "node.node-1" = { driver = "process.rack_node" } }

[[boards]]
name = "pi-2"
satellite = "sat-1"
rack_node = "node-2"
rack_patience_seconds = 4

[boards.devices."meter.board"]
driver = "board.cpu_meter"

[boards.devices."node.node-2"]
driver = "board.rack_node"
settings = { meter = "meter.board", scale = 0.001 }

[[boards.guards]]
device = "meter.board"
high = 10000
action = "stop-work"
"""


def write_bench(directory: Path, text: str = BENCH) -> Path:
    """A bench with a satellite of two nodes, of which node-2 is the smaller one: it is taken first."""
    design = files.shipped("satellites", "bench-rack").read_text(encoding="utf-8")
    head, *nodes, tail = design.split("[[nodes]]\n")
    _, lasers, rest = tail.partition("[[lasers]]")
    assert lasers
    assert len(nodes) == 3
    nodes[1] = nodes[1].replace("peak_watts = 700", "peak_watts = 690")
    (directory / "rack-satellite.toml").write_text("[[nodes]]\n".join([head, *nodes[:2], ""])[:-10] + lasers + rest)
    constellation = files.shipped("constellations", "bench-rack").read_text(encoding="utf-8")
    (directory / "rack.toml").write_text(constellation.replace('file = "bench-rack"', 'file = "rack-satellite.toml"'))
    path = directory / "rack-bench.toml"
    path.write_text(text)
    return path


def sentence(directory: Path, text: str) -> str:
    """What loading ends with; empty when all is well."""
    try:
        load_bench(write_bench(directory, text))
    except files.FileError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("wrong", "right", "words"),
    [
        ('rack_node = "node-2"', 'rack_node = "node-3"', ("boards.pi-2.rack_node", '"node-2"?')),
        ('rack_node = "node-2"', "", ("boards.pi-2.satellite", '"pi-1" flies it', "rack_node", "node-1, node-2")),
        ('satellite = "sat-1"\n', 'satellite = "sat-1"\nrack_node = "node-1"\n', ("pi-1.rack_node", "no board flies")),
        ('"node.node-1"', '"node.node-2"', ("boards.pi-2.rack_node", '"pi-1" is that node already')),
        (
            'satellite = "sat-1"\n',
            'satellite = "sat-1"\nrack_address = "tcp://x:1"\n',
            ("pi-1.rack_address", "leave it"),
        ),
        ("rack_patience_seconds = 4", 'rack_address = "pi-2:7400"', ("pi-2.rack_address", "tcp://pi-2.local:7400")),
        ("rack_patience_seconds = 4", 'address = "ssh://[fe80::2]"', ("pi-2.rack_address", "IPv4")),
        ("rack_patience_seconds = 4", 'watchdog_device = "/dev/watchdog"', ("watchdog_device", "leave it out")),
        ("rack_patience_seconds = 4", "rack_patience_seconds = 0", ("rack_patience_seconds",)),
        ('satellite = "sat-1"\n', 'satellite = "sat-1"\naddress = "ssh://pi-1"\n', ("rack_address", "this computer")),
        ('[boards.devices."node.node-2"]', '[boards.devices."node.node-1"]', ("boards.pi-2.devices", '"node.node-2"')),
        ('"board.rack_node"', '"remote.rack_node"', ("node.node-2.driver", "board.rack_node or process.rack_node")),
        ('"meter.board"]', '"thermal.node-2"]', ("thermal.node-2", "no flight services run here", "meter.<name>")),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path: Path, wrong: str, right: str, words: tuple[str, ...]) -> None:
    assert sentence(tmp_path, BENCH) == ""
    assert wrong in BENCH
    told = sentence(tmp_path, BENCH.replace(wrong, right, 1))
    assert [word for word in words if word not in told] == [], told
    assert "\n" not in told


def test_two_nodes_are_not_reached_at_one_address(tmp_path: Path) -> None:
    both = BENCH.replace("node-1", "node-0").replace('"node.node-0"', '"meter.x"').replace("process.rack_node", "x", 1)
    both = both.replace('devices = { "meter.x" = { driver = "x" } }', "")
    third = '[[boards]]\nname = "pi-3"\nsatellite = "sat-1"\nrack_node = "node-1"\n'
    third += 'rack_address = "tcp://rack:7400"\ndevices = { "node.node-1" = { driver = "process.rack_node" } }\n'
    both = both.replace("rack_patience_seconds = 4", 'rack_address = "tcp://rack:7400"')
    assert "is reached there already" in sentence(tmp_path, both + third)
    assert sentence(tmp_path, both + third.replace("rack:7400", "rack:7401")) == ""


def test_each_board_of_a_rack_is_given_what_it_needs_and_no_more(tmp_path: Path) -> None:
    bench, constellation, designs = load_bench_and_designs(files.find("benches", "four-board-rack"))
    derived = derive(bench, constellation, designs, tmp_path)
    devices = derived.designs["sat-1"].devices
    assert devices["node.node-1"].driver == "board.rack_node"
    settings = devices["node.node-3"].settings
    rack = derived.racks["sat-1"]
    seat = next(seat for seat in rack.seats if seat.node == "node-3")
    assert settings["address"] == seat.address == "tcp://pi-3.local:7400"
    assert seat.bind == "tcp://*:7400"
    assert (settings["server_key"], seat.allowed) == (seat.pair.public, rack.pair.public)
    node = next(board for board in bench.boards if board.name == "pi-3")
    given = derived.files_of_node(node)
    assert set(given) == {"bench.toml", "node-pi-3.toml"}
    assert set(load_satellite(tmp_path / "node-pi-3.toml").devices) == set(node.devices)
    secrets = [rack.pair.secret, *(each.pair.secret for each in rack.seats)]
    assert len(set(secrets)) == 4
    everything = b"".join(path.read_bytes() for path in tmp_path.iterdir()).decode()
    assert not any(secret in everything or secret in repr(rack) for secret in secrets)
    # Keys are of a run.
    assert racks_of(bench.boards)["sat-1"].pair != rack.pair


PROGRAM = """
import json, os, pathlib, time
kept = pathlib.Path(os.environ["SKYRACK_CHECKPOINT_DIR"]) / "count"
begun = count = int(kept.read_text()) if kept.exists() else 0
while count < int(pathlib.Path(os.environ["SKYRACK_INPUT_DIR"], "to").read_text()):
    time.sleep(0.05)
    count += 1
    kept.with_suffix(".new").write_text(str(count))
    kept.with_suffix(".new").replace(kept)
pathlib.Path(os.environ["SKYRACK_OUTPUT_DIR"], "count.json").write_text(json.dumps([begun, count]))
"""
JOB = """
name = "count"
command = ["python3", "job.py"]
inputs = ["to"]
checkpoint = true
grace = "5 s"
[resources]
power_watts = 400
cores = 1
memory = "256 MiB"
disk = "16 MiB"
expected = "3 min"
limit = "2 h"
"""


def write_job(directory: Path, steps: int) -> Path:
    job = directory / f"count-{steps}"
    job.mkdir()
    (job / "job.py").write_text(PROGRAM)
    (job / "job.toml").write_text(JOB)
    (job / "to").write_text(str(steps))
    return job / "job.toml"


async def until(run: BenchRun, condition: Callable[[], bool], what: str, seconds: float = 45.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        view = run.look()
        assert time.monotonic() < deadline, f"not in time: {what}; {view.jobs} {view.boards} {run.notes}"
        assert not run.broken(), run.broken()
        await asyncio.sleep(0.05)


async def result(run: BenchRun, job_id: str, directory: Path) -> list[int]:
    """What came back through the ground: where the last run of a job began, and how far it counted."""

    def fetch() -> bytes:
        with SkyrackClient(run.running.ground_url) as client:
            return client.result(job_id)

    archive.unpack(await asyncio.to_thread(fetch), directory / job_id, 1 << 20)
    found: list[int] = json.loads((directory / job_id / "count.json").read_text())
    return found


def cut_power(directory: Path) -> None:
    """Nothing of a board is left, save what it wrote."""
    keeper = holder_of(directory / "keeper.lock")
    assert keeper is not None
    lost, table = {keeper[0]}, process_table()
    while more := {pid for pid, entry in table.items() if entry.parent in lost} - lost:
        lost |= more
    for pid in lost:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_a_satellite_of_two_boards_runs_its_jobs_on_both_and_survives_the_loss_of_one(tmp_path: Path) -> None:
    async def main() -> None:
        instance = Instance.named("rack", tmp_path / "home")
        boards = tmp_path / "home/rack/boards"
        settings = BenchSettings(write_bench(tmp_path), jobs=(write_job(tmp_path, 120),))
        async with flying(instance, settings) as run:
            _, node = run.sessions
            keys = {path.name: path.stat().st_mode & 0o777 for path in (boards / "pi-2/keys").iterdir()}
            assert keys == {"rack.key": 0o600}, "nobody else's secrets went there"

            def jobs() -> list[dict[str, object]]:
                return run.look().jobs

            def steps(board: str) -> int:
                found = [path.read_text() for path in (boards / board).glob("state/**/checkpoint/count")]
                return max((int(text) for text in found if text), default=0)

            # The smaller node is taken first, and it is a board of its own.
            await until(run, lambda: steps("pi-2") > 5, "the first job runs on the other board")
            await until(run, lambda: bool(node.view.nodes["node-2"]["running"]), "what runs there is seen")
            note = node.view.nodes["node-2"]
            assert note["real_watts"] > 0.0
            assert 270.0 <= note["cap_watts"] <= 690.0
            before = node.view.services
            assert before.keys() == {"node.node-2"}
            fault = ProcessKill(satellite="sat-1", service="node.node-2", at_seconds=0.0)
            run.running.effects.check(fault)
            fault.begin(run.running.effects)
            await until(
                run,
                lambda: node.view.services.keys() == before.keys() and node.view.services != before,
                "its process was killed, and runs again",
            )
            await until(run, lambda: [job["state"] for job in jobs()] == ["COMPLETED"], "the job is done")
            first = str(jobs()[0]["job_id"])
            assert jobs()[0]["attempt"] == 1
            assert await result(run, first, tmp_path) == [0, 120], "it was not begun anew"

            def submit() -> None:
                with SkyrackClient(run.running.ground_url) as client:
                    client.submit(*jobfile.package(write_job(tmp_path, 200)), "second")

            await asyncio.to_thread(submit)
            await until(run, lambda: steps("pi-2") > 5 and steps("pi-1") > 5, "a checkpoint of the second came home")
            before = node.view.services
            os.kill(before["node.node-2"], signal.SIGSTOP)
            work = boards / "pi-1/state/nodes/node-1"
            await until(run, lambda: any(work.glob("second*")), "it goes on on the other node")
            # What is silent is a board without power.
            cut_power(boards / "pi-2")
            await until(
                run,
                lambda: node.view.services.keys() == before.keys() and node.view.services != before,
                "the board is back",
            )
            await until(run, lambda: [job["state"] for job in jobs()] == ["COMPLETED"] * 2, "the second job is done")
            begun, ended = await result(run, "second", tmp_path)
            assert 5 < begun < ended == 200, "it went on from its checkpoint"
            assert "node_silent" in (boards / "pi-1/logs/compute.log").read_text()
            report = {board: figures_of(view.view, run.samples) for board, view in zip("12", run.sessions, strict=True)}
            assert (report["1"].rack_node, report["2"].rack_node) == ("", "node-2")
            assert report["2"].real_watts_peak is not None
            last.update(node.view.services)

    last: dict[str, int] = {}
    asyncio.run(main())
    assert last.keys() == {"node.node-2"}
    assert not Path(f"/proc/{last['node.node-2']}").exists(), "nothing is left on the board"


def test_what_a_rack_node_is_not_for_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    bench = str(write_bench(tmp_path))
    runner = CliRunner()
    for command, words in (
        (["accept", bench, "--board", "pi-2"], ("pi-2: it is node-2 of sat-1", "one-pi")),
        (
            ["provision", "ssh://pi-2", "--satellite", "sat-1", "--bench", bench, "--board", "pi-2"],
            ("is node-2 of sat-1", "--satellite sat-1-node-2"),
        ),
    ):
        told = str(runner.invoke(hil, command).exception)
        assert [word for word in words if word not in told] == [], told
