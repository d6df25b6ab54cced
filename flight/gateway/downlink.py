"""What services hand over for the ground, made into items of the outbox."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from google.protobuf.message import DecodeError

from skyrack.v1.backhaul_pb2 import Payload, TelemetryBatch, TelemetrySample
from skyrack.v1.gateway_pb2 import SendDownRequest
from skyrack.v1.job_pb2 import FileChunk, JobStatus
from skyrack.v1.options_pb2 import STREAM_BULK, STREAM_STATUS, STREAM_UNSPECIFIED

CHUNK_BYTES: Final = 28_000
"""With its surroundings, one frame."""

_KEYS_KEPT: Final = 100_000

Enqueue = Callable[[sqlite3.Connection, int, bytes], None]
"""(connection, stream, payload) into the outbox."""


class RefusedError(Exception):
    """The request cannot be sent down; the sentence says why."""


def accept(connection: sqlite3.Connection, request: SendDownRequest, source: str, now: float, enqueue: Enqueue) -> bool:
    """Put a request and its file into the outbox, once per key. Returns whether it is new.

    Raises:
        RefusedError: it is not what it says it is.
        OSError: the file cannot be read.
    """
    if request.key:
        cursor = connection.execute("INSERT OR IGNORE INTO gateway_sent_keys (key) VALUES (?)", (request.key,))
        if not cursor.rowcount:
            return False
        connection.execute("DELETE FROM gateway_sent_keys WHERE id < ?", ((cursor.lastrowid or 0) - _KEYS_KEPT,))
    payload = _payload(request, source, now)
    if payload is not None:
        enqueue(connection, request.stream or STREAM_STATUS, payload.SerializeToString())
    for chunk in _chunks(request):
        enqueue(connection, STREAM_BULK, Payload(file_chunk=chunk).SerializeToString())
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


def _chunks(request: SendDownRequest) -> Iterator[FileChunk]:
    if request.file_path:
        with Path(request.file_path).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
            size = file.tell()
            file.seek(0)
            yield from _pieces(request, digest, size, _read(file))
    elif request.file_content:
        content = request.file_content
        digest = hashlib.sha256(content).digest()
        pieces = (content[offset : offset + CHUNK_BYTES] for offset in range(0, len(content), CHUNK_BYTES))
        yield from _pieces(request, digest, len(content), pieces)


def _read(file: BinaryIO) -> Iterator[bytes]:
    while data := file.read(CHUNK_BYTES):
        yield data


def _pieces(request: SendDownRequest, sha256: bytes, total: int, pieces: Iterator[bytes]) -> Iterator[FileChunk]:
    offset = 0
    for data in pieces:
        yield FileChunk(
            job_id=request.job_id,
            attempt=request.attempt,
            sha256=sha256,
            total_bytes=total,
            offset_bytes=offset,
            data=data,
        )
        offset += len(data)
