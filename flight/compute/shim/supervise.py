"""The shim's loop: relays progress and output, holds the limits, obeys the driver's control file, records the end."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import resource
import selectors
import shutil
import signal
import sys
import time
from pathlib import Path

from flight.compute.shim import files, sandbox, tree
from flight.compute.shim.files import Control, Order, Status
from flight.compute.shim.launch import Launched, launch
from flight.compute.shim.meters import Meters

POLL_SECONDS = 0.1
STATUS_SECONDS = 0.2
DUTY_PERIOD_SECONDS = 0.2
RETRY_SECONDS = 1.0
LOG_LIMIT_BYTES = 1 << 20
TAIL_BYTES = 4096
LINE_LIMIT_BYTES = 1 << 16


class _Log:
    """The beginning of an output in a file, and its end in memory."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)
        self._room = LOG_LIMIT_BYTES - self._file.tell()
        self.tail = b""

    def add(self, data: bytes) -> None:
        self.tail = (self.tail + data)[-TAIL_BYTES:]
        if self._room > 0:
            with contextlib.suppress(OSError):
                self._file.write(data[: self._room])
            self._room -= len(data)


class Shim:
    """One job under supervision."""

    def __init__(self, directory: Path, order: Order) -> None:
        self._directory = directory
        self._order = order
        self._meters = Meters(order)
        self._status = Status(boot_id=tree.boot_id(), shim_pid=os.getpid())
        own = tree.process(os.getpid())
        self._status.shim_start = own.start if own else 0
        self._control = Control()
        self._control_seen: tuple[int, int] = (0, 0)
        self._begun = 0.0
        self._exit: int | None = None
        self._stop_at: float | None = None
        self._killed = False
        self._paused = False
        self._partial = {"progress": b"", "messages": b""}

    def run(self) -> None:
        """Run the job to its end."""
        self._write()
        wake_reader, wake_writer = os.pipe()
        os.set_blocking(wake_reader, False)
        os.set_blocking(wake_writer, False)
        signal.signal(signal.SIGUSR1, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: None)
        logs = {"stdout": _Log(self._directory / files.STDOUT), "stderr": _Log(self._directory / files.STDERR)}
        self._prepare_owner()
        self._begun = time.monotonic()
        launched = launch(self._order)
        signal.set_wakeup_fd(wake_writer, warn_on_full_buffer=False)
        with selectors.DefaultSelector() as selector:
            for name in ("stdout", "stderr", "progress", "messages"):
                descriptor: int = getattr(launched, name)
                os.set_blocking(descriptor, False)
                selector.register(descriptor, selectors.EVENT_READ, name)
            selector.register(wake_reader, selectors.EVENT_READ, "wake")
            self._loop(selector, logs)
            self._end(launched)
            self._drain(selector, logs)
        self._record(logs["stderr"].tail)

    def _loop(self, selector: selectors.BaseSelector, logs: dict[str, _Log]) -> None:
        next_poll = next_status = 0.0
        while self._exit is None:
            now = time.monotonic()
            if now >= next_poll:
                self._poll(now)
                next_poll = now + POLL_SECONDS
            if now >= next_status:
                self._write()
                next_status = now + STATUS_SECONDS
            wait = self._pulse(now)
            for key, _ in selector.select(min(wait, max(0.0, next_poll - time.monotonic()))):
                self._take(key, selector, logs)
                if key.data == "wake":
                    next_poll = 0.0

    def _take(self, key: selectors.SelectorKey, selector: selectors.BaseSelector, logs: dict[str, _Log]) -> bool:
        """Take what stands in one pipe; whether there was anything."""
        name: str = key.data
        try:
            data = os.read(key.fd, 1 << 16)
        except BlockingIOError:
            return False
        if not data:
            selector.unregister(key.fd)
            if name == "messages" and self._exit is None:
                self._exit = -signal.SIGKILL  # the job's parent is gone without a word
        elif name in logs:
            logs[name].add(data)
        elif name != "wake":
            *lines, rest = (self._partial[name] + data).split(b"\n")
            self._partial[name] = rest[-LINE_LIMIT_BYTES:]
            for line in lines:
                self._hear(name, line)
        return bool(data)

    def _hear(self, name: str, line: bytes) -> None:
        # A job may write anything here: none of it ends its shim.
        with contextlib.suppress(ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RecursionError):
            values = json.loads(line)
            if name == "progress":
                self._status.progress_ratio = min(1.0, max(0.0, float(values["progress"])))
                return
            if "isolation" in values:
                self._status.isolation = values["isolation"]
                if self._order.uid >= 0:
                    self._status.isolation.append(f"user {self._order.uid}")
            if "root" in values:
                self._meters.root_pid = self._status.root_pid = values["root"]
                root = tree.process(values["root"])
                self._status.root_start = root.start if root else 0
                self._status.state = "running"
            if "error" in values:
                self._status.reason = values["error"]
            if "exit" in values:
                self._exit = values["exit"]

    def _poll(self, now: float) -> None:
        """Obey the control file, read the meters, hold the limits."""
        with contextlib.suppress(OSError):
            found = (self._directory / files.CONTROL).stat()
            seen = (found.st_ino, found.st_mtime_ns)
            if seen != self._control_seen:
                self._control_seen = seen
                self._control = files.read(self._directory, files.CONTROL, Control) or self._control
        if not self._meters.root_pid:
            return
        self._meters.read(now - self._begun, now)
        if self._meters.limit:
            self._kill()
        elif self._control.stop and self._stop_at is None:
            self._stop_at = now + self._order.grace_seconds
            self._ask()
        elif self._stop_at is not None and now >= self._stop_at:
            self._kill()

    def _jobs(self) -> list[int]:
        return tree.descendants(self._meters.root_pid)

    def _ask(self) -> None:
        """SIGTERM to the job and all of its group; it may have been paused for the power cap."""
        self._status.stopped = True
        pids = self._jobs()
        for pid in pids[:1]:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGTERM)
        tree.send(pids, signal.SIGCONT)
        self._paused = False

    def _kill(self) -> None:
        if not self._killed:
            self._killed = True
            tree.kill_descendants(self._meters.root_pid)

    def _pulse(self, now: float) -> float:
        """Pause and continue the job for its part of each period; seconds until the next change."""
        duty = self._control.duty_ratio
        if self._stop_at is not None or self._killed or not self._meters.root_pid:
            return POLL_SECONDS
        phase = (now - self._begun) % DUTY_PERIOD_SECONDS
        pause = duty < 1.0 and phase >= duty * DUTY_PERIOD_SECONDS
        if pause != self._paused:
            self._paused = pause
            tree.send(self._jobs(), signal.SIGSTOP if pause else signal.SIGCONT)
        if duty >= 1.0:
            return POLL_SECONDS
        return (DUTY_PERIOD_SECONDS if pause else duty * DUTY_PERIOD_SECONDS) - phase + 1e-3

    def _end(self, launched: Launched) -> None:
        """Nothing of the job is left running."""
        os.close(launched.alive)
        tree.kill_descendants(os.getpid())
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-1, 0)
        tree.kill_marked(f"SKYRACK_WORK={self._order.token}")
        self._meters.read_disk(time.monotonic())

    def _drain(self, selector: selectors.BaseSelector, logs: dict[str, _Log]) -> None:
        """Take what still stands in the pipes; their writers are dead."""
        for key in list(selector.get_map().values()):
            while key.data != "wake" and key.fd in selector.get_map() and self._take(key, selector, logs):
                pass

    def _record(self, stderr_tail: bytes) -> None:
        """Write down the end, durably: from here on the job is never run again."""
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        self._meters.cpu_seconds = max(self._meters.cpu_seconds, used.ru_utime + used.ru_stime)
        status = self._status
        status.exit_code = self._exit
        status.limit = self._meters.limit
        status.reason = self._meters.reason or status.reason
        # It ended by itself if it was not yet asked to.
        status.stopped = self._stop_at is not None and not status.limit
        status.stderr_tail = stderr_tail.decode(errors="replace")
        status.outputs = _hashes(Path(self._order.output_dir))
        shutil.rmtree(self._order.home_dir, ignore_errors=True)
        status.state = "ended"
        while not self._write(durable=True):
            # A full disk: without this record the job would be run again.
            time.sleep(RETRY_SECONDS)

    def _write(self, *, durable: bool = False) -> bool:
        """Write the status; whether that was possible. A full disk must not end the supervision."""
        status = self._status
        status.written_seconds = time.monotonic()
        status.wall_seconds = status.written_seconds - self._begun if self._begun else 0.0
        status.cpu_seconds = self._meters.cpu_seconds
        status.memory_bytes = self._meters.memory_bytes
        try:
            files.write(self._directory, files.STATUS, status, durable=durable)
        except FileNotFoundError:
            return True  # the run directory was removed: nobody wants to know any more
        except OSError:
            return False
        return True

    def _prepare_owner(self) -> None:
        """Directories that the job writes to, and reads from, become its user's."""
        order = self._order
        Path(order.home_dir).mkdir(mode=0o700, parents=True, exist_ok=True)
        if order.uid < 0:
            return
        for top in (order.program_dir, order.input_dir, order.output_dir, order.checkpoint_dir, order.home_dir):
            for directory, _, names in os.walk(top):
                for name in ("", *names):
                    os.chown(Path(directory, name), order.uid, order.uid, follow_symlinks=False)


def _hashes(directory: Path) -> list[tuple[str, int, str]]:
    found = []
    for path in sorted(directory.rglob("*")):
        with contextlib.suppress(OSError):
            if not path.is_file() or path.is_symlink():
                continue
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            # A name may be any bytes; a status is text.
            name = os.fsencode(path.relative_to(directory)).decode(errors="replace")
            found.append((name, path.stat().st_size, digest))
    return found


def main() -> None:
    """``python -c … RUN_DIRECTORY``: supervise the job whose order lies there."""
    directory = Path(sys.argv[1])
    with contextlib.suppress(PermissionError):
        os.setsid()
    order = files.read(directory, files.ORDER, Order)
    if order is None:
        raise SystemExit(f"{directory}: there is no order here")
    sandbox.join_jobs_group()
    with contextlib.suppress(OSError):
        sandbox.become_subreaper()
    Shim(directory, order).run()
