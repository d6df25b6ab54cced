"""A real broker, a real ground and real gateways in processes of their own, which can be killed and started again."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import httpx

from flight.board import Board, write_board
from hil.sil.ports import free_ports
from skyrack import files
from skyrack.clock import Anchor, write_anchor
from skyrack.errors import UserError
from skyrack.satellite import load_constellation
from skyrack.signing import provision

_PATIENCE_SECONDS: Final = 300.0
_SERVICES: Final = ("power", "thermal", "compute", "gateway")
_QUIET: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def mosquitto() -> str | None:
    """Where mosquitto is."""
    return shutil.which("mosquitto", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]))


def free_port() -> int:
    """A port that nobody listens on."""
    return free_ports(1, random.SystemRandom())[0]


class Station:
    """Everything lies in ``directory``, and ends with ``close``."""

    def __init__(
        self, directory: Path, run_dir: Path, satellites: Sequence[str], batches: int, *, needs_broker: bool = True
    ) -> None:
        """``run_dir`` holds the sockets of the satellites' buses: its path must be short.

        Raises:
            UserError: mosquitto is not installed.
        """
        self._program = mosquitto()
        if self._program is None and needs_broker:
            raise UserError("this needs mosquitto, which is not installed")
        self.directory = directory
        self.names = tuple(satellites)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._commands: dict[str, list[str]] = {}
        self.cpu_seconds: dict[str, float] = {}
        """Of processes that were killed or ended, by kind."""
        self._broker_port, self._http_port = free_ports(2, random.SystemRandom())
        self._write(run_dir, batches)

    def _write(self, run_dir: Path, batches: int) -> None:
        home = self.directory
        keys = home / "keys"
        keys.mkdir()
        provision(keys, load_constellation(files.shipped("constellations", "demo"))[1])
        write_anchor(home / "clock.json", Anchor.here(time.time(), 1.0))
        (home / "mosquitto.conf").write_text(
            f"listener {self._broker_port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n"
        )
        (home / "ground.toml").write_text(
            f"""
            instance = "bench"
            state_dir = "ground"
            clock_file = "clock.json"
            constellation = "demo"
            broker = "mqtt://127.0.0.1:{self._broker_port}"
            http_port = {self._http_port}
            key_file = "keys/ground.key"
            keyring_file = "keys/keys.json"
            address_file = "ground.json"
            log_file = "ground.jsonl"
            console = false
            """
        )
        python = sys.executable
        self._commands["broker"] = [str(self._program), "-c", str(home / "mosquitto.conf")]
        self._commands["ground"] = [python, "-m", "ground", "--config", str(home / "ground.toml")]
        share, rest = divmod(batches, max(1, len(self.names)))
        for index, name in enumerate(self.names):
            board = Board(
                satellite=name,
                constellation_file="demo",
                run_dir=str(run_dir / str(index)),
                state_dir=str(home / name / "state"),
                log_dir=str(home / name / "log"),
                clock_file=str(home / "clock.json"),
                keys_dir=str(keys),
                services=_SERVICES,
                attachments={"backhaul.optical": f"mqtt://127.0.0.1:{self._broker_port}"},
            )
            for made in (run_dir / str(index), home / name / "state", home / name / "log"):
                made.mkdir(parents=True)
            path = home / f"{name}.board.toml"
            write_board(path, board)
            self._commands[f"gateway {name}"] = [
                python, "-m", "flight", "gateway", "--board", str(path),
            ]  # fmt: skip
            share_here = share + (1 if index < rest else 0)
            self._commands[f"far end {name}"] = [
                python, "-m", "hil.bench.ground.far_end", str(path), str(self.progress_file(name)), str(share_here),
            ]  # fmt: skip

    @property
    def killable(self) -> tuple[str, ...]:
        """The processes that the campaign kills."""
        return ("broker", "ground", *(f"gateway {name}" for name in self.names))

    def progress_file(self, satellite: str) -> Path:
        """Where a far end tells how far it is."""
        return self.directory / f"{satellite}.progress.json"

    def progress(self, satellite: str) -> dict[str, Any]:
        """What a far end told last."""
        try:
            found: dict[str, Any] = json.loads(self.progress_file(satellite).read_text())
        except FileNotFoundError:
            return {"batches": 0, "telling": 0, "runs": {}}
        return found

    async def up(self) -> None:
        """Start everything, and wait until each satellite can be given jobs."""
        self.start("broker")
        await self.until(lambda: listens(self._broker_port), "the broker listens")
        for name in self._commands:
            if name != "broker":
                self.start(name)
        await self._until_ready()

    def start(self, name: str) -> None:
        """Start a process; its output goes to a file."""
        with (self.directory / f"{name.replace(' ', '-')}.out").open("ab") as output:
            self._processes[name] = subprocess.Popen(
                self._commands[name], stdout=output, stderr=output, env={**os.environ, **_QUIET}, cwd=self.directory
            )

    async def until_up(self, name: str) -> None:
        """Wait until a process that was started does its work."""
        ports = {"broker": self._broker_port, "ground": self._http_port}
        if name in ports:
            await self.until(lambda: listens(ports[name]), f"{name} listens")

    def kill(self, name: str) -> None:
        """Kill a process as a failing machine does."""
        process = self._processes[name]
        self._count(name)
        process.kill()
        process.wait()

    def check(self) -> None:
        """Nobody may have ended by itself. Raises ``RuntimeError``."""
        for name, process in self._processes.items():
            if process.poll() not in (None, -9):
                raise RuntimeError(f"{name} ended with {process.returncode}: see {self.directory}")

    def end(self, name: str) -> None:
        """Ask a process to end, and wait for it."""
        process = self._processes[name]
        self._count(name)
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill(name)

    def _count(self, name: str) -> None:
        kind = name.rpartition(" ")[0] or name
        self.cpu_seconds[kind] = self.cpu_seconds.get(kind, 0.0) + _cpu_seconds(self._processes[name].pid)

    def close(self) -> None:
        """End whatever runs."""
        for process in self._processes.values():
            if process.poll() is None:
                process.kill()
        for process in self._processes.values():
            process.wait()

    @property
    def database(self) -> Path:
        """The ground's."""
        return self.directory / "ground" / "ground.db"

    async def ask(self, http: httpx.AsyncClient, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Ask the ground until it answers: it may be dead for a while. A refusal is returned."""
        end = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                answer = await http.request(method, self.url + path, headers=self.headers(), **arguments)
                if answer.status_code < 500:
                    return answer
            except (httpx.TransportError, OSError, ValueError):
                self.check()
                if time.monotonic() > end:
                    raise
            await asyncio.sleep(0.2)

    @property
    def url(self) -> str:
        """Where the ground is, whichever of its lives this is."""
        return f"http://127.0.0.1:{self._http_port}"

    def headers(self) -> dict[str, str]:
        """What every request says."""
        token = json.loads((self.directory / "ground.json").read_text()).get("token", "")
        return {"Authorization": f"Bearer {token}"}

    async def _until_ready(self) -> None:
        end = time.monotonic() + _PATIENCE_SECONDS
        async with httpx.AsyncClient(timeout=10, trust_env=False) as http:
            while time.monotonic() < end:
                self.check()
                records = (await self.ask(http, "GET", "/v1/satellites")).json()
                if sum(bool(record["is_reachable"] and record["free_nodes"]) for record in records) >= len(self.names):
                    return
                await asyncio.sleep(0.2)
        raise RuntimeError(f"in {_PATIENCE_SECONDS:g} s the satellites were not heard: see {self.directory}")

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for something that must come. Raises ``RuntimeError`` when it does not."""
        end = time.monotonic() + _PATIENCE_SECONDS
        while not condition():
            if time.monotonic() > end:
                raise RuntimeError(f"in {_PATIENCE_SECONDS:g} s {what} did not come to pass: see {self.directory}")
            await asyncio.sleep(0.05)


def listens(port: int) -> bool:
    """Whether somebody takes connections on a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
