"""The parameters of one service: defaults of the contract, what the run overrides, what was set in flight."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf.message import Message

from skyrack import dictionary
from skyrack.disk import KeptFile
from skyrack.errors import UserError


class Parameters:
    """Validated, active, and kept in ``file``."""

    def __init__(
        self, service: str, kind: type[Message] | None, overrides: Mapping[str, float], file: KeptFile
    ) -> None:
        self._service = service
        self._file = file
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
            UserError: a name is unknown, a value outside its range, or the disk is full; nothing is changed.
        """
        values = list(values)
        if self.active is None:
            raise UserError(f"{self._service} has no parameters")
        active = dictionary.apply_parameters(self.active, values)
        in_flight = {**self._set_in_flight, **dict(values)}
        try:
            self._file.replace(json.dumps(in_flight).encode())
        except OSError as error:
            raise UserError(f"{self._file} cannot be written ({error.strerror}); nothing was changed") from None
        self.active, self._set_in_flight = active, in_flight

    def _read(self) -> dict[str, float]:
        try:
            kept = self._file.read()
            values = {} if kept is None else json.loads(kept)
            return {str(name): float(value) for name, value in values.items()}
        except (OSError, ValueError, AttributeError, TypeError) as error:
            problem = f"these are not parameters ({error}); remove the file to fly the defaults"
            raise UserError(f"{self._file}: {problem}") from None
