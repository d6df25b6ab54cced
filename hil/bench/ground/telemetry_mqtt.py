"""Telemetry through a real mosquitto to the whole ground, beside a bare aiomqtt subscriber of the same frames.

The frames are signed beforehand and published by a process of their own, which heeds nobody's acknowledgements, so that
both receivers are asked for all that they can do. The ground verifies, stores, acknowledges, decodes, compares with
limits and archives; the bare subscriber counts.
"""

# ruff: noqa: ASYNC110, ASYNC220, ASYNC240 - it starts processes and waits for them, and nobody waits for it

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from struct import Struct
from typing import Any, Final

import aiomqtt

from ground.segment import SUBSCRIPTIONS, GroundSegment
from hil.bench.ground import Options, Say
from hil.bench.ground.station import mosquitto
from hil.bench.ground.telemetry import START, encoded_batches
from hil.sil.ports import free_ports
from skyrack import files
from skyrack.backhaul import down_topic
from skyrack.backhaul.mqtt import mqtt_connector
from skyrack.clock import Anchor, MissionClock
from skyrack.errors import UserError
from skyrack.satellite import load_constellation
from skyrack.signing import FRAME, SigningKey, seeded_ring
from skyrack.v1.backhaul_pb2 import Frame, Item, SignedFrame
from skyrack.v1.options_pb2 import STREAM_HOUSEKEEPING

__all__ = ["measure", "publish"]

TARGET_RATIO: Final = 0.7
_BATCHES: Final = 600
_LENGTH: Final = Struct("<I")
_IN_FLIGHT: Final = 16
_STALL_SECONDS: Final = 60.0


def _frames(datas: list[bytes], satellite: str, seed: int) -> list[bytes]:
    key = SigningKey.from_seed(seed, satellite)
    made = []
    for number, data in enumerate(datas, 1):
        frame = Frame(
            source=satellite,
            destination="ground",
            items=[Item(sequence=number, accepted_seconds=START, payload=data)],
            incarnation=1,
            frame_sequence=number,
            stream=STREAM_HOUSEKEEPING,
            epoch=1,
            low_sequence=1,
        ).SerializeToString()
        signed = SignedFrame(frame=frame, signature=key.sign(FRAME, frame), key_id=key.key_id)
        made.append(signed.SerializeToString())
    return made


def publish(path: Path, port: int, topic: str) -> None:
    """Publish the frames in a file, some at a time."""

    async def run() -> None:
        content = path.read_bytes()
        frames, offset = [], 0
        while offset < len(content):
            (length,) = _LENGTH.unpack_from(content, offset)
            offset += _LENGTH.size
            frames.append(content[offset : offset + length])
            offset += length
        waiting = iter(frames)
        async with aiomqtt.Client("127.0.0.1", port, identifier="publisher") as client:

            async def one() -> None:
                for frame in waiting:
                    await client.publish(topic, frame, qos=1)

            await asyncio.gather(*(one() for _ in range(_IN_FLIGHT)))

    asyncio.run(run())


async def _broker(port: int) -> subprocess.Popen[bytes]:
    program = mosquitto()
    if program is None:
        raise UserError("this needs mosquitto, which is not installed")
    with tempfile.NamedTemporaryFile("w", suffix=".conf", delete=False) as config:
        config.write(f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n")
    process = subprocess.Popen([program, "-c", config.name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(200):
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            Path(config.name).unlink()
            return process
        await asyncio.sleep(0.02)
    raise UserError("mosquitto does not start")


def _publisher(path: Path, port: int, topic: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "hil.bench.ground.telemetry_mqtt", str(path), str(port), topic])


async def _bare(path: Path, port: int, topic: str, count: int) -> float:
    async with aiomqtt.Client("127.0.0.1", port, identifier="bare") as client:
        await client.subscribe(SUBSCRIPTIONS[0], qos=1)
        process = _publisher(path, port, topic)
        seen, began = 0, 0.0
        async with asyncio.timeout(_STALL_SECONDS * 5):
            async for _ in client.messages:
                began = began or time.perf_counter()
                seen += 1
                if seen == count:
                    break
        seconds = time.perf_counter() - began
    process.wait(_STALL_SECONDS)
    return seconds


async def _ground(path: Path, port: int, topic: str, satellite: str, messages: int, seed: int, home: Path) -> float:
    _, designs = load_constellation(files.shipped("constellations", "demo"))
    segment = GroundSegment(
        designs,
        key=SigningKey.from_seed(seed, "ground"),
        ring=seeded_ring(seed, list(designs)),
        clock=MissionClock(Anchor(START + 3600, time.time())),
        rng=random.Random(seed),
        new_id=iter(map(str, range(1_000_000))).__next__,
        connector=mqtt_connector(f"mqtt://127.0.0.1:{port}", client_id="ground", subscriptions=SUBSCRIPTIONS),
        state_dir=home,
    )
    await segment.open()
    running = asyncio.create_task(segment.run())
    pipeline = segment.picture.pipelines[satellite]
    try:
        while not segment.link.connected:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        process = _publisher(path, port, topic)
        async with asyncio.timeout(_STALL_SECONDS * 5):
            while not pipeline.messages:
                await asyncio.sleep(0.001)
            began = time.perf_counter()
            while pipeline.messages < messages:
                await asyncio.sleep(0.005)
        seconds = time.perf_counter() - began
        process.wait(_STALL_SECONDS)
        return seconds
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await segment.close()


def measure(options: Options, say: Say) -> dict[str, Any]:
    """Frames a second into the whole ground, and into a bare subscriber."""
    satellite = next(iter(load_constellation(files.shipped("constellations", "demo"))[1]))
    datas = encoded_batches(_BATCHES, options.seed)
    messages = 200 * len(datas)

    async def run(home: Path) -> tuple[float, float]:
        path = home / "frames"
        frames = _frames(datas, satellite, options.seed)
        path.write_bytes(b"".join(_LENGTH.pack(len(frame)) + frame for frame in frames))
        (port,) = free_ports(1, random.SystemRandom())
        broker = await _broker(port)
        topic = down_topic(satellite, "housekeeping")
        try:
            say("mqtt: the bare subscriber")
            bare = await _bare(path, port, topic, len(frames))
            say("mqtt: the whole ground")
            whole = await _ground(path, port, topic, satellite, messages, options.seed, home / "ground")
        finally:
            broker.terminate()
            broker.wait(_STALL_SECONDS)
        return bare, whole

    with tempfile.TemporaryDirectory(prefix="skyrack-bench-") as directory:
        bare, whole = asyncio.run(run(Path(directory)))
    return {
        "frames": len(datas),
        "ground_batches_per_second": len(datas) / whole,
        "ground_messages_per_second": messages / whole,
        "bare_subscriber_batches_per_second": len(datas) / bare,
        "ratio": bare / whole,
        "target_ratio": TARGET_RATIO,
        "reached": bare / whole >= TARGET_RATIO,
    }


if __name__ == "__main__":
    publish(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
