"""One open page: who looks at it, what it listens to, and what is done in that person's name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any, Final

from nicegui import Client, background_tasks, ui
from nicegui.element import Element

from ground.access import Person, Role, TokenBook, require
from ground.audit import Audit
from ground.console.feed import Feed, Frame
from ground.segment import GroundSegment
from skyrack.database import StorageError
from skyrack.errors import UserError

__all__ = ["MAY", "Visit"]

_FAREWELL_SECONDS: Final = 1.0

MAY: Final = {
    Role.VIEWER: "You may see everything, and change nothing.",
    Role.RESEARCHER: "You may submit and cancel jobs.",
    Role.OPERATOR: "You may submit and cancel jobs, and command satellites.",
    Role.ADMIN: "You may do everything, tokens and keys included.",
}


class Visit:
    """A person at a page. ``book`` and ``audit`` are absent where the ground asks nobody for a token."""

    def __init__(
        self, client: Client, person: Person, feed: Feed, book: TokenBook | None = None, audit: Audit | None = None
    ) -> None:
        self.client = client
        self.person = person
        self.feed = feed
        self._book = book
        self._audit = audit
        self._is_over = False

    @property
    def is_over(self) -> bool:
        """Whether the token that opened the page opens nothing any more."""
        return self._book is not None and not self._book.is_current(self.person)

    @property
    def segment(self) -> GroundSegment:
        """The ground segment."""
        return self.feed.segment

    @property
    def prefix(self) -> str:
        """What stands before every path of the console."""
        return self.feed.prefix

    @property
    def frame(self) -> Frame:
        """What was seen last."""
        return self.feed.frame

    def on_frame(self, element: Element, show: Callable[[Frame], None]) -> None:
        """Show every frame while the element is there and its page connected; after a silence, all of it."""
        is_behind = True

        def hear(frame: Frame) -> None:
            nonlocal is_behind
            if element.is_deleted or self.client.is_deleted:
                self.feed.leave(element)
            elif self.is_over:
                self.feed.leave(element)
                self._leave()
            elif not self.client.has_socket_connection:
                is_behind = True
            else:
                found = replace(frame, changed=frame.satellites, is_news=True) if is_behind else frame
                is_behind = False
                with element:
                    show(found)

        self.feed.listen(element, hear)

    def _leave(self) -> None:
        """Show this person the door: the page asks who they are, and what it was here answers no more."""
        if self._is_over:
            return
        self._is_over = True

        async def leave() -> None:
            self.client.run_javascript("location.reload()")
            await asyncio.sleep(_FAREWELL_SECONDS)  # edges live in wall time
            if not self.client.is_deleted:
                self.client.delete()

        background_tasks.create(leave(), name="console farewell")

    def refusal(self, role: Role) -> str:
        """Why this person may not do what needs a role; empty when they may."""
        return "" if self.person.may(role) else f"This needs the role {role}; you are {self.person.role}."

    def doing(self, role: Role, action: str, subject: str) -> AbstractAsyncContextManager[None]:
        """Around what is done in the person's name: checks that they may, and writes it into the audit log."""
        return self._doing(role, action, subject)

    @asynccontextmanager
    async def _doing(self, role: Role, action: str, subject: str) -> AsyncIterator[None]:
        if self.is_over:
            raise UserError("your token is over or was revoked; sign in again")
        if self._audit is None:
            require(self.person, role)
            yield
            return
        async with self._audit.doing(self.person, role, action, subject):
            yield

    async def attempt(self, work: Awaitable[Any], done: str = "") -> str:
        """Do something, and say that it was done, or why it was not; returns the problem."""
        problem = ""
        try:
            await work
        except UserError as error:
            problem = str(error)
        except (StorageError, OSError) as error:
            problem = f"the ground's storage failed: {error}"
        if self.client.is_deleted:
            return problem
        with self.client:
            if problem:
                self.say(problem, is_problem=True)
            elif done:
                self.say(done)
        return problem

    @staticmethod
    def say(sentence: str, *, is_problem: bool = False) -> None:
        """A short note at the edge of the page."""
        ui.notify(
            sentence[:1].upper() + sentence[1:],
            type="negative" if is_problem else "positive",
            position="bottom-right",
            timeout=8000 if is_problem else 3000,
            close_button="Close" if is_problem else False,
        )

    @staticmethod
    def later(work: Awaitable[Any], element: Element) -> None:
        """Go on beside the page, in the place of an element."""

        async def inside() -> None:
            with element:
                await work

        background_tasks.create(inside(), name="console")
