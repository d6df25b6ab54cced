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

from dataclasses import dataclass
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

__all__ = ["LoadedSequence", "OnFailure", "SequenceFile", "StepEntry", "load", "step_of"]

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


@dataclass(frozen=True, slots=True)
class LoadedSequence:
    """A sequence file that was found good."""

    description: str
    sequence: CommandSequence
    steps: tuple[dict[str, Any], ...]
    """In the words of the ground's interface: arguments as a person types them."""

    def submission(self, satellite: str, lifetime_seconds: float = 0.0) -> dict[str, Any]:
        """What the ground's interface wants to hear."""
        return {
            "satellite": satellite,
            "name": self.sequence.name,
            "steps": list(self.steps),
            "lifetime_seconds": lifetime_seconds,
        }


def load(path: Path, now: float | None = None) -> LoadedSequence:
    """Read a sequence file and check it as a whole; ``now`` is the mission time at which it would begin, if known.

    Raises:
        FileError: the file, a step, an argument or a time is wrong; the message says where and what would be right.
    """
    written = files.load(path, SequenceFile)
    sequence = CommandSequence(name=written.name)
    steps = [_plain(path, number, entry, written.on_failure) for number, entry in enumerate(written.steps, 1)]
    for number, step in enumerate(steps, 1):
        try:
            sequence.steps.append(step_of(**step))
        except UserError as error:
            raise FileError(path, str(error), key=f"step {number}") from None
    times = [step.mission_time_seconds for step in sequence.steps if step.WhichOneof("at") == "mission_time_seconds"]
    found = problems(sequence, min(times, default=0.0) if now is None else now, problem_of)
    if found:
        raise FileError(path, "; ".join(found))
    return LoadedSequence(written.description, sequence, tuple(steps))


def _plain(path: Path, number: int, entry: StepEntry, on_failure: OnFailure) -> dict[str, Any]:
    key = f"step {number}"
    if entry.at is not None and entry.after is not None:
        raise FileError(path, "has both at and after; one says when it runs", key=key)
    if entry.at is not None and entry.at.tzinfo is None:
        at = entry.at.isoformat()
        raise FileError(path, f"must say its zone, as in {at}Z", key=f"{key}: at", value=at)
    return {
        "command": entry.command,
        "arguments": {name: _text(value) for name, value in entry.arguments.items()},
        "at_seconds": entry.at.timestamp() if entry.at else None,
        "after_seconds": 0.0 if entry.after is None else seconds_of(path, f"{key}: after", entry.after),
        "on_failure": entry.on_failure or on_failure,
    }


def step_of(
    command: str, arguments: dict[str, str], at_seconds: float | None, after_seconds: float, on_failure: OnFailure
) -> SequenceStep:
    """A step from its command, as in ``SetDrain`` or ``power.SetParameters``, and arguments as a person types them.

    Raises:
        UserError: the dictionary has no such command, or an argument is wrong.
    """
    service, _, name = command.rpartition(".")
    known = command_named(name)
    on_board = known.rpc.on_board
    if not (on_board or service):
        raise UserError(f"every service takes {known.name}: say which, as in power.{known.name}")
    if on_board and service not in ("", on_board):
        raise UserError(f"{on_board} takes {known.name}, not {service}")
    request = build_request(known, arguments)
    step = SequenceStep(
        telecommand=Telecommand(
            service=on_board or service, method=known.name, request=request.SerializeToString(deterministic=True)
        ),
        continue_on_failure=on_failure == "continue",
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
