"""The sequence file: commands that a satellite runs one after the other, as a person writes them.

name = "eclipse-preparation"
on_failure = "stop"                 # or "continue"; a step may say otherwise

[[steps]]
command = "SetDrain"
arguments = { draining = true }
at = 2026-11-23T04:10:00Z           # mission time, UTC

[[steps]]
command = "power.SetParameters"     # which service, where every one takes the command
arguments = { values = { reserve_ratio = 0.3 } }
after = "90 s"                      # after the step before it was done
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from skyrack import files
from skyrack.dictionary import build_request, command_named
from skyrack.errors import UserError
from skyrack.files import FileError
from skyrack.jobfile import Duration, seconds_of
from skyrack.sequences import MAXIMUM_STEPS, problem_of, problems
from skyrack.v1.backhaul_pb2 import CommandSequence, SequenceStep, Telecommand

__all__ = ["OnFailure", "SequenceFile", "StepEntry", "load", "step_of"]

OnFailure = Literal["stop", "continue"]


class _Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class StepEntry(_Struct, frozen=True):
    """One step as it is written."""

    command: Annotated[str, Meta(min_length=1, max_length=128)]
    arguments: dict[str, Any] = {}
    at: datetime | None = None
    after: Duration | None = None
    on_failure: OnFailure | None = None


class SequenceFile(_Struct, frozen=True):
    """A sequence file as it is written."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    steps: Annotated[tuple[StepEntry, ...], Meta(min_length=1, max_length=MAXIMUM_STEPS)]
    description: str = ""
    on_failure: OnFailure = "stop"


def load(path: Path, now: float | None = None) -> CommandSequence:
    """Read a sequence file and check it as a whole; ``now`` is the mission time at which it would begin, if known.

    Raises:
        FileError: the file, a step, an argument or a time is wrong; the message says where and what would be right.
    """
    written = files.load(path, SequenceFile)
    sequence = CommandSequence(name=written.name)
    for number, entry in enumerate(written.steps, 1):
        sequence.steps.append(_step(path, number, entry, written.on_failure))
    times = [step.mission_time_seconds for step in sequence.steps if step.WhichOneof("at") == "mission_time_seconds"]
    found = problems(sequence, min(times, default=0.0) if now is None else now, problem_of)
    if found:
        raise FileError(path, "; ".join(found))
    return sequence


def _step(path: Path, number: int, entry: StepEntry, on_failure: OnFailure) -> SequenceStep:
    key = f"step {number}"
    if entry.at is not None and entry.after is not None:
        raise FileError(path, "has both at and after; one says when it runs", key=key)
    if entry.at is not None and entry.at.tzinfo is None:
        at = entry.at.isoformat()
        raise FileError(path, f"must say its zone, as in {at}Z", key=f"{key}: at", value=at)
    after = 0.0 if entry.after is None else seconds_of(path, f"{key}: after", entry.after)
    try:
        return step_of(
            entry.command,
            {name: _text(value) for name, value in entry.arguments.items()},
            at_seconds=entry.at.timestamp() if entry.at else None,
            after_seconds=after,
            continues=(entry.on_failure or on_failure) == "continue",
        )
    except FileError:
        raise
    except UserError as error:
        raise FileError(path, str(error), key=key) from None


def step_of(
    method: str, arguments: dict[str, str], *, at_seconds: float | None, after_seconds: float, continues: bool
) -> SequenceStep:
    """A step from its command, as in ``SetDrain`` or ``power.SetParameters``, and arguments as a person types them.

    Raises:
        UserError: the dictionary has no such command, or an argument is wrong.
    """
    service, _, name = method.rpartition(".")
    command = command_named(name)
    on_board = command.rpc.on_board
    if not (on_board or service):
        raise UserError(f"every service takes {command.name}: say which, as in power.{command.name}")
    if on_board and service not in ("", on_board):
        raise UserError(f"{on_board} takes {command.name}, not {service}")
    request = build_request(command, arguments)
    step = SequenceStep(
        telecommand=Telecommand(
            service=on_board or service, method=command.name, request=request.SerializeToString(deterministic=True)
        ),
        continue_on_failure=continues,
    )
    if at_seconds is None:
        step.after_seconds = after_seconds
    else:
        step.mission_time_seconds = at_seconds
    return step


def _text(value: Any) -> str:
    """A value of TOML as a person would type it after ``NAME=``."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return ",".join(f"{name}={_text(member)}" for name, member in value.items())
    if isinstance(value, list):
        return ",".join(map(_text, value))
    return str(value)
