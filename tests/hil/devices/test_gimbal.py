"""A laser terminal made of servos and a photodiode, flown by the real acquisition: model chips, a model lamp."""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar, cast

import msgspec
import pytest

from flight.devices import load_driver
from flight.hal import DeviceEnvironment, DeviceError, LaserTerminal, Quality
from flight.laser.acquisition import Acquisition, Measurement, Settings, State
from flight.laser.terminal import Terminal
from hil.devices.beam_fit import Beam, BeamFit, Look, circle, quadrant
from hil.devices.gimbal_frame import Command, HeldReference, Line
from hil.devices.gimbal_servo import ServoModel, ServoScale
from hil.devices.host import Host, attach
from hil.plant.local import LocalPlantLink
from hil.plant.plant import Plant
from skyrack import files, virtual
from skyrack.clock import MissionClock
from skyrack.orbits import relay_satrecs, satellite_satrec
from skyrack.satellite import load_constellation
from skyrack.v1.laser_pb2 import LaserParameters
from tests.hil.devices.fake_chips import Ads1115, FakeBus, Pca9685

T = TypeVar("T")

DEGREES_PER_MICRORADIAN = 0.02
FIELD = 150e-6
SETTINGS: dict[str, object] = {"frequency_hertz": 333.0, "noise_volts": 0.01, "dark_volts": 0.02, "scale": 1e-2}


class Bench:
    """Servos that turn at their own pace and never quite where they should, and a lamp that stands askew."""

    def __init__(self, now: Callable[[], float], lamp_degrees: tuple[float, float], seed: int = 5) -> None:
        self.now = now
        self.lamp = lamp_degrees
        self.shines = True
        self.angle = [0.0, 0.0]
        self.at = now()
        self.rng = random.Random(seed)
        self.pwm = Pca9685()
        self.bus = FakeBus({0x40: self.pwm, 0x48: Ads1115(self.volts)})

    def turn(self) -> None:
        now = self.now()
        most = 400.0 * (now - self.at)
        self.at = now
        for axis in range(2):
            pulse = self.pwm.pulse_seconds(axis)
            if pulse:
                # Real servos turn a little more or less than the data sheet says.
                goal = (pulse - 1.5e-3) / (2e-3 / 180.0) * 0.97
                self.angle[axis] += max(-most, min(most, goal - self.angle[axis]))

    def volts(self, channel: int) -> float:
        self.turn()
        off = math.dist(self.angle, self.lamp)
        acceptance = 1e6 * FIELD / 1.22 * DEGREES_PER_MICRORADIAN * 1.15
        light = 2.5 * math.exp(-2.0 * off**2 / acceptance**2) if self.shines else 0.0
        return 0.02 + light * self.rng.gauss(1.0, 0.02) + self.rng.gauss(0.0, 0.002)


@dataclass
class InlineHost(Host):
    """Virtual time knows no threads."""

    async def on_bus(self, bus: str, work: Callable[[], T], timeout_seconds: float = 1.0) -> T:
        return work()


def fly(flight: Callable[[MissionClock], Awaitable[T]], start: float = 1000.0) -> T:
    """Run in virtual time."""

    async def main() -> T:
        return await flight(MissionClock.starting_at(start))

    return virtual.run(main)


def terminal(bench: Bench, clock: MissionClock, **attachments: object) -> LaserTerminal:
    host = InlineHost(open_i2c=lambda number: bench.bus)
    environment = DeviceEnvironment("sat-1", clock, random.Random(1), None, {**attach(host), **attachments})
    return cast("LaserTerminal", load_driver("gimbal.laser")("laser.laser-1", SETTINGS, environment))


def acquisition() -> Acquisition:
    return Acquisition(
        Settings(
            half_field_radians=FIELD,
            scan_half_angle_radians=1.2e-3,
            dwell_seconds=1,
            fade_tolerance_seconds=4,
            blind_seconds=30,
        )
    )


class Pilot:
    """The laser service's loop over a partner that moves as a relay does."""

    def __init__(self, device: LaserTerminal, clock: MissionClock) -> None:
        self.device, self.clock, self.machine = device, clock, acquisition()
        self.machine.retarget(clock.now())
        self.start = clock.now()
        self.errors: list[float] = []

    def predicted(self, at: float) -> tuple[float, float]:
        t = at - self.start
        return 0.3 + 4e-3 * t + 1e-6 * t * t, -0.2 + 1e-3 * t

    async def cycle(self) -> State:
        now = self.clock.now()
        reading = await self.device.read()
        measurement = None
        if reading.good:
            azimuth, elevation = self.predicted(reading.mission_time_seconds)
            value = reading.value
            measurement = Measurement(
                time_seconds=reading.mission_time_seconds,
                boresight=(
                    math.remainder(value.azimuth_radians - azimuth, 2 * math.pi) * math.cos(elevation),
                    value.elevation_radians - elevation,
                ),
                detected=value.received_power_watts > 0.05 * 5e-7,
                error=value.tracking_error_radians,
                slewing=value.slewing,
            )
            self.errors.append(math.hypot(*value.tracking_error_radians))
        decision = self.machine.step(now, measurement)
        here, later = self.predicted(now), self.predicted(now + 1.0)
        await self.device.point(
            here[0] + decision.offset[0] / math.cos(here[1]),
            here[1] + decision.offset[1],
            rates=(later[0] - here[0], later[1] - here[1]),
            at_seconds=now,
        )
        await self.clock.sleep(1.0)
        return decision.state

    async def until(self, state: State, seconds: float) -> float:
        """Seconds until the state was reached."""
        began = self.clock.now()
        while self.clock.now() - began < seconds:
            if await self.cycle() is state:
                return self.clock.now() - began
        raise AssertionError(f"no {state} within {seconds:.0f} s, but {self.machine.state}")


def test_the_real_acquisition_finds_tracks_and_finds_again() -> None:
    async def flight(clock: MissionClock) -> None:
        # 9 and -6 degrees are 450 and -300 microradians: three fields away.
        bench = Bench(clock.now, (9.0, -6.0))
        device = terminal(bench, clock)
        pilot = Pilot(device, clock)
        assert await pilot.until(State.COMMUNICATE, 90.0) > 5.0, "it has to be searched for"
        for _ in range(60):
            assert await pilot.cycle() is State.COMMUNICATE
        errors = pilot.errors[-50:]
        assert math.sqrt(sum(e * e for e in errors) / len(errors)) < 0.12 * FIELD
        bench.turn()
        assert math.dist(bench.angle, bench.lamp) < 2.0
        # Somebody walks through the beam, and kicks the tripod.
        bench.shines = False
        await pilot.until(State.REACQUIRE, 15.0)
        bench.lamp = (11.5, -6.0)
        bench.shines = True
        await pilot.until(State.COMMUNICATE, 60.0)
        assert pilot.machine.losses == 1
        await device.close()  # type: ignore[attr-defined]
        assert bench.pwm.pulse_seconds(0) == 0.0, "the servos hang loose"

    fly(flight)


def test_the_plants_link_follows_what_happens_on_the_bench() -> None:
    """Terminal, target choice, geometry and plant are the real ones; the last milliradian is the bench's."""
    constellation, designs = load_constellation(files.shipped("constellations", "demo"))
    designs = {
        name: msgspec.structs.replace(
            design, lasers=tuple(msgspec.structs.replace(laser, pointing_bias_radians=1e-4) for laser in design.lasers)
        )
        for name, design in designs.items()
    }
    plant = Plant(constellation, designs, rng=3)
    design = designs["sat-1"].lasers[0]

    async def flight(clock: MissionClock) -> None:
        bench = Bench(clock.now, (3.0, 2.0))
        device = terminal(bench, clock, plant=LocalPlantLink(plant))
        own = satellite_satrec(constellation, "sat-1")
        flown = Terminal(design, device, own, relay_satrecs(constellation))
        flown.set_parameters(
            LaserParameters(scan_half_angle_radians=1e-3, scan_dwell_seconds=1.0, fade_tolerance_seconds=4.0)
        )

        async def seconds(count: int) -> list[State]:
            states = []
            for _ in range(count):
                plant.step()
                await flown.control(clock.now(), None)
                states.append(flown.state)
                await clock.sleep(1.0)
            return states

        states = await seconds(150)
        assert State.COMMUNICATE in states
        assert plant.link("sat-1", "optical").up
        bench.shines = False
        await seconds(6)
        assert not plant.link("sat-1", "optical").up
        bench.shines = True
        await seconds(60)
        assert flown.state is State.COMMUNICATE
        assert plant.link("sat-1", "optical").up

    fly(flight, start=plant.time)


def test_a_servo_board_that_dips_is_set_up_again_and_one_that_goes_is_absent() -> None:
    async def flight(clock: MissionClock) -> None:
        bench = Bench(clock.now, (1.0, 0.0))
        device = terminal(bench, clock)
        pilot = Pilot(device, clock)
        await pilot.until(State.COMMUNICATE, 60.0)
        bench.pwm.reset()
        await clock.sleep(0.5)
        dipped = await device.read()
        assert dipped.quality is Quality.STALE
        assert "its supply dipped" in dipped.problem
        await clock.sleep(3.0)
        assert (await device.read()).good
        assert bench.pwm.pulse_seconds(0) > 0.0
        chip = bench.bus.chips.pop(0x48)
        await clock.sleep(1.0)
        gone = await device.read()
        assert gone.quality is Quality.ABSENT
        assert "nothing answers as ADS1115 at 0x48 on i2c-1" in gone.problem
        bench.bus.chips[0x48] = chip
        await clock.sleep(4.0)
        assert (await device.read()).good

    fly(flight)


def test_settings_and_chips_that_do_not_fit() -> None:
    async def flight(clock: MissionClock) -> None:
        bench = Bench(clock.now, (0.0, 0.0))
        driver = load_driver("gimbal.laser")
        host = InlineHost(open_i2c=lambda number: bench.bus)
        environment = DeviceEnvironment("sat-1", clock, random.Random(1), None, attach(host))
        for settings, sentence in (
            ({"pan_channel": 3, "tilt_channel": 3}, "must be three different ones"),
            ({"shortest_microseconds": 1600.0}, "must be between shortest_microseconds and longest"),
            ({"detector": "eye"}, "must be one of photodiode, quadrant"),
            ({"servo_adress": 0x41}, 'did you mean "servo_address"'),
            ({"servo_address": 0x41}, "nothing answers as PCA9685 at 0x41"),
            ({"servo_address": 0x48}, "is no PCA9685"),
        ):
            with pytest.raises(DeviceError, match=sentence):
                driver("laser.laser-1", settings, environment)

    fly(flight)


def test_the_lamp_of_the_transmitter_and_reversed_servos() -> None:
    async def flight(clock: MissionClock) -> None:
        bench = Bench(clock.now, (0.0, 0.0))
        host = InlineHost(open_i2c=lambda number: bench.bus)
        environment = DeviceEnvironment("sat-1", clock, random.Random(1), None, attach(host))
        settings = {**SETTINGS, "transmitter_channel": 5, "tilt_reversed": True}
        device = cast("LaserTerminal", load_driver("gimbal.laser")("laser.laser-1", settings, environment))
        await device.set_transmitter(True)
        assert bench.pwm.pulse_seconds(5) == math.inf
        await device.point(1.0, 0.0)
        await clock.sleep(0.5)
        await device.point(1.0, 500e-6)
        await clock.sleep(1.0)
        assert bench.pwm.pulse_seconds(1) < 1.45e-3
        await device.set_transmitter(False)
        assert bench.pwm.pulse_seconds(5) == 0.0
        await device.close()  # type: ignore[attr-defined]

    fly(flight)


# The pure parts.


@pytest.mark.parametrize("partner", [(0.0, 0.0), (40e-6, -25e-6), (-90e-6, 80e-6)])
def test_four_looks_around_a_circle_give_the_partner(partner: tuple[float, float]) -> None:
    width = 120e-6
    fit = BeamFit(width, 1e-9, 10.0)
    for number in range(4):
        x, y = circle(number, 40e-6)
        off = math.dist((x, y), partner)
        fit.add(Look(x, y, 1e-5 * math.exp(-2 * off**2 / width**2), float(number)))
    beam = fit.beam(4.0)
    assert beam is not None
    assert beam.lit
    assert (beam.x, beam.y) == pytest.approx(partner, abs=1e-9)
    assert fit.beam(20.0) is None, "what is too old says nothing"


def test_darkness_and_looks_in_a_line() -> None:
    fit = BeamFit(120e-6, 1e-7, 10.0)
    for number in range(4):
        fit.add(Look(*circle(number, 40e-6), 2e-8, float(number)))
    dark = fit.beam(4.0)
    assert dark is not None
    assert not dark.lit
    assert dark.watts == pytest.approx(2e-8)
    for number in range(4):
        fit.add(Look(number * 1e-5, 0.0, 1e-6, float(number)))
    line = fit.beam(4.0)
    assert line is not None
    assert line.lit
    assert math.hypot(line.x, line.y) < 1.5e-4


def test_a_quadrant_detector_needs_one_look() -> None:
    assert quadrant((3.0, 1.0, 1.0, 3.0), 100e-6, 0.1) == Beam(lit=True, x=50e-6, y=0.0, watts=8.0)
    assert not quadrant((0.01, 0.01, 0.01, 0.01), 100e-6, 0.1).lit


def test_a_servo_scale_and_how_long_it_takes() -> None:
    scale = ServoScale(1.5e-3, -1e-5, 1.0e-3, 2.0e-3, 1e-6)
    assert scale.steps(10.0) == 1400
    assert scale.degrees(1400) == pytest.approx(10.0)
    assert scale.steps(-90.0) == 2000
    assert scale.reach_degrees == pytest.approx(50.0)
    servo = ServoModel(degrees_per_second=300.0, settle_seconds=0.05)
    servo.command(30.0, 10.0)
    assert servo.degrees(10.05) == pytest.approx(15.0)
    assert not servo.settled(10.12)
    assert servo.settled(10.16)


def test_a_held_reference_keeps_what_was_learned_when_the_partner_changes() -> None:
    reference = HeldReference(1e-3)
    reference.command(Command(Line(0.5, 0.1), (1e-3, 0.0), 100.0), (0.0, 0.0))
    reference.command(Command(Line(0.501 + 2e-4, 0.1), (1e-3, 0.0), 101.0), (0.0, 0.0))
    line = reference.line(101.0)
    assert line is not None
    assert line.azimuth_radians == pytest.approx(0.501)
    # Another partner, half the sky away; the misalignment stays in the command.
    reference.command(Command(Line(-2.0, 0.0), (0.0, 0.0), 102.0), (2e-4, -1e-4))
    line = reference.line(102.0)
    assert line is not None
    assert Line(-2.0, 0.0).off(line) == pytest.approx((2e-4, -1e-4))


def test_angles_across_the_seam() -> None:
    assert Line(-math.pi + 1e-4, 0.0).off(Line(math.pi - 1e-4, 0.0)) == pytest.approx((2e-4, 0.0))
