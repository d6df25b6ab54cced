"""The ground as a process: ``python -m ground --config ground.toml``."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import secrets
import signal
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import uvicorn

from ground import console
from ground.access import TokenBook
from ground.api import Keeper, make_app
from ground.audit import Audit
from ground.config import GroundConfig, load_config
from ground.segment import SUBSCRIPTIONS, GroundSegment, GroundSettings
from skyrack import logging
from skyrack.backhaul.mqtt import mqtt_connector
from skyrack.backhaul.tls import TlsFiles
from skyrack.clock import Anchor, MissionClock
from skyrack.errors import UserError
from skyrack.satellite import ConstellationFile, load_constellation
from skyrack.signing import GROUND_RIGHTS, KeyEntry, KeyRing, Right, SigningKey

__all__ = ["run"]

_GRACE_SECONDS = 1


class _Server(uvicorn.Server):
    """Signals are this process's own business, and who waits for the server hears when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave them."""
        yield


def run(path: Path) -> None:
    """Run the ground until SIGTERM or SIGINT.

    Raises:
        UserError: the configuration, or a file that it names, cannot be used.
        StorageError: the database cannot be used.
    """
    os.umask(0o077)  # orders, packages, results and what a token opens are for this user alone
    config = load_config(path)
    constellation, designs = load_constellation(Path(config.constellation))
    key = SigningKey.load_or_create(Path(config.key_file))
    ring = KeyRing.load(Path(config.keyring_file))
    if key.key_id in ring.revoked:
        raise UserError(f"{config.key_file}: this key was revoked; give this ground another one")
    if ring.get(key.key_id) is None:
        ring.add(KeyEntry("ground", key.public, GROUND_RIGHTS))
    missing = sorted(set(designs) - {entry.name for entry in ring if Right.SATELLITE in entry.rights})
    if missing:
        raise UserError(f"{config.keyring_file}: no key of {', '.join(missing)}; the keys of all satellites are needed")

    async def main() -> None:
        anchor = None if config.clock_file else Anchor.utc()
        clock = MissionClock(anchor) if anchor else MissionClock.from_file(config.clock_file)
        logging.configure(
            now=clock.now,
            level=config.log_level,
            file=Path(config.log_file) if config.log_file else None,
            terminal=not config.log_file,
            service="ground",
        )
        segment = GroundSegment(
            designs,
            key=key,
            ring=ring,
            clock=clock,
            rng=random.Random(secrets.randbits(64)),
            new_id=partial(secrets.token_hex, 6),
            connector=mqtt_connector(
                config.broker,
                client_id=f"ground-{config.instance}",
                subscriptions=SUBSCRIPTIONS,
                tls=TlsFiles(config.broker_ca, config.broker_certificate, config.broker_key),
            ),
            state_dir=Path(config.state_dir),
            database=config.database,
            settings=GroundSettings(
                archive_seconds=config.archive_days * 86_400.0, records_seconds=config.records_days * 86_400.0
            ),
        )
        segment.keyring_file = Path(config.keyring_file)
        if config.remote_write_url:
            segment.telemetry_service.follow(config.remote_write_url, clock.anchor)
        await _serve(segment, config, constellation)

    asyncio.run(main())


async def _serve(segment: GroundSegment, config: GroundConfig, constellation: ConstellationFile) -> None:
    listener = _listen(config)
    await segment.open()
    book = await TokenBook.open(segment.database, segment.clock, Path(config.state_dir))
    keeper = Keeper(book, Audit(segment.database, segment.clock))
    app = make_app(segment, config.instance, (config.http_host, *config.http_names), keeper)
    if config.console:
        console.attach(app, segment, constellation, Path(config.state_dir))
    settings = uvicorn.Config(
        app,
        log_config=None,
        ssl_certfile=config.tls_certificate or None,
        ssl_keyfile=config.tls_key or None,
        access_log=False,
        # The console begins and ends with the app; nothing else listens to these events.
        lifespan="on" if config.console else "off",
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    server = _Server(settings)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    address = Path(config.address_file)
    engine = asyncio.create_task(segment.run(), name="ground")
    web = asyncio.create_task(server.serve(sockets=[listener]), name="web")
    stopping = asyncio.create_task(stop.wait())
    try:
        listening = asyncio.create_task(server.listening.wait())
        await asyncio.wait([engine, web, listening], return_when=asyncio.FIRST_COMPLETED)
        listening.cancel()
        if server.listening.is_set():
            _write_address(address, config, listener, book.local_token)
        await asyncio.wait([engine, web, stopping], return_when=asyncio.FIRST_COMPLETED)
    finally:
        _remove_address(address)
        segment.closing()
        server.should_exit = True
        engine.cancel()
        stopping.cancel()
        results = await asyncio.gather(engine, web, return_exceptions=True)
        await segment.close()
    for result in results:
        if isinstance(result, Exception):
            raise result


def _remove_address(path: Path) -> None:
    path.unlink(missing_ok=True)


def _listen(config: GroundConfig) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.http_host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((config.http_host, config.http_port))
    except OSError as error:
        listener.close()
        where = f"{config.http_host}:{config.http_port}"
        raise UserError(f"http_port: {where} cannot be listened on ({error.strerror}); 0 takes any free port") from None
    return listener


def _write_address(path: Path, config: GroundConfig, listener: socket.socket, token: str) -> None:
    """Tell this user's other programs how to reach this process; they see the old file or the new one, whole."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - from here it is this machine
    if config.tls_certificate and config.http_names:
        host = config.http_names[0]  # for which the certificate was made
    scheme = "https" if config.tls_certificate else "http"
    url = f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
    record = {"instance": config.instance, "url": url, "pid": os.getpid(), "token": token}
    if config.tls_certificate:
        record["ca"] = config.tls_certificate
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(json.dumps(record) + "\n")
    temporary.replace(path)
