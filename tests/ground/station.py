"""A broker, a ground and its satellites as they really run: in processes, in a directory of their own."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from ground.client import Address, address_in
from skyrack.backhaul import OFFLINE, Will, state_topic, up_topic
from skyrack.backhaul.mqtt import mqtt_connector
from skyrack.clock import Anchor, MissionClock, write_anchor
from skyrack.delivery import DeliverySettings
from skyrack.signing import KeyRing, SigningKey, provision

BROKERS = ("amqtt", "mosquitto")
_WAIT_SECONDS = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(condition: Callable[[], Any], what: str, seconds: float = _WAIT_SECONDS) -> Any:
    """Ask until there is an answer; fails loudly."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"in {seconds:g} s {what} did not come to pass")


def mosquitto() -> str | None:
    return shutil.which("mosquitto") or next(
        (path for path in ("/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto") if Path(path).exists()), None
    )


class Station:
    """``directory`` is the working directory of a run; everything in it ends with ``close``."""

    def __init__(self, directory: Path, kit: Any, broker: str = "amqtt", rate: float = 60.0) -> None:
        self.directory = directory
        self.kit = kit
        self.kind = broker
        self.port = free_port()
        self.home = directory / ".skyrack" / "test"
        self.home.mkdir(parents=True)
        self.satellites: dict[str, Any] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._thread: threading.Thread | None = None
        self._stop: Callable[[], None] = lambda: None
        write_anchor(self.home / "clock.json", Anchor.here(kit.start, rate))
        self.keys = self.home / "keys"
        self.keys.mkdir()
        provision(self.keys, kit.names)
        self.config = self.home / "ground.toml"
        self.config.write_text(
            f"""
            instance = "test"
            state_dir = "ground"
            clock_file = "clock.json"
            constellation = "demo"
            broker = "mqtt://127.0.0.1:{self.port}"
            key_file = "keys/ground.key"
            keyring_file = "keys/keys.json"
            address_file = "ground.json"
            log_file = "logs/ground.jsonl"
            """
        )

    def start_broker(self) -> None:
        if self.kind == "mosquitto":
            configuration = self.home / "mosquitto.conf"
            configuration.write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n")
            self._start("broker", [str(mosquitto()), "-c", str(configuration)])
        else:
            self._start("broker", [sys.executable, "-m", "ground.broker", "--port", str(self.port)])
        eventually(lambda: self._listens(self.port), "the broker listens")

    def start_ground(self) -> str:
        address = self.home / "ground.json"
        address.unlink(missing_ok=True)
        self._start("ground", [sys.executable, "-m", "ground", "--config", str(self.config)])
        eventually(lambda: address.exists() or self.processes["ground"].poll() is not None, "the ground is up")
        return str(address_in(address))

    def start_satellites(self) -> None:
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._fly(ready)), daemon=True)
        self._thread.start()
        assert ready.wait(_WAIT_SECONDS)

    async def _fly(self, ready: threading.Event) -> None:
        clock = MissionClock.from_file(self.home / "clock.json")
        ring = KeyRing.load(self.keys / "keys.json")
        loop = asyncio.get_running_loop()
        for name in self.kit.names:
            connector = mqtt_connector(
                f"mqtt://127.0.0.1:{self.port}",
                client_id=name,
                subscriptions=[up_topic(name)],
                will=Will(state_topic(name), OFFLINE),
            )
            key = SigningKey.load_or_create(self.keys / f"{name}.key")
            self.satellites[name] = self.kit.satellite(name, clock, connector, DeliverySettings(), key, ring)
        tasks = [asyncio.create_task(satellite.run()) for satellite in self.satellites.values()]

        def stop() -> None:
            for task in tasks:
                loop.call_soon_threadsafe(task.cancel)

        self._stop = stop
        ready.set()
        await asyncio.gather(*tasks, return_exceptions=True)

    def kill(self, name: str, number: int = signal.SIGKILL) -> int:
        process = self.processes[name]
        process.send_signal(number)
        return process.wait(_WAIT_SECONDS)

    def get(self, url: str, path: str, **params: Any) -> Any:
        with self.http(url) as http:
            return http.get(path, params=params).json()

    def http(self, url: str) -> httpx.Client:
        """Asks the ground whose address, with a token, is given."""
        address = Address.parse(url)
        headers = {"Authorization": f"Bearer {address.token}"}
        return httpx.Client(base_url=address.url, headers=headers, timeout=30, trust_env=False)

    def close(self) -> None:
        self._stop()
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
                process.wait()
        if self._thread is not None:
            self._thread.join(_WAIT_SECONDS)

    def _start(self, name: str, command: list[str]) -> None:
        output = (self.home / f"{name}.out").open("ab")
        environment = {key: value for key, value in os.environ.items() if key != "SKYRACK_GROUND"}
        with output:
            self.processes[name] = subprocess.Popen(
                command, stdout=output, stderr=output, cwd=self.directory, env=environment
            )

    @staticmethod
    def _listens(port: int) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0
