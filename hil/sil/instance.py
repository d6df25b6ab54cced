"""Where a run keeps its things, and how others find it.

``.skyrack/<name>/`` below the working directory holds what lasts: state, keys, logs, results. Sockets live in a short
temporary directory, because a socket's path has a limit of 107 bytes.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from skyrack.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

HOME = Path(".skyrack")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class InstanceRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What ``instance.json`` says of a live run."""

    name: str
    supervisor_pid: int
    run_dir: str
    constellation: str
    rate: float
    ground_url: str = ""
    broker_url: str = ""
    metrics: dict[str, str] = msgspec.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Instance:
    """A run's directories."""

    name: str
    directory: Path

    @classmethod
    def named(cls, name: str, home: Path = HOME) -> Instance:
        """The instance of this name below ``home``; made when it is not there.

        Raises:
            UserError: the name is none for a directory.
        """
        if not _NAME.fullmatch(name):
            form = "must be letters, digits, '.', '_' and '-', at most 64, beginning with a letter or digit"
            raise UserError(f'name "{name}": {form}')
        directory = (home / name).resolve()
        directory.mkdir(parents=True, exist_ok=True)
        return cls(name, directory)

    @property
    def record_path(self) -> Path:
        """Where a live run says how to reach it."""
        return self.directory / "instance.json"

    @property
    def logs(self) -> Path:
        """Directory of log files."""
        return self.directory / "logs"

    def identity(self) -> str:
        """What marks every process of this instance, those of earlier runs too: a job's shim outlives a killed run."""
        path = self.directory / "identity"
        if not path.exists():
            path.write_text(uuid.uuid4().hex)
        return path.read_text().strip()

    def state(self, who: str) -> Path:
        """Directory where one satellite, or the ground, keeps what must last."""
        path = self.directory / "state" / who
        path.mkdir(parents=True, exist_ok=True)
        return path

    def read_record(self) -> InstanceRecord | None:
        """What the run says of itself; ``None`` when there is none."""
        try:
            return msgspec.json.decode(self.record_path.read_bytes(), type=InstanceRecord)
        except (OSError, msgspec.DecodeError):
            return None

    def write_record(self, record: InstanceRecord) -> None:
        """Replace ``instance.json`` in one step."""
        temporary = self.record_path.with_suffix(".tmp")
        temporary.touch(mode=0o600)  # the ground's address holds a token
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(record)))
        temporary.replace(self.record_path)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the instance for as long as it runs; the lock dies with its process, so it is never stale.

        Raises:
            UserError: it runs already.
        """
        descriptor = os.open(self.directory / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                message = (
                    f"{self.name} runs already in {self.directory}: "
                    f"end it with 'skyrack down', or choose another name with --name"
                )
                raise UserError(message) from None
            os.ftruncate(descriptor, 0)
            os.write(descriptor, str(os.getpid()).encode())
            try:
                yield
            finally:
                os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)

    @property
    def keeper_pid(self) -> int | None:
        """Process that holds it; known as soon as the run is begun."""
        try:
            return int((self.directory / "lock").read_text())
        except (OSError, ValueError):
            return None

    @property
    def live(self) -> bool:
        """Whether a process holds it."""
        try:
            descriptor = os.open(self.directory / "lock", os.O_RDWR)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False


@contextmanager
def socket_directory() -> Iterator[Path]:
    """A short-named directory for sockets, gone afterwards."""
    path = Path(tempfile.mkdtemp(prefix="skyrack-", dir="/tmp" if os.access("/tmp", os.W_OK) else None))  # noqa: S108 - mkdtemp makes it private
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def live_instances(home: Path = HOME) -> list[Instance]:
    """All runs below ``home`` that are up, come up or end, newest first."""
    found = sorted(home.glob("*/lock"), key=lambda path: path.stat().st_mtime, reverse=True)
    instances = [Instance(path.parent.name, path.parent.resolve()) for path in found]
    return [instance for instance in instances if instance.live]
