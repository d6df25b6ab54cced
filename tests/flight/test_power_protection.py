"""Protection opens the right switches, and only those."""

from __future__ import annotations

from pathlib import Path

from flight.power.memory import ProtectionMemory
from flight.power.protection import (
    Cause,
    LoadRating,
    LoadReading,
    Order,
    Protection,
    ProtectionSettings,
)
from skyrack.disk import HostFile

SETTINGS = ProtectionSettings(
    shed_state_of_charge_ratio=0.5, overdraw_persistence_seconds=10.0, maximum_discharge_watts=2500.0
)
RATINGS = [
    LoadRating("radio", 15.0, 0, sheddable=False),
    LoadRating("node-1", 700.0, 20, sheddable=True),
    LoadRating("node-2", 700.0, 10, sheddable=True),
    LoadRating("laser-1", 60.0, 90, sheddable=True),
]


class Bench:
    """Protection with switches that obey."""

    def __init__(self) -> None:
        self.protection = Protection(RATINGS)
        self.watts = {"radio": 15.0, "node-1": 500.0, "node-2": 500.0, "laser-1": 60.0}
        self.closed = dict.fromkeys(self.watts, True)
        self.obeys = True

    def second(self, now: float, charge: float | None = 0.9, battery_watts: float = 0.0) -> list[Order]:
        loads = {
            name: LoadReading(self.watts[name] if self.closed[name] else 0.0, self.closed[name]) for name in self.watts
        }
        orders = self.protection.step(now, loads, battery_watts, charge, SETTINGS)
        for order in orders:
            if self.obeys:
                self.closed[order.load] = order.closed
        return orders

    def run(self, start: int, end: int, charge: float | None = 0.9, battery_watts: float = 0.0) -> list[Order]:
        return [order for now in range(start, end) for order in self.second(float(now), charge, battery_watts)]


def test_nothing_happens_on_a_good_day() -> None:
    assert Bench().run(0, 1000) == []


def test_overdraw_is_borne_for_its_persistence_and_then_tripped_for_good() -> None:
    bench = Bench()
    bench.watts["node-1"] = 800.0
    assert bench.run(0, 10) == []
    assert bench.run(10, 100) == [Order("node-1", closed=False, cause=Cause.OVERDRAW)]
    bench.watts["node-1"] = 500.0
    assert bench.run(100, 1000) == []
    assert bench.protection.reset("node-1")
    assert not bench.protection.is_held_open("node-1")
    assert not bench.protection.reset("node-1")


def test_a_short_peak_is_no_overdraw() -> None:
    bench = Bench()
    for start in range(0, 100, 10):
        bench.watts["node-1"] = 800.0
        assert bench.run(start, start + 8) == []
        bench.watts["node-1"] = 600.0
        assert bench.run(start + 8, start + 10) == []


def test_a_low_battery_sheds_by_priority_and_never_what_must_stay() -> None:
    bench = Bench()
    orders = bench.run(0, 100, charge=0.45)
    assert [order.load for order in orders] == ["node-2", "node-1", "laser-1"]
    assert all(order.cause is Cause.LOW_CHARGE for order in orders)
    assert bench.closed["radio"]


def test_shed_loads_come_back_most_important_first_and_only_well_over_the_threshold() -> None:
    bench = Bench()
    bench.run(0, 100, charge=0.45)
    assert bench.run(100, 400, charge=0.53) == []
    orders = bench.run(400, 600, charge=0.6)
    assert [(order.load, order.closed) for order in orders] == [("laser-1", True), ("node-1", True), ("node-2", True)]
    assert not any(bench.protection.is_held_open(name) for name in bench.watts)


def test_what_is_tripped_while_shed_does_not_come_back_with_the_charge() -> None:
    bench = Bench()
    bench.run(0, 100, charge=0.45)
    assert bench.protection.trip("node-1", Cause.THERMAL) is not None
    assert [order.load for order in bench.run(100, 300, charge=0.7)] == ["laser-1", "node-2"]
    assert not bench.closed["node-1"]


def test_a_switch_that_does_not_obey_is_told_again() -> None:
    bench = Bench()
    bench.obeys = False
    assert bench.protection.trip("node-1", Cause.THERMAL) == Order("node-1", closed=False, cause=Cause.THERMAL)
    assert bench.run(0, 3) == [Order("node-1", closed=False, cause=Cause.THERMAL)] * 3


def test_a_battery_that_gives_too_much_trips_the_least_important() -> None:
    bench = Bench()
    orders = bench.run(0, 13, battery_watts=-2800.0)
    assert orders == [Order("node-2", closed=False, cause=Cause.BUS_OVERLOAD)]
    assert bench.run(13, 200, battery_watts=-1000.0) == []


def test_an_unknown_charge_sheds_nothing_and_a_silent_meter_trips_nothing() -> None:
    bench = Bench()
    assert bench.run(0, 100, charge=None) == []
    silent = {"node-1": LoadReading(9000.0, closed=True, fresh=False)}
    for now in range(100):
        assert bench.protection.step(float(now), silent, 0.0, 0.9, SETTINGS) == []


def test_unknown_loads_and_second_trips_give_no_order() -> None:
    protection = Protection(RATINGS)
    assert protection.trip("toaster", Cause.THERMAL) is None
    assert protection.trip("node-2", Cause.THERMAL) is not None
    assert protection.trip("node-2", Cause.THERMAL) is None


def test_trips_and_shed_loads_outlive_a_restart(tmp_path: Path) -> None:
    bench, memory = Bench(), ProtectionMemory(HostFile(tmp_path / "power.json"))
    assert memory.restore(bench.protection) == ""
    bench.run(0, 2, charge=0.45)
    bench.protection.trip("node-1", Cause.THERMAL)
    memory.keep(bench.protection)
    again = Protection(RATINGS)
    assert ProtectionMemory(HostFile(tmp_path / "power.json")).restore(again) == ""
    assert again.tripped == {"node-1": Cause.THERMAL}
    assert again.shed == ["node-2"]


def test_a_broken_memory_is_told_and_not_fatal(tmp_path: Path) -> None:
    (tmp_path / "power.json").write_text("{")
    assert "power.json cannot be read" in ProtectionMemory(HostFile(tmp_path / "power.json")).restore(
        Protection(RATINGS)
    )


# Switches that fall open by themselves.


class BrownOut(Bench):
    """A bus on which all that may be shed falls open while ``short`` is powered."""

    def __init__(self, short: str = "") -> None:
        super().__init__()
        self.short = short

    def second(self, now: float, charge: float | None = 0.9, battery_watts: float = 0.0) -> list[Order]:
        if self.closed.get(self.short):
            self.closed |= dict.fromkeys(("node-1", "node-2", "laser-1"), False)
        return super().second(now, charge, battery_watts)


def test_switches_that_fell_open_are_closed_again_one_by_one_most_important_first() -> None:
    bench = BrownOut()
    assert bench.run(0, 10) == []
    bench.closed |= dict.fromkeys(("node-1", "node-2", "laser-1"), False)
    orders = bench.run(10, 200)
    assert orders == [Order(load, closed=True, cause=Cause.FELL_OPEN) for load in ("laser-1", "node-1", "node-2")]
    assert all(bench.closed.values())


def test_the_load_that_pulls_the_bus_down_stays_off_and_the_others_come_back() -> None:
    for short in ("node-1", "node-2", "laser-1"):
        bench = BrownOut()
        bench.run(0, 10)
        bench.short = short
        bench.run(10, 250)
        assert bench.protection.tripped == {short: Cause.BROWN_OUT}
        assert bench.closed == {name: name != short for name in bench.closed}


def test_a_switch_that_somebody_opened_or_that_was_never_on_is_left_alone() -> None:
    bench = BrownOut()
    bench.closed["node-2"] = False
    bench.run(0, 10)
    bench.protection.fallen.mean("node-1", closed=False)
    bench.closed["node-1"] = False
    assert bench.run(10, 200) == []


def test_nothing_is_closed_on_a_low_battery() -> None:
    bench = BrownOut()
    bench.run(0, 10)
    bench.closed["laser-1"] = False
    assert all(not order.closed for order in bench.run(10, 100, charge=0.4))
    assert Order("laser-1", closed=True, cause=Cause.FELL_OPEN) in bench.run(100, 110)


def test_a_load_that_does_not_close_keeps_no_other_waiting() -> None:
    bench = BrownOut()
    bench.run(0, 10)
    bench.closed |= {"laser-1": False, "node-1": False}
    bench.obeys = False
    asked = [order.load for order in bench.run(10, 80)]
    assert asked[:4] == ["laser-1", "node-1", "laser-1", "node-1"]


def test_what_the_satellite_is_heard_by_is_tried_again_after_a_trip() -> None:
    bench = Bench()
    bench.protection = Protection([LoadRating("laser-1", 60.0, 90, sheddable=True, is_retried=True), *RATINGS[:3]])
    bench.watts["laser-1"] = 200.0
    orders = bench.run(0, 700)
    assert [(order.closed, order.cause) for order in orders] == [
        (False, Cause.OVERDRAW),
        (True, Cause.RETRIED),
        (False, Cause.OVERDRAW),
        (True, Cause.RETRIED),
        (False, Cause.OVERDRAW),
    ][: len(orders)]
    bench.watts["laser-1"] = 60.0
    bench.run(700, 1100)
    assert bench.closed["laser-1"]
    assert not bench.protection.tripped


def test_what_is_meant_to_be_on_outlives_a_restart(tmp_path: Path) -> None:
    bench, memory = Bench(), ProtectionMemory(HostFile(tmp_path / "power.json"))
    bench.run(0, 5)
    memory.keep(bench.protection)
    bench.closed |= dict.fromkeys(("node-1", "node-2", "laser-1"), False)
    bench.protection = Protection(RATINGS)
    assert ProtectionMemory(HostFile(tmp_path / "power.json")).restore(bench.protection) == ""
    bench.run(5, 100)
    assert all(bench.closed.values())
