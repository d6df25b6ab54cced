"""What one sees of an acceptance: steps as they go, and the verdict."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.status import Status

from hil.acceptance.model import StepResult, Verdict
from hil.acceptance.procedure import Step

_STYLES = {
    Verdict.PASSED: "bold green",
    Verdict.FAILED: "bold red",
    Verdict.NOT_APPLICABLE: "dim",
    Verdict.SKIPPED: "yellow",
}


class _Watcher:
    def __init__(self, console: Console, status: Status | None) -> None:
        self._console = console
        self._status = status
        self._title = ""

    def begins(self, step: Step) -> None:
        self._title = step.title
        self._show("")

    def tells(self, text: str) -> None:
        self._show(text)

    def ended(self, result: StepResult) -> None:
        verdict = f"[{_STYLES[result.verdict]}]{result.verdict.value}[/]"
        self._console.print(f"{verdict}  {escape(result.title)} [dim]({result.name}, {result.seconds:.1f} s)[/]")
        if result.reason:
            self._console.print(f"    {escape(result.reason)}")
        for value in result.values:
            told = "not measured" if value.value is None else f"{value.value:.4g} {value.unit}".rstrip()
            limits = f"  ({value.limits})" if value.limits else ""
            style = "" if value.ok else "red"
            self._console.print(f"    {value.name}: {told}{limits}", style=style, markup=False, highlight=False)

    def _show(self, text: str) -> None:
        if self._status is not None:
            self._status.update(f"{escape(self._title)}{': ' if text else ''}{escape(text)}")
        elif text:
            self._console.print(f"  {text}", style="dim", markup=False, highlight=False)


class _Quiet:
    def begins(self, step: Step) -> None:
        pass

    def tells(self, text: str) -> None:
        pass

    def ended(self, result: StepResult) -> None:
        pass


@contextlib.contextmanager
def watching(*, quiet: bool) -> Iterator[_Watcher | _Quiet]:
    """Show what goes on, on standard error."""
    console = Console(stderr=True)
    if quiet:
        yield _Quiet()
    elif console.is_terminal:
        with console.status("connecting") as status:
            yield _Watcher(console, status)
    else:
        yield _Watcher(console, None)


def say(path: Path, document: Mapping[str, Any]) -> None:
    """The verdict, and where the report is."""
    console = Console(highlight=False)
    failed = [step["name"] for step in document["steps"] if step["verdict"] == Verdict.FAILED.value]
    board = document["bench"]["board"]
    if document["accepted"]:
        console.print(f"{board} is accepted", style="bold green")
    else:
        console.print(f"{board} is rejected: {', '.join(failed) or 'nothing was found out'}", style="bold red")
    console.print(
        f"report: {path} and {path.with_suffix('.html').name}, signed; skyrack hil verify {path}", soft_wrap=True
    )
