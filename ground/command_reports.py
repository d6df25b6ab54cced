"""What satellites report of telecommands, of sequences and their steps: applied where it is theirs to say."""

from __future__ import annotations

from ground.connection import Connection
from ground.stages import FROM_BOARD, stage_name
from ground.store import sequences, telecommands
from skyrack.delivery.intake import RejectItemError
from skyrack.sequences import step_name
from skyrack.v1.backhaul_pb2 import OrderReport, TelecommandReport

__all__ = ["take_order_report", "take_report"]


def take_report(connection: Connection, source: str, report: TelecommandReport) -> None:
    """A telecommand, or a step of a sequence, reached a stage.

    Raises:
        RejectItemError: it is not this satellite's to say.
    """
    _check(source, f"telecommand {report.command_id}", report.stage)
    at = report.mission_time_seconds
    step = step_name(report.command_id)
    if step is not None:
        if sequences.satellite_of(connection, step[0]) != source:
            raise RejectItemError(f"{source} reports on a step of sequence {step[0]}, which it was never sent")
        sequences.advance_step(connection, *step, report.stage, report.reason, at, report.response)
        return
    record = telecommands.load(connection, report.command_id)
    if record is None or record.satellite != source:
        raise RejectItemError(f"{source} reports on telecommand {report.command_id}, which it was never sent")
    telecommands.advance(connection, report.command_id, report.stage, report.reason, at, report.response)


def take_order_report(connection: Connection, source: str, report: OrderReport) -> bool:
    """A sequence as a whole reached a stage; False when the report is on another kind of order.

    Raises:
        RejectItemError: it is not this satellite's to say.
    """
    owner = sequences.satellite_of(connection, report.order_id)
    if not owner:
        return False
    _check(source, f"sequence {report.order_id}", report.stage)
    if owner != source:
        raise RejectItemError(f"{source} reports on sequence {report.order_id}, which it was never sent")
    sequences.advance(connection, report.order_id, report.stage, report.reason, report.mission_time_seconds)
    return True


def _check(source: str, what: str, stage: int) -> None:
    if stage not in FROM_BOARD:
        raise RejectItemError(
            f"{source} reports {what} in stage {stage_name(stage)}, which is not a satellite's to say"
        )
