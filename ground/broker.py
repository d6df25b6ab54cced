"""An MQTT broker in pure Python, for when none is configured: ``python -m ground.broker --port 1883``.

It listens on loopback and keeps nothing: delivery is end to end, so a broker may forget. For more than a small
constellation use mosquitto, or any other.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from skyrack.errors import UserError

__all__ = ["main", "serve", "settings"]

_CONNECTIONS = 1000


def settings(host: str, port: int) -> dict[str, Any]:
    """Settings of amqtt: one listener, anybody on this machine, no persistence."""
    return {
        "listeners": {"default": {"type": "tcp", "bind": f"{host}:{port}", "max_connections": _CONNECTIONS}},
        "timeout_disconnect_delay": 0,
        "plugins": {
            "amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True},
        },
    }


async def serve(host: str, port: int, ready_file: Path | None = None) -> None:
    """Run the broker until SIGTERM or SIGINT.

    Raises:
        UserError: amqtt is not installed, or the port is taken.
    """
    try:
        from amqtt.broker import Broker
    except ModuleNotFoundError:
        raise UserError(
            "the embedded broker needs amqtt: pip install 'skyrack[ground]', or name a broker by its URL"
        ) from None
    _check_free(host, port)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    broker = Broker(settings(host, port))
    try:
        await broker.start()
    except Exception as error:
        raise UserError(f"the embedded broker could not start on {host}:{port}: {error}") from error
    if ready_file is not None:
        temporary = ready_file.with_name(f"{ready_file.name}.{os.getpid()}.new")
        temporary.write_text(f"mqtt://{host}:{port}\n")
        temporary.replace(ready_file)
    try:
        await stop.wait()
    finally:
        try:
            async with asyncio.timeout(1.0):
                await broker.shutdown()
        except TimeoutError:
            pass  # clients that do not answer a goodbye do not hold it up


def _check_free(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UserError(
                f"port {port} on {host} cannot be used by the broker ({error.strerror}); choose another with --port"
            ) from None


def main() -> int:
    """Run the broker as a process."""
    parser = argparse.ArgumentParser(prog="python -m ground.broker", description="Run the embedded MQTT broker.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, required=True, help="port to listen on")
    parser.add_argument("--ready-file", type=Path, help="written when the broker listens")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.ERROR, format="%(name)s: %(message)s")
    for noisy in ("amqtt", "transitions"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    try:
        asyncio.run(serve(arguments.host, arguments.port, arguments.ready_file))
    except UserError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
