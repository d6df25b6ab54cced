"""What the driver keeps of a piece of work that runs on another board; it outlives the driver."""

from __future__ import annotations

import contextlib
import enum
import math
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from flight.hal import Work, WorkReport, WorkState

_FILE = "remote.json"


class Phase(enum.Enum):
    """How far it is."""

    SENDING = "sending"
    RUNNING = "running"
    ENDED = "ended"


class _Kept(msgspec.Struct, frozen=True):
    work_dir: str
    phase: Phase
    report: WorkReport


@dataclass(slots=True)
class RemoteWork:
    """A piece of work; ``mark`` tells the checkpoint that is here, ``stop`` whether it was asked to end."""

    work_id: str
    work_dir: Path
    directory: Path
    phase: Phase = Phase.SENDING
    report: WorkReport = field(default_factory=lambda: WorkReport(WorkState.RUNNING))
    mark: str = ""
    stop: bool = False
    # Host time from which the node is to know of it.
    begun_seconds: float = -math.inf

    @classmethod
    def new(cls, base: Path, work: Work) -> RemoteWork:
        """Begin to keep it."""
        directory = base / work.work_id
        directory.mkdir(parents=True, exist_ok=True)
        if work.work_dir is None:
            raise ValueError(f"{work.work_id} has no directory")
        remote = cls(work.work_id, work.work_dir, directory)
        remote.keep(remote.report)
        return remote

    @property
    def open(self) -> bool:
        """Whether its end is still to come."""
        return self.phase is not Phase.ENDED

    def area(self, area: str) -> Path:
        """Where an area is on this board."""
        return self.work_dir / area

    def keep(self, report: WorkReport) -> None:
        """Take what the node reports, and write it down when the phase or the second is new."""
        self.report = report
        content = msgspec.json.encode(_Kept(str(self.work_dir), self.phase, report))
        temporary = self.directory / f"{_FILE}.new"
        with contextlib.suppress(OSError):
            temporary.write_bytes(content)
            temporary.replace(self.directory / _FILE)

    def finish(self, report: WorkReport) -> None:
        """It ended, and all that it left is here."""
        self.phase = Phase.ENDED
        self.keep(report)

    def lose(self, reason: str) -> None:
        """It is lost back to its last checkpoint."""
        if self.open:
            self.phase = Phase.ENDED
            self.keep(replace(self.report, state=WorkState.LOST, reason=reason))

    def remove(self) -> None:
        """Drop what is kept."""
        shutil.rmtree(self.directory, ignore_errors=True)


def kept(base: Path) -> dict[str, RemoteWork]:
    """What an earlier driver left, by id. What was still being sent never ran."""
    found = {}
    for path in sorted(base.glob(f"*/{_FILE}")):
        try:
            read = msgspec.json.decode(path.read_bytes(), type=_Kept)
        except (OSError, msgspec.DecodeError):
            continue
        work = RemoteWork(path.parent.name, Path(read.work_dir), path.parent, read.phase, read.report)
        if work.phase is Phase.SENDING:
            work.lose("the flight computer was restarted while it was sent")
        found[work.work_id] = work
    return found
