"""A run while it lives: a picture that is drawn again on a terminal, a line for each change elsewhere."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from ground import present
from skyrack.logging import mission_time_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

SHOWN_NOTES = 5


class Seen(Protocol):
    """What is seen of any run; satellites and jobs as the ground tells them."""

    mission_time_seconds: float
    satellites: list[dict[str, Any]]
    jobs: list[dict[str, Any]]
    notes: list[str]


V = TypeVar("V", bound=Seen)


@contextlib.contextmanager
def watching(
    draw: Callable[[V], Group], others: Callable[[V], Iterable[tuple[str, str]]] = lambda _: (), *, quiet: bool
) -> Iterator[Callable[[V], None]]:
    """Yield what shows views, on standard error.

    Args:
        draw: the picture.
        others: who, beside satellites and jobs, is how, for the lines.
        quiet: show nothing.
    """
    console = present.console(stderr=True)
    if quiet:
        yield lambda _view: None
    elif console.is_terminal:
        with Live(console=console, refresh_per_second=4) as live:
            yield lambda view: live.update(draw(view))
    else:
        lines = _Lines(console)
        yield lambda view: lines.show(view, others(view))


def picture(view: Seen, above: Sequence[Any] = ()) -> Group:
    """Satellites and jobs, the time over them, and the newest notes below."""
    head = Text(f"mission time {mission_time_text(view.mission_time_seconds)}", style="bold")
    notes = [Text(note, style="yellow") for note in view.notes[-SHOWN_NOTES:]]
    return Group(head, *above, present.satellites(view.satellites), "", present.jobs(view.jobs), *notes)


class _Lines:
    """Says what changed, a line each."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said: dict[str, str] = {}
        self._notes = 0

    def show(self, view: Seen, others: Iterable[tuple[str, str]]) -> None:
        """Say what is new."""
        time = mission_time_text(view.mission_time_seconds)
        for who, what in (*others, *_satellites_and_jobs(view)):
            if self._said.get(who) != what:
                self._said[who] = what
                self._console.print(f"{time}  {who}: {what}", highlight=False)
        for note in view.notes[self._notes :]:
            self._console.print(f"{time}  {note}", highlight=False)
        self._notes = len(view.notes)


def _satellites_and_jobs(view: Seen) -> Iterator[tuple[str, str]]:
    for satellite in view.satellites:
        yield satellite["name"], f"{satellite['mode'].lower() or 'silent'}, {present.sun(satellite['sunlit_ratio'])}"
    for job in view.jobs:
        where = f" on {job['satellite']}" if job["satellite"] else ""
        yield job["job_id"], f"{job['state'].lower()}{where}"
