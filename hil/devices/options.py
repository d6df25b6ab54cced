"""Settings of a driver, checked: each is asked for once by name, and what nobody asks for is refused."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from flight.hal import DeviceError
from skyrack.files import suggest


class Options:
    """Settings of the device ``name``. Every method raises DeviceError, in one sentence, for what does not fit."""

    def __init__(self, name: str, settings: Mapping[str, object], known: Iterable[str]) -> None:
        known = tuple(known)
        for key in settings:
            if key not in known:
                raise DeviceError(f'{name}: no setting "{key}"; {suggest(key, known)}')
        self.name = name
        self._settings = settings

    def number(self, key: str, default: float, low: float = -math.inf, high: float = math.inf) -> float:
        """A finite number within bounds; integers are numbers."""
        value = self._settings.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self._wrong(key, "must be a number")
        if not low <= value <= high:
            bounds = f"{low:g} or more" if high == math.inf else f"{low:g} to {high:g}"
            raise self._wrong(key, f"must be {bounds}")
        return float(value)

    def whole(self, key: str, default: int, low: int, high: int) -> int:
        """An integer within bounds: a bus, an address, a channel."""
        value = self._settings.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._wrong(key, "must be a whole number")
        if not low <= value <= high:
            raise self._wrong(key, f"must be {low} to {high}")
        return value

    def text(self, key: str, default: str | None = None) -> str:
        """A text; without ``default`` it must be given."""
        value = self._settings.get(key, default)
        if value is None:
            raise DeviceError(f'{self.name}: the setting "{key}" is missing')
        if not isinstance(value, str):
            raise self._wrong(key, "must be a text")
        return value

    def choice(self, key: str, choices: Iterable[str], default: str | None = None) -> str:
        """One of some words."""
        value, choices = self.text(key, default), tuple(choices)
        if value not in choices:
            raise self._wrong(key, f"must be one of {', '.join(choices)}")
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        """A boolean."""
        value = self._settings.get(key, default)
        if not isinstance(value, bool):
            raise self._wrong(key, "must be true or false")
        return value

    def _wrong(self, key: str, rule: str) -> DeviceError:
        return DeviceError(f"{self.name}: {key} = {self._settings.get(key)!r} {rule}")
