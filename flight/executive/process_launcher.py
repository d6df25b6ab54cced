"""Services as processes, forked from a zygote and watched through it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from pathlib import Path

from flight.executive.launcher import Exit, OnExit, OnLost, ignore_exit, ignore_loss
from flight.executive.zygote import Run, fork_zygote

_LONGEST_MESSAGE_BYTES = 4096
_TAIL_BYTES = 2000


class ProcessLauncher:
    """Make it before there is an event loop or a thread: it forks. Nothing that it starts outlives this process.

    Raises:
        RuntimeError: this process has threads already.
        OSError: no process can be forked.
    """

    shortest_ping_period_seconds = 0.0

    def __init__(self, name: str, run: Run, log_dir: Path) -> None:
        self.on_exit: OnExit = ignore_exit
        self.on_lost: OnLost = ignore_loss
        self.pids: dict[str, int] = {}
        self._log_dir = log_dir
        self._asked: set[str] = set()
        self._gone = asyncio.Event()
        self._zygote, self._socket = fork_zygote(name, run, log_dir)

    async def open(self) -> None:
        asyncio.get_running_loop().add_reader(self._socket, self._hear)

    def start(self, service: str) -> None:
        self._asked.discard(service)
        self._tell({"start": service})

    def stop(self, service: str) -> None:
        self._signal(service, signal.SIGTERM)

    def kill(self, service: str) -> None:
        self._signal(service, signal.SIGKILL)

    async def close(self, grace_seconds: float) -> None:
        self.on_exit, self.on_lost = ignore_exit, ignore_loss
        loop = asyncio.get_running_loop()
        for service in list(self.pids):
            self.stop(service)
        self._gone.clear()
        if self.pids:
            try:
                await asyncio.wait_for(self._gone.wait(), grace_seconds)
            except TimeoutError:
                for service in list(self.pids):
                    self.kill(service)
        loop.remove_reader(self._socket)
        # The zygote kills what is left when its socket ends, and ends with it.
        self._socket.close()
        await loop.run_in_executor(None, _wait_for, self._zygote)

    def _signal(self, service: str, number: int) -> None:
        self._asked.add(service)
        self._tell({"service": service, "signal": number})

    def _tell(self, message: dict[str, object]) -> None:
        with contextlib.suppress(BrokenPipeError):  # the zygote is gone: the next read says so
            self._socket.send(json.dumps(message).encode())

    def _hear(self) -> None:
        while True:
            try:
                data = self._socket.recv(_LONGEST_MESSAGE_BYTES)
            except BlockingIOError:
                return
            except ConnectionError:
                data = b""
            if not data:
                asyncio.get_running_loop().remove_reader(self._socket)
                self.pids.clear()
                self._gone.set()
                self.on_lost("the zygote has ended, and all services with it")
                return
            message = json.loads(data)
            if "started" in message:
                self.pids[message["started"]] = message["pid"]
            else:
                service = message["ended"]
                self.pids.pop(service, None)
                if not self.pids:
                    self._gone.set()
                self.on_exit(service, self._describe(service, message["status"]))

    def _describe(self, service: str, status: int) -> Exit:
        code = os.waitstatus_to_exitcode(status)
        if code == 0:
            return Exit(clean=True, reason="ended")
        if code < 0:
            name = signal.Signals(-code).name
            return Exit(clean=service in self._asked, reason=f"killed by {name}")
        return Exit(clean=False, reason=f"exit status {code}: {last_line(self._log_dir / f'{service}.stderr')}")


def last_line(path: Path) -> str:
    """The last line of a file that is not empty: of a traceback, what was raised."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _wait_for(pid: int) -> None:
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:
        return
