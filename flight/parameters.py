"""The parameters of one service: defaults of the contract, what the run overrides, what was set in flight."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from skyrack import dictionary
from skyrack.errors import UserError


class Parameters:
    """Validated, active, and (with a state directory) persisted as ``parameters/{service}.json`` in it."""

    def __init__(
        self, service: str, kind: type[Message] | None, overrides: Mapping[str, float], state_dir: Path | None
    ) -> None:
        self._service = service
        self._file = None if state_dir is None else state_dir / "parameters" / f"{service}.json"
        self.active: Any = None
        self._set_in_flight: dict[str, float] = {}
        if kind is None:
            return
        self.active = dictionary.default_parameters(kind)
        known = {parameter.name for parameter in dictionary.parameters_of(kind)}
        # The run's overrides are for all services: each takes those that it knows.
        self.active = dictionary.apply_parameters(
            self.active, [(name, value) for name, value in overrides.items() if name in known]
        )
        self._set_in_flight = {name: value for name, value in self._read().items() if name in known}
        self.active = dictionary.apply_parameters(self.active, self._set_in_flight.items())

    def values(self) -> dict[str, float]:
        """Names and values in force."""
        if self.active is None:
            return {}
        return {
            parameter.name: float(getattr(self.active, parameter.name))
            for parameter in dictionary.parameters_of(type(self.active))
        }

    def change(self, values: Iterable[tuple[str, float]]) -> None:
        """Check all values, then activate and persist them.

        Raises:
            UserError: a name is unknown or a value outside its range; nothing is changed.
        """
        values = list(values)
        if self.active is None:
            raise UserError(f"{self._service} has no parameters")
        self.active = dictionary.apply_parameters(self.active, values)
        self._set_in_flight.update(values)
        if self._file is not None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            temporary = self._file.with_suffix(".tmp")
            with temporary.open("w", encoding="utf-8") as file:
                json.dump(self._set_in_flight, file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._file)

    def _read(self) -> dict[str, float]:
        if self._file is None or not self._file.exists():
            return {}
        try:
            values = json.loads(self._file.read_text(encoding="utf-8"))
            return {str(name): float(value) for name, value in values.items()}
        except (OSError, ValueError, AttributeError, TypeError) as error:
            problem = f"these are not parameters ({error}); remove the file to fly the defaults"
            raise UserError(f"{self._file}: {problem}") from None
