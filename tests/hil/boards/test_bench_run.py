"""A whole bench: a board over ssh (to this computer), a real job, and a network that goes away in the middle."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from flight.compute.shim import tree
from ground.client import is_settled
from hil.boards.bench_run import BenchRun, BenchSettings, flying
from hil.boards.session import run_identity
from hil.boards.ssh import CONFIG_VARIABLE
from hil.processes import RUN_VARIABLE, process_table
from hil.sil.instance import Instance
from skyrack import files

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"
# Some fifteen seconds of one core: long enough to be interrupted.
PROGRAM = """
import json, os, pathlib, time
kept = pathlib.Path(os.environ["SKYRACK_CHECKPOINT_DIR"]) / "count"
count = int(kept.read_text()) if kept.exists() else 0
while count < 150:
    end = time.monotonic() + 0.1
    while time.monotonic() < end:
        pass
    count += 1
    kept.with_suffix(".new").write_text(str(count))
    kept.with_suffix(".new").replace(kept)
pathlib.Path(os.environ["SKYRACK_OUTPUT_DIR"], "count.json").write_text(json.dumps({"count": count}))
"""
JOB = """
name = "count"
command = ["python3", "job.py"]
checkpoint = true
grace = "5 s"
retries = 1
[resources]
power_watts = 600
cores = 1
memory = "256 MiB"
disk = "16 MiB"
expected = "8 min"
limit = "2 h"
"""


@dataclass
class Ssh:
    """An sshd of our own on a free port."""

    port: int
    server: subprocess.Popen[bytes]
    command: list[str]

    def cut(self) -> None:
        """The network goes away: the server and all its sessions are gone at once."""
        mine = {self.server.pid}
        table = process_table()
        grown = True
        while grown:
            more = {pid for pid, each in table.items() if each.parent in mine and _is_sshd(pid)} - mine
            mine |= more
            grown = bool(more)
        for pid in mine:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.server.wait()

    def mend(self) -> None:
        """It is back."""
        self.server = subprocess.Popen(self.command, stderr=subprocess.DEVNULL)


def _is_sshd(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().startswith("sshd")
    except OSError:
        return False


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ssh]:
    if not Path(SSHD).is_file() or shutil.which("ssh-keygen") is None:
        pytest.skip("there is no sshd here: apt-get install openssh-server")
    if os.geteuid() == 0:
        # Where sshd of root empties its hands; distributions make it when the service starts.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    keys = tmp_path / "ssh"
    keys.mkdir(mode=0o700)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(keys / name)], check=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (keys / "sshd_config").write_text(
        f"HostKey {keys}/host\nAuthorizedKeysFile {keys}/user.pub\nPidFile none\nStrictModes no\nUsePAM no\n"
        f"PasswordAuthentication no\nListenAddress 127.0.0.1\nPort {port}\nLogLevel ERROR\n"
        # What this user's shell does at a login is none of ours, and a lock of the board is for the board.
        f"SetEnv HOME={tmp_path}\n"
    )
    kind, key, *_ = (keys / "host.pub").read_text().split()
    (keys / "known").write_text(f"[127.0.0.1]:{port} {kind} {key}\n")
    (keys / "ssh_config").write_text(
        f"Host *\n  IdentityFile {keys}/user\n  IdentitiesOnly yes\n  UserKnownHostsFile {keys}/known\n"
    )
    monkeypatch.setenv(CONFIG_VARIABLE, str(keys / "ssh_config"))
    command = [SSHD, "-D", "-e", "-f", str(keys / "sshd_config")]
    found = Ssh(port, subprocess.Popen(command, stderr=subprocess.DEVNULL), command)
    deadline = time.monotonic() + 10.0
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        if found.server.poll() is not None or time.monotonic() > deadline:
            pytest.skip("sshd does not run as this user here")
        time.sleep(0.05)
    yield found
    found.cut()


def write_bench(directory: Path, address: str) -> Path:
    shipped = files.shipped("benches", "laptop").read_text(encoding="utf-8")
    bench = directory / "bench.toml"
    board = f'address = "{address}"\npython = "{sys.executable}"\ndirectory = "{directory}/far"\n'
    # How busy this computer is otherwise shall not slow the job down.
    shipped = shipped.replace(
        'driver = "board.rack_node"\nsettings = { meter = "meter.board" }', 'driver = "process.rack_node"'
    )
    bench.write_text(shipped.replace('satellite = "sat-1"\n', f'satellite = "sat-1"\n{board}', 1))
    return bench


def alive(pids: Iterable[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def write_job(directory: Path) -> Path:
    job = directory / "count"
    job.mkdir()
    (job / "job.py").write_text(PROGRAM)
    (job / "job.toml").write_text(JOB)
    return job / "job.toml"


async def until(run: BenchRun, condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        run.look()
        view = run.look()
        assert time.monotonic() < deadline, f"not in time: {what}; {view.jobs} {view.boards} {run.notes}"
        await asyncio.sleep(0.1)


def test_a_job_is_completed_though_the_board_drops_off_the_network_and_loses_its_power(
    tmp_path: Path, ssh: Ssh
) -> None:
    async def main() -> None:
        instance = Instance.named("bench", tmp_path / "home")
        bench = write_bench(tmp_path, f"ssh://127.0.0.1:{ssh.port}")
        async with flying(instance, BenchSettings(bench, jobs=(write_job(tmp_path),))) as run:
            (session,) = run.sessions
            assert instance.read_record() is None or instance.live
            boards = json.loads((instance.directory / "bench.json").read_text())["boards"]
            assert boards[0]["address"].startswith("ssh://")

            def read_log(service: str) -> str:
                return (tmp_path / "far/bench/logs" / f"{service}.log").read_text()

            def jobs() -> list[str]:
                return [job["state"] for job in run.look().jobs]

            await until(run, lambda: jobs() == ["RUNNING"], "the job runs")
            services = dict(session.view.services)
            assert set(services) >= {"executive", "power", "thermal", "compute", "gateway"}
            known = session.view.agreement
            assert known is not None
            # Both ends are one computer: the truth is an offset of nothing.
            assert abs(known.offset_seconds) <= known.error_seconds < 0.1
            ssh.cut()
            await until(run, lambda: session.view.link == "lost", "the loss is said", 10.0)
            assert any("is lost" in note for note in run.notes)
            # Its services go on meanwhile, without the plant's sensors and without the ground: they say so, count and
            # model what they cannot measure, and hold their mode.
            await until(run, lambda: "sensor_silent" in read_log("power"), "power misses its sensors")
            assert len(alive(services.values())) == len(services)
            ssh.mend()
            await until(run, lambda: session.view.link == "up", "it is back", 30.0)
            await until(run, lambda: bool(session.view.services), "its services are seen again")
            assert session.view.services == services, "the same processes as before"
            assert (session.view.losses, session.view.boots) == (1, 0)
            await until(run, lambda: "battery_readable" in read_log("power"), "power has its sensors again")
            assert "SAFE" not in read_log("executive")
            assert jobs() == ["RUNNING"]
            # The power of the board is cut: nothing of it is left, save what it wrote.
            ssh.cut()
            keeper = int((tmp_path / "far/bench/keeper.lock").read_text().split()[0])
            os.kill(keeper, signal.SIGKILL)
            tree.kill_marked(f"{RUN_VARIABLE}={run_identity(instance.identity())}")
            await until(run, lambda: session.view.link == "lost", "the loss is said", 10.0)
            ssh.mend()
            await until(run, lambda: session.view.link == "up" and session.view.losses == 2, "it is back", 60.0)
            await until(run, lambda: session.view.services.keys() == services.keys(), "its services are started again")
            assert not set(session.view.services.values()) & set(services.values())
            await until(run, lambda: bool(run.look().jobs) and all(map(is_settled, run.look().jobs)), "the job is over")
            assert jobs() == ["COMPLETED"]
            assert run.look().jobs[0]["attempt"] == 1
            last = dict(session.view.services)
        assert last
        assert not alive(last.values()), "nothing is left on the board"

    asyncio.run(main())
    keys = {path.name for path in (tmp_path / "far" / "bench" / "keys").iterdir()}
    assert keys == {"sat-1.key", "keys.json"}, "nobody else's secrets went there"
