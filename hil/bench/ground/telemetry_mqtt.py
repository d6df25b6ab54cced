"""Telemetry through a real mosquitto to the whole ground, beside a bare aiomqtt subscriber of the same frames.

The frames are signed beforehand and published by a process of their own, which heeds nobody's acknowledgements, so that
both receivers are asked for all that they can do. The ground verifies, stores, acknowledges, decodes, compares with
limits and archives; the bare subscriber counts. Both get the same frames from the same publisher through the same
broker, run by run in turn. What one process spends on a batch is told beside the rates, as rates depend on how
many processors the publisher, the broker and the receiver share.
"""

# ruff: noqa: ASYNC110, ASYNC220, ASYNC240 - it starts processes and waits for them, and nobody waits for it

from __future__ import annotations

import asyncio
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import Any, Final

import aiomqtt

from ground.segment import SUBSCRIPTIONS, GroundSegment
from ground.telemetry.pipeline import SatellitePipeline
from hil.bench.ground import Options, Say
from hil.bench.ground.station import mosquitto
from hil.bench.ground.telemetry import START, encoded_batches
from hil.sil.ports import free_ports
from skyrack import files
from skyrack.backhaul import down_topic
from skyrack.backhaul.mqtt import mqtt_connector
from skyrack.clock import Anchor, MissionClock
from skyrack.delivery.frames import FrameCodec
from skyrack.errors import UserError
from skyrack.satellite import load_constellation
from skyrack.signing import FRAME, Right, SigningKey, seeded_ring
from skyrack.v1.backhaul_pb2 import Frame, Item, Payload, SignedFrame
from skyrack.v1.options_pb2 import STREAM_HOUSEKEEPING

__all__ = ["measure", "publish"]

TARGET_RATIO: Final = 0.7
_SIZES: Final = {200: 600, 20: 1500}
"""Messages in a batch, and batches in a run. The first counts: a gateway's batch is of 200 unless time is up."""
_REPETITIONS: Final = 3
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
            client.pending_calls_threshold = _IN_FLIGHT + 1

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


@dataclass(frozen=True, slots=True)
class _Run:
    wall_seconds: float
    cpu_seconds: float
    """Of the receiving process, all its threads."""


async def _bare(path: Path, port: int, topic: str, count: int) -> _Run:
    async with aiomqtt.Client("127.0.0.1", port, identifier="bare") as client:
        await client.subscribe(SUBSCRIPTIONS[0], qos=1)
        process = _publisher(path, port, topic)
        seen, began, cpu = 0, 0.0, 0.0
        async with asyncio.timeout(_STALL_SECONDS * 5):
            async for _ in client.messages:
                if not began:
                    began, cpu = time.perf_counter(), time.process_time()
                seen += 1
                if seen == count:
                    break
        run = _Run(time.perf_counter() - began, time.process_time() - cpu)
    process.wait(_STALL_SECONDS)
    return run


async def _ground(path: Path, port: int, topic: str, satellite: str, messages: int, seed: int, home: Path) -> _Run:
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
            began, cpu = time.perf_counter(), time.process_time()
            while pipeline.messages < messages:
                await asyncio.sleep(0.005)
        run = _Run(time.perf_counter() - began, time.process_time() - cpu)
        process.wait(_STALL_SECONDS)
        return run
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await segment.close()


def _microseconds(function: Callable[[], object], count: int) -> float:
    began = time.thread_time()
    function()
    return (time.thread_time() - began) / count * 1e6


def _parts(datas: list[bytes], frames: list[bytes], satellite: str, seed: int) -> dict[str, float]:
    """Processor time that a batch takes by itself, without broker and disk: what no pipelining makes less."""
    ground = SigningKey.from_seed(seed, "ground")
    codec = FrameCodec("ground", ground, seeded_ring(seed, [satellite]), Right.SATELLITE, lambda: START)
    payloads: list[Payload] = []
    pipeline = SatellitePipeline(satellite)

    def ingest() -> None:
        for payload in payloads:
            pipeline.ingest(payload.telemetry, START)

    return {
        "verify_and_parse_frame": _microseconds(lambda: codec.verify(frames), len(frames)),
        "parse_batch": _microseconds(lambda: payloads.extend(map(Payload.FromString, datas)), len(datas)),
        "decode_limits_latest_columns": _microseconds(ingest, len(datas)),
    }


def _size(samples: int, count: int, satellite: str, seed: int, say: Say) -> dict[str, Any]:
    datas = encoded_batches(count, seed, samples)
    frames = _frames(datas, satellite, seed)

    async def run(home: Path) -> list[tuple[_Run, _Run]]:
        path = home / "frames"
        path.write_bytes(b"".join(_LENGTH.pack(len(frame)) + frame for frame in frames))
        (port,) = free_ports(1, random.SystemRandom())
        broker = await _broker(port)
        topic = down_topic(satellite, "housekeeping")
        runs = []
        try:
            for number in range(_REPETITIONS):
                say(f"mqtt: batches of {samples}, run {number + 1} of {_REPETITIONS}")
                bare = await _bare(path, port, topic, count)
                state = home / f"ground-{number}"
                runs.append((bare, await _ground(path, port, topic, satellite, samples * count, seed, state)))
        finally:
            broker.terminate()
            broker.wait(_STALL_SECONDS)
        return runs

    with tempfile.TemporaryDirectory(prefix="skyrack-bench-") as directory:
        runs = asyncio.run(run(Path(directory)))
    bare, whole = ([pair[index] for pair in runs] for index in (0, 1))
    seconds = statistics.median(run.wall_seconds for run in whole)
    baseline = statistics.median(run.wall_seconds for run in bare)
    return {
        "frames": count,
        "bytes_per_frame": sum(map(len, frames)) / count,
        "ground_batches_per_second": count / seconds,
        "ground_messages_per_second": samples * count / seconds,
        "bare_subscriber_batches_per_second": count / baseline,
        "ratio": baseline / seconds,
        "microseconds_per_batch": {
            "bare_subscriber": statistics.median(run.cpu_seconds for run in bare) / count * 1e6,
            "ground": statistics.median(run.cpu_seconds for run in whole) / count * 1e6,
            **_parts(datas, frames, satellite, seed),
        },
    }


def measure(options: Options, say: Say) -> dict[str, Any]:
    """Frames a second into the whole ground, and into a bare subscriber; medians of three runs, in turn."""
    satellite = next(iter(load_constellation(files.shipped("constellations", "demo"))[1]))
    first, *others = (
        (samples, _size(samples, count, satellite, options.seed, say)) for samples, count in _SIZES.items()
    )
    figures = first[1]
    return {
        "messages_per_batch": first[0],
        **figures,
        "target_ratio": TARGET_RATIO,
        "reached": figures["ratio"] >= TARGET_RATIO,
        **{f"batches_of_{samples}": found for samples, found in others},
    }


if __name__ == "__main__":
    publish(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
