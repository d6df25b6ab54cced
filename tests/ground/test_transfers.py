"""Payload files of the ground: what rots or is lost is found out, and what nobody waits for does not stay."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from ground.vault import Vault
from skyrack import virtual
from skyrack.backhaul.memory import MemoryHub
from skyrack.clock import MissionClock
from skyrack.delivery.blocks import describe, offer_of

PACKAGE = b"package" * 10_000
SHA256 = hashlib.sha256(PACKAGE).digest()


def flying(kit: Any, scenario: Callable[[Any], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with kit.fly() as world:
            await scenario(world)

    virtual.run(whole)


def test_what_rotted_is_removed_so_that_it_may_come_again(tmp_path: Path) -> None:
    vault = Vault(tmp_path)
    sha256 = vault.put(PACKAGE)
    vault.verify(sha256)
    vault.path(sha256).write_bytes(bytes(len(PACKAGE)))
    with pytest.raises(KeyError):
        vault.verify(sha256)
    assert not vault.has(sha256)
    vault.put(PACKAGE)
    vault.verify(sha256)


def test_a_job_whose_package_was_lost_fails_and_says_so(kit: Any, tmp_path: Path) -> None:
    async def scenario(world: Any) -> None:
        ground = world.ground
        ground.vault._directory = tmp_path
        world.is_up = False
        await ground.submit(kit.spec_of(), PACKAGE, job_id="lost")
        ground.vault.path(SHA256).unlink()
        world.is_up = True
        record = await world.settled("lost")
        assert record.state == "FAILED"
        assert "its package is damaged or missing on the ground" in record.reason

    flying(kit, scenario)


def test_a_package_that_rotted_is_not_sent(kit: Any, tmp_path: Path) -> None:
    async def scenario(world: Any) -> None:
        ground = world.ground
        ground.vault._directory = tmp_path
        await ground.submit(kit.spec_of(), PACKAGE, job_id="rotten")
        ground.vault.path(SHA256).write_bytes(bytes(len(PACKAGE)))
        await world.clock.sleep(300)
        assert all(satellite.package("rotten") is None for satellite in world.satellites.values())
        assert any("is withdrawn" in event.text for event in await ground.events())
        assert not ground.vault.has(SHA256)

    flying(kit, scenario)


def test_what_gathers_of_files_that_no_row_names_is_swept_at_the_start(kit: Any, tmp_path: Path) -> None:
    async def scenario() -> None:
        clock = MissionClock.starting_at(kit.start)
        connector = MemoryHub(random.Random(1)).connector("ground", ())
        result = describe([PACKAGE])
        first = kit.make_ground(clock, connector, tmp_path)
        await first.open()
        offer = offer_of(result, "one", 1)
        await first.database.write(
            lambda connection: first.transfers.exchange.book.take_offer(connection, "sat-1", offer, clock.now())
        )
        await first.close()
        awaited, stray = (
            tmp_path / "incoming" / f"{result.layout.sha256.hex()}.{name}.part" for name in ("sat-1", "sat-2")
        )
        awaited.parent.mkdir(exist_ok=True)
        awaited.write_bytes(b"")
        stray.write_bytes(b"")
        second = kit.make_ground(clock, connector, tmp_path)
        await second.open()
        await second.close()
        assert awaited.exists()
        assert not stray.exists()

    asyncio.run(scenario())
