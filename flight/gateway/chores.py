"""Work that is done when something came: again a little later while something is left of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from skyrack.database import StorageError
from skyrack.delivery import OutboxFullError

_RETRY_SECONDS: Final = 5.0


class Chore:
    """``step()`` is taken whenever ``come`` was called; what it raises ends no chore."""

    def __init__(
        self,
        step: Callable[[], Awaitable[bool]],
        on_problem: Callable[[str, str], None],
        on_failure: Callable[[str, Exception], None],
    ) -> None:
        """``step()`` returns whether something is left.

        ``on_problem(kind, text)`` hears of storage that fails, ``on_failure(where, error)`` of all else.
        """
        self._step = step
        self._on_problem = on_problem
        self._on_failure = on_failure
        self._came = asyncio.Event()

    def come(self) -> None:
        """There is something to do."""
        self._came.set()

    async def run(self) -> None:
        """Do it, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._came.wait()
            self._came.clear()
            try:
                left = await self._step()
            except (StorageError, OutboxFullError, OSError) as error:
                self._on_problem("storage", str(error))
                left = True
            except Exception as error:  # noqa: BLE001 - whatever one thing that came up breaks, the next may be the remedy
                self._on_failure("work", error)
                left = True
            if left:
                loop.call_later(_RETRY_SECONDS, self._came.set)
