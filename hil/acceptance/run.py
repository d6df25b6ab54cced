"""Runs the procedure on a rig, step by step; what came of it."""

from __future__ import annotations

import contextlib
from typing import Protocol

import msgspec

from hil.acceptance.model import Finding, NotApplicableError, SkippedError, StepError, StepResult, Verdict
from hil.acceptance.procedure import Procedure, Step
from hil.acceptance.rig import Session
from hil.acceptance.steps import IN_FLIGHT, STEPS
from skyrack.errors import UserError


class Watcher(Protocol):
    """Who looks on."""

    def begins(self, step: Step) -> None:
        """A step begins."""
        ...

    def tells(self, text: str) -> None:
        """It says what it does now."""
        ...

    def ended(self, result: StepResult) -> None:
        """It is over."""
        ...


async def run_procedure(procedure: Procedure, session: Session, watcher: Watcher) -> tuple[StepResult, ...]:
    """All steps in their order. A step that fails does not end the others: a board is rejected for all its reasons."""
    session.tell = watcher.tells
    results: list[StepResult] = []
    async with contextlib.AsyncExitStack() as stack:
        refusal: StepResult | None = None
        flights = [step.name for step in procedure.steps if step.name in IN_FLIGHT]
        for step in procedure.steps:
            watcher.begins(step)
            result = None
            if step.name in IN_FLIGHT and session.flight is None:
                refusal = refusal or await _take_off(step, session, stack)
                result = refusal
            if result is None:
                result = await _run(step, session)
            results.append(_named(result, step))
            watcher.ended(results[-1])
            if flights and step.name == flights[-1]:
                session.flight = None
                await stack.aclose()
    return tuple(results)


def _named(result: StepResult, step: Step) -> StepResult:
    return msgspec.structs.replace(result, name=step.name, title=step.title)


async def _take_off(step: Step, session: Session, stack: contextlib.AsyncExitStack) -> StepResult | None:
    session.tell("bringing the bench up")
    began = session.rig.now()
    try:
        session.flight = await stack.enter_async_context(session.rig.flying())
    except NotApplicableError as error:
        return _result(step, Verdict.NOT_APPLICABLE, str(error), session.rig.now() - began)
    except (StepError, UserError, OSError) as error:
        return _result(step, Verdict.FAILED, f"the bench does not fly: {error}", session.rig.now() - began)
    return None


async def _run(step: Step, session: Session) -> StepResult:
    began = session.rig.now()
    finding = Finding()
    try:
        finding = await STEPS[step.name](session, step)
        verdict, reason = finding.verdict, finding.reason
    except NotApplicableError as error:
        verdict, reason = Verdict.NOT_APPLICABLE, str(error)
    except SkippedError as error:
        verdict, reason = Verdict.SKIPPED, str(error)
    except (StepError, UserError, OSError) as error:
        verdict, reason = Verdict.FAILED, str(error)
    return StepResult(
        name=step.name,
        title=step.title,
        verdict=verdict,
        reason=reason,
        values=finding.values,
        evidence=finding.evidence,
        pictures=finding.pictures,
        seconds=session.rig.now() - began,
    )


def _result(step: Step, verdict: Verdict, reason: str, seconds: float) -> StepResult:
    return StepResult(name=step.name, title=step.title, verdict=verdict, reason=reason, seconds=seconds)
