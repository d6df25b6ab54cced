"""One piece of work as processes of this host: its run directory, its shim, its meter."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import flight
from flight.compute.shim import files, tree
from flight.compute.shim.files import Control, Order, Status
from flight.compute.shim.sandbox import JOBS_GROUP
from flight.hal import OutputRecord, Work, WorkReport, WorkState
from hil.processes import RUN_VARIABLE

METER = "meter.json"
_ROOT = Path(flight.__file__).resolve().parent.parent
_SHIM = "import sys; sys.path.insert(0, sys.argv.pop(1)); from flight.compute.shim.supervise import main; main()"
# systemd's range for users that exist only while something runs: no file on disk belongs to them.
_FIRST_USER, _USERS = 61184, 4336


@dataclass(slots=True)
class Meter:
    """What is kept of a run besides the shim's status, so that a restarted driver goes on counting.

    ``written_seconds`` and ``cpu_seconds`` are those of the status that was counted last.
    """

    token: str
    cores: int
    energy_joules: float = 0.0
    written_seconds: float = 0.0
    cpu_seconds: float = 0.0
    lost: str = ""


class ProcessWork:
    """Work that a shim runs, or ran. Times of the host are the shim's; mission time is ``rate`` times theirs."""

    def __init__(self, directory: Path, meter: Meter, rate: float) -> None:
        self.directory = directory
        self.meter = meter
        self.busy_cores = float(meter.cores)
        self._rate = rate
        self._shim: subprocess.Popen[bytes] | None = None
        self._control = files.read(directory, files.CONTROL, Control) or Control()
        self.status = files.read(directory, files.STATUS, Status) or Status()

    @classmethod
    def found(cls, directory: Path, rate: float) -> ProcessWork | None:
        """What an earlier driver left in a directory; ``None`` when it came to nothing."""
        try:
            meter = Meter(**json.loads((directory / METER).read_bytes()))
        except (OSError, ValueError, TypeError):
            return None
        return cls(directory, meter, rate)

    @classmethod
    def begin(cls, directory: Path, work: Work, rate: float, hide: Sequence[str], duty_ratio: float) -> ProcessWork:
        """Start it."""
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True, mode=0o700)
        token = f"{work.work_id}-{secrets.token_hex(8)}"
        order = _order(work, token, rate, hide, directory)
        files.write(directory, files.ORDER, order)
        files.write(directory, files.CONTROL, Control(duty_ratio))
        started = cls(directory, Meter(token, work.cores), rate)
        started.keep()
        command = [sys.executable, "-I", "-S", "-c", _SHIM, str(_ROOT), str(directory)]
        with (directory / "shim.log").open("ab") as log:
            started._shim = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_marks(token),
                start_new_session=True,
            )
        return started

    def look(self) -> Status | None:
        """Read the shim's status; returned when it is a new one."""
        status = files.read(self.directory, files.STATUS, Status)
        if self._shim is not None:
            self._shim.poll()
        if status is None or status.written_seconds == self.status.written_seconds:
            return None
        self.status = status
        return status

    @property
    def ended(self) -> bool:
        """Whether it is over, one way or the other."""
        return bool(self.meter.lost) or self.status.state == "ended"

    def is_supervised(self) -> bool:
        """Whether its shim lives. A shim that is being started counts."""
        if self._shim is not None:
            return self._shim.poll() is None
        return tree.is_alive(self.status.shim_pid, self.status.shim_start, self.status.boot_id)

    def count(self, status: Status, draw_watts: float) -> None:
        """Add the energy up to this status."""
        elapsed = max(0.0, status.written_seconds - self.meter.written_seconds) if self.meter.written_seconds else 0.0
        self.meter.energy_joules += draw_watts * elapsed * self._rate
        self.meter.written_seconds, self.meter.cpu_seconds = status.written_seconds, status.cpu_seconds

    def measure(self, status: Status) -> float:
        """Cores that it kept busy between the last counted status and this one."""
        elapsed = status.written_seconds - self.meter.written_seconds
        if self.meter.written_seconds and elapsed > 0:
            self.busy_cores = max(0.0, status.cpu_seconds - self.meter.cpu_seconds) / elapsed
        return self.busy_cores

    def control(self, *, duty_ratio: float | None = None, stop: bool | None = None) -> None:
        """Tell the shim what is wanted, if that is news."""
        wanted = Control(
            self._control.duty_ratio if duty_ratio is None else duty_ratio,
            self._control.stop if stop is None else stop,
        )
        if wanted != self._control and not self.ended:
            self._control = wanted
            files.write(self.directory, files.CONTROL, wanted)
            if tree.is_alive(self.status.shim_pid, self.status.shim_start, self.status.boot_id):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(self.status.shim_pid, signal.SIGUSR1)

    def cut(self, reason: str) -> None:
        """End it at once, with no grace and no record, as a cut of power does."""
        self.meter.lost = reason
        self.keep()
        status = files.read(self.directory, files.STATUS, Status) or self.status
        # The shim first: it must not take the end of its job for an exit.
        if self._shim is not None:
            self._shim.kill()
            self._shim.wait()
        for pid, start in ((status.shim_pid, status.shim_start), (status.root_pid, status.root_start)):
            if tree.is_alive(pid, start, status.boot_id):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
        tree.kill_marked(f"SKYRACK_SHIM={self.meter.token}")
        tree.kill_marked(f"SKYRACK_WORK={self.meter.token}")

    def report(self) -> WorkReport:
        """What is known of it."""
        status = self.status
        state = WorkState.LOST if self.meter.lost else WorkState.EXITED if self.ended else WorkState.RUNNING
        return WorkReport(
            state=state,
            exit_code=status.exit_code if state is WorkState.EXITED else None,
            reason=self.meter.lost or status.reason,
            progress_ratio=status.progress_ratio,
            energy_joules=self.meter.energy_joules,
            run_seconds=status.wall_seconds * self._rate,
            stderr_tail=status.stderr_tail,
            stopped=status.stopped,
            limit=status.limit,
            outputs=tuple(OutputRecord(path, size, bytes.fromhex(digest)) for path, size, digest in status.outputs),
        )

    def keep(self) -> None:
        """Write the meter down."""
        temporary = self.directory / f"{METER}.new"
        with contextlib.suppress(OSError):
            temporary.write_text(json.dumps(asdict(self.meter)))
            temporary.replace(self.directory / METER)

    def remove(self) -> None:
        """Remove what is kept of it."""
        if self._shim is not None:
            self._shim.poll()
        shutil.rmtree(self.directory, ignore_errors=True)


def _marks(token: str) -> dict[str, str]:
    """By these, and nothing else of the driver's environment, a shim is found: by its driver, and by its run."""
    kept = {name: os.environ[name] for name in (RUN_VARIABLE, JOBS_GROUP) if os.environ.get(name)}
    return {"SKYRACK_SHIM": token, **kept}


def _order(work: Work, token: str, rate: float, hide: Sequence[str], directory: Path) -> Order:
    home = (work.work_dir or directory) / "home"
    return Order(
        work_id=work.work_id,
        token=token,
        command=list(work.command),
        program_dir=str((work.work_dir or directory) / "program"),
        input_dir=str(work.input_dir),
        output_dir=str(work.output_dir),
        checkpoint_dir=str(work.checkpoint_dir),
        home_dir=str(home),
        # "python3" is the Python that runs this driver, with whatever is installed beside it.
        path=os.pathsep.join([str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin"]),
        environment=dict(work.environment),
        cores=work.cores,
        memory_bytes=work.memory_bytes,
        disk_bytes=work.disk_bytes,
        grace_seconds=work.grace_seconds,
        limit_seconds=work.limit_seconds / rate,
        hide=list(hide),
        keep=sorted({sys.prefix, sys.base_prefix, str(Path(sys.executable).resolve().parent.parent)}),
        uid=_FIRST_USER + zlib.crc32(work.work_id.encode()) % _USERS if os.geteuid() == 0 else -1,
    )
