"""What to do with a telecommand, and what its outcome is called. Values in, values out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from google.protobuf.message import DecodeError, Message

from skyrack import dictionary
from skyrack.dictionary import Rpc
from skyrack.v1 import backhaul_pb2
from skyrack.v1.backhaul_pb2 import Telecommand, TelecommandReport, TelecommandStage
from skyrack.v1.common_pb2 import CommandResult


@dataclass(frozen=True, slots=True)
class Refused:
    """A telecommand that is not passed on."""

    stage: TelecommandStage
    reason: str


@dataclass(frozen=True, slots=True)
class Call:
    """A telecommand that is passed on."""

    service: str
    rpc: Rpc
    request: Message


@lru_cache(maxsize=1)
def _commands() -> dict[tuple[str, str], Rpc]:
    return {(command.rpc.on_board, command.rpc.name): command.rpc for command in dictionary.commands().values()}


def resolve(command: Telecommand, services: tuple[str, ...], now: float) -> Call | Refused:
    """Find out what a telecommand asks of whom; requests that are no commands are not for the ground to make."""
    if command.not_after_seconds and now > command.not_after_seconds:
        late = now - command.not_after_seconds
        return Refused(backhaul_pb2.TELECOMMAND_STAGE_EXPIRED, f"it arrived {late:.0f} s after its end")
    failed = backhaul_pb2.TELECOMMAND_STAGE_FAILED
    if command.service not in services:
        return Refused(failed, f"there is no service {command.service!r} here; there are {', '.join(services)}")
    rpc = _commands().get((command.service, command.method)) or _commands().get(("", command.method))
    if rpc is None:
        return Refused(failed, f"{command.service} has no command {command.method!r}")
    try:
        request = rpc.request.FromString(command.request)
    except DecodeError:
        return Refused(failed, f"the arguments are not a {rpc.request.DESCRIPTOR.name}")
    problems = dictionary.check_arguments(request)
    if problems:
        return Refused(failed, "; ".join(problems))
    return Call(command.service, rpc, request)


def outcome(command_id: str, answer: Message, now: float) -> TelecommandReport:
    """What a service's answer means."""
    report = TelecommandReport(command_id=command_id, mission_time_seconds=now)
    if isinstance(answer, CommandResult):
        report.reason = answer.reason
        report.stage = backhaul_pb2.TELECOMMAND_STAGE_COMPLETED if answer.ok else backhaul_pb2.TELECOMMAND_STAGE_FAILED
    else:
        report.stage = backhaul_pb2.TELECOMMAND_STAGE_COMPLETED
        report.response = answer.SerializeToString()
    return report
