"""What driver and shim write for each other in a run directory: order, control, status. JSON, replaced atomically."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

ORDER = "order.json"
CONTROL = "control.json"
STATUS = "status.json"
STDOUT = "stdout.log"
STDERR = "stderr.log"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Order:
    """What to run. Limits of 0 are none; ``limit_seconds`` and ``grace_seconds`` are of the host's clock.

    ``token`` stands in the environment of all that the job starts. ``hide`` are directories that the job shall not
    see, ``keep`` those it may read nevertheless. ``uid`` -1 keeps the user.
    """

    work_id: str
    token: str
    command: list[str]
    program_dir: str
    input_dir: str
    output_dir: str
    checkpoint_dir: str
    home_dir: str
    path: str
    environment: dict[str, str] = field(default_factory=dict)
    cores: int = 1
    memory_bytes: int = 0
    disk_bytes: int = 0
    processes: int = 128
    grace_seconds: float = 10.0
    limit_seconds: float = 0.0
    hide: list[str] = field(default_factory=list)
    keep: list[str] = field(default_factory=list)
    uid: int = -1


@dataclass(frozen=True, slots=True)
class Control:
    """What the driver wants now: the part of the time that the job may run, and whether it shall end."""

    duty_ratio: float = 1.0
    stop: bool = False


@dataclass(slots=True)
class Status:
    """How it is. ``state``: starting, running, ended. A process is named by its id, start time and boot."""

    state: str = "starting"
    boot_id: str = ""
    shim_pid: int = 0
    shim_start: int = 0
    root_pid: int = 0
    root_start: int = 0
    isolation: list[str] = field(default_factory=list)
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    written_seconds: float = 0.0
    memory_bytes: int = 0
    progress_ratio: float = 0.0
    exit_code: int | None = None
    stopped: bool = False
    limit: str = ""
    reason: str = ""
    stderr_tail: str = ""
    # Path, size, SHA-256 in hex.
    outputs: list[tuple[str, int, str]] = field(default_factory=list)


def write(directory: Path, name: str, content: Order | Control | Status, *, durable: bool = False) -> None:
    """Replace a file: a reader sees the old content or the new; a durable one outlives a cut of power."""
    temporary = directory / f"{name}.new"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    # A bare os.write may write a part only, on a disk that is nearly full, and say nothing.
    with os.fdopen(descriptor, "wb") as file:
        file.write(json.dumps(asdict(content)).encode())
        file.flush()
        if durable:
            os.fsync(descriptor)
    temporary.replace(directory / name)
    if durable:
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read(directory: Path, name: str, kind: type[T]) -> T | None:
    """What stands in a file; ``None`` when it is not there or not readable as such."""
    try:
        values: dict[str, Any] = json.loads((directory / name).read_bytes())
        known = {item.name for item in fields(kind)}  # type: ignore[arg-type]
        return kind(**{key: value for key, value in values.items() if key in known})
    except (OSError, ValueError, TypeError, AttributeError):
        return None
