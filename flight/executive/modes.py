"""Modes of the satellite: three states, one transition table."""

from __future__ import annotations

from enum import Enum

from skyrack.v1 import executive_pb2


class Mode(Enum):
    """What the satellite does as a whole; the values are those of the contract."""

    BOOT = executive_pb2.MODE_BOOT
    NOMINAL = executive_pb2.MODE_NOMINAL
    SAFE = executive_pb2.MODE_SAFE


class Cause(Enum):
    """What may change the mode."""

    SERVICES_UP = "every service answers"
    BOOT_TIMEOUT = "services did not come up in time"
    SERVICE_FAILED = "a service failed for good"
    RULE = "a fault rule asked for it"
    COMMAND_SAFE = "commanded safe"
    COMMAND_NOMINAL = "commanded nominal"


# Leaving the safe mode goes through a boot: nominal means that every service was seen to answer.
TRANSITIONS: dict[tuple[Mode, Cause], Mode] = {
    (Mode.BOOT, Cause.SERVICES_UP): Mode.NOMINAL,
    (Mode.BOOT, Cause.BOOT_TIMEOUT): Mode.SAFE,
    (Mode.BOOT, Cause.SERVICE_FAILED): Mode.SAFE,
    (Mode.BOOT, Cause.RULE): Mode.SAFE,
    (Mode.BOOT, Cause.COMMAND_SAFE): Mode.SAFE,
    (Mode.NOMINAL, Cause.SERVICE_FAILED): Mode.SAFE,
    (Mode.NOMINAL, Cause.RULE): Mode.SAFE,
    (Mode.NOMINAL, Cause.COMMAND_SAFE): Mode.SAFE,
    (Mode.SAFE, Cause.COMMAND_NOMINAL): Mode.BOOT,
}


def after(mode: Mode, cause: Cause) -> Mode:
    """Mode after a cause; a cause that the table does not name in this mode changes nothing."""
    return TRANSITIONS.get((mode, cause), mode)


def at_start(persisted: Mode | None) -> Mode:
    """Mode to start in: a satellite that was safe stays safe until it is told otherwise."""
    return Mode.SAFE if persisted is Mode.SAFE else Mode.BOOT
