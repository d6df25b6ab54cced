"""Which terminals were disabled: kept over restarts."""

from __future__ import annotations

import json
from pathlib import Path


class Switches:
    """A small file of names; in memory without a directory."""

    def __init__(self, state_dir: Path | None) -> None:
        self._path = state_dir / "laser-disabled.json" if state_dir else None
        self._disabled: set[str] = set()
        if self._path is not None and self._path.exists():
            try:
                self._disabled = {str(name) for name in json.loads(self._path.read_text(encoding="utf-8"))}
            except (OSError, ValueError, TypeError):
                self._disabled = set()  # enabled is the state in which the satellite can be reached

    def enabled(self, terminal: str) -> bool:
        """Whether a terminal may work."""
        return terminal not in self._disabled

    def set(self, terminal: str, enabled: bool) -> None:
        """Remember it. Raises ``OSError``, and then nothing has changed."""
        disabled = self._disabled - {terminal} if enabled else self._disabled | {terminal}
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            temporary = self._path.with_suffix(".new")
            temporary.write_text(json.dumps(sorted(disabled)), encoding="utf-8")
            temporary.replace(self._path)
        self._disabled = disabled
