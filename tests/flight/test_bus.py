"""The bus over inproc, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import zmq

from flight.bus import Bus, BusError, EndpointError, Endpoints, Header, publisher, subscriber
from flight.bus.wire import topic_of
from skyrack import virtual
from skyrack.clock import MissionClock
from skyrack.v1.common_pb2 import Event
from skyrack.v1.job_pb2 import JobStatus
from skyrack.v1.power_pb2 import PowerBudget, PowerStatus
from skyrack.v1.thermal_pb2 import ThermalStatus

EPOCH = 1_781_000_000.0


class Net:
    """A few buses in one process."""

    def __init__(self, context: zmq.Context[Any]) -> None:
        self.clock = MissionClock.starting_at(EPOCH)
        self.endpoints = Endpoints.inproc("test")
        self.context = context
        self.buses: list[Bus] = []
        self.malformed: list[tuple[str, str]] = []
        self.errors: list[tuple[str, Exception]] = []

    def bus(self, name: str, incarnation: int = 1, **options: Any) -> Bus:
        bus = Bus(name, self.endpoints, self.clock, incarnation, self.context, **options)
        bus.on_malformed = lambda source, reason: self.malformed.append((source, reason))
        bus.on_error = lambda where, error: self.errors.append((where, error))
        self.buses.append(bus)
        return bus

    async def open(self, name: str, incarnation: int = 1, **options: Any) -> Bus:
        bus = self.bus(name, incarnation, **options)
        await bus.open()
        return bus


def fly(test: Callable[[Net], Awaitable[None]]) -> None:
    async def main() -> None:
        with zmq.Context(0) as context:
            net = Net(context)
            try:
                await test(net)
            finally:
                for bus in net.buses:
                    await bus.close()

    virtual.run(main)


def listen(bus: Bus, source: str, kind: Any = PowerStatus, key: str | None = None) -> list[Any]:
    heard: list[Any] = []
    bus.subscribe(source, kind, lambda message, header, key: heard.append((message, header, key)), key)
    return heard


def charges(heard: list[Any]) -> list[float]:
    return [message.state_of_charge_ratio for message, _, _ in heard]


def status(charge: float) -> PowerStatus:
    return PowerStatus(state_of_charge_ratio=charge)


@pytest.mark.parametrize("publisher_first", [True, False])
def test_messages_arrive_whoever_opens_first(publisher_first: bool) -> None:
    async def test(net: Net) -> None:
        power, compute = net.bus("power"), net.bus("compute")
        heard = listen(compute, "power")
        for bus in (power, compute) if publisher_first else (compute, power):
            await bus.open()
        await net.clock.sleep(1.0)
        for charge in (0.25, 0.5, 0.75):
            power.publish(status(charge), "main")
        await net.clock.sleep(1.0)
        assert charges(heard) == [0.25, 0.5, 0.75]
        message, header, key = heard[2]
        assert (header.source, header.incarnation, header.sequence, key) == ("power", 1, 3, "main")
        assert header.mission_time_seconds == EPOCH + 1.0
        assert isinstance(message, PowerStatus)
        assert isinstance(header, Header)

    fly(test)


def test_the_last_value_goes_to_the_newcomer_and_only_to_the_newcomer() -> None:
    async def test(net: Net) -> None:
        power = await net.open("power")
        first = net.bus("thermal")
        first_heard = listen(first, "power")
        await first.open()
        await net.clock.sleep(1.0)
        power.publish(status(0.25))
        power.publish(status(0.5))
        await net.clock.sleep(1.0)
        second = net.bus("compute")
        second_heard = listen(second, "power")
        await second.open()
        await net.clock.sleep(1.0)
        assert charges(first_heard) == [0.25, 0.5]
        assert charges(second_heard) == [0.5]
        power.publish(status(0.75))
        await net.clock.sleep(1.0)
        assert charges(first_heard) == [0.25, 0.5, 0.75]
        assert charges(second_heard) == [0.5, 0.75]
        assert first.counters.missed == second.counters.missed == 0
        assert first.counters.duplicates == second.counters.duplicates == 0

    fly(test)


def test_a_newcomer_gets_every_instance_of_a_state() -> None:
    async def test(net: Net) -> None:
        power = await net.open("power")
        for key, charge in (("a", 0.25), ("b", 0.5), ("a", 0.75)):
            power.publish(status(charge), key)
        power.publish(PowerBudget(), "")
        every, one = net.bus("compute"), net.bus("laser")
        every_heard, one_heard = listen(every, "power"), listen(one, "power", key="b")
        await every.open()
        await one.open()
        await net.clock.sleep(1.0)
        assert [(key, message.state_of_charge_ratio) for message, _, key in every_heard] == [("a", 0.75), ("b", 0.5)]
        assert [(key, message.state_of_charge_ratio) for message, _, key in one_heard] == [("b", 0.5)]

    fly(test)


def test_events_are_never_repeated_to_a_newcomer() -> None:
    async def test(net: Net) -> None:
        power = await net.open("power")
        power.publish(Event(name="old"))
        compute = net.bus("compute")
        heard = listen(compute, "power", Event)
        await compute.open()
        await net.clock.sleep(1.0)
        power.publish(Event(name="new"))
        await net.clock.sleep(1.0)
        assert [message.name for message, _, _ in heard] == ["new"]
        assert compute.counters.missed == 0

    fly(test)


def test_a_subscription_without_a_last_value_does_not_divert_the_next_message() -> None:
    async def test(net: Net) -> None:
        power, first, second = await net.open("power"), await net.open("thermal"), await net.open("compute")
        first_heard, second_heard = listen(first, "power"), listen(second, "power")
        await net.clock.sleep(1.0)
        listen(second, "power", Event)
        await net.clock.sleep(1.0)
        power.publish(status(0.5))
        await net.clock.sleep(1.0)
        assert charges(first_heard) == charges(second_heard) == [0.5]

    fly(test)


def test_a_second_handler_of_a_service_gets_the_last_value_too_and_the_first_nothing_twice() -> None:
    async def test(net: Net) -> None:
        power, compute = await net.open("power"), await net.open("compute")
        first = listen(compute, "power")
        power.publish(status(0.5))
        await net.clock.sleep(1.0)
        second = listen(compute, "power")
        await net.clock.sleep(1.0)
        assert charges(first) == charges(second) == [0.5]
        assert first[0][0] is second[0][0], "parsed once"

    fly(test)


def test_messages_of_other_sources_are_not_handled() -> None:
    async def test(net: Net) -> None:
        power, thermal, compute = await net.open("power"), await net.open("thermal"), await net.open("compute")
        from_power = listen(compute, "power", Event)
        listen(compute, "thermal", ThermalStatus)
        await net.clock.sleep(1.0)
        power.publish(Event(name="p"))
        thermal.publish(Event(name="t"))
        await net.clock.sleep(1.0)
        assert [message.name for message, _, _ in from_power] == ["p"]

    fly(test)


@pytest.mark.parametrize("restarts", [1, 5])
def test_a_publisher_comes_back_in_the_same_process(restarts: int) -> None:
    async def test(net: Net) -> None:
        power, compute = await net.open("power"), await net.open("compute")
        heard = listen(compute, "power")
        await net.clock.sleep(1.0)
        power.publish(status(0.0))
        for restart in range(1, restarts + 1):
            power.publish(Event())
            await power.close()
            power = await net.open("power", incarnation=1 + restart)
            power.publish(status(restart / 8))
            await net.clock.sleep(1.0)
        await net.clock.sleep(1.0)
        assert charges(heard) == [restart / 8 for restart in range(restarts + 1)]
        assert [header.incarnation for _, header, _ in heard] == list(range(1, restarts + 2))
        assert compute.counters.missed == 0

    fly(test)


def test_what_was_sent_before_a_close_still_arrives_in_the_same_process() -> None:
    async def test(net: Net) -> None:
        power, compute = await net.open("power"), await net.open("compute")
        heard = listen(compute, "power")
        await net.clock.sleep(1.0)
        for index in range(10):
            power.publish(status(index / 16))
        await power.close()
        await net.clock.sleep(1.0)
        assert charges(heard) == [index / 16 for index in range(10)]

    fly(test)


def test_a_subscriber_that_restarts_sees_the_present_at_once() -> None:
    async def test(net: Net) -> None:
        power, compute = await net.open("power"), await net.open("compute")
        power.publish(status(0.5))
        await compute.close()
        compute = net.bus("compute", incarnation=2)
        heard = listen(compute, "power")
        await compute.open()
        await net.clock.sleep(1.0)
        assert charges(heard) == [0.5]

    fly(test)


def test_gaps_are_counted_and_a_new_incarnation_is_no_gap() -> None:
    async def test(net: Net) -> None:
        compute = await net.open("compute")
        heard = listen(compute, "power")

        def send(incarnation: int, sequence: int) -> None:
            header = Header(source="power", incarnation=incarnation, sequence=sequence)
            topic = topic_of("skyrack.v1.PowerStatus")
            compute.inject(topic, header.SerializeToString(), status(0.5).SerializeToString())

        for incarnation, sequence in [(1, 5), (1, 6), (1, 9), (1, 9), (1, 7), (2, 1), (2, 2)]:
            send(incarnation, sequence)
        assert [(header.incarnation, header.sequence) for _, header, _ in heard] == [
            (1, 5),
            (1, 6),
            (1, 9),
            (2, 1),
            (2, 2),
        ]
        assert (compute.counters.missed, compute.counters.duplicates) == (2, 2)

    fly(test)


GOOD_HEADER = Header(source="rogue", incarnation=1, sequence=1).SerializeToString()
TOPIC = topic_of("skyrack.v1.PowerStatus")


@pytest.mark.parametrize(
    "frames",
    [
        [b"skyrack.v1.PowerStatus/no-nul"],
        [b"skyrack.v1.PowerStatus/no-nul", GOOD_HEADER, b""],
        [TOPIC, b"\xff\xff\xff", b""],
        [TOPIC, b"", b""],
        [TOPIC, GOOD_HEADER, b"\xff\xff\xff"],
        [TOPIC, GOOD_HEADER, b"", b"more"],
        [TOPIC, GOOD_HEADER, b"", b"more", b"and more"],
        [b"skyrack.v1.PowerStatus/known\0", GOOD_HEADER, b"\xff", b"more", b"and more"],
        [b"skyrack.v1.PowerStatus/\xff\0", GOOD_HEADER, b""],
    ],
)
def test_malformed_frames_are_counted_told_and_dropped(frames: list[bytes]) -> None:
    async def test(net: Net) -> None:
        compute = await net.open("compute")
        heard = listen(compute, "rogue")
        with net.context.socket(zmq.PUB) as rogue:
            rogue.bind(net.endpoints.pub("rogue"))
            assert net.endpoints.rendezvous is not None
            net.endpoints.rendezvous.arrive("rogue")
            await net.clock.sleep(1.0)
            rogue.send_multipart(frames)
            good = Header(source="rogue", incarnation=2, sequence=1).SerializeToString()
            rogue.send_multipart([TOPIC, good, status(0.5).SerializeToString()])
            await net.clock.sleep(1.0)
        assert charges(heard) == [0.5]
        assert compute.counters.malformed == len(net.malformed) == 1

    fly(test)


@pytest.mark.parametrize("frames", [[TOPIC], [TOPIC, GOOD_HEADER]])
def test_messages_that_end_early_are_counted_too(frames: list[bytes]) -> None:
    async def test(net: Net) -> None:
        compute = await net.open("compute")
        heard = listen(compute, "rogue")
        with net.context.socket(zmq.PUB) as rogue:
            rogue.bind(net.endpoints.pub("rogue"))
            assert net.endpoints.rendezvous is not None
            net.endpoints.rendezvous.arrive("rogue")
            await net.clock.sleep(1.0)
            rogue.send_multipart(frames)
            await net.clock.sleep(1.0)
            good = Header(source="rogue", incarnation=2, sequence=1).SerializeToString()
            rogue.send_multipart([TOPIC, good, status(0.5).SerializeToString()])
            await net.clock.sleep(1.0)
        assert charges(heard) == [0.5]
        assert compute.counters.malformed == 1

    fly(test)


def test_an_event_topic_for_each_job_is_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (publisher, subscriber):
        monkeypatch.setattr(module, "KEYED_EVENTS_KEPT", 10)

    async def test(net: Net) -> None:
        compute, gateway = await net.open("compute"), await net.open("gateway")
        heard = listen(gateway, "compute", JobStatus)
        await net.clock.sleep(1.0)
        for number in range(50):
            for version in (1, 2):
                compute.publish(JobStatus(job_id=str(number), version=version), f"job-{number}")
            await net.clock.sleep(1.0)
        for version in (3, 4):  # long forgotten, and heard of again
            compute.publish(JobStatus(job_id="0", version=version), "job-0")
        await net.clock.sleep(1.0)
        assert len(heard) == 102
        assert gateway.counters.missed == gateway.counters.duplicates == 0
        assert compute._publisher is not None
        assert gateway._subscriber is not None
        assert len(compute._publisher._streams) <= 10
        assert len(gateway._subscriber._streams) <= 10

    fly(test)


def test_a_handler_that_raises_costs_nobody_else_anything() -> None:
    async def test(net: Net) -> None:
        power, compute = await net.open("power"), await net.open("compute")

        def broken(message: PowerStatus, header: Header, key: str) -> None:
            raise ValueError("sync")

        async def broken_later(message: PowerStatus, header: Header, key: str) -> None:
            await net.clock.sleep(0.1)
            raise ValueError("async")

        compute.subscribe("power", PowerStatus, broken)
        compute.subscribe("power", PowerStatus, broken_later)
        heard = listen(compute, "power")
        await net.clock.sleep(1.0)
        power.publish(status(0.25))
        power.publish(status(0.5))
        await net.clock.sleep(1.0)
        assert charges(heard) == [0.25, 0.5]
        assert compute.counters.handler_errors == 4
        assert [str(error) for _, error in net.errors] == ["sync", "sync", "async", "async"]
        assert "broken_later" in net.errors[3][0]

    fly(test)


def test_a_slow_subscriber_misses_messages_and_slows_nobody() -> None:
    async def test(net: Net) -> None:
        power = await net.open("power", high_water_mark=8)
        compute = net.bus("compute", high_water_mark=8)
        heard = listen(compute, "power")
        await compute.open()
        with net.context.socket(zmq.SUB) as slow:
            slow.set(zmq.RCVHWM, 8)
            slow.subscribe(b"")
            slow.connect(net.endpoints.pub("power"))
            await net.clock.sleep(1.0)
            for index in range(100):
                power.publish(status(index / 128))
                await net.clock.sleep(1.0)
            assert charges(heard) == [index / 128 for index in range(100)]
            assert power.counters.dropped == 1
            received = 0
            while slow.poll(0):
                slow.recv_multipart()
                received += 1
            assert received <= 17  # with the null message after its subscription

    fly(test)


def test_a_flood_is_served_in_turns() -> None:
    async def test(net: Net) -> None:
        power, compute = await net.open("power"), await net.open("compute")
        heard = listen(compute, "power")
        await net.clock.sleep(1.0)
        for _ in range(500):
            power.publish(status(0.5))
        turns = 0
        while len(heard) < 500:
            await asyncio.sleep(0)
            turns += 1
        assert 500 / 64 <= turns < 50

    fly(test)


def test_taps_see_what_is_published() -> None:
    async def test(net: Net) -> None:
        power = await net.open("power")
        seen: list[tuple[bytes, bytes, bytes]] = []
        power.taps.append(lambda *frames: seen.append(frames))
        power.publish(status(0.5), "x")
        ((topic, header, payload),) = seen
        assert topic == b"skyrack.v1.PowerStatus/x\0"
        assert Header.FromString(header).source == "power"
        assert PowerStatus.FromString(payload) == status(0.5)

    fly(test)


def test_misuse_is_told() -> None:
    async def test(net: Net) -> None:
        power = net.bus("power")
        with pytest.raises(BusError, match="before its bus was open"):
            power.publish(status(0.5))
        await power.open()
        with pytest.raises(EndpointError, match="bound twice"):
            await net.open("power")
        net.buses.pop()
        with pytest.raises(ValueError, match="NUL"):
            power.publish(status(0.5), "a\0b")
        await power.close()
        await power.close()

    fly(test)


def test_deliveries_come_in_the_same_order_in_every_run() -> None:  # noqa: C901 - a story with five services
    def once() -> list[tuple[str, str, int, int, float]]:
        log: list[tuple[str, str, int, int, float]] = []
        names = ["power", "thermal", "compute", "laser", "gateway"]

        async def test(net: Net) -> None:
            def make(name: str, incarnation: int) -> Bus:
                bus = net.bus(name, incarnation)

                def on(message: PowerStatus, header: Header, key: str) -> None:
                    log.append((name, header.source, header.incarnation, header.sequence, net.clock.now()))
                    if header.sequence % 3 == 0 and name == "laser":
                        bus.publish(Event(name=key))

                for source in names:
                    bus.subscribe(source, PowerStatus, on)
                    bus.subscribe(source, Event, on)
                return bus

            buses = {name: make(name, 1) for name in names}
            for bus in buses.values():
                await bus.open()
            for step in range(60):
                for bus in buses.values():
                    bus.publish(status(step / 64))
                await net.clock.sleep(0.5)
                if step % 10 == 7:
                    name = names[step % 5]
                    await buses[name].close()
                    await net.clock.sleep(0.25)
                    buses[name] = make(name, step)
                    await buses[name].open()

        fly(test)
        return log

    first = once()
    assert len(first) > 1400
    assert all(once() == first for _ in range(4))
