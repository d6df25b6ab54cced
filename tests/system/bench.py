"""A run as a person has it: ``skyrack up`` in a directory, with every process within reach of a signal."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tarfile
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ground.client import SkyrackClient, UnreachableError, address_in
from hil.processes import RUN_VARIABLE, process_table
from skyrack import files

SKYRACK = (sys.executable, "-c", "from skyrack.cli import main; main()")
SERVICES = ("navigation", "power", "thermal", "compute", "laser", "gateway")
WAIT_SECONDS = 60.0

# Keeps a journal of its lives beside its checkpoint, and ends when a file named "go" appears there.
PATIENT = """
    import os, pathlib, signal, sys, time

    kept = pathlib.Path(os.environ["SKYRACK_CHECKPOINT_DIR"])

    def note(word):
        with (kept / "journal").open("a") as file:
            file.write(word + "\\n")

    def stop(*_):
        note("stopped")
        sys.exit(0)

    signal.signal(signal.SIGTERM, stop)
    note("began")
    while "--at-once" not in sys.argv and not (kept / "go").exists():
        time.sleep(0.05)
    note("completed")
    (pathlib.Path(os.environ["SKYRACK_OUTPUT_DIR"]) / "journal").write_text((kept / "journal").read_text())
"""


def eventually(condition: Callable[[], Any], what: str, seconds: float = WAIT_SECONDS) -> Any:
    """Ask until there is an answer; fails loudly."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"in {seconds:g} s {what} did not come to pass")
        time.sleep(0.05)


def run_skyrack(directory: Path, *arguments: str, seconds: float = 120.0) -> subprocess.CompletedProcess[str]:
    """Type a command in a directory."""
    return subprocess.run(
        [*SKYRACK, *arguments],
        cwd=directory,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key != "SKYRACK_GROUND"}


def marked(run_id: str) -> list[str]:
    """Command lines of all processes that bear a run's mark."""
    mark = f"{RUN_VARIABLE}={run_id}".encode()
    found = []
    for pid in process_table():
        with contextlib.suppress(OSError):
            if mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                found.append(f"{pid} {line}")
    return found


def assert_databases_sound(directory: Path) -> None:
    paths = [path for path in directory.rglob("*") if path.suffix in (".db", ".sqlite")]
    assert paths, f"no databases below {directory}"
    for path in paths:
        with sqlite3.connect(path) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",), path
        connection.close()


class Bench:
    """``directory`` is where the person works. Everything ends with ``down`` or ``close``."""

    def __init__(self, directory: Path, name: str = "up") -> None:
        self.directory = directory
        self.name = name
        self.home = directory / ".skyrack" / name
        self.mosquitto = ""
        self._broker: subprocess.Popen[bytes] | None = None

    def skyrack(self, *arguments: str, seconds: float = 120.0) -> subprocess.CompletedProcess[str]:
        return run_skyrack(self.directory, *arguments, seconds=seconds)

    def up(self, *options: str) -> None:
        done = self.skyrack("up", "--name", self.name, *options)
        assert done.returncode == 0, done.stderr
        self.until_well(self.satellites())

    def one_satellite(self) -> Path:
        """The constellation of the demonstration without its second satellite: half the processes."""
        text = files.shipped("constellations", "demo").read_text()
        head, first, _ = text.split("[[satellites]]")
        path = self.directory / "one.toml"
        path.write_text(f"{head}[[satellites]]{first}{text[text.index('[[relays]]') :]}")
        return path

    def down(self) -> None:
        run_id = self.run_id
        done = self.skyrack("down", "--name", self.name)
        assert done.returncode == 0, done.stderr
        assert marked(run_id) == []

    def close(self) -> None:
        self.skyrack("down", "--name", self.name)
        if self._broker is not None:
            self._broker.kill()
            self._broker.wait()

    # A broker of one's own.

    def start_mosquitto(self, program: str, port: int) -> str:
        self.mosquitto = program
        configuration = self.directory / "mosquitto.conf"
        configuration.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
        with (self.directory / "mosquitto.out").open("ab") as output:
            self._broker = subprocess.Popen([program, "-c", str(configuration)], stdout=output, stderr=output)
        return f"mqtt://127.0.0.1:{port}"

    def kill_mosquitto(self) -> None:
        assert self._broker is not None
        self._broker.kill()
        self._broker.wait()

    # Who runs.

    @property
    def record(self) -> dict[str, Any]:
        return dict(json.loads((self.home / "instance.json").read_text()))

    @property
    def processes(self) -> dict[str, dict[str, Any]]:
        """What the keeper says of its processes, by name."""
        return {each["name"]: each for each in json.loads((self.home / "processes.json").read_text())["processes"]}

    @property
    def run_id(self) -> str:
        return str(json.loads((self.home / "processes.json").read_text())["run_id"])

    def service_pid(self, satellite: str, service: str) -> int | None:
        executive = self.processes[satellite]["pid"]
        if service == "executive":
            return int(executive) if executive else None
        table = process_table()
        zygotes = {pid for pid, entry in table.items() if entry.parent == executive}
        return next((pid for pid, entry in table.items() if entry.parent in zygotes and _name(pid) == service), None)

    def kill_process(self, name: str, number: int = signal.SIGKILL) -> None:
        """Kill a process of the keeper's, and wait until another stands in its place."""
        before = self.processes[name]
        os.kill(before["pid"], number)

        def is_back() -> bool:
            now = self.processes[name]
            return bool(now["restarts"] > before["restarts"] and now["state"] == "running")

        eventually(is_back, f"{name} was started again")

    def kill_service(self, satellite: str, service: str) -> None:
        """Kill a flight service, and wait until the ground hears of its next life."""
        before = self.incarnation(satellite, service)
        pid = eventually(lambda: self.service_pid(satellite, service), f"{service} of {satellite} runs")
        os.kill(pid, signal.SIGKILL)
        self.until_reborn(satellite, service, before)

    def until_reborn(self, satellite: str, service: str, before: float) -> None:
        what = f"the ground hears of a new {service} of {satellite}"
        eventually(lambda: self.incarnation(satellite, service) > before, what)

    def incarnation(self, satellite: str, service: str) -> float:
        """Of which life of a service the ground has heard last; 0 is of none."""
        return self.value(satellite, "Health.incarnation", service=service)

    def left_running(self) -> list[str]:
        """Command lines of all that runs in, or was told of, the directory: jobs among them."""
        found = []
        for pid in process_table():
            with contextlib.suppress(OSError):
                line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                where = str(Path(f"/proc/{pid}/cwd").readlink())
                if pid != os.getpid() and (str(self.home) in line or where.startswith(str(self.home))):
                    found.append(f"{pid} {line}")
        return found

    def value(self, satellite: str, field: str, **labels: str) -> float:
        """Newest value of a telemetry field; 0 while there is none."""
        return next(
            (
                float(value["value"])
                for value in self.ask(lambda client: client.telemetry(satellite), [])
                if value["field"] == field and value["labels"] == labels
            ),
            0.0,
        )

    # What the ground says.

    def client(self) -> SkyrackClient:
        return SkyrackClient(address_in(self.home / "ground.json"))

    def ask(self, question: Callable[[SkyrackClient], Any], otherwise: Any = None) -> Any:
        """Ask the ground; while it is away, the answer is ``otherwise``."""
        try:
            with self.client() as client:
                return question(client)
        except (UnreachableError, OSError, ValueError):
            return otherwise

    def satellites(self) -> list[str]:
        return [path.name.partition(".")[0] for path in sorted(self.home.glob("*.board.toml"))]

    def mission_time(self) -> float:
        return float(
            eventually(lambda: self.ask(lambda client: client.health()), "the ground answers")["mission_time_seconds"]
        )

    def until_well(self, satellites: list[str]) -> None:
        """Wait until the ground has heard, from now on, that all is well aboard.

        A laser that lost its relay may need the better part of a contact to find the next one.
        """
        since = self.mission_time()

        def told() -> bool:
            return all(self._is_well(name, since) for name in satellites)

        eventually(told, f"{', '.join(satellites)}: nominal, with a link and all services running", 120.0)

    def _is_well(self, satellite: str, since: float) -> bool:
        values = self.ask(lambda client: client.telemetry(satellite), [])
        found: dict[str, list[Any]] = {}
        for value in values:
            if value["mission_time_seconds"] > since:
                found.setdefault(value["field"], []).append(value["text"] or value["value"])
        services = found.get("SatelliteStatus.services.state", [])
        return (
            [str(mode) for mode in found.get("SatelliteStatus.mode", [])] in (["MODE_NOMINAL"], ["NOMINAL"])
            and found.get("LinkStatus.connected") == ["true"]
            and len(services) == len(SERVICES)
            and all(str(state).endswith("RUNNING") for state in services)
        )

    def events(self, **wanted: Any) -> list[dict[str, Any]]:
        return list(self.ask(lambda client: client.events(limit=1000, **wanted), []))

    # Jobs.

    def write_job(self, name: str, program: str, *arguments: str, **keys: Any) -> Path:
        """Write a job file and its program; ``keys`` go into the file, numbers of resources among them."""
        folder = self.directory / "jobs" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "work.py").write_text(textwrap.dedent(program))
        resources = {"power_watts": 100.0, "memory": "64 MiB", "expected": "1 min"}
        resources |= {key: keys.pop(key) for key in list(keys) if key in ("power_watts", "memory", "expected", "limit")}
        command = json.dumps(["python3", "work.py", *arguments])
        lines = [f'name = "{name}"', f"command = {command}", 'grace = "2 s"']
        lines += [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
        lines += ["[resources]", *(f"{key} = {json.dumps(value)}" for key, value in resources.items())]
        path = folder / "job.toml"
        path.write_text("\n".join(lines) + "\n")
        return path

    def submit(self, path: Path, job_id: str) -> None:
        done = self.skyrack("submit", str(path), "--id", job_id)
        assert done.returncode == 0, done.stderr

    def job(self, job_id: str) -> dict[str, Any]:
        found = self.ask(lambda client: client.job(job_id))
        return dict(found) if found else {"state": "", "is_final": False, "history": []}

    def until_running(self, job_id: str) -> dict[str, Any]:
        def running() -> dict[str, Any] | None:
            record = self.job(job_id)
            assert not record["is_final"], record
            return record if record["state"] == "RUNNING" else None

        return dict(eventually(running, f"{job_id} runs"))

    def until_settled(self, job_id: str, seconds: float = WAIT_SECONDS) -> dict[str, Any]:
        """Wait until a job is over, and its result, where it has one, is on the ground."""
        record: dict[str, Any] = {}

        def settled() -> bool:
            record.update(self.job(job_id))
            complete = record.get("result_received_seconds") is not None or record.get("result_problem")
            return bool(record["is_final"] and (not record["result_sha256"] or complete))

        try:
            eventually(settled, f"{job_id} is over", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}: {json.dumps(record, indent=1)}") from None
        return record

    def let_go(self, record: dict[str, Any]) -> None:
        """Give a patient job that runs what it waits for."""
        self.checkpoint(record).joinpath("go").touch()

    def checkpoint(self, record: dict[str, Any]) -> Path:
        work = self.home / "state" / record["satellite"] / "compute" / "work"
        return eventually(lambda: next(work.glob(f"{record['job_id']}*/checkpoint"), None), "the job has a directory")  # type: ignore[no-any-return]

    def journal(self, record: dict[str, Any]) -> list[str]:
        """What a patient job wrote of its lives into its result."""
        with self.client() as client, tarfile.open(fileobj=io.BytesIO(client.result(record["job_id"]))) as tar:
            file = tar.extractfile("journal")
            assert file is not None
            return file.read().decode().split()

    def assert_ran_once(self, record: dict[str, Any]) -> None:
        """One attempt, one accepted result, and the job's own journal knows of one completed life."""
        assert record["state"] == "COMPLETED", record
        told = [step for step in record["history"] if step["state"] == "COMPLETED" and step["is_applied"]]
        assert len(told) == 1, record["history"]
        assert {step["attempt"] for step in record["history"]} <= {0, 1}, record["history"]
        journal = self.journal(record)
        assert journal[-1] == "completed"
        assert journal.count("completed") == 1, journal
        # Each further life follows a preemption, or a loss of the node, that was told.
        assert journal.count("began") <= 1 + record["preemptions"], (journal, record["history"])


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
