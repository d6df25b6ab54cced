"""What a step of acceptance finds: a verdict, measured values with their limits, pictures as evidence."""

from __future__ import annotations

import enum
import math
from typing import Any

import msgspec


class Verdict(enum.Enum):
    """How a step ended."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_APPLICABLE = "not applicable"
    """This hardware cannot be asked for it; the reason says why."""
    SKIPPED = "skipped"
    """It was not asked for, or needs a permission that was not given."""


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """A measured value. ``low`` and ``high`` are the limits that it was judged by; ``None`` is no limit."""

    name: str
    value: float | None
    unit: str = ""
    low: float | None = None
    high: float | None = None
    note: str = ""

    @property
    def ok(self) -> bool:
        """Whether it is a number within its limits."""
        if self.value is None or not math.isfinite(self.value):
            return self.low is None and self.high is None
        return (self.low is None or self.value >= self.low) and (self.high is None or self.value <= self.high)

    @property
    def limits(self) -> str:
        """The limits in words."""
        if self.low is not None and self.high is not None:
            return f"{self.low:g} to {self.high:g}"
        if self.low is not None:
            return f"at least {self.low:g}"
        return f"at most {self.high:g}" if self.high is not None else ""


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """Evidence to look at: an SVG, whole."""

    title: str
    svg: str


class StepResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a step."""

    name: str
    title: str
    verdict: Verdict
    reason: str = ""
    values: tuple[Value, ...] = ()
    evidence: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()
    seconds: float = 0.0


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What a step hands back; whoever runs it adds name, title and duration."""

    values: tuple[Value, ...] = ()
    evidence: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()
    problem: str = ""

    @property
    def verdict(self) -> Verdict:
        """Passed when nothing is wrong."""
        return Verdict.PASSED if not self.reason else Verdict.FAILED

    @property
    def reason(self) -> str:
        """What is wrong, in a sentence; empty when nothing is."""
        said = [self.problem] if self.problem else []
        for value in self.values:
            if not value.ok:
                told = "was not measured" if value.value is None else f"is {value.value:.4g} {value.unit}".rstrip()
                said.append(f"{value.name} {told}, it must be {value.limits} {value.unit}".rstrip())
        return "; ".join(said)


class NotApplicableError(Exception):
    """This hardware cannot do the step; the sentence says why."""


class SkippedError(Exception):
    """The step needs a permission; the sentence says which."""


class StepError(Exception):
    """The step failed before there was anything to measure; the sentence says why."""


def accepted(results: tuple[StepResult, ...]) -> bool:
    """Whether a board is accepted: something was found out, and nothing failed."""
    verdicts = [result.verdict for result in results]
    return Verdict.PASSED in verdicts and Verdict.FAILED not in verdicts


def to_builtins(result: StepResult) -> dict[str, Any]:
    """As JSON takes it; pictures are the HTML's, their titles are told."""
    found: dict[str, Any] = msgspec.to_builtins(result)
    found["pictures"] = [picture.title for picture in result.pictures]
    return found
