"""What the parts of a file exchange share: the database, threads, tasks, and where problems are told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from skyrack.database import Storage, StorageError

T = TypeVar("T")

RETRY_SECONDS: Final = 5.0
"""Loop time after which what a disk or a database refused is tried again."""


class Background:
    """Work beside the loop, and the tasks that wait for it."""

    def __init__(self, database: Storage[Any], on_problem: Callable[[str, str], None]) -> None:
        self.database = database
        self.on_problem = on_problem
        self._tasks: set[asyncio.Task[None]] = set()

    async def write(self, transaction: Callable[[Any], T]) -> T:
        """Commit, however long it takes."""
        while True:
            try:
                return await self.database.write(transaction)
            except StorageError as error:
                self.on_problem("storage", str(error))
                await asyncio.sleep(RETRY_SECONDS)

    async def in_thread(self, function: Callable[[], T]) -> T:
        """Run what touches files; inline in virtual time."""
        return await asyncio.get_running_loop().run_in_executor(None, function)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run it on its own, until ``close``."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """Stop all that runs."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
