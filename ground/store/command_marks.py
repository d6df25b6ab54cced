"""Telecommands and sequences alike: the stages that they reach on the ground."""

from __future__ import annotations

from ground.connection import Connection
from ground.store import sequences, telecommands
from ground.store.command_queue import SEQUENCE

__all__ = ["mark", "stage_of", "turn"]


def mark(connection: Connection, kind: str, command_id: str, stage: int, reason: str, now: float) -> None:
    """One of either reached a stage; what it has passed already changes nothing."""
    advance = sequences.advance if kind == SEQUENCE else telecommands.advance
    advance(connection, command_id, stage, reason, now)


def turn(connection: Connection, kind: str, command_id: str, stage: int, reason: str, now: float) -> None:
    """One of either, which has not left, is held or released: QUEUED and HELD may follow one another."""
    module = sequences if kind == SEQUENCE else telecommands
    module.turn(connection, command_id, stage, reason, now)


def stage_of(connection: Connection, kind: str, command_id: str) -> str:
    """The stage of one of either; empty when there is none."""
    load = sequences.load if kind == SEQUENCE else telecommands.load
    found = load(connection, command_id)
    return found.stage if found is not None else ""
