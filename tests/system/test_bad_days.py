"""Jobs that misbehave, frames that nobody sent, a broker and a keeper that die: over a real MQTT broker."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiomqtt
import httpx
import pytest
import zmq
from google.protobuf.message import DecodeError

from hil.processes import process_table
from hil.sil.instance import Instance
from skyrack.backhaul import down_topic, state_topic, up_topic
from skyrack.signing import FRAME, SigningKey
from skyrack.v1.backhaul_pb2 import Frame, SignedFrame
from skyrack.v1.options_pb2 import STREAM_STATUS

SATELLITE = "sat-1"

CRASHER = """
    import sys
    sys.exit("no such luck")
"""
SHOT = """
    import os, signal
    os.kill(os.getpid(), signal.SIGSEGV)
"""
HANG = """
    import signal, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(1)
"""
HOG = """
    import time
    kept = []
    while True:
        kept.append(bytearray(8 << 20))
        time.sleep(0.02)
"""
# Twice forked, in a session of its own, with an empty environment and every descriptor closed.
FORKER = """
    import os, sys, time
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.closerange(0, 64)
            os.execve(sys.executable, ["python3", "-c", "import time; time.sleep(3600)", "forked-twice-and-left"], {})
        os._exit(0)
    os.wait()
    time.sleep(0.5)
    sys.exit(7)
"""
EXPECTED = {
    "crasher": (CRASHER, {}, "exit", 1),
    "shot": (SHOT, {}, "SIGSEGV", None),
    "hang": (HANG, {"limit": "1 min"}, "limit", None),
    "hog": (HOG, {"memory": "48 MiB"}, "memory", None),
    "forker": (FORKER, {}, "exit", 7),
}


@pytest.fixture(scope="module")
def bench(make_bench: Callable[..., Any], requires_tool: Callable[[str], str]) -> Any:
    bench = make_bench()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = bench.start_mosquitto(requires_tool("mosquitto"), port)
    bench.up("--constellation", str(bench.one_satellite()), "--broker", url, "--rate", "30")
    return bench


@pytest.fixture(scope="module")
def misbehaving(bench: Any) -> None:
    for name, (program, keys, _, _) in EXPECTED.items():
        bench.submit(bench.write_job(name, program, **keys), name)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_job_that_misbehaves_fails_with_the_reason_and_leaves_nothing(
    bench: Any, misbehaving: None, kit: Any, name: str
) -> None:
    _, _, reason, code = EXPECTED[name]
    record = bench.until_settled(name)
    assert record["state"] == "FAILED"
    assert reason in record["reason"], record["reason"]
    if code is not None:
        assert record["exit_code"] == code
    if name == "crasher":
        assert "no such luck" in record["stderr_tail"]
    if name == "forker":
        assert [pid for pid in process_table() if b"forked-twice-and-left" in _command_line(pid)] == []


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def sealed(key: SigningKey, frame: Frame) -> bytes:
    data = frame.SerializeToString()
    return SignedFrame(frame=data, signature=key.sign(FRAME, data), key_id=key.key_id).SerializeToString()


async def attack(url: str, home: Path) -> None:
    """Whoever owns the broker can read, delay, drop, repeat and invent."""
    up, down = up_topic(SATELLITE), down_topic(SATELLITE, "status")
    stranger = SigningKey.generate()
    own = SigningKey.load_or_create(home / "keys" / f"{SATELLITE}.key")
    commands = Frame(source="ground", destination=SATELLITE, stream=STREAM_STATUS, incarnation=1, frame_sequence=1)
    telling = Frame(source=SATELLITE, destination="ground", stream=STREAM_STATUS, incarnation=1, frame_sequence=1)
    host, _, port = url.removeprefix("mqtt://").partition(":")
    async with aiomqtt.Client(host, int(port)) as client:
        await client.subscribe("skyrack/v1/#", qos=1)
        for topic, frame in ((up, commands), (down, telling)):
            await client.publish(topic, b"\xff\xfe garbage", qos=1)
            await client.publish(topic, b"", qos=1)
            await client.publish(topic, sealed(stranger, frame), qos=1)
            await client.publish(topic, os.urandom(300_000), qos=1)
        # A believed key, but not one that may command.
        await client.publish(up, sealed(own, commands), qos=1)
        await client.publish(state_topic("sat-99"), b"online", qos=1, retain=True)
        await client.publish(down_topic("sat-99", "status"), b"garbage", qos=1)
        # What was truly sent, again, and once with a bit turned over.
        replayed = {"up": 0, "down": 0}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2.0):
                async for message in client.messages:
                    await repeat(client, message.topic.value, message.payload, replayed, stranger)


async def repeat(
    client: aiomqtt.Client, topic: str, payload: Any, replayed: dict[str, int], stranger: SigningKey
) -> None:
    kind = "up" if topic == up_topic(SATELLITE) else "down" if "/down/" in topic else ""
    if not kind or not 100 < len(payload) < 200_000 or replayed[kind] > 5:
        return
    with contextlib.suppress(DecodeError):
        if SignedFrame.FromString(payload).key_id == stranger.key_id:
            return
    replayed[kind] += 1
    await client.publish(topic, payload, qos=1)
    await client.publish(topic, payload[:60] + bytes([payload[60] ^ 1]) + payload[61:], qos=1)


def test_frames_that_nobody_sent_are_counted_told_and_dropped(bench: Any, kit: Any) -> None:
    before = bench.incarnation(SATELLITE, "gateway")
    restarts = bench.processes["ground"]["restarts"]
    rejected = bench.value(SATELLITE, "LinkStatus.frames_rejected_total")
    repeated = bench.value(SATELLITE, "LinkStatus.frames_duplicate_total")

    def counted() -> bool:
        # Again and again: the satellite may be out of reach, and then nobody hears it.
        asyncio.run(asyncio.wait_for(attack(bench.record["broker_url"], bench.home), kit.WAIT_SECONDS))
        return bool(
            bench.value(SATELLITE, "LinkStatus.frames_rejected_total") >= rejected + 5
            and bench.value(SATELLITE, "LinkStatus.frames_duplicate_total") > repeated
        )

    kit.eventually(counted, "the satellite counts forged and repeated frames")
    kit.eventually(
        lambda: {"backhaul_malformed", "backhaul_forged"} <= {e["name"] for e in bench.events(satellite=SATELLITE)},
        "the satellite tells",
    )
    with bench.client() as client:
        text = httpx.get(f"{client.url}/metrics", trust_env=False, timeout=30).text
    refused = {line.partition("}")[0] for line in text.splitlines() if "frames_refused_total{" in line}
    assert {reason for line in refused for reason in ("malformed", "forged", "replayed") if reason in line} == {
        "malformed",
        "forged",
        "replayed",
    }
    kit.eventually(lambda: "frame_refused" in {event["name"] for event in bench.events()}, "the ground tells")
    # And life goes on, in the same processes.
    bench.submit(bench.write_job("after", kit.PATIENT, "--at-once"), "after-the-attack")
    bench.assert_ran_once(bench.until_settled("after-the-attack"))
    assert bench.incarnation(SATELLITE, "gateway") == before
    assert bench.processes["ground"]["restarts"] == restarts


def test_garbage_on_the_bus_is_counted_told_and_dropped(bench: Any, kit: Any) -> None:
    run_dir = Path(bench.record["run_dir"]) / SATELLITE
    services = ("executive", *kit.SERVICES)
    before = {service: bench.incarnation(SATELLITE, service) for service in services}
    malformed = {
        service: bench.value(SATELLITE, "Health.messages_malformed_total", service=service) for service in services
    }
    with zmq.Context() as context:
        for service in services:
            with context.socket(zmq.DEALER) as dealer, context.socket(zmq.SUB) as subscriber:
                dealer.linger = 5000
                dealer.connect(f"ipc://{run_dir}/{service}.req")
                subscriber.connect(f"ipc://{run_dir}/{service}.pub")
                for frames in ([b"junk"], [b""] * 4, [os.urandom(50) for _ in range(4)], [b"x"] * 40):
                    dealer.send_multipart(frames)
                dealer.send_multipart([b"\0" * 16, b"SetLoadSwitch", b"", b"\xff" * 1000])
                subscriber.subscribe(b"\xff no such topic")
                kit.eventually(lambda: _speaks_zmq(dealer), f"{service} takes what comes")
            with socket.socket(socket.AF_UNIX) as raw:
                raw.connect(str(run_dir / f"{service}.req"))
                raw.sendall(b"GET / HTTP/1.1\r\n\r\n")

    def counted() -> bool:
        return all(
            bench.value(SATELLITE, "Health.messages_malformed_total", service=service) >= malformed[service] + 3
            for service in services
        )

    kit.eventually(counted, "every service counts what it cannot read")

    def told() -> set[str]:
        return {event["source"] for event in bench.events(satellite=SATELLITE) if event["name"] == "message_malformed"}

    kit.eventually(lambda: told() == set(services), "every service tells")
    bench.until_well([SATELLITE])
    assert {service: bench.incarnation(SATELLITE, service) for service in services} == before


def _speaks_zmq(dealer: Any) -> bool:
    return bool(dealer.getsockopt(zmq.EVENTS) & zmq.POLLOUT)


def test_a_killed_broker_costs_time_and_nothing_else(bench: Any, kit: Any) -> None:
    path = bench.write_job("patient", kit.PATIENT, checkpoint=True)
    bench.submit(path, "over-the-break")
    record = bench.until_running("over-the-break")
    port = int(bench.record["broker_url"].rpartition(":")[2])
    bench.kill_mosquitto()
    bench.let_go(record)
    bench.submit(path, "while-away")
    bench.start_mosquitto(bench.mosquitto, port)
    bench.let_go(bench.until_running("while-away"))
    for job_id in ("over-the-break", "while-away"):
        bench.assert_ran_once(bench.until_settled(job_id))
    bench.until_well([SATELLITE])
    restarts = {name: each["restarts"] for name, each in bench.processes.items()}
    assert set(restarts.values()) == {0}, restarts


def test_a_killed_keeper_takes_the_run_with_it_and_the_next_goes_on(bench: Any, kit: Any) -> None:
    bench.submit(bench.write_job("patient", kit.PATIENT, checkpoint=True), "through-both")
    record = bench.until_running("through-both")
    run_id, url = bench.run_id, bench.record["broker_url"]
    at = bench.mission_time()
    os.kill(bench.record["supervisor_pid"], signal.SIGKILL)
    instance = Instance(bench.name, bench.home)
    kit.eventually(lambda: not instance.live, "the run is over")
    # The work on the rack lives on, as it does on a board whose software is restarted; all else is gone.
    kit.eventually(
        lambda: all("flight.compute.shim" in line for line in kit.marked(run_id)), "all but the job's shim is gone"
    )
    bench.up("--constellation", str(bench.one_satellite()), "--broker", url, "--rate", "30")
    assert bench.mission_time() >= at - 60.0
    bench.let_go(bench.until_running("through-both"))
    settled = bench.until_settled("through-both")
    bench.assert_ran_once(settled)
    assert settled["attempt"] == record["attempt"] == 1
    assert {job["job_id"] for job in bench.ask(lambda client: client.jobs())} >= {"after-the-attack", "while-away"}
    bench.down()
    assert bench.left_running() == []
    kit.assert_databases_sound(bench.home)
    assert json.loads((bench.home / "processes.json").read_text())["processes"]
