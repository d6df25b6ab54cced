"""The procedure as data: steps in their order, with settings and limits; what a factory overrides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from hil.acceptance.model import Value
from skyrack import files

SHIPPED = Path(__file__).with_name("procedure.toml")


class Limit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a value must be, in the unit that the step gives it."""

    low: float | None = None
    high: float | None = None


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A step of the procedure."""

    name: str
    title: str = ""
    settings: dict[str, float] = {}
    limits: dict[str, Limit] = {}

    def value(self, name: str, value: float | None, unit: str, *, of: str = "", note: str = "") -> Value:
        """A measured value with the limits that stand under its name; ``of`` says of what it is."""
        limit = self.limits.get(name, Limit())
        told = f"{name} of {of}" if of else name
        return Value(name=told, value=value, unit=unit, low=limit.low, high=limit.high, note=note)


class Procedure(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole procedure."""

    name: str = ""
    version: Annotated[int, Meta(ge=1)] = 1
    steps: tuple[Step, ...]


def load(override: Path | None = None, only: Sequence[str] = ()) -> Procedure:
    """The shipped procedure with what a file overrides; ``only`` leaves out all other steps.

    Raises:
        FileError: a file does not add up, or names a step, a setting or a limit that there is not.
    """
    procedure = files.load(SHIPPED, Procedure)
    steps = {step.name: step for step in procedure.steps}
    if override is not None:
        told = files.load(override, Procedure)
        for step in told.steps:
            if step.name not in steps:
                raise files.FileError(override, files.suggest(step.name, steps), key="steps.name", value=step.name)
            steps[step.name] = _merged(steps[step.name], step, override)
        procedure = msgspec.structs.replace(
            procedure, name=told.name or procedure.name, version=max(procedure.version, told.version)
        )
    for name in only:
        if name not in steps:
            raise files.FileError("--step", files.suggest(name, steps), key="step", value=name)
    chosen = tuple(step for step in steps.values() if not only or step.name in only)
    return msgspec.structs.replace(procedure, steps=chosen)


def _merged(step: Step, told: Step, source: Path) -> Step:
    for kind, known, given in (("settings", step.settings, told.settings), ("limits", step.limits, told.limits)):
        for name in given:
            if name not in known:
                raise files.FileError(source, files.suggest(name, known), key=f"steps.{step.name}.{kind}", value=name)
    return msgspec.structs.replace(
        step,
        title=told.title or step.title,
        settings={**step.settings, **told.settings},
        limits={**step.limits, **told.limits},
    )
