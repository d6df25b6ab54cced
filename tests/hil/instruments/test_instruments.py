"""Instruments over real sockets, through pyvisa and pyvisa-py: what they follow, and what they do on bad days."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import pytest

from flight.hal import DeviceError, Quality, Reading
from hil.boards.file import BenchInstrument
from hil.instruments.bench import start_following
from hil.instruments.follow import InstrumentStatus, follow
from hil.instruments.protocol import Instrument, InstrumentError, load_instrument
from hil.instruments.rules import Doing, Patience, Rules
from hil.instruments.solar_curve import SolarCurve
from hil.plant.link import Sample
from skyrack.clock import MissionClock
from skyrack.errors import UserError
from tests.hil.instruments.scpi_server import (
    KEYSIGHT_E363X,
    KEYSIGHT_E36300,
    RIGOL_DP800,
    Dialect,
    Load,
    Model,
    ScpiServer,
    SerialLine,
    Supply,
)

T = TypeVar("T")

RATE = 20.0  # a cycle of a second takes a twentieth


@pytest.fixture
def supply() -> Iterator[ScpiServer]:
    server = ScpiServer(Supply())
    yield server
    server.stop()


@pytest.fixture
def load() -> Iterator[ScpiServer]:
    server = ScpiServer(Load())
    yield server
    server.stop()


def simulator(server: ScpiServer | SerialLine, **settings: float | str) -> Instrument:
    given = {"volts": 12.0, "maximum_amperes": 3.0, "timeout_seconds": 0.3, "resource": server.resource, **settings}
    return load_instrument(BenchInstrument(name="sun", driver="scpi.solar_array_simulator", settings=given))


def electronic_load(server: ScpiServer, **settings: float | str) -> Instrument:
    given = {"maximum_watts": 60.0, "maximum_amperes": 6.0, "timeout_seconds": 0.3, **settings}
    given["resource"] = server.resource
    return load_instrument(BenchInstrument(name="rack", driver="scpi.electronic_load", settings=given))


class Run:
    """An instrument that follows a plant which the test plays."""

    def __init__(self, instrument: Instrument, patience: Patience | None = None) -> None:
        self.instrument, self.patience = instrument, patience
        self.watts, self.quiet = 1800.0, False
        self.said: list[str] = []
        self.shown: list[InstrumentStatus] = []

    async def __call__(self, test: Callable[[Run], Awaitable[None]]) -> None:
        clock = MissionClock.starting_at(1000.0, RATE)
        last = clock.now()

        def sense() -> Reading[float]:
            nonlocal last
            last = last if self.quiet else clock.now()
            return Reading(self.watts, last)

        task = asyncio.create_task(
            follow(
                self.instrument,
                sense,
                clock,
                watts_scale=100.0,
                say=self.said.append,
                show=self.shown.append,
                patience=self.patience,
                period_seconds=1.0 / RATE,
            )
        )
        try:
            await test(self)
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def until(self, what: Callable[[], bool], seconds: float = 8.0) -> None:
        async with asyncio.timeout(seconds):
            while not what():  # noqa: ASYNC110 - what is waited for is on the other side of a socket
                await asyncio.sleep(0.01)


def psu(server: ScpiServer) -> Supply:
    assert isinstance(server.model, Supply)
    return server.model


def test_a_supply_follows_the_suns_power_and_is_off_when_the_run_ends(supply: ScpiServer) -> None:
    model = psu(supply)

    async def test(run: Run) -> None:
        await run.until(lambda: model.on)
        assert model.set["VOLT"] == pytest.approx(12.0)
        assert model.set["CURR"] == pytest.approx(1.5), "1800 W of the satellite are 18 W here"
        assert model.set["VOLT:PROT"] == pytest.approx(13.2)
        assert model.set["CURR:PROT"] == pytest.approx(3.3)
        run.watts = 900.0
        await run.until(lambda: model.set["CURR"] == pytest.approx(0.75))
        await run.until(lambda: run.shown[-1].measured.amperes == pytest.approx(0.75, rel=1e-3))
        run.watts = 0.0
        await run.until(lambda: not model.on)
        run.watts = 1e6
        await run.until(lambda: model.set["CURR"] == pytest.approx(3.0))

    asyncio.run(Run(simulator(supply))(test))
    assert not model.on
    currents = [float(text.split()[1]) for text in model.log if text.startswith("CURR ")]
    assert max(currents) <= 3.0, "its limit is never exceeded, whatever the plant says"


def test_a_plant_that_falls_silent_switches_the_sun_off(supply: ScpiServer) -> None:
    model = psu(supply)

    async def test(run: Run) -> None:
        await run.until(lambda: model.on)
        run.quiet = True
        await run.until(lambda: not model.on)
        assert "the plant has not said anything for" in run.said[-1]
        run.quiet = False
        await run.until(lambda: model.on)
        assert run.said[-1] == "sun follows the plant"

    asyncio.run(Run(simulator(supply))(test))


@pytest.mark.parametrize(("bit", "name"), [(1, "over-voltage"), (2, "over-current"), (16, "over-temperature")])
def test_a_trip_is_said_and_recovers_after_a_rest(supply: ScpiServer, bit: int, name: str) -> None:
    model = psu(supply)

    async def test(run: Run) -> None:
        await run.until(lambda: model.on)
        model.fault(bit)
        await run.until(lambda: any(f"tripped ({name})" in text for text in run.said))
        assert not model.on
        await run.until(lambda: model.on)
        assert model.condition == 0

    asyncio.run(Run(simulator(supply), Patience(stale_seconds=25.0, rest_seconds=0.2))(test))


@pytest.mark.parametrize(
    ("dialect", "words", "over_current"),
    [
        ("keysight-e363x", KEYSIGHT_E363X, 3.3),
        ("keysight-e36300", KEYSIGHT_E36300, 5.5),
        ("rigol-dp800", RIGOL_DP800, 3.3),
    ],
)
def test_supplies_of_other_makers(
    dialect: str, words: tuple[dict[str, str], dict[str, str]], over_current: float
) -> None:
    model = Dialect(*words)
    server = ScpiServer(model)

    async def test(run: Run) -> None:
        await run.until(lambda: model.on)
        assert model.set["VOLT:PROT"] == pytest.approx(13.2)
        assert model.set["CURR:PROT"] == pytest.approx(over_current)
        await run.until(lambda: bool(run.shown) and run.shown[-1].measured.amperes == pytest.approx(1.5))
        model.fault(2)
        await run.until(lambda: any("tripped (over-current)" in text for text in run.said))
        await run.until(lambda: model.on)

    try:
        asyncio.run(Run(simulator(server, dialect=dialect), Patience(25.0, 0.1))(test))
        assert not model.errors
        assert not model.on
    finally:
        server.stop()


def test_a_supply_that_trips_again_and_again_stays_off(supply: ScpiServer) -> None:
    model = psu(supply)

    async def test(run: Run) -> None:
        for _ in range(3):
            await run.until(lambda: model.on)
            model.fault(2)
            await run.until(lambda: not model.on)
        await run.until(lambda: any("stays off" in text for text in run.said))
        cycles = len(run.shown)
        await run.until(lambda: len(run.shown) > cycles + 5)
        assert not model.on
        assert run.shown[-1].doing == Doing.GIVEN_UP.value

    asyncio.run(Run(simulator(supply), Patience(stale_seconds=25.0, rest_seconds=0.05, tries=2))(test))


def test_an_output_that_somebody_switched_off_is_noticed(supply: ScpiServer) -> None:
    model = psu(supply)

    async def test(run: Run) -> None:
        await run.until(lambda: model.on)
        model.on = False
        await run.until(lambda: any("its output went off" in text for text in run.said))

    asyncio.run(Run(simulator(supply))(test))


def test_a_dropped_connection_and_a_supply_that_was_switched_off_come_back(supply: ScpiServer) -> None:
    model = psu(supply)

    async def test(run: Run) -> None:
        await run.until(lambda: model.on)
        supply.drop()
        await run.until(lambda: run.shown[-1].doing == "does not answer")
        await run.until(lambda: run.shown[-1].doing == "follows")
        supply.stop()
        model.on = False
        model.set["VOLT:PROT"] = 33.0
        await run.until(lambda: run.shown[-1].doing == "does not answer")
        assert "refused or was dropped" in run.said[-1] or "does not answer" in run.said[-1]
        supply.start()
        await run.until(lambda: model.on)
        assert model.set["VOLT:PROT"] == pytest.approx(13.2), "its protection is set anew"

    asyncio.run(Run(simulator(supply))(test))


def test_a_late_answer_is_not_taken_for_the_next_one(supply: ScpiServer) -> None:
    model = psu(supply)

    async def test(run: Run) -> None:
        await run.until(lambda: model.on)
        model.delay_seconds = 0.5
        await run.until(lambda: any("does not answer within 0.3 s" in text for text in run.said))
        model.delay_seconds = 0.0
        run.watts = 1200.0
        await run.until(lambda: run.shown[-1].measured.amperes == pytest.approx(1.0, rel=1e-3))
        assert run.shown[-1].measured.volts == pytest.approx(4.0, rel=1e-3)

    asyncio.run(Run(simulator(supply))(test))


def test_the_one_diode_curve_leads_the_supply_along(supply: ScpiServer) -> None:
    model = psu(supply)

    async def test(run: Run) -> None:
        # 18 W, knee at 12 V: the resistor of 8 ohms meets the curve where the current is that of the curve.
        await run.until(lambda: len(run.shown) > 25)
        volts, amperes = run.shown[-1].measured
        on_curve = SolarCurve(12.0, 14.4).one_diode(18.0, volts).amperes
        assert amperes == pytest.approx(on_curve, rel=0.02)
        assert volts == pytest.approx(8.0 * amperes, rel=1e-3)

    model.ohms = 8.0
    asyncio.run(Run(simulator(supply, curve="one-diode"))(test))


def refused(call: Callable[[], Awaitable[object]]) -> InstrumentError:
    with pytest.raises(InstrumentError) as caught:
        asyncio.run(call())  # type: ignore[arg-type]
    return caught.value


def test_another_instrument_at_the_address_is_refused_for_good(supply: ScpiServer) -> None:
    error = refused(simulator(supply, identity="DP832").open)
    assert error.lasting
    assert '"SKYRACK,PSU305,42,1.0", and should be "DP832"' in str(error)


def test_what_it_refuses_is_said_in_its_own_words(supply: ScpiServer) -> None:
    instrument = simulator(supply, over_voltage_volts=60.0)
    assert '-222,"Data out of range"' in str(refused(instrument.open))


def test_a_setting_that_does_not_take_is_noticed(supply: ScpiServer) -> None:
    instrument = simulator(supply)

    class Deaf(Supply):
        def tell(self, word: str, value: str) -> None:
            if word != "VOLT":
                super().tell(word, value)

    supply.model.tell = Deaf.tell.__get__(Deaf())  # type: ignore[method-assign]

    async def run() -> None:
        await instrument.open()
        await instrument.set_watts(10.0)

    assert "was set to 12.000 V and says 0.000 V; is it held by its front panel" in str(refused(run))


def test_nobody_there_is_said_within_the_timeout() -> None:
    server = ScpiServer(Model())
    server.stop()
    assert "look at its cable" in str(refused(simulator(server).open)) or "refused" in str(
        refused(simulator(server).open)
    )


def test_a_load_draws_what_the_plant_says(load: ScpiServer) -> None:
    model = load.model
    assert isinstance(model, Load)

    async def test(run: Run) -> None:
        await run.until(lambda: bool(run.shown) and run.shown[-1].measured.watts == pytest.approx(18.0, rel=1e-3))
        run.watts = 1e5
        await run.until(lambda: model.set["POW"] == pytest.approx(60.0))
        # The battery sags: constant power draws more and more.
        run.watts = 3000.0
        model.open_volts = 4.5
        await run.until(lambda: any("the rail sagged" in text for text in run.said))
        assert not model.on

    asyncio.run(Run(electronic_load(load))(test))
    assert not model.on


def test_a_load_of_constant_current(load: ScpiServer) -> None:
    model = load.model
    assert isinstance(model, Load)

    async def test(run: Run) -> None:
        await run.until(lambda: model.on)
        assert model.mode == "CURR"
        assert model.set["CURR"] == pytest.approx(1.5)

    asyncio.run(Run(electronic_load(load, mode="current", volts=12.0))(test))


@pytest.mark.parametrize(("dialect", "clear"), [("scpi", "INP:PROT:CLE"), ("itech", "PROT:CLE")])
def test_a_load_is_cleared_in_its_own_words(load: ScpiServer, dialect: str, clear: str) -> None:
    model = load.model
    assert isinstance(model, Load)
    model.clear = clear

    async def test(run: Run) -> None:
        await run.until(lambda: model.on)
        model.condition, model.on = 0x08, False
        await run.until(lambda: any("tripped (over-power)" in text for text in run.said))
        await run.until(lambda: model.on)
        assert model.condition == 0

    asyncio.run(Run(electronic_load(load, dialect=dialect), Patience(25.0, 0.1))(test))
    assert not model.errors


def test_a_supply_on_a_serial_line_is_told_that_it_is_remote() -> None:
    model = Dialect(*KEYSIGHT_E363X)
    line = SerialLine(model)

    async def test(run: Run) -> None:
        await run.until(lambda: model.on)
        assert model.log[0] == "SYST:REM"

    try:
        asyncio.run(Run(simulator(line, dialect="keysight-e363x"))(test))
    finally:
        line.stop()


@pytest.mark.parametrize(
    ("driver", "settings", "sentence"),
    [
        ("scpi.solar_array_simulator", {"maximum_amperes": 1.0}, "volts is missing"),
        ("scpi.solar_array_simulator", {"volts": 12.0}, "maximum_amperes is missing"),
        (
            "scpi.solar_array_simulator",
            {"volts": 12.0, "maximum_amperes": 1.0, "resource": "192.168.1.20"},
            "must be a VISA name",
        ),
        (
            "scpi.solar_array_simulator",
            {"volts": 12.0, "maximum_amperes": 1.0, "over_voltage_volts": 10.0},
            "over_voltage_volts = 10.0 must be 12 or more",
        ),
        (
            "scpi.solar_array_simulator",
            {"volts": 12.0, "maximum_amperes": 1.0, "over_current_amperes": 0.5},
            "must be at least maximum_amperes",
        ),
        ("scpi.electronic_load", {"maximum_watts": 1.0, "maximum_amperes": 1.0, "mode": "current"}, "volts is missing"),
        ("scpi.electronic_load", {"maximum_watts": 1.0}, "maximum_amperes is missing"),
    ],
)
def test_settings_that_do_not_fit(driver: str, settings: dict[str, float | int | str | bool], sentence: str) -> None:
    with pytest.raises(DeviceError, match=sentence):
        load_instrument(BenchInstrument(name="x", driver=driver, settings=settings))


def test_a_driver_that_is_not_installed() -> None:
    with pytest.raises(InstrumentError, match=r"did you mean \"scpi\.electronic_load\""):
        load_instrument(BenchInstrument(name="x", driver="scpi.electronic_lod"))


# The pure parts.


def test_the_one_diode_curve_has_its_knee_where_it_is_said_to_be() -> None:
    curve = SolarCurve(12.0, 14.4)
    watts = [volts / 100 * curve.one_diode(18.0, volts / 100).amperes for volts in range(1441)]
    best = max(range(1441), key=watts.__getitem__)
    assert best / 100 == pytest.approx(12.0, abs=0.05)
    assert watts[best] == pytest.approx(18.0, rel=1e-3)
    assert curve.one_diode(18.0, 14.4).amperes == pytest.approx(0.0, abs=1e-9)
    assert curve.knee(18.0) == (12.0, 1.5)


def test_rules_forget_old_trips() -> None:
    rules = Rules("sun", Patience(rest_seconds=10.0, tries=1, forgive_seconds=100.0))
    assert rules.step(0.0, Reading(5.0, 0.0), "").doing is Doing.FOLLOW
    assert rules.step(1.0, Reading(5.0, 1.0), "over-voltage").doing is Doing.REST
    assert rules.step(5.0, Reading(5.0, 5.0), "over-voltage").doing is Doing.REST
    assert rules.step(12.0, Reading(5.0, 12.0), "over-voltage").doing is Doing.CLEAR
    assert rules.step(13.0, Reading(5.0, 13.0), "").doing is Doing.FOLLOW
    assert rules.step(200.0, Reading(5.0, 200.0), "over-voltage").doing is Doing.REST
    assert rules.step(211.0, Reading(5.0, 211.0), "over-voltage").doing is Doing.CLEAR
    assert rules.step(212.0, Reading(5.0, 212.0), "over-voltage").doing is Doing.GIVEN_UP
    assert rules.step(900.0, Reading(5.0, 900.0), "").doing is Doing.GIVEN_UP


def test_rules_trust_only_a_fresh_and_good_word() -> None:
    rules = Rules("sun")
    assert rules.step(0.0, None, "").doing is Doing.OFF
    assert rules.step(0.0, Reading(math.nan, 0.0), "").doing is Doing.OFF
    assert rules.step(0.0, Reading(1.0, 0.0, Quality.STALE), "").doing is Doing.OFF
    assert rules.step(4.0, Reading(1.0, 0.0), "").watts == 1.0
    assert rules.step(6.0, Reading(1.0, 0.0), "").doing is Doing.OFF
    assert rules.step(6.0, Reading(-3.0, 6.0), "").watts == 0.0


# A bench.


def test_a_bench_starts_its_instruments_and_switches_them_off(supply: ScpiServer) -> None:
    model = psu(supply)

    class Plant:
        def read(self, satellite: str, key: str) -> Sample:
            assert (satellite, key) == ("sat-1", "array.watts")
            return Sample(1200.0, clock.now())

    clock: MissionClock

    async def fly() -> None:
        nonlocal clock
        clock = MissionClock.starting_at(1000.0)
        settings: dict[str, float | int | str | bool] = {"volts": 12.0, "maximum_amperes": 3.0}
        settings["resource"] = supply.resource
        bench = BenchInstrument(
            name="sun",
            driver="scpi.solar_array_simulator",
            follows="sat-1.array.watts",
            watts_scale=100.0,
            settings=settings,
        )
        told: list[tuple[str, str]] = []
        tasks = start_following([bench], Plant(), clock, lambda *what: told.append(what))  # type: ignore[arg-type]
        async with asyncio.timeout(8.0):
            while not model.on:  # noqa: ASYNC110 - it is on the other side of a socket
                await asyncio.sleep(0.01)
        assert model.set["CURR"] == pytest.approx(1.0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert told == [("sun", "is SKYRACK,PSU305,42,1.0"), ("sun", "follows the plant")]
        with pytest.raises(UserError, match=r"instruments: sun: volts is missing"):
            start_following(
                [BenchInstrument(name="sun", driver="scpi.solar_array_simulator", follows="x.y")],
                Plant(),  # type: ignore[arg-type]
                clock,
                lambda *_what: None,
            )

    asyncio.run(fly())
    assert not model.on
