"""Alarms: raised with persistence, latched until acknowledged, shelved for a while, and kept."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ground.database import Database
from ground.errors import UnknownError
from ground.store import events, migration
from ground.telemetry.alarm_desk import AlarmDesk
from ground.telemetry.alarms import AlarmBook, Point
from ground.telemetry.watch import Crossing
from skyrack import virtual
from skyrack.errors import UserError
from skyrack.limits import Level
from skyrack.v1.common_pb2 import SEVERITY_CRITICAL, SEVERITY_WARNING

FIELD = "PowerStatus.state_of_charge_ratio"
POINT = Point("sat-1", FIELD)


def crossing(level: Level, at: float, value: float = 0.4) -> Crossing:
    return Crossing(FIELD, (), level, value, at)


def raised(book: AlarmBook, level: Level = Level.RED_LOW, at: float = 100.0) -> list[Any]:
    book.observe("sat-1", [crossing(level, at)], at)
    return book.tick({"sat-1": at + 10}, at + 10)


def test_a_limit_must_be_left_for_the_persistence_on_board() -> None:
    book = AlarmBook()
    assert not book.observe("sat-1", [crossing(Level.YELLOW_LOW, 100)], 5000)
    assert not book.tick({"sat-1": 109}, 5000)
    (change,) = book.tick({"sat-1": 110}, 5001)
    assert (change.action, change.alarm.severity, change.mission_time_seconds) == ("raised", SEVERITY_WARNING, 100)
    assert book.alarms[POINT].state == "active"


def test_a_value_that_comes_back_in_time_raises_nothing() -> None:
    book = AlarmBook()
    book.observe("sat-1", [crossing(Level.RED_LOW, 100), crossing(Level.NOMINAL, 105, 0.8)], 5000)
    assert not book.tick({"sat-1": 200}, 6000)
    assert not book.alarms


def test_the_last_that_was_heard_is_told_though_nothing_follows() -> None:
    book = AlarmBook()
    book.observe("sat-1", [crossing(Level.RED_LOW, 100)], 100)
    assert not book.tick({"sat-1": 100}, 160)
    assert [change.action for change in book.tick({"sat-1": 100}, 170)] == ["raised"]


def test_an_alarm_is_latched_until_somebody_acknowledges_it() -> None:
    book = AlarmBook()
    raised(book)
    assert [change.action for change in book.observe("sat-1", [crossing(Level.NOMINAL, 300, 0.8)], 300)] == ["returned"]
    assert book.alarms[POINT].state == "returned"
    book.acknowledge(POINT, "ada", "eclipse", 400)
    assert book.alarms[POINT].state == "cleared"
    assert book.acknowledge(POINT, "bob", "", 500) is None
    raised(book, at=1000)
    assert (book.alarms[POINT].state, book.alarms[POINT].occurrences) == ("active", 2)


def test_getting_worse_needs_another_acknowledgement_and_getting_better_does_not() -> None:
    book = AlarmBook()
    raised(book, Level.YELLOW_LOW)
    book.acknowledge(POINT, "ada", "", 120)
    assert book.alarms[POINT].state == "acknowledged"
    (worse,) = raised(book, Level.RED_LOW, 200)
    assert (worse.action, worse.alarm.severity) == ("escalated", SEVERITY_CRITICAL)
    assert book.alarms[POINT].state == "active"
    book.acknowledge(POINT, "ada", "", 220)
    (better,) = book.observe("sat-1", [crossing(Level.YELLOW_LOW, 300)], 300)
    assert (better.action, better.alarm.state) == ("eased", "acknowledged")
    assert book.alarms[POINT].occurrences == 1


def test_a_shelved_alarm_is_followed_and_comes_back_when_its_time_is_up() -> None:
    book = AlarmBook()
    raised(book)
    book.shelve(POINT, 1000, "ada", "known", 200)
    assert book.alarms[POINT].state == "shelved"
    book.observe("sat-1", [crossing(Level.NOMINAL, 300, 0.8)], 300)
    raised(book, at=400)
    assert (book.alarms[POINT].state, book.alarms[POINT].occurrences) == ("shelved", 2)
    (change,) = book.tick({}, 1000)
    assert (change.action, change.alarm.state) == ("unshelved", "active")


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(list(Level)), st.floats(0, 30)), max_size=60))
def test_changes_tell_every_step_of_an_alarm(steps: list[tuple[Level, float]]) -> None:
    book = AlarmBook()
    at, is_active = 0.0, False
    for level, pause in steps:
        changes = book.observe("sat-1", [crossing(level, at)], at)
        at += pause
        for change in changes + book.tick({"sat-1": at}, at):
            assert is_active is (change.action != "raised")
            is_active = change.alarm.is_active
            assert book.alarms[POINT] == change.alarm
    assert len(book.alarms) <= 1, "one alarm for each field and instance"


def test_alarms_are_kept_told_as_events_and_taken_up_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        database = Database(tmp_path / "ground.db")
        await migration.prepare(database)
        beats: list[int] = []
        desk = AlarmDesk(database, lambda: beats.append(1), 10)
        await desk.open()
        desk.observe("sat-1", [crossing(Level.RED_LOW, 100)], 100)
        desk.tick({"sat-1": 120}, 120)
        assert desk.records() == [], "what is not durable is not told"
        await desk.write(120)
        assert beats
        (alarm,) = desk.records("sat-1")
        assert (alarm.state, alarm.severity, alarm.level, alarm.value) == ("active", "CRITICAL", "red_low", 0.4)
        with pytest.raises(UserError, match="reason is missing"):
            await desk.shelve(alarm.id, 500, "ada", " ", 130)
        with pytest.raises(UserError, match="later than now"):
            await desk.shelve(alarm.id, 50, "ada", "known", 130)
        with pytest.raises(UnknownError):
            await desk.acknowledge(999, "ada", "", 130)
        await desk.shelve(alarm.id, 500, "ada", "known", 130)
        await desk.unshelve(alarm.id, "bob", 140)
        found = await desk.acknowledge(alarm.id, "ada", "eclipse", 150)
        assert [step.action for step in found.history] == ["raised", "shelved", "unshelved", "acknowledged"]
        assert found.history[-1].who == "ada"
        told = await database.read(lambda connection: events.list_events(connection, satellite="sat-1"))
        assert [event.name for event in told] == [
            "alarm_raised",
            "alarm_shelved",
            "alarm_unshelved",
            "alarm_acknowledged",
        ]
        assert [event.severity for event in told] == ["CRITICAL", "INFO", "INFO", "INFO"]
        again = AlarmDesk(database, lambda: None, 10)
        await again.open()
        assert await again.record(alarm.id) == found
        again.replay("sat-1", [crossing(Level.RED_LOW, 100)])
        again.tick({"sat-1": 500}, 500)
        await again.write(500)
        assert len((await again.record(alarm.id)).history) == 4, "what was known changes nothing"
        await database.close()

    asyncio.run(scenario())


def test_conditions_of_the_ground_are_raised_once_and_end() -> None:
    async def scenario() -> None:
        database = Database(None)
        await migration.prepare(database)
        desk = AlarmDesk(database, lambda: None, 10)
        await desk.open()
        point = Point("", "link")
        for now in range(0, 50, 10):
            desk.condition(point, SEVERITY_CRITICAL, "the broker is not reached", now, is_on=now in (10, 20, 30))
        await desk.write(50)
        (alarm,) = desk.records()
        assert (alarm.satellite, alarm.state, alarm.occurrences) == ("", "returned", 1)

    virtual.run(scenario)
