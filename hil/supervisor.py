"""Runs the processes of a run: starts them in stages, restarts what ends, leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import subprocess
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Self

from flight.executive.process_launcher import last_line
from flight.executive.restarts import RestartPolicy
from hil.processes import RUN_VARIABLE, adopt_orphans, kill_all, reap

_POLL_SECONDS = 0.05
_REAP_SECONDS = 5.0
_KILL_SECONDS = 0.5
_BAD_INPUT = 2
_PR_SET_PDEATHSIG = 1
# Made before a fork: in the child of a fork there is no time to look things up.
_prctl = ctypes.CDLL(None).prctl


class ProcessState(Enum):
    """What is known of a process."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    BACKOFF = "backoff"
    FAILED = "failed"


class SupervisorError(Exception):
    """A process did not come up, or ended too often; the sentence says which, why, and where its log is."""


@dataclass(frozen=True, slots=True)
class Program:
    """A process to run. Those of one ``stage`` start together, when those of the stage before are ready.

    ``ready`` is asked again and again until it says yes; without it a process is ready when it runs. ``environment``
    is added to this process's own.
    """

    name: str
    argv: Sequence[str]
    log: Path
    stage: int = 0
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: Path | None = None
    ready: Callable[[], bool] | None = None
    ready_seconds: float = 30.0


@dataclass(slots=True)
class _Process:
    program: Program
    popen: subprocess.Popen[bytes] | None = None
    state: ProcessState = ProcessState.STOPPED
    history: tuple[float, ...] = ()
    restarts: int = 0
    reason: str = ""
    timer: asyncio.TimerHandle | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    # Its next end is a fault that was asked for: it is started again so long after, and that is not counted.
    held_back_seconds: float | None = None


class Supervisor:
    """Use it as a context: ``async with Supervisor(programs): ...``. On the way out nothing is left running.

    All processes die with the thread that runs this, even when that is killed; programs that leave their parents
    (job shims) are found by the mark in their environment, here or by ``kill_all(run_id)`` later.
    """

    def __init__(
        self,
        programs: Sequence[Program],
        *,
        status_file: Path | None = None,
        run_id: str | None = None,
        on_event: Callable[[str, str], None] = lambda _name, _text: None,
    ) -> None:
        self.run_id = run_id or uuid.uuid4().hex
        self.failed: asyncio.Future[str] | None = None
        self._processes = {program.name: _Process(program) for program in programs}
        self._status_file = status_file
        self._on_event = on_event
        self._policy = RestartPolicy(maximum_restarts=10)
        self._stopping = False
        self._reaper: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self._leave()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._leave()

    async def _leave(self) -> None:
        try:
            await self.stop()
        finally:
            # Also where a second Ctrl-C ends the orderly way.
            kill_all(self.run_id)

    async def start(self) -> None:
        """Start all programs, stage by stage.

        Raises:
            SupervisorError: one did not become ready in its time.
        """
        self.failed = asyncio.get_running_loop().create_future()
        adopt_orphans()
        self._reap_later()
        for stage in sorted({process.program.stage for process in self._processes.values()}):
            members = [process for process in self._processes.values() if process.program.stage == stage]
            for process in members:
                self._spawn(process)
            await asyncio.gather(*(self._until_ready(process) for process in members))

    async def stop(self, within_seconds: float = 4.0) -> None:
        """End everything, the last stage first: SIGTERM, a grace, SIGKILL. Harmless when called twice."""
        self._stopping = True
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within_seconds
        if self._reaper is not None:
            self._reaper.cancel()
        stages = sorted({process.program.stage for process in self._processes.values()}, reverse=True)
        for count, stage in enumerate(stages):
            members = [process for process in self._processes.values() if process.program.stage == stage]
            grace = max(0.0, deadline - loop.time()) / (len(stages) - count)
            await self._end(members, grace)
        kill_all(self.run_id)
        self._write_status()

    def pid(self, name: str) -> int | None:
        """Process id of a program that runs."""
        popen = self._processes[name].popen
        return popen.pid if popen is not None else None

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to a program: a fault to be survived."""
        popen = self._processes[name].popen
        if popen is not None and popen.returncode is None:
            os.kill(popen.pid, number)

    def hold_back(self, name: str, seconds: float) -> None:
        """Start a program again only so long after its next end, which does not count as a failure."""
        self._processes[name].held_back_seconds = seconds

    def status(self) -> dict[str, Any]:
        """How each program is, as the status file holds it."""
        return {
            "run_id": self.run_id,
            "supervisor_pid": os.getpid(),
            "processes": [
                {
                    "name": name,
                    "pid": self.pid(name),
                    "state": process.state.value,
                    "restarts": process.restarts,
                    "reason": process.reason,
                    "log": str(process.program.log),
                }
                for name, process in self._processes.items()
            ],
        }

    def _spawn(self, process: _Process) -> None:
        program, parent = process.program, os.getpid()
        program.log.parent.mkdir(parents=True, exist_ok=True)

        def die_with_parent() -> None:
            _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)

        with program.log.open("ab") as log:
            process.popen = subprocess.Popen(
                list(program.argv),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=program.directory,
                env={**os.environ, **program.environment, RUN_VARIABLE: self.run_id},
                # A session of its own: Ctrl-C at the terminal reaches only whoever runs this.
                start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - nothing but two system calls
            )
        process.state = ProcessState.STARTING if program.ready is not None else ProcessState.RUNNING
        process.timer = None
        process.ended.clear()
        descriptor = os.pidfd_open(process.popen.pid)
        asyncio.get_running_loop().add_reader(descriptor, self._on_end, process, descriptor)
        self._write_status()

    async def _until_ready(self, process: _Process) -> None:
        program = process.program
        loop = asyncio.get_running_loop()
        deadline = loop.time() + program.ready_seconds
        while program.ready is not None and not program.ready():
            if process.state is ProcessState.FAILED:
                raise SupervisorError(f"{program.name} {process.reason}; its log is {program.log}")
            if loop.time() > deadline:
                why = last_line(program.log) or "it says nothing"
                text = (
                    f"{program.name} was not ready within {program.ready_seconds:g} s ({why}); its log is {program.log}"
                )
                raise SupervisorError(text)
            await asyncio.sleep(_POLL_SECONDS)
        if process.state is ProcessState.STARTING:
            process.state = ProcessState.RUNNING
            self._write_status()

    def _on_end(self, process: _Process, descriptor: int) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(descriptor)
        os.close(descriptor)
        popen, process.popen = process.popen, None
        if popen is None:
            return
        code = popen.wait()
        process.ended.set()
        if self._stopping:
            process.state = ProcessState.STOPPED
            return
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit status {code}"
        last = last_line(process.program.log)
        process.reason = f"{how}: {last}" if code > 0 and last else how
        delay, process.held_back_seconds = process.held_back_seconds, None
        if delay is None:
            process.history, delay = self._policy.next(process.history, loop.time())
        if code == _BAD_INPUT and process.state is ProcessState.STARTING:
            delay = None  # it was told something wrong, and would be told the same again
        if delay is None:
            process.state = ProcessState.FAILED
            text = f"{process.program.name} {process.reason}; its log is {process.program.log}"
            if self.failed is not None and not self.failed.done():
                self.failed.set_result(text)
        else:
            process.state = ProcessState.BACKOFF
            process.restarts += 1
            process.timer = loop.call_later(delay, self._restart, process)
        self._on_event(process.program.name, process.reason)
        self._write_status()

    def _restart(self, process: _Process) -> None:
        if self._stopping:
            return
        self._spawn(process)
        process.state = ProcessState.RUNNING
        self._write_status()

    async def _end(self, members: list[_Process], grace_seconds: float) -> None:
        for process in members:
            if process.timer is not None:
                process.timer.cancel()
            if process.popen is not None:
                process.popen.terminate()
        await _all_ended(members, grace_seconds)
        for process in members:
            if process.popen is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.popen.pid, signal.SIGKILL)
        await _all_ended(members, _KILL_SECONDS)
        for process in members:
            process.state = ProcessState.STOPPED

    def _reap_later(self) -> None:
        mine = frozenset(process.popen.pid for process in self._processes.values() if process.popen is not None)
        reap(except_for=mine)
        self._reaper = asyncio.get_running_loop().call_later(_REAP_SECONDS, self._reap_later)

    def _write_status(self) -> None:
        if self._status_file is None:
            return
        temporary = self._status_file.with_suffix(".tmp")
        # It is there to be looked at: a full disk ends nothing.
        with contextlib.suppress(OSError):
            temporary.write_text(json.dumps(self.status(), indent=1) + "\n", encoding="utf-8")
            temporary.replace(self._status_file)


async def _all_ended(members: list[_Process], within_seconds: float) -> None:
    waiting = [process.ended.wait() for process in members if process.popen is not None]
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.gather(*waiting), within_seconds)
