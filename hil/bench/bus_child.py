"""One of the processes of the bus benchmark: publishes or receives, through the bus or through plain blocking pyzmq.

Both ways carry the same frames and do the same work on them: build and serialise Header and message, parse both. A
publisher takes lines ``count rate`` on standard input (rate 0: as fast as it goes) and sends messages numbered from 1;
number 0 is for finding out that the subscription has arrived. A receiver prints one line of JSON per such run.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

import zmq

from flight.bus import Bus, Endpoints, Header
from flight.bus.wire import topic_of
from skyrack.clock import Anchor, MissionClock
from skyrack.v1.power_pb2 import LoadStatus, PowerStatus

PAYLOAD_BYTES = 200
_PROBE_SECONDS = 0.01
_TOPIC = topic_of("skyrack.v1.PowerStatus")


def make_message() -> PowerStatus:
    """A message that takes 200 bytes on the wire, once its number and time are set."""
    message = PowerStatus(mission_time_seconds=1.0, battery_energy_joules=1.0)
    for index in range(4):
        message.loads.append(LoadStatus(load=f"node-{index}", draw_watts=123.0, switch_closed=True))
    message.loads.append(LoadStatus(load="x" * (PAYLOAD_BYTES - message.ByteSize() - 4)))
    return message


class Sink:
    """Counts a run's messages, and how late each came."""

    def __init__(self) -> None:
        self._begin = 0.0
        self._latencies: list[float] = []
        self._expected = 0
        self._probed = False

    def take(self, message: PowerStatus) -> None:
        """One message: ``mission_time_seconds`` is its number, ``battery_energy_joules`` when it was sent."""
        now = time.monotonic()
        number = message.mission_time_seconds
        if number < 1:
            if not self._probed:
                self._probed = True
                sys.stdout.write("hearing\n")
                sys.stdout.flush()
            return
        if number == 1:
            self._begin = now
            self._latencies.clear()
            self._expected = int(message.battery_voltage_volts)
        self._latencies.append(now - message.battery_energy_joules)
        if number == self._expected:
            sys.stdout.write(json.dumps(self._result(now)) + "\n")
            sys.stdout.flush()

    def _result(self, end: float) -> dict[str, float]:
        ordered = sorted(self._latencies)
        count = len(ordered)
        return {
            "received": count,
            "messages_per_second": (count - 1) / (end - self._begin) if count > 1 else 0.0,
            "p50_seconds": ordered[count // 2],
            "p99_seconds": ordered[min(count - 1, count * 99 // 100)],
        }


def publish_plain(directory: Path) -> None:
    """Baseline: blocking PUB socket."""
    with zmq.Context() as context, context.socket(zmq.PUB) as socket:
        socket.set(zmq.SNDHWM, 0)
        socket.bind(f"ipc://{directory}/power.pub")
        message, header, sequence = make_message(), Header(source="power", incarnation=1), 0

        def send(number: int) -> None:
            nonlocal sequence
            sequence += 1
            message.mission_time_seconds = number
            message.battery_energy_joules = time.monotonic()
            header.sequence = sequence
            header.mission_time_seconds = time.time()
            socket.send(_TOPIC, zmq.SNDMORE)
            socket.send(header.SerializeToString(), zmq.SNDMORE)
            socket.send(message.SerializeToString())

        while not _line_waiting():
            send(0)
            time.sleep(_PROBE_SECONDS)
        for line in sys.stdin:
            count, rate = (int(word) for word in line.split())
            message.battery_voltage_volts = count
            begin = time.monotonic()
            for number in range(1, count + 1):
                if rate and (wait := begin + number / rate - time.monotonic()) > 0:
                    time.sleep(wait)
                send(number)


def receive_plain(directory: Path) -> None:
    """Baseline: blocking SUB socket."""
    sink = Sink()
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.set(zmq.RCVHWM, 0)
        socket.subscribe(_TOPIC)
        socket.connect(f"ipc://{directory}/power.pub")
        while True:
            # What recv_multipart does, without asking each frame whether it is the last: a lean baseline.
            _topic, header, payload = socket.recv(), socket.recv(), socket.recv()
            if Header.FromString(header).source == "power":
                sink.take(PowerStatus.FromString(payload))


async def publish_bus(directory: Path) -> None:
    """The bus."""
    clock = MissionClock(Anchor.utc())
    bus = Bus("power", Endpoints.ipc(directory), clock, 1, high_water_mark=0)
    await bus.open()
    message = make_message()

    def send(number: int) -> None:
        message.mission_time_seconds = number
        message.battery_energy_joules = time.monotonic()
        bus.publish(message)

    lines: asyncio.Queue[str] = asyncio.Queue()
    asyncio.get_running_loop().add_reader(sys.stdin, lambda: lines.put_nowait(sys.stdin.readline()))
    while lines.empty():
        send(0)
        await asyncio.sleep(_PROBE_SECONDS)
    while line := await lines.get():
        count, rate = (int(word) for word in line.split())
        message.battery_voltage_volts = count
        begin = time.monotonic()
        for number in range(1, count + 1):
            if rate:
                await asyncio.sleep(begin + number / rate - time.monotonic())
            elif number % 64 == 0:
                await asyncio.sleep(0)
            send(number)
    await bus.close()


async def receive_bus(directory: Path) -> None:
    """The bus."""
    sink = Sink()
    bus = Bus("compute", Endpoints.ipc(directory), MissionClock(Anchor.utc()), 1, high_water_mark=0)
    bus.subscribe("power", PowerStatus, lambda message, _header, _key: sink.take(message))
    await bus.open()
    await asyncio.Event().wait()


def _line_waiting() -> bool:
    return bool(zmq.select([sys.stdin.fileno()], [], [], 0)[0])


def main() -> None:
    """``python -m hil.bench.bus_child plain|bus publish|receive DIRECTORY``."""
    way, role, directory = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    if way == "plain":
        (publish_plain if role == "publish" else receive_plain)(directory)
    else:
        asyncio.run((publish_bus if role == "publish" else receive_bus)(directory))


if __name__ == "__main__":
    main()
