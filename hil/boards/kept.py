"""What an agent does with the keeper of its board: starts it, finds it again, asks how all is, ends it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from flight.compute.shim import tree
from flight.executive.process_launcher import last_line
from hil.boards import keeper
from hil.boards.requests import RequestError
from hil.processes import kill_all

START_SECONDS = 10.0
KILLED_SECONDS = 3.0
_POLL_SECONDS = 0.05
RUN_DIR = "run_dir"
NODES, GUARDS, CLEAR = "nodes", "guards.json", "guards.clear"
EXECUTIVE = "executive"
FLIGHT = "flight"
"""Name of the program that is the satellite's executive."""
GUARDING = "guards"
"""Name of the program that guards the board."""
NODE = "node."
"""What the name of a program begins with that is a rack node."""


def run_dir_of(directory: Path) -> Path:
    """Directory for sockets and what is worth no write to a card, short of name; made when it is not there.

    It has the same name again after it was removed: whoever was told of it goes on to find it.
    """
    note = directory / RUN_DIR
    noted = _noted_run_dir(directory)
    if noted is not None:
        with contextlib.suppress(OSError):
            noted.mkdir(mode=0o700, exist_ok=True)
            status = noted.lstat()
            # In a directory that all may write to, another user may have taken the name.
            if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid():
                return noted
    made = Path(tempfile.mkdtemp(prefix="skyrack-"))
    note.write_text(str(made))
    return made


def _noted_run_dir(directory: Path) -> Path | None:
    with contextlib.suppress(OSError):
        return Path((directory / RUN_DIR).read_text())
    return None


async def start(directory: Path, run_id: str, programs: Sequence[object], alone: str = "") -> Mapping[str, Any]:
    """Start the keeper, or find it: one of the same run with the same programs is left as it is.

    Raises:
        RequestError: it did not start; the sentence says why.
    """
    try:
        order = msgspec.convert(
            {"run_id": run_id, "programs": programs, "alone": alone}, type=keeper.Order, strict=False
        )
    except msgspec.ValidationError as error:
        raise RequestError(f"the programs to start do not add up: {error}") from None
    found = keeper.holder_of(directory / keeper.LOCK)
    if found is not None:
        if found[1] == run_id and _order_of(directory) == order:
            return {"started": False, "pid": found[0]}
        await stop(directory, 6.0)
    (directory / "logs").mkdir(exist_ok=True, mode=0o700)
    (directory / keeper.PROCESSES).unlink(missing_ok=True)
    (directory / keeper.ORDER).write_bytes(msgspec.json.encode(order))
    run_dir_of(directory)
    log = directory / "logs" / keeper.LOG
    process = _start_keeper(directory, log)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + START_SECONDS
    while keeper.holder_of(directory / keeper.LOCK) is None or not (directory / keeper.PROCESSES).exists():
        if process.poll() is not None or loop.time() > deadline:
            raise RequestError(f"the flight services did not start: {last_line(log) or 'nothing was said'}")
        await asyncio.sleep(_POLL_SECONDS)
    return {"started": True, "pid": process.pid}


def _start_keeper(directory: Path, log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "hil.boards.keeper", str(directory)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=directory,
            env={key: value for key, value in os.environ.items() if not key.startswith("SSH_")},
            start_new_session=True,
        )


async def stop(directory: Path, seconds: float) -> bool:
    """End the keeper and all that it keeps; whether there was one.

    Raises:
        RequestError: it does not end.
    """
    loop = asyncio.get_running_loop()
    kill_at = loop.time() + seconds
    told, run_id = 0, ""
    while (found := keeper.holder_of(directory / keeper.LOCK)) is not None:
        pid, run_id = found[0], found[1] or run_id
        late = loop.time() > kill_at
        if loop.time() > kill_at + KILLED_SECONDS:
            raise RequestError(f"the keeper of {directory} (process {pid}) does not end, though it was killed")
        # One that was just started, or is about to end, has no number.
        if pid > 0 and (late or pid != told):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
            told = pid
        await asyncio.sleep(_POLL_SECONDS)
    if run_id and loop.time() > kill_at:
        # What it keeps died with it; jobs, which leave their parents, did not.
        kill_all(run_id)
    noted = _noted_run_dir(directory)
    if noted is not None:
        shutil.rmtree(noted, ignore_errors=True)
    return told > 0


def status(directory: Path) -> Mapping[str, Any]:
    """How the board is: processes, what its rack nodes measure, what its guards did."""
    found = keeper.holder_of(directory / keeper.LOCK)
    supervision = _json(directory / keeper.PROCESSES) or {}
    log = directory / "logs" / keeper.LOG
    problem = str(supervision.get("failed", ""))
    if found is None and not problem and log.exists():
        problem = last_line(log)
    noted = _noted_run_dir(directory)
    nodes = sorted((noted / NODES).glob("*.json")) if noted is not None else []
    return {
        "kept": found is not None,
        "run_id": found[1] if found is not None else "",
        "problem": problem,
        "processes": supervision.get("processes", []),
        "services": services(directory),
        "nodes": {path.stem: note for path in nodes if (note := _json(path)) is not None},
        "guards": _guards(directory, supervision),
    }


def _guards(directory: Path, supervision: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the guards say; and, as one of their problems, that they do not run."""
    told: Mapping[str, Any] = _json(directory / GUARDS) or {}
    process = next((each for each in supervision.get("processes", []) if each["name"] == GUARDING), None)
    if process is None or process["state"] == "running":
        return told
    problems = {**told.get("problems", {}), GUARDING: f"the guards do not run: it {process['reason']}"}
    return {**told, "problems": problems}


def services(directory: Path) -> dict[str, int]:
    """Process ids of the executive and its services, or of the board's rack node, by name."""
    programs = _programs(directory)
    found = {name: pid for name, pid in programs.items() if name.startswith(NODE)}
    executive = programs.get(FLIGHT)
    if executive is None:
        return found
    found[EXECUTIVE] = executive
    # The executive's only child is the zygote, and that one's children are the services, named as processes are.
    for pid in tree.descendants(executive):
        process = tree.process(pid)
        parent = tree.process(process.parent) if process is not None else None
        if process is not None and parent is not None and parent.parent == executive:
            with contextlib.suppress(OSError):
                found[Path(f"/proc/{pid}/comm").read_text().strip()] = pid
    return found


def kill(directory: Path, service: str, signum: int) -> int:
    """Send a signal to a service, to the executive, or to the board's rack node; its process id.

    Raises:
        RequestError: it does not run.
    """
    running = services(directory)
    pid = running.get(service)
    if pid is None:
        known = ", ".join(sorted(running)) or "none runs"
        raise RequestError(f'no service "{service}" runs on this board; there are: {known}')
    os.kill(pid, signum)
    return pid


def clear_guards(directory: Path) -> Mapping[str, Any]:
    """Ask the guards to forget what they did."""
    (directory / CLEAR).touch()
    return {"asked": True}


def _programs(directory: Path) -> dict[str, int]:
    """Process ids of the programs that are kept and run."""
    supervision = _json(directory / keeper.PROCESSES) or {}
    if keeper.holder_of(directory / keeper.LOCK) is None:
        return {}
    return {each["name"]: int(each["pid"]) for each in supervision.get("processes", []) if each["pid"]}


def _order_of(directory: Path) -> keeper.Order | None:
    try:
        return msgspec.json.decode((directory / keeper.ORDER).read_bytes(), type=keeper.Order)
    except (OSError, msgspec.DecodeError):
        return None


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
