"""Which faults are worth telling: those that last."""

from __future__ import annotations

from collections.abc import Collection


class LastingFaults:
    """Faults by name; one is told when it has lasted for ``patience_seconds``, and its end only if it was told."""

    def __init__(self, patience_seconds: float) -> None:
        self._patience_seconds = patience_seconds
        self._since: dict[str, float] = {}
        self._told: set[str] = set()

    def update(self, now: float, present: Collection[str]) -> tuple[list[str], list[str]]:
        """Take what is wrong now; returns what is to be told as begun, and as over, each sorted."""
        self._since = {name: self._since.get(name, now) for name in sorted(present)}
        lasting = {name for name, since in self._since.items() if now - since >= self._patience_seconds}
        over = sorted(self._told - set(present))
        begun = sorted(lasting - self._told)
        self._told = (self._told | lasting) & set(present)
        return begun, over
