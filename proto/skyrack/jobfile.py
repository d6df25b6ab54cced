"""The job file: what a person writes to have a program run in orbit.

    name = "digits-training"
    command = ["python3", "train.py", "--epochs", "40"]
    inputs = ["samples"]            # found in SKYRACK_INPUT_DIR
    checkpoint = true               # keeps its state in SKYRACK_CHECKPOINT_DIR

    [resources]
    power_watts = 400
    memory = "512 MiB"
    expected = "20 min"             # mission time

The file's directory is the job's: program and inputs are packed from it, and from nowhere else.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from skyrack import files
from skyrack.archive import ArchiveError, Entry, entries_of, pack, safe_name
from skyrack.files import FileError
from skyrack.v1 import job_pb2

__all__ = ["PACKAGE_LIMIT_BYTES", "JobFile", "bytes_of", "load", "package", "seconds_of", "submitted"]

PACKAGE_LIMIT_BYTES: Final = 64 << 20
"""Largest package that goes up."""

_SECONDS: Final = {
    "ms": 1e-3,
    "s": 1.0,
    "sec": 1.0,
    "min": 60.0,
    "h": 3600.0,
    "hour": 3600.0,
    "hours": 3600.0,
    "d": 86400.0,
}
_BYTES: Final = {
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
}
_QUANTITY: Final = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]+)\s*")
_INTERPRETERS: Final = frozenset({"python3", "python", "sh", "bash", "perl", "node", "ruby"})

Duration = float | str
Size = int | str
Text = Annotated[str, Meta(min_length=1, max_length=4096)]


class _Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Resources(_Struct, frozen=True):
    """What the job needs of a rack node. Durations are mission time."""

    power_watts: Annotated[float, Meta(gt=0)]
    cores: Annotated[int, Meta(ge=1, le=1024)] = 1
    memory: Size = "512 MiB"
    disk: Size = "256 MiB"
    expected: Duration = 0.0
    limit: Duration = 0.0


class JobFile(_Struct, frozen=True):
    """A job file as it is written. ``files`` go along beside the program that the command names."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    command: Annotated[tuple[Text, ...], Meta(min_length=1, max_length=256)]
    resources: Resources
    description: str = ""
    files: tuple[Text, ...] = ()
    inputs: tuple[Text, ...] = ()
    environment: dict[str, str] = {}
    priority: Annotated[int, Meta(ge=0, le=100)] = 50
    deadline: Duration = 0.0
    grace: Duration = "10 s"
    checkpoint: bool = False
    retries: Annotated[int, Meta(ge=0, le=10)] = 0


def seconds_of(path: Path, key: str, value: Duration) -> float:
    """A duration of a job file in seconds: a number of them, or "90 s", "20 min", "2 h", "1 d".

    Raises:
        FileError: it is none, or negative.
    """
    seconds = _quantity(value, _SECONDS) if isinstance(value, str) else float(value)
    if seconds is None or seconds < 0:
        raise FileError(path, 'must be a duration, seconds or like "20 min", not negative', key=key, value=value)
    return seconds


def bytes_of(path: Path, key: str, value: Size) -> int:
    """A size of a job file in bytes: a number of them, or "512 MiB", "2 GB".

    Raises:
        FileError: it is none, or not positive.
    """
    size = _quantity(value, _BYTES) if isinstance(value, str) else float(value)
    if size is None or size < 1:
        raise FileError(path, 'must be a size, bytes or like "512 MiB", more than 0', key=key, value=value)
    return int(size)


def _quantity(text: str, units: dict[str, float] | dict[str, int]) -> float | None:
    match = _QUANTITY.fullmatch(text)
    if match is None or match[2] not in units:
        return None
    return float(match[1]) * units[match[2]]


def load(path: Path) -> JobFile:
    """Read and check a job file, without its program and inputs.

    Raises:
        FileError: one sentence with file, key, value and what would be right.
    """
    job = files.load(path, JobFile)
    for name in job.environment:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise FileError(path, "must be a name of letters, digits and _", key="environment", value=name)
        if name.startswith(("SKYRACK_", "LD_")):
            raise FileError(path, "names of SKYRACK_ and LD_ are not the job's to set", key="environment", value=name)
    return job


def package(path: Path | str) -> tuple[job_pb2.JobSpec, bytes]:
    """Read a job file and pack what it needs: its specification, and a tar of program/ and input/.

    The specification has no job id, submitter or times yet; see :func:`submitted`.

    Raises:
        FileError: something in the file, or something that it names, is not right.
    """
    path = Path(path)
    job = load(path)
    resources = job.resources
    limit = seconds_of(path, "resources.limit", resources.limit)
    expected = seconds_of(path, "resources.expected", resources.expected)
    if limit and expected > limit:
        problem = f"must not be more than resources.limit = {limit:g} s"
        raise FileError(path, problem, key="resources.expected", value=resources.expected)
    spec = job_pb2.JobSpec(
        name=job.name,
        command=job.command,
        resources=job_pb2.JobResources(
            power_watts=resources.power_watts,
            cores=resources.cores,
            memory_bytes=bytes_of(path, "resources.memory", resources.memory),
            disk_bytes=bytes_of(path, "resources.disk", resources.disk),
            expected_seconds=expected,
            limit_seconds=limit,
        ),
        priority=job.priority,
        lifetime_seconds=seconds_of(path, "deadline", job.deadline),
        grace_seconds=seconds_of(path, "grace", job.grace),
        checkpoint=job.checkpoint,
        environment=[f"{name}={value}" for name, value in sorted(job.environment.items())],
        attempts=job.retries + 1,
    )
    tar = _pack(path, job)
    spec.package_sha256 = hashlib.sha256(tar).digest()
    spec.package_bytes = len(tar)
    return spec, tar


def submitted(spec: job_pb2.JobSpec, job_id: str, submitter: str, mission_time_seconds: float) -> job_pb2.JobSpec:
    """The specification as the ground takes it: named, dated, with an absolute deadline."""
    taken = job_pb2.JobSpec()
    taken.CopyFrom(spec)
    taken.job_id = job_id
    taken.submitter = submitter
    taken.submitted_seconds = mission_time_seconds
    if spec.lifetime_seconds > 0:
        taken.deadline_seconds = mission_time_seconds + spec.lifetime_seconds
    return taken


def _pack(path: Path, job: JobFile) -> bytes:
    directory = path.parent
    entries: dict[str, Entry] = {}

    def add(entry: Entry, key: str, value: str) -> None:
        other = entries.setdefault(entry.name, entry)
        if other.path.resolve() != entry.path.resolve():
            raise FileError(path, f'lands on "{entry.name}" like {other.path}; rename one', key=key, value=value)

    for key, name in _programs(path, job):
        for entry in _found(path, key, name, f"program/{_safe(path, key, name)}"):
            add(entry, key, name)
    for index, name in enumerate(job.inputs):
        key = f"inputs[{index}]"
        for entry in _found(path, key, name, f"input/{Path(name).name}"):
            add(entry, key, name)
    try:
        return pack(entries.values(), PACKAGE_LIMIT_BYTES)
    except ArchiveError as error:
        raise FileError(directory, str(error)) from error


def _programs(path: Path, job: JobFile) -> list[tuple[str, str]]:
    """Keys and names of what goes into program/: what the command runs, and ``files``."""
    found: list[tuple[str, str]] = []
    command = job.command
    if "/" in command[0] or (path.parent / command[0]).is_file():
        found.append(("command[0]", command[0]))
    elif Path(command[0]).name in _INTERPRETERS:
        script = next((index for index, word in enumerate(command) if index and not word.startswith("-")), None)
        before = command[1] if len(command) > 1 else ""
        if script is not None and before not in ("-c", "-m", "-e"):
            found.append((f"command[{script}]", command[script]))
    elif Path(command[0]).suffix:
        found.append(("command[0]", command[0]))
    found += [(f"files[{index}]", name) for index, name in enumerate(job.files)]
    return found


def _found(path: Path, key: str, name: str, packed_name: str) -> list[Entry]:
    _safe(path, key, name)
    target = path.parent / name
    if not target.exists():
        raise FileError(path, f"there is no such file in {path.parent.resolve()}", key=key, value=name)
    if not target.resolve().is_relative_to(path.parent.resolve()):
        raise FileError(path, "links out of the job's directory; copy the file there", key=key, value=name)
    if not target.is_dir():
        return [Entry(packed_name, target)]
    try:
        return [entry for entry in entries_of(target, packed_name + "/") if "__pycache__" not in entry.name]
    except ArchiveError as error:
        raise FileError(path, str(error), key=key, value=name) from error


def _safe(path: Path, key: str, name: str) -> str:
    try:
        return safe_name(name)
    except ArchiveError as error:
        raise FileError(path, str(error), key=key, value=name) from error
