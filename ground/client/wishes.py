"""What people say in Python, in the words that the ground takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from ground.records import JobRecord
from skyrack import jobfile
from skyrack.errors import UserError
from skyrack.files import suggest
from skyrack.v1 import job_pb2

__all__ = ["alter", "argument_text", "id_of", "package_of"]


def package_of(path: Path) -> tuple[job_pb2.JobSpec, bytes]:
    """The job of a file, or of a folder with a job.toml. Raises ``FileError``."""
    return jobfile.package(path / "job.toml" if path.is_dir() else path)


def alter(spec: job_pb2.JobSpec, changed: Mapping[str, Any]) -> None:
    """Set fields of a job that shall differ from its file. Raises ``UserError``."""
    parts: tuple[Message, ...] = (spec, spec.resources)
    for name, value in changed.items():
        part = next((part for part in parts if name in part.DESCRIPTOR.fields_by_name), None)
        if part is None or name in ("job_id", "resources", "package_sha256", "package_bytes", "submitter"):
            known = [field for part in parts for field in part.DESCRIPTOR.fields_by_name]
            raise UserError(f"a job has no {name} to be changed; {suggest(name, known)}")
        try:
            if isinstance(value, list | tuple):
                part.ClearField(name)
                getattr(part, name).extend(value)
            else:
                setattr(part, name, value)
        except (TypeError, ValueError, AttributeError) as error:
            raise UserError(f"{name}: {value!r} is not right for it ({error})") from None


def id_of(job: str | JobRecord) -> str:
    """The id of a job."""
    return job if isinstance(job, str) else job.job_id


def argument_text(value: Any) -> str:
    """An argument as a person types it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return ",".join(argument_text(item) for item in value)
    return str(value)
