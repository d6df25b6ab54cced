"""What services hand over for the ground, made into items of the outbox, and files that are offered beside them."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from google.protobuf.message import DecodeError

from skyrack.delivery.blocks import Description, describe, describe_file
from skyrack.v1.backhaul_pb2 import Payload, TelemetryBatch, TelemetrySample
from skyrack.v1.gateway_pb2 import SendDownRequest
from skyrack.v1.job_pb2 import JobStatus
from skyrack.v1.options_pb2 import STREAM_STATUS, STREAM_UNSPECIFIED

_KEYS_KEPT: Final = 100_000

Enqueue = Callable[[sqlite3.Connection, int, bytes], None]
"""(connection, stream, payload) into the outbox."""


class RefusedError(Exception):
    """The request cannot be sent down; the sentence says why."""


@dataclass(frozen=True, slots=True)
class KeptFile:
    """A file that was handed over, where it stays until the ground has given its receipt."""

    description: Description
    path: str = ""
    content: bytes | None = None


def keep_file(request: SendDownRequest, directory: Path | None) -> KeptFile | None:
    """Keep the request's file in ``directory``, by a second name where the file system allows it.

    The name tells job and attempt, so that it never stands for another file. ``None`` when there is no file.

    Raises:
        RefusedError: there is nowhere to keep it.
        OSError: the file cannot be read, or the disk is full.
    """
    if not request.file_path:
        content = request.file_content
        return KeptFile(describe([content]), content=content) if content else None
    if directory is None:
        raise RefusedError("a file by its path, where there are no files")
    directory.mkdir(parents=True, exist_ok=True)
    source = Path(request.file_path)
    description = describe_file(source)
    job = request.job_id.replace("/", "_")
    kept = directory / f"{job}.{request.attempt}.{description.layout.sha256.hex()[:16]}"
    if not kept.exists():
        try:
            os.link(source, kept)
        except OSError:
            _copy(source, kept)
    return KeptFile(description, str(kept))


def _copy(source: Path, kept: Path) -> None:
    part = kept.with_name(f"{kept.name}.part")
    try:
        shutil.copyfile(source, part)
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(kept)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def accept(connection: sqlite3.Connection, request: SendDownRequest, source: str, now: float, enqueue: Enqueue) -> bool:
    """Put a request into the outbox, once per key. Returns whether it is new: then its file is to be offered.

    Raises:
        RefusedError: it is not what it says it is.
    """
    if request.key:
        cursor = connection.execute(
            "INSERT INTO gateway_sent_keys (key) VALUES (:key) ON CONFLICT DO NOTHING", {"key": request.key}
        )
        if not cursor.rowcount:
            return False
        connection.execute(
            "DELETE FROM gateway_sent_keys WHERE id < :oldest", {"oldest": (cursor.lastrowid or 0) - _KEYS_KEPT}
        )
    payload = _payload(request, source, now)
    if payload is not None:
        enqueue(connection, request.stream or STREAM_STATUS, payload.SerializeToString())
    return True


def _payload(request: SendDownRequest, source: str, now: float) -> Payload | None:
    if not request.message_type and not request.payload:
        return None
    if not request.message_type:
        raise RefusedError("a payload without a message_type")
    if request.stream == STREAM_UNSPECIFIED and request.message_type != JobStatus.DESCRIPTOR.full_name:
        raise RefusedError(f"{request.message_type} without a stream")
    if request.message_type == JobStatus.DESCRIPTOR.full_name:
        try:
            return Payload(job_status=JobStatus.FromString(request.payload))
        except DecodeError:
            raise RefusedError("the payload is not a JobStatus") from None
    sample = TelemetrySample(
        message_type=request.message_type, source=source, mission_time_seconds=now, payload=request.payload
    )
    return Payload(telemetry=TelemetryBatch(samples=[sample]))
