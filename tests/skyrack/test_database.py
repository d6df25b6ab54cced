from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from skyrack import virtual
from skyrack.database import Database, SqliteError, StorageError

STEPS = ["CREATE TABLE item (number INTEGER PRIMARY KEY, text TEXT); CREATE INDEX item_text ON item (text)"]


def go(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(coroutine)


def put(number: int, text: str = "") -> Any:
    return lambda connection: connection.execute("INSERT INTO item VALUES (?, ?)", (number, text))


def count(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT COUNT(*) FROM item").fetchone()[0])


@pytest.mark.parametrize("on_disk", [False, True], ids=["memory", "disk"])
def test_writes_are_seen_and_failures_leave_nothing(tmp_path: Path, on_disk: bool) -> None:
    async def scenario() -> None:
        database = Database(tmp_path / "deep" / "a.db" if on_disk else None)
        await database.migrate("test", STEPS)
        await asyncio.gather(*(database.write(put(number)) for number in range(100)))
        results = await asyncio.gather(
            database.write(put(1000)), database.write(put(5)), database.write(put(1001)), return_exceptions=True
        )
        assert [isinstance(result, sqlite3.IntegrityError) for result in results] == [False, True, False]

        def half(connection: sqlite3.Connection) -> None:
            put(2000)(connection)
            raise RuntimeError("half way")

        with pytest.raises(RuntimeError, match="half way"):
            await database.write(half)
        assert await database.read(count) == 102
        await database.close()
        await database.close()

    go(scenario())


def test_what_returned_is_there_after_a_kill(tmp_path: Path) -> None:
    program = """
import asyncio, sys
from pathlib import Path
from skyrack.database import Database
async def main():
    database = Database(Path(sys.argv[1]))
    await database.migrate("test", [sys.argv[2]])
    async def one(number):
        await database.write(lambda c: c.execute("INSERT INTO item VALUES (?, '')", (number,)))
        print(number, flush=True)
    for first in range(0, 10**9, 20):
        await asyncio.gather(*(one(first + n) for n in range(20)))
asyncio.run(main())
"""
    path = tmp_path / "a.db"
    process = subprocess.Popen([sys.executable, "-c", program, str(path), STEPS[0]], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    printed = [process.stdout.readline() for _ in range(500)]
    os.kill(process.pid, signal.SIGKILL)
    printed += process.stdout.read().splitlines()
    process.wait()
    with sqlite3.connect(path) as connection:
        there = {number for (number,) in connection.execute("SELECT number FROM item")}
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert {int(line) for line in printed if line.strip()} <= there


def test_a_full_disk_is_said_and_survived(tmp_path: Path) -> None:
    async def scenario() -> None:
        database = Database(tmp_path / "a.db")
        await database.migrate("test", STEPS)
        writer = database._writer.get()
        pages = writer.execute("PRAGMA page_count").fetchone()[0]
        writer.execute(f"PRAGMA max_page_count = {pages}")
        outcomes = await asyncio.gather(
            *(database.write(put(number, "x" * 9000)) for number in range(3)), return_exceptions=True
        )
        assert all(isinstance(outcome, StorageError) for outcome in outcomes)
        with pytest.raises(SqliteError, match=r"a\.db: the disk is full .*; free some space") as caught:
            await database.write(put(7, "x" * 9000))
        assert caught.value.code == sqlite3.SQLITE_FULL
        assert await database.read(count) == 0
        writer.execute("PRAGMA max_page_count = 100000")
        await database.write(put(7, "x" * 9000))
        assert await database.read(count) == 1
        await database.close()

    go(scenario())


def test_a_file_that_is_no_database_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_bytes(b"hello " * 500)

    async def scenario() -> None:
        database = Database(tmp_path / "a.db")
        with pytest.raises(StorageError, match="not an SQLite database"):
            await database.migrate("test", STEPS)
        await database.close()

    go(scenario())


def test_a_place_that_is_no_directory_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    async def scenario() -> None:
        with pytest.raises(StorageError, match="cannot be opened"):
            await Database(tmp_path / "file" / "a.db").migrate("test", STEPS)

    go(scenario())


def test_migrations_run_once_and_newer_tables_are_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        more = [*STEPS, "ALTER TABLE item ADD COLUMN size INTEGER"]
        for steps in (STEPS, more, more):
            database = Database(tmp_path / "a.db")
            await database.migrate("test", steps)
            await database.migrate("other", ["CREATE TABLE IF NOT EXISTS other (x)"])
            await database.close()
        database = Database(tmp_path / "a.db")
        with pytest.raises(ValueError, match="version 2, this software knows 1; use the newer software"):
            await database.migrate("test", STEPS)
        await database.close()

    go(scenario())


def test_a_cancelled_caller_disturbs_nobody(tmp_path: Path) -> None:
    async def scenario() -> None:
        database = Database(tmp_path / "a.db")
        await database.migrate("test", STEPS)
        tasks = [asyncio.create_task(database.write(put(number))) for number in range(10)]
        await asyncio.sleep(0)
        tasks[3].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await database.write(put(100))
        await database.close()

    go(scenario())


def test_it_works_in_virtual_time(tmp_path: Path) -> None:
    async def scenario() -> None:
        for path in (None, tmp_path / "a.db"):
            database = Database(path)
            await database.migrate("test", STEPS)
            await asyncio.gather(*(database.write(put(number)) for number in range(10)))
            assert await database.read(count) == 10
            await database.close()

    virtual.run(scenario)
