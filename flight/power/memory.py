"""What protection must remember over a restart: which loads are tripped and shed."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from flight.power.protection import Cause, Protection


class _State(msgspec.Struct, forbid_unknown_fields=True):
    tripped: dict[str, Cause] = msgspec.field(default_factory=dict)
    shed: list[str] = msgspec.field(default_factory=list)


class ProtectionMemory:
    """``power.json`` in the state directory, written when something changed; nothing without a directory."""

    def __init__(self, state_dir: Path | None) -> None:
        self._path = None if state_dir is None else state_dir / "power.json"
        self._kept = _State()

    def restore(self, protection: Protection) -> str:
        """Give protection back what it knew. Returns why that failed, or nothing."""
        if self._path is None:
            return ""
        try:
            state = msgspec.json.decode(self._path.read_bytes(), type=_State)
        except FileNotFoundError:
            return ""
        except (OSError, msgspec.DecodeError) as error:
            return f"{self._path} cannot be read ({error}); loads that were tripped or shed are forgotten"
        protection.restore(state.tripped, state.shed)
        self._kept = state
        return ""

    def keep(self, protection: Protection) -> None:
        """Write what protection knows, if that is new.

        Raises:
            OSError: the file cannot be written.
        """
        if self._path is None or (protection.tripped == self._kept.tripped and protection.shed == self._kept.shed):
            return
        self._kept = _State(dict(protection.tripped), list(protection.shed))
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_suffix(".tmp")
        with temporary.open("wb") as file:
            file.write(msgspec.json.encode(self._kept))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)
