"""The audit log: what is in it, that nothing edits it, and that an edit would be found."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from ground.access import ForbiddenError, Person, Role
from ground.audit import Audit
from ground.client import Skyrack, calls
from ground.store import audit as store
from skyrack.clock import MissionClock
from skyrack.errors import UserError

EVE = Person("eve", Role.OPERATOR, "e" * 12)


def kept(kit: Any, target: Path | str | None, scenario: Callable[[Any, Audit], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with kit.fly(database=target) as world:
            await scenario(world.ground.database, Audit(world.ground.database, MissionClock.starting_at(kit.start)))

    asyncio.run(whole())


def test_the_chain_holds_and_nothing_edits_it(kit: Any, target: Path | str) -> None:
    async def scenario(database: Any, audit: Audit) -> None:
        assert (await audit.verify()).rows == 0
        for number in range(5):
            await audit.add(EVE, "cancel_job", f"job-{number}", detail="\ud800 and \0")
        await audit.add(None, "sign_in", "/", outcome="refused")
        proof = await audit.verify()
        assert (proof.is_intact, proof.rows) == (True, 6)
        assert [row.id for row in await audit.newest(2)] == [5, 6]
        for sql in ("UPDATE audit SET person = 'me'", "DELETE FROM audit WHERE id = 6"):
            with pytest.raises(Exception, match="never changed"):
                await database.write(lambda connection, sql=sql: connection.execute(sql))
        if isinstance(target, Path):  # SQLite's REPLACE does not ask the trigger of DELETE
            columns = ", ".join("'me'" if name == "person" else name for name in store.AuditRecord.__dataclass_fields__)
            sql = f"INSERT OR REPLACE INTO audit SELECT {columns} FROM audit WHERE id = 3"
            with pytest.raises(Exception, match="never changed"):
                await database.write(lambda connection: connection.execute(sql))
        assert await audit.verify() == proof

    kept(kit, target, scenario)


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("UPDATE audit SET person = 'bob' WHERE id = 3", "row 3 was changed"),
        ("UPDATE audit SET mission_time_seconds = 1.5 WHERE id = 1", "row 1 was changed"),
        ("DELETE FROM audit WHERE id = 2", "row 2 is missing"),
        ("DELETE FROM audit WHERE id = 1", "row 1 is missing"),
        ("UPDATE audit SET previous_sha256 = '00' WHERE id = 4", "row 4 does not hold the hash of row 3"),
    ],
)
def test_who_gets_around_the_database_is_found_out(kit: Any, sql: str, problem: str) -> None:
    async def scenario(database: Any, audit: Audit) -> None:
        for number in range(5):
            await audit.add(EVE, "cancel_job", f"job-{number}")

        def around(connection: Any) -> None:
            for trigger in ("audit_no_update", "audit_no_delete"):
                connection.execute(f"DROP TRIGGER {trigger}")
            connection.execute(sql)

        await database.write(around)
        proof = await audit.verify()
        assert not proof.is_intact
        assert problem in proof.problem

    kept(kit, None, scenario)


def test_a_cut_end_shows_in_the_last_hash(kit: Any) -> None:
    async def scenario(database: Any, audit: Audit) -> None:
        await audit.add(EVE, "a", "b")
        before = await audit.verify()
        await audit.add(EVE, "a", "c")
        assert (await audit.verify()).last_sha256 != before.last_sha256
        rows = await audit.rows()
        assert rows[0].sha256 == store.seal(rows[0])
        assert rows[1].previous_sha256 == rows[0].sha256

    kept(kit, None, scenario)


def test_what_the_console_does_is_checked_and_written_down(kit: Any) -> None:
    async def scenario(database: Any, audit: Audit) -> None:
        async with audit.doing(EVE, Role.OPERATOR, "send_telecommand", "sat-1 SetPump"):
            pass
        with pytest.raises(ForbiddenError):
            async with audit.doing(EVE, Role.ADMIN, "make_token", "x"):
                raise AssertionError("this must not run")
        with pytest.raises(UserError):
            async with audit.doing(EVE, Role.VIEWER, "x", "y"):
                raise UserError("it is full")
        found = [(row.action, row.outcome, row.detail[:10]) for row in await audit.rows()]
        assert found == [
            ("send_telecommand", "done", ""),
            ("make_token", "refused", "this needs"),
            ("x", "failed", "it is full"),
        ]

    kept(kit, None, scenario)


def test_requests_that_change_something_and_refusals_are_in_it(kit: Any, tmp_path: Path) -> None:
    async def whole() -> None:
        async with (
            kit.fly(rate=60.0) as world,
            kit.serve(world, tmp_path) as address,
            httpx.AsyncClient(base_url=address.url, trust_env=False) as http,
            Skyrack(str(address)) as admin,
        ):
            made = (await admin.ask(calls.make_token("eve", "viewer", 0))).json()
            shown = {"Authorization": f"Bearer {made['secret']}"}
            assert (await http.get("/v1/jobs", headers=shown)).status_code == 200
            assert (await http.post("/v1/jobs/j/cancel", json={"reason": "x"}, headers=shown)).status_code == 403
            assert (await http.get("/v1/jobs", headers={"Authorization": "Bearer guess"})).status_code == 401
            await admin.ask(calls.revoke_token(made["token"]["token_id"]))
            rows = (await admin.ask(calls.audit(0, 100))).json()
            found = [(row["action"], row["outcome"]) for row in rows]
            assert found == [
                ("make_token", "done"),
                ("cancel_job", "refused"),
                ("sign_in", "refused"),
                ("revoke_token", "done"),
            ]
            assert rows[0]["subject"] == f"{made['token']['token_id']}: eve as viewer"
            assert rows[1]["person"] == "eve"
            assert rows[1]["address"] == "127.0.0.1"
            assert made["secret"] not in str(rows)
            proof = (await admin.ask(calls.audit_proof())).json()
            assert proof["is_intact"]
            assert proof["rows"] == 4

    asyncio.run(whole())


def test_what_cannot_be_written_down_is_not_said_to_be_done(
    kit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def whole() -> None:
        async with (
            kit.fly(rate=60.0) as world,
            kit.serve(world, tmp_path) as address,
            httpx.AsyncClient(base_url=address.url, trust_env=False) as http,
        ):
            from skyrack.storage import StorageError

            def full(*_: Any, **__: Any) -> None:
                raise StorageError("the disk is full; free some space")

            monkeypatch.setattr(store, "append", full)
            shown = {"Authorization": f"Bearer {address.token}"}
            answer = await http.post("/v1/tokens", json={"name": "x", "role": "viewer"}, headers=shown)
            assert answer.status_code == 503
            assert "the disk is full" in answer.json()["detail"]

    asyncio.run(whole())
