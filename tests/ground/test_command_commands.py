"""`skyrack commands` and `skyrack sequence`, typed against a ground that answers over HTTP."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from skyrack.cli import skyrack as program
from skyrack.errors import UserError


def test_what_a_person_types_and_reads(kit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with kit.fly(rate=60.0) as world, kit.serve(world, tmp_path) as address:
            monkeypatch.setenv("SKYRACK_GROUND", f"{address.url}/?token={address.token}")

            async def skyrack(*arguments: str, wrong: bool = False) -> str:
                done = await asyncio.to_thread(CliRunner().invoke, program, arguments)
                assert isinstance(done.exception, UserError) == wrong, done.output
                return str(done.exception) if wrong else done.output

            assert "held since" in await skyrack("commands", "hold", "sat-1", "--reason", "antenna test")
            await skyrack("send", "sat-1", "SetDrain", "draining=true", "--id", "c1")
            told = await skyrack("commands", "list", "sat-1")
            assert ": antenna test" in told
            assert "c1  compute.SetDrain" in told
            assert "HELD" in told
            listed = json.loads(await skyrack("commands", "list", "--json"))
            assert [queue["is_held"] for queue in listed["queues"]] == [True, False]
            assert "WITHDRAWN" in await skyrack("commands", "withdraw", "c1")
            assert "c1 is WITHDRAWN" in await skyrack("commands", "withdraw", "c1", wrong=True)

            await skyrack("sequence", "run", "sat-1", "node-power-cycle", "--id", "s1")
            assert "s1 (sequence)  node-power-cycle" in await skyrack("commands")
            assert "WITHDRAWN" in await skyrack("sequence", "abort", "s1")
            assert "s1" in await skyrack("sequence", "list")
            assert "step 4  compute.SetDrain(draining: false)" in await skyrack("sequence", "list", "s1")
            assert "0 waiting, open" in await skyrack("commands", "release", "sat-1")
            told = await skyrack("send", "sat-1", "SetDrain", "draining=true", "--id", "c2", "--wait")
            assert [word for word in told.split() if word.isalpha() and word.isupper()] == [
                "QUEUED",
                "SENT",
                "ACCEPTED",
                "COMPLETED",
            ]
            bad = tmp_path / "wrong.toml"
            bad.write_text('name = "x"\n[[steps]]\ncommand = "SetDrain"\n')
            told = await skyrack("sequence", "run", "sat-1", str(bad), wrong=True)
            assert "wrong.toml: step 1: SetDrain: draining is missing" in told
            assert "step 1: SetDrain" in await skyrack("sequence", "check", str(bad), wrong=True)
            assert "4 steps" in await skyrack("sequence", "check", "node-power-cycle")

    asyncio.run(main())
