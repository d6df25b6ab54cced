"""The ground's database, on a file and on a real server."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import BigInteger, Column, LargeBinary, MetaData, Table, Text, func, insert, select

from ground.database import Connection, Database, StorageError, database_url
from skyrack import virtual
from skyrack.errors import UserError

METADATA = MetaData()
ITEM = Table(
    "item", METADATA, Column("number", BigInteger, primary_key=True), Column("text", Text), Column("data", LargeBinary)
)
STEP = """
CREATE TABLE thing (id INTEGER PRIMARY KEY, name TEXT, ratio REAL, data BLOB, UNIQUE (name));
CREATE TABLE pair (one INTEGER, two BLOB NOT NULL DEFAULT x'', PRIMARY KEY (one, two)) WITHOUT ROWID;
"""


def go(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(coroutine)


async def opened(target: Path | str | None) -> Database:
    database = Database(target)
    await database.write(lambda connection: METADATA.create_all(connection.core))
    return database


def put(number: int, text: str = "") -> Any:
    return lambda connection: connection.execute(insert(ITEM), {"number": number, "text": text, "data": b"\0"})


def count(connection: Connection) -> int:
    return int(connection.execute(select(func.count()).select_from(ITEM)).scalar_one())


def test_writes_are_seen_and_failures_leave_nothing(target: Path | str) -> None:
    async def scenario() -> None:
        database = await opened(target)
        await asyncio.gather(*(database.write(put(number)) for number in range(100)))
        results = await asyncio.gather(
            database.write(put(1000)), database.write(put(5)), database.write(put(1001)), return_exceptions=True
        )
        assert [isinstance(result, Exception) for result in results] == [False, True, False]
        assert not isinstance(results[1], StorageError)

        def half(connection: Connection) -> None:
            put(2000)(connection)
            raise RuntimeError("half way")

        with pytest.raises(RuntimeError, match="half way"):
            await database.write(half)
        assert await database.read(count) == 102
        await database.close()
        await database.close()

    go(scenario())


def test_text_and_statements_share_a_transaction(target: Path | str) -> None:
    async def scenario() -> None:
        database = await opened(target)
        await database.migrate("test", [STEP])
        await database.migrate("test", [STEP])

        def both(connection: Connection) -> list[Any]:
            put(1, "one")(connection)
            connection.execute(
                "INSERT INTO thing (name, ratio, data) SELECT text, 0.5, :data FROM item WHERE text = :text",
                {"text": "one", "data": b"\0\xff"},
            )
            connection.executemany(
                "INSERT INTO thing (name) VALUES (:name) ON CONFLICT (name) DO NOTHING",
                [{"name": "b"}, {"name": "B"}, {"name": "b"}, {"name": "100%: é"}],
            )
            return list(connection.execute("SELECT name, ratio, data FROM thing ORDER BY name").fetchall())

        expected = [("100%: é", None, None), ("B", None, None), ("b", None, None), ("one", 0.5, b"\0\xff")]
        assert await database.write(both) == expected
        with pytest.raises(ValueError, match="version 1, this software knows 0"):
            await database.migrate("test", [])
        await database.close()

    go(scenario())


def test_a_text_with_a_nul_is_kept(target: Path | str) -> None:
    async def scenario() -> None:
        database = await opened(target)
        await database.write(put(1, "a\0b"))
        await database.write(
            lambda connection: connection.execute("INSERT INTO item VALUES (2, :text, NULL)", {"text": "a\0b"})
        )
        texts = await database.read(lambda connection: connection.execute(select(ITEM.c.text)).scalars().all())
        assert {text.replace("\0", "\ufffd") for text in texts} == {"a\ufffdb"}
        await database.close()

    go(scenario())


def test_a_reader_cannot_write(target: Path | str) -> None:
    async def scenario() -> None:
        database = await opened(target)
        with pytest.raises(StorageError, match="read-only"):
            await database.read(put(1))
        assert await database.read(count) == 0
        await database.close()

    go(scenario())


def test_a_second_ground_is_refused_in_a_sentence(target: Path | str) -> None:
    async def scenario() -> None:
        first = await opened(target)
        second = Database(target)
        with pytest.raises(StorageError, match=r"another ground runs on this database; stop it first"):
            await second.write(put(1))
        assert await second.read(count) == 0
        await first.close()
        await second.write(put(1))
        assert await second.read(count) == 1
        await second.close()

    go(scenario())


def test_it_works_in_memory_and_in_virtual_time() -> None:
    async def scenario() -> None:
        database = await opened(None)
        await asyncio.gather(*(database.write(put(number)) for number in range(10)))
        assert await database.read(count) == 10
        await database.close()

    virtual.run(scenario)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("mysql://here/skyrack", "database: mysql://here/skyrack must be like postgresql://"),
        ("postgresql://u:secret@here", r"database: postgresql://u:\*\*\*@here must be like"),
        ("ground.db", "database: not a URL; must be like postgresql://"),
    ],
)
def test_what_is_no_url_of_a_server_is_said(text: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        database_url(text)


def test_a_missing_driver_is_named_with_its_extra() -> None:
    program = """
import sys
sys.modules["psycopg"] = None
from ground.database import Database
try:
    Database("postgresql://u:secret@here/skyrack")
except Exception as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("UserError database: postgresql://u:***@here/skyrack needs psycopg (")
    assert done.stdout.rstrip().endswith("pip install 'skyrack[postgresql]'")


def test_a_server_that_is_not_there_is_said() -> None:
    async def scenario() -> None:
        database = Database("postgresql://127.0.0.1:1/skyrack")
        with pytest.raises(StorageError, match=r"127\.0\.0\.1:1/skyrack: the server cannot be reached .*check that"):
            await database.write(put(1))
        with pytest.raises(StorageError, match="cannot be reached"):
            await database.read(count)
        await database.close()

    go(scenario())


def test_a_server_that_dies_is_said_and_found_again(postgresql: Any) -> None:
    async def scenario() -> None:
        database = await opened(postgresql.new_database())
        accepted: list[int] = []
        refused: list[StorageError] = []

        async def one(number: int) -> None:
            try:
                await database.write(put(number))
            except StorageError as error:
                refused.append(error)
            else:
                accepted.append(number)

        for first in range(0, 400, 20):
            if first == 200:
                await asyncio.get_running_loop().run_in_executor(None, postgresql.kill)
            await asyncio.gather(*(one(first + number) for number in range(20)))
            if first == 300:
                with pytest.raises(StorageError):
                    await database.read(count)
                await asyncio.get_running_loop().run_in_executor(None, postgresql.start)
        assert accepted[-1] == 399
        assert refused
        assert all("by itself" in str(error) for error in refused)
        there = await database.read(lambda connection: set(connection.execute(select(ITEM.c.number)).scalars()))
        assert set(accepted) <= there
        await database.close()

    go(scenario())


def test_a_connection_that_breaks_is_made_anew_without_a_word(postgresql: Any) -> None:
    async def scenario() -> None:
        url = postgresql.new_database()
        database = await opened(url)
        await database.write(put(1))
        assert await database.read(count) == 1
        end = sqlalchemy.text(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        engine = sqlalchemy.create_engine(sqlalchemy.make_url(url).set(drivername="postgresql+psycopg"))
        with engine.begin() as other:
            other.execute(end)
        engine.dispose()
        await database.write(put(2))
        assert await database.read(count) == 2
        await database.close()

    go(scenario())
