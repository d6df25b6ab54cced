"""Where jobs live on disk: each attempt in a directory of its own, and results until the gateway has them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from flight.compute.lifecycle import JobRecord
from flight.hal import OutputRecord, Work
from skyrack.archive import ArchiveError, entries_of, pack, unpack
from skyrack.jobfile import PACKAGE_LIMIT_BYTES

RESULT_LIMIT_BYTES: Final = 256 << 20
UNPACKED_LIMIT_BYTES: Final = 4 * PACKAGE_LIMIT_BYTES


@dataclass(frozen=True, slots=True)
class Result:
    """A job's outputs, packed: in a file, or as bytes where there are no files."""

    sha256: bytes
    size_bytes: int
    path: str = ""
    content: bytes = b""


class WorkDirs:
    """Directories of work; without a base there are none, and work is only modelled."""

    def __init__(self, base: Path | None) -> None:
        self._base = base

    def prepare(self, record: JobRecord) -> None:
        """Unpack a package where its attempt will run. Harmless when repeated.

        Raises:
            ArchiveError: the package is not what its specification says, or cannot be unpacked.
        """
        if self._base is None or not record.package_path:
            return
        directory = self._directory(record)
        if (directory / "unpacked").exists():
            return
        package = Path(record.package_path)
        try:
            data = package.read_bytes()
        except OSError as error:
            raise ArchiveError(f"{package}: the package cannot be read ({error.strerror})") from error
        expected = record.placement.spec.package_sha256
        if expected and hashlib.sha256(data).digest() != expected:
            raise ArchiveError("the package is damaged: its SHA-256 is not the one in its specification")
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True, mode=0o700)
        unpack(data, directory, UNPACKED_LIMIT_BYTES)
        for name in ("program", "input", "checkpoint", "output"):
            (directory / name).mkdir(exist_ok=True)
        # The marker must not outlive, on a disk that lost its power, what it vouches for.
        _sync(directory)
        (directory / "unpacked").touch()
        _sync_one(directory)
        _sync_one(directory.parent)

    def work(self, record: JobRecord, remaining_limit_seconds: float) -> Work:
        """What a rack node is asked to run."""
        spec = record.placement.spec
        resources = spec.resources
        directory = self._directory(record) if self._base is not None else None
        return Work(
            work_id=record.work_id,
            command=tuple(spec.command),
            power_watts=resources.power_watts,
            memory_bytes=resources.memory_bytes,
            cores=max(1, resources.cores),
            grace_seconds=spec.grace_seconds,
            limit_seconds=remaining_limit_seconds,
            expected_seconds=resources.expected_seconds,
            disk_bytes=resources.disk_bytes,
            checkpoint=spec.checkpoint,
            work_dir=directory,
            input_dir=directory / "input" if directory else None,
            output_dir=directory / "output" if directory else None,
            checkpoint_dir=directory / "checkpoint" if directory else None,
            environment=dict(pair.split("=", 1) for pair in spec.environment if "=" in pair),
        )

    def restart_clean(self, record: JobRecord) -> None:
        """Without a checkpoint a stopped job begins again, with nothing of its first try in the way."""
        if self._base is None or record.placement.spec.checkpoint:
            return
        for name in ("output", "checkpoint"):
            directory = self._directory(record) / name
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir(parents=True, exist_ok=True)

    def collect(self, record: JobRecord) -> tuple[Result | None, tuple[OutputRecord, ...]]:
        """Pack what a job left in its output directory.

        Raises:
            ArchiveError: it left something that cannot be packed.
        """
        if self._base is None:
            return self._modelled(record)
        output = self._directory(record) / "output"
        entries = list(entries_of(output))
        if not entries:
            return None, ()
        tar = pack(entries, RESULT_LIMIT_BYTES)
        results = self._base / "results"
        results.mkdir(parents=True, exist_ok=True)
        path = results / f"{record.work_id}.tar"
        temporary = path.with_suffix(".new")
        with temporary.open("wb") as file:
            file.write(tar)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        outputs = tuple(
            OutputRecord(entry.name, entry.path.stat().st_size, hashlib.sha256(entry.path.read_bytes()).digest())
            for entry in entries
        )
        return Result(hashlib.sha256(tar).digest(), len(tar), path=str(path)), outputs

    def kept(self, record: JobRecord) -> tuple[str, bytes]:
        """A job's result as path or content; both are empty when the gateway has taken it."""
        if self._base is not None:
            path = record.result_path
            return (path if path and Path(path).is_file() else ""), b""
        result, _ = self._modelled(record)
        return "", result.content if result else b""

    def _modelled(self, record: JobRecord) -> tuple[Result | None, tuple[OutputRecord, ...]]:
        content = json.dumps(
            {"job_id": record.job_id, "attempt": record.attempt, "energy_joules": record.energy_joules},
            sort_keys=True,
        ).encode()
        digest = hashlib.sha256(content).digest()
        return Result(digest, len(content), content=content), (OutputRecord("result.json", len(content), digest),)

    def attempts(self) -> set[str]:
        """Ids of all work of which anything is here."""
        if self._base is None:
            return set()
        work = {path.name for path in (self._base / "work").glob("*")}
        return work | {path.stem for path in (self._base / "results").glob("*")}

    def remove(self, work_id: str) -> None:
        """Remove an attempt's directory and its result."""
        if self._base is not None:
            shutil.rmtree(self._base / "work" / work_id, ignore_errors=True)
            for suffix in (".tar", ".new"):
                (self._base / "results" / f"{work_id}{suffix}").unlink(missing_ok=True)

    def _directory(self, record: JobRecord) -> Path:
        if self._base is None:
            raise RuntimeError("modelled work has no directory")
        return self._base / "work" / record.work_id


def _sync(directory: Path) -> None:
    """Bring all that a directory holds to the disk."""
    for base, _, names in os.walk(directory):
        for name in names:
            _sync_one(Path(base, name))
        _sync_one(Path(base))


def _sync_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
