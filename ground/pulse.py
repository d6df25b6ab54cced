"""A beat that any number of waiters hear."""

from __future__ import annotations

import asyncio

__all__ = ["Pulse"]


class Pulse:
    """Wakes everybody who waits. Take a ``waiter`` before looking at what may change, so that no beat is missed."""

    def __init__(self) -> None:
        self._next: asyncio.Future[None] | None = None

    def waiter(self) -> asyncio.Future[None]:
        """Done at the next beat. Each call gives its own: cancelling one leaves the others alone."""
        loop = asyncio.get_running_loop()
        if self._next is None or self._next.done():
            self._next = loop.create_future()
        mine: asyncio.Future[None] = loop.create_future()

        def pass_on(_: asyncio.Future[None]) -> None:
            if not mine.done():
                mine.set_result(None)

        common = self._next
        common.add_done_callback(pass_on)
        mine.add_done_callback(lambda _: common.remove_done_callback(pass_on))
        return mine

    def beat(self) -> None:
        """Wake all who wait now."""
        if self._next is not None and not self._next.done():
            self._next.set_result(None)
