"""What the executive must know after a restart: mode, boots, overrides of limits, states of rules."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import msgspec

from flight.executive.modes import Mode
from flight.executive.rules import RuleState


class Memory(msgspec.Struct, forbid_unknown_fields=False):
    """The executive's persistent state; times are mission seconds."""

    mode: str = ""
    boots: int = 0
    restarts: dict[str, int] = {}
    reboots: list[float] = []
    # Commanded limits: by field, then by side.
    limits: dict[str, dict[str, float]] = {}
    rules: dict[str, str] = {}
    # The rack's load switches were opened by the safe mode, and are to be closed when it ends.
    rack_opened: bool = False
    violations: int = 0

    @property
    def last_mode(self) -> Mode | None:
        """Mode when the state was saved."""
        return Mode[self.mode] if self.mode in Mode.__members__ else None

    def rule_states(self) -> dict[str, RuleState]:
        """Commanded states of rules."""
        known = {state.value for state in RuleState}
        return {name: RuleState(state) for name, state in self.rules.items() if state in known}


class Store:
    """Keeps a :class:`Memory` in a JSON file, or, without a path, in itself: the twin's, across its reboots."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.memory = Memory()
        # Why what was kept could not be read; the satellite flies on without it.
        self.problem = ""
        self._saved = b""
        if path is not None:
            with contextlib.suppress(FileNotFoundError):
                try:
                    self.memory = msgspec.json.decode(path.read_bytes(), type=Memory)
                except (OSError, msgspec.MsgspecError) as error:
                    if isinstance(error, FileNotFoundError):
                        raise
                    self.problem = f"{path} cannot be read and is begun anew: {error}"

    def save(self) -> None:
        """Write the memory if it has changed, whole or not at all; it is on the disk when this returns.

        Raises:
            OSError: the disk is full or broken; the file is as it was.
        """
        if self._path is None:
            return
        data = msgspec.json.format(msgspec.json.encode(self.memory))
        if data == self._saved:
            return
        temporary = self._path.with_suffix(".tmp")
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)
        directory = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        self._saved = data
