"""What came down: each verified, new item is applied in the transaction in which its receipt is recorded."""

from __future__ import annotations

from typing import Final

from google.protobuf.message import DecodeError, Message
from google.protobuf.text_format import MessageToString

from ground import lifecycle, receipts
from ground.connection import Connection
from ground.placement import PlacementSettings
from ground.store import archive, events, files, jobs, telecommands
from skyrack.delivery.intake import RejectItemError
from skyrack.dictionary import message_type
from skyrack.signing import KeyRing
from skyrack.v1 import backhaul_pb2, common_pb2, executive_pb2, job_pb2, options_pb2

__all__ = ["CHUNK_LIMIT_BYTES", "RESULT_LIMIT_BYTES", "take"]

RESULT_LIMIT_BYTES: Final = 256 << 20
"""Largest result that is taken from a satellite."""

CHUNK_LIMIT_BYTES: Final = 1 << 20

_LEVELS: Final = {"nominal": common_pb2.SEVERITY_INFO, "yellow": common_pb2.SEVERITY_WARNING}


def take(
    connection: Connection,
    source: str,
    stream: int,
    data: bytes,
    now: float,
    settings: PlacementSettings,
    ring: KeyRing,
) -> backhaul_pb2.Payload:
    """Apply an item; returns it decoded.

    Raises:
        RejectItemError: the item makes no sense; nothing was kept of it.
    """
    try:
        payload = backhaul_pb2.Payload.FromString(data)
    except DecodeError as error:
        raise RejectItemError(f"an item of {source} is no payload: {error}") from None
    kind = payload.WhichOneof("kind")
    if kind == "telemetry":
        if stream == options_pb2.STREAM_EVENTS:
            _take_events(connection, source, payload.telemetry, now)
        else:
            archive.add_batch(connection, source, payload.telemetry, data, now)
    elif kind == "job_status":
        receipts.check(connection, source, payload.job_status, ring, now)
        lifecycle.take_status(connection, source, payload.job_status, now, settings)
    elif kind == "file_chunk":
        _take_chunk(connection, source, payload.file_chunk)
    elif kind == "telecommand_report":
        _take_report(connection, source, payload.telecommand_report)
    elif kind != "open_jobs":  # those are heeded when all that was said before them has come
        raise RejectItemError(f"{source} sent a payload of kind {kind}, which does not come down")
    return payload


def _take_report(connection: Connection, source: str, report: backhaul_pb2.TelecommandReport) -> None:
    record = telecommands.load(connection, report.command_id)
    if record is None or record.satellite != source:
        raise RejectItemError(f"{source} reports on telecommand {report.command_id}, which it was never sent")
    if report.stage not in backhaul_pb2.TelecommandStage.values() or not report.stage:
        raise RejectItemError(f"{source} reports telecommand {report.command_id} in stage {report.stage}")
    at = report.mission_time_seconds
    telecommands.advance(connection, report.command_id, report.stage, report.reason, at, report.response)


def _take_chunk(connection: Connection, source: str, chunk: job_pb2.FileChunk) -> None:
    attempt = jobs.attempt(connection, chunk.job_id, chunk.attempt)
    if attempt is None or attempt.satellite != source:
        raise RejectItemError(f"{source} sends a result of job {chunk.job_id}, which it was never given")
    size = len(chunk.data)
    if chunk.total_bytes > RESULT_LIMIT_BYTES or size > CHUNK_LIMIT_BYTES:
        raise RejectItemError(
            f"{source} sends a result of {chunk.total_bytes} bytes, at most {RESULT_LIMIT_BYTES} may come"
        )
    if not size or chunk.offset_bytes + size > chunk.total_bytes:
        raise RejectItemError(f"{source} sends a piece of the result of job {chunk.job_id} that lies outside of it")
    row = jobs.job_row(connection, chunk.job_id)
    if row is None or row.attempt != chunk.attempt:
        return  # of an attempt that has been replaced
    expected = files.result_of(connection, chunk.job_id)
    if expected is None and (row.state.final or attempt.state.final):
        return  # the attempt ended without a result
    if expected is not None and (
        expected.received_seconds is not None or expected.problem or expected.sha256 != chunk.sha256
    ):
        return
    files.add_chunk(connection, chunk)


def _take_events(connection: Connection, source: str, batch: backhaul_pb2.TelemetryBatch, now: float) -> None:
    for sample in batch.samples:
        try:
            message = message_type(sample.message_type).FromString(sample.payload)
        except (KeyError, DecodeError):
            message = None
        name, severity, text, fields, origin = _event(sample, message)
        events.add(
            connection,
            satellite=source,
            source=origin,
            name=name,
            severity=severity,
            text=text,
            fields=fields,
            mission_time_seconds=sample.mission_time_seconds,
            received_seconds=now,
        )


def _event(sample: backhaul_pb2.TelemetrySample, message: Message | None) -> tuple[str, int, str, dict[str, str], str]:
    """Name, severity, text, fields and source: of an event, or of another message that tells of one."""
    kind = sample.message_type.rpartition(".")[2]
    if isinstance(message, common_pb2.Event):
        fields = {field.name: field.value for field in message.fields}
        return message.name, message.severity, message.text, fields, message.source or sample.source
    if isinstance(message, executive_pb2.LimitViolation):
        where = f"{message.field}[{message.instance}]" if message.instance else message.field
        severity = _LEVELS.get(message.level.partition("_")[0], common_pb2.SEVERITY_ERROR)
        text = f"{where} is {message.level.replace('_', ' ')} at {message.value:g}"
        return "limit_violation", severity, text, {"field": message.field, "level": message.level}, sample.source
    if message is None:
        return kind, common_pb2.SEVERITY_WARNING, "a message that this ground does not know", {}, sample.source
    return kind, common_pb2.SEVERITY_WARNING, MessageToString(message, as_one_line=True), {}, sample.source
