"""A job that came by a browser: an archive of its folder, or its files; checked by the same rules as everywhere."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from skyrack import jobfile
from skyrack.archive import safe_name
from skyrack.errors import UserError
from skyrack.v1 import job_pb2

__all__ = ["FILES_MAXIMUM", "LIMIT_BYTES", "Prepared", "Uploaded", "prepare", "prepare_shipped"]

LIMIT_BYTES: Final = jobfile.PACKAGE_LIMIT_BYTES + (1 << 20)
FILES_MAXIMUM: Final = 5000
_ARCHIVES: Final = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".zip")
_JOB_FILE: Final = "job.toml"


@dataclass(frozen=True, slots=True)
class Uploaded:
    """A file as the browser sent it; ``name`` may be a path within a folder."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Prepared:
    """A job that could be submitted."""

    spec: job_pb2.JobSpec
    package: bytes
    description: str


def prepare_shipped(path: Path) -> Prepared:
    """A job that comes with Skyrack."""
    job = jobfile.load(path)
    spec, package = jobfile.package(path)
    return Prepared(spec, package, job.description)


def prepare(files: Sequence[Uploaded]) -> Prepared:
    """Unpack what came, find the job file, check and pack the job.

    Raises:
        UserError: something about it is not right; the sentence says what would be.
    """
    with TemporaryDirectory(prefix="skyrack-upload-") as name:
        directory = Path(name).resolve()
        written = 0
        for number, file in enumerate(_unpacked(files)):
            written += len(file.content)
            if number >= FILES_MAXIMUM or written > LIMIT_BYTES:
                raise UserError(
                    f"this is more than {FILES_MAXIMUM} files or {LIMIT_BYTES >> 20} MiB; a package holds less"
                )
            target = directory / safe_name(file.name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.content)
        found = sorted(directory.rglob(_JOB_FILE), key=lambda path: len(path.parts))
        if not found:
            raise UserError(
                f"there is no {_JOB_FILE} in it; a job is a folder with a {_JOB_FILE}, its program and inputs"
            )
        if len(found) > 1 and len(found[0].parts) == len(found[1].parts):
            raise UserError(f"there are {len(found)} files {_JOB_FILE} in it; upload one job at a time")
        try:
            return prepare_shipped(found[0])
        except UserError as error:
            text = str(error).replace(f"{found[0].parent}/", "").replace(str(found[0].parent), "the folder")
            raise UserError(text) from None


def _unpacked(files: Sequence[Uploaded]) -> Iterator[Uploaded]:
    for file in files:
        if file.name.lower().endswith(_ARCHIVES):
            yield from (_from_zip(file) if file.name.lower().endswith(".zip") else _from_tar(file))
        else:
            yield file


def _from_tar(file: Uploaded) -> Iterator[Uploaded]:
    left = LIMIT_BYTES
    try:
        with tarfile.open(fileobj=io.BytesIO(file.content)) as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isfile() else None
                if content is not None and left >= 0:
                    data = content.read(left + 1)
                    left -= len(data)
                    yield Uploaded(member.name, data)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise UserError(f"{file.name} cannot be unpacked: {error}") from None


def _from_zip(file: Uploaded) -> Iterator[Uploaded]:
    left = LIMIT_BYTES
    try:
        with zipfile.ZipFile(io.BytesIO(file.content)) as archive:
            for member in archive.infolist():
                if not member.is_dir() and left >= 0:
                    with archive.open(member) as content:
                        data = content.read(left + 1)
                    left -= len(data)
                    yield Uploaded(member.filename, data)
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError) as error:
        raise UserError(f"{file.name} cannot be unpacked: {error}") from None
