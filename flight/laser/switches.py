"""Which terminals were disabled: kept over restarts."""

from __future__ import annotations

import json

from skyrack.disk import KeptFile


class Switches:
    """A small file of names."""

    def __init__(self, file: KeptFile) -> None:
        self._file = file
        self._disabled: set[str] = set()
        try:
            self._disabled = {str(name) for name in json.loads(file.read() or b"[]")}
        except (OSError, ValueError, TypeError):
            self._disabled = set()  # enabled is the state in which the satellite can be reached

    def enabled(self, terminal: str) -> bool:
        """Whether a terminal may work."""
        return terminal not in self._disabled

    def set(self, terminal: str, enabled: bool) -> None:
        """Remember it. Raises ``OSError``, and then nothing has changed."""
        disabled = self._disabled - {terminal} if enabled else self._disabled | {terminal}
        self._file.replace(json.dumps(sorted(disabled)).encode())
        self._disabled = disabled
