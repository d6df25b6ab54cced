"""What came down: each verified, new item is applied in the transaction in which its receipt is recorded."""

from __future__ import annotations

from typing import Final

from google.protobuf.message import DecodeError, Message
from google.protobuf.text_format import MessageToString

from ground import command_reports, keys, lifecycle, receipts
from ground.connection import Connection
from ground.lifecycle import Note
from ground.placement import PlacementSettings
from ground.store import events
from skyrack.delivery.intake import RejectItemError
from skyrack.dictionary import message_type
from skyrack.signing import KeyRing
from skyrack.v1 import backhaul_pb2, common_pb2, executive_pb2, options_pb2

__all__ = ["ELSEWHERE", "take"]

ELSEWHERE: Final = ("file_offer", "file_receipt", "open_jobs")
"""Kinds that come down and are the business of others."""

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
    elif kind == "job_status":
        receipts.check(connection, source, payload.job_status, ring, now)
        lifecycle.take_status(connection, source, payload.job_status, now, settings)
    elif kind == "telecommand_report":
        command_reports.take_report(connection, source, payload.telecommand_report)
    elif kind == "order_report":
        report = payload.order_report
        is_known = command_reports.take_order_report(connection, source, report)
        if not (is_known or keys.take_report(connection, source, report, now)):
            text = f"{source} answers to order {report.order_id}: {report.reason}"
            lifecycle.note(connection, Note("order_answered", common_pb2.SEVERITY_WARNING, text, source), now)
    elif kind not in ELSEWHERE:
        raise RejectItemError(f"{source} sent a payload of kind {kind}, which does not come down")
    return payload


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
