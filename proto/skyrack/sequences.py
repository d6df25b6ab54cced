"""Sequences of commands, checked as a whole: by the ground before one leaves, and on board before its first step.

Steps run one after the other. A step has a time of its own, or begins so long after the step before it was done; the
first, so long after the sequence was accepted. What can be known to go wrong is said before anything runs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from google.protobuf.message import DecodeError

from skyrack import dictionary
from skyrack.dictionary import Command
from skyrack.v1.backhaul_pb2 import CommandSequence, SequenceStep, Telecommand

__all__ = ["MAXIMUM_STEPS", "problem_of", "problems", "step_id", "step_name", "utc"]

MAXIMUM_STEPS: Final = 200
_LONGEST_SECONDS: Final = 366 * 86_400.0
_STEP_ID: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,63})/([1-9][0-9]{0,3})")


def step_id(sequence_id: str, number: int) -> str:
    """Command id under which a step, counted from 1, is reported: ``eclipse-7/3``."""
    return f"{sequence_id}/{number}"


def step_name(command_id: str) -> tuple[str, int] | None:
    """Sequence and number of a step from its command id; ``None`` for a command that is no step."""
    match = _STEP_ID.fullmatch(command_id)
    return (match[1], int(match[2])) if match else None


def problems(sequence: CommandSequence, now: float, problem_of: Callable[[Telecommand], str]) -> list[str]:
    """Sentences on why a sequence that begins now cannot run as a whole; empty when it can.

    ``problem_of`` says what is wrong with one command, as each side knows it; empty when nothing is.
    """
    if not sequence.steps:
        return ["it has no steps"]
    if len(sequence.steps) > MAXIMUM_STEPS:
        return [f"it has {len(sequence.steps)} steps, at most {MAXIMUM_STEPS} fit"]
    found = []
    earliest, after = now, "its submission"
    for number, step in enumerate(sequence.steps, 1):
        problem = problem_of(step.telecommand)
        if problem:
            found.append(f"step {number}: {problem}")
        at, problem = _begin(step, earliest, after)
        if problem:
            found.append(f"step {number}: {problem}")
        earliest, after = max(earliest, at), f"the earliest end of step {number}"
    return found


def _begin(step: SequenceStep, earliest: float, after: str) -> tuple[float, str]:
    """The earliest time at which a step can begin, and what is wrong with its time."""
    if step.WhichOneof("at") != "mission_time_seconds":
        wait = step.after_seconds
        if not (math.isfinite(wait) and 0 <= wait <= _LONGEST_SECONDS):
            return earliest, f"it begins {wait:g} s after the step before, must be from 0 to {_LONGEST_SECONDS:.0f} s"
        return earliest + wait, ""
    at = step.mission_time_seconds
    if not (math.isfinite(at) and 0 < at < earliest + _LONGEST_SECONDS):
        return earliest, f"its time is {at:g}, must be a mission time within a year"
    if at < earliest:
        return earliest, f"its time {utc(at)} lies before {after}, {utc(earliest)}"
    return at, ""


def problem_of(telecommand: Telecommand) -> str:
    """What the dictionary finds wrong with a command: sentences, or nothing."""
    command = _command(telecommand)
    if command is None:
        return f"{telecommand.service or 'the satellite'} has no command {telecommand.method!r}"
    try:
        request = command.rpc.request.FromString(telecommand.request)
    except DecodeError:
        return f"the arguments are not a {command.rpc.request.DESCRIPTOR.name}"
    wrong = dictionary.check_arguments(request)
    return f"{command.name}: {'; '.join(wrong)}" if wrong else ""


def _command(telecommand: Telecommand) -> Command | None:
    command = dictionary.commands().get(telecommand.method)
    if command is None or not telecommand.service:
        return None
    return command if command.rpc.on_board in ("", telecommand.service) else None


def utc(mission_time_seconds: float) -> str:
    """A mission time as people write it: ``2026-11-23T02:00:00Z``."""
    try:
        return datetime.fromtimestamp(mission_time_seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"{mission_time_seconds:g}"
