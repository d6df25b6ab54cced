"""What the executive must know after a restart: mode, boots, overrides of limits, states of rules."""

from __future__ import annotations

import msgspec

from flight.executive.modes import Mode
from flight.executive.rules import RuleState
from skyrack.disk import KeptFile


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
    # It was asked to end, and has: else power was lost, or it was killed.
    ended_cleanly: bool = True

    @property
    def last_mode(self) -> Mode | None:
        """Mode when the state was saved."""
        return Mode[self.mode] if self.mode in Mode.__members__ else None

    def rule_states(self) -> dict[str, RuleState]:
        """Commanded states of rules."""
        known = {state.value for state in RuleState}
        return {name: RuleState(state) for name, state in self.rules.items() if state in known}


class Store:
    """Keeps a :class:`Memory` in a JSON file."""

    def __init__(self, file: KeptFile) -> None:
        self._file = file
        self.memory = Memory()
        # Why what was kept could not be read; the satellite flies on without it.
        self.problem = ""
        self._saved = b""
        try:
            kept = file.read()
            if kept is not None:
                self.memory = msgspec.json.decode(kept, type=Memory)
        except (OSError, msgspec.MsgspecError) as error:
            self.problem = f"{file} cannot be read and is begun anew: {error}"

    def save(self) -> None:
        """Write the memory if it has changed, whole or not at all; it is on the disk when this returns.

        Raises:
            OSError: the disk is full or broken; the file is as it was.
        """
        data = msgspec.json.format(msgspec.json.encode(self.memory))
        if data != self._saved:
            self._file.replace(data)
            self._saved = data
