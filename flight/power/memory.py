"""What protection must remember over a restart: which loads are tripped and shed, and which are meant to be on."""

from __future__ import annotations

import msgspec

from flight.power.protection import Cause, Protection
from skyrack.disk import KeptFile


class _State(msgspec.Struct, forbid_unknown_fields=True):
    tripped: dict[str, Cause] = msgspec.field(default_factory=dict)
    shed: list[str] = msgspec.field(default_factory=list)
    meant: list[str] = msgspec.field(default_factory=list)


class ProtectionMemory:
    """A file that is written when something changed."""

    def __init__(self, file: KeptFile) -> None:
        self._file = file
        self._kept = _State()

    def restore(self, protection: Protection) -> str:
        """Give protection back what it knew. Returns why that failed, or nothing."""
        try:
            kept = self._file.read()
            if kept is None:
                return ""
            state = msgspec.json.decode(kept, type=_State)
        except (OSError, msgspec.DecodeError) as error:
            return f"{self._file} cannot be read ({error}); loads that were tripped or shed are forgotten"
        protection.restore(state.tripped, state.shed, state.meant)
        self._kept = state
        return ""

    def keep(self, protection: Protection) -> None:
        """Write what protection knows, if that is new.

        Raises:
            OSError: the file cannot be written; it is tried again when this is called again.
        """
        state = _State(dict(protection.tripped), list(protection.shed), sorted(protection.fallen.meant))
        if state == self._kept:
            return
        self._file.replace(msgspec.json.encode(state))
        self._kept = state
