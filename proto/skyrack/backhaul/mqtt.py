"""The backhaul over MQTT 3.1.1: QoS 1, clean sessions, any broker.

Times here are wall seconds: the far end lives in wall time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, cast
from urllib.parse import unquote, urlsplit

import aiomqtt

from skyrack.backhaul import Backhaul, BackhaulError, Connector, Will
from skyrack.backhaul.tls import TlsFiles, in_words
from skyrack.errors import UserError

_LOGGER: Final = logging.getLogger("skyrack.mqtt")
_LOGGER.setLevel(logging.CRITICAL)  # what fails is raised as well, and paho repeats itself
_IN_FLIGHT: Final = 8
_QUEUED: Final = 2000
_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}


class _Loop:
    """The loop as aiomqtt sees it: a socket is watched only while it is its client's.

    aiomqtt connects in a thread, and from there asks the loop to watch the socket. A far end that resets the connection
    at once, as the gate of a link that is down does, has it closed by the time the loop gets there: the loop would log
    a bad file descriptor for what is told by ``connect`` anyway, or watch another socket that has the number by now.
    """

    def __init__(self, client: aiomqtt.Client, loop: asyncio.AbstractEventLoop) -> None:
        self._client = client
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def add_reader(self, descriptor: int, callback: Callable[[], object]) -> None:
        if self._is_open(descriptor):
            self._loop.add_reader(descriptor, callback)

    def add_writer(self, descriptor: int, callback: Callable[[], object]) -> None:
        if self._is_open(descriptor):
            self._loop.add_writer(descriptor, callback)

    def _is_open(self, descriptor: int) -> bool:
        connection = self._client._client.socket()  # noqa: SLF001 - aiomqtt has no way to ask
        return connection is not None and connection.fileno() == descriptor != -1


class _MqttBackhaul:
    """A session that aiomqtt holds."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self._client = client
        self._free = asyncio.Semaphore(_IN_FLIGHT)
        self._publishing: set[asyncio.Task[None]] = set()
        self._failure: Exception | None = None

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        await self._free.acquire()
        if self._failure is not None:
            self._free.release()
            raise BackhaulError(f"the session is over: {self._failure}") from self._failure
        task = asyncio.create_task(self._publish(topic, payload, retain))
        self._publishing.add(task)
        task.add_done_callback(self._publishing.discard)

    async def _publish(self, topic: str, payload: bytes, retain: bool) -> None:
        try:
            await self._client.publish(topic, payload, qos=1, retain=retain)
        except (aiomqtt.MqttError, ValueError) as error:
            self._failure = error
        finally:
            self._free.release()

    async def messages(self) -> AsyncIterator[tuple[str, bytes]]:
        try:
            async for message in self._client.messages:
                payload = message.payload
                yield str(message.topic), payload if isinstance(payload, bytes) else b""
        except aiomqtt.MqttError as error:
            raise BackhaulError(f"the session is over: {error}") from error

    async def finish(self) -> None:
        """Let what was handed over leave, briefly, and end the rest."""
        if self._publishing and self._failure is None:
            await asyncio.wait(self._publishing, timeout=1.0)
        for task in self._publishing:
            task.cancel()


def mqtt_connector(
    url: str,
    *,
    client_id: str,
    subscriptions: Sequence[str],
    will: Will | None = None,
    tls: TlsFiles | None = None,
    keepalive_seconds: int = 5,
    timeout_seconds: float = 10.0,
) -> Connector:
    """Make sessions with the broker at ``mqtt://[user:password@]host[:port]`` (``mqtts://`` for TLS).

    ``tls`` says whom to believe and what to show where the address is one of ``mqtts``. A dead link is
    noticed after one to two keep-alive times.

    Raises:
        UserError: the URL is not of this form, or a file of ``tls`` cannot be used.
    """
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.scheme not in _PORTS or not parts.hostname or port == -1:
        raise UserError(f'broker "{url}": an address like mqtt://host:1883 or mqtts://host:8883 is needed')
    hostname = parts.hostname
    if tls is not None and tls != TlsFiles() and parts.scheme != "mqtts":
        raise UserError(f'broker "{url}": certificates are given, but the address is none of mqtts://')
    context = (tls or TlsFiles()).context() if parts.scheme == "mqtts" else None
    where = f"{parts.scheme}://{parts.hostname}:{port or _PORTS[parts.scheme]}"  # errors are logged; a password is not

    @asynccontextmanager
    async def connect() -> AsyncIterator[Backhaul]:
        client = aiomqtt.Client(
            hostname,
            port or _PORTS[parts.scheme],
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            identifier=client_id,
            logger=_LOGGER,
            will=aiomqtt.Will(will.topic, will.payload, qos=1, retain=will.retain) if will else None,
            protocol=aiomqtt.ProtocolVersion.V311,
            clean_session=True,
            keepalive=keepalive_seconds,
            timeout=timeout_seconds,
            max_queued_incoming_messages=_QUEUED,
            tls_context=context,
        )
        client._loop = cast("asyncio.AbstractEventLoop", _Loop(client, client._loop))  # noqa: SLF001 - see _Loop
        client.pending_calls_threshold = _IN_FLIGHT + len(subscriptions) + 1
        try:
            await client.__aenter__()
        except (aiomqtt.MqttError, OSError, ValueError) as error:
            raise BackhaulError(f"{where}: {in_words(error) or error}") from error
        backhaul = _MqttBackhaul(client)
        try:
            for topic in subscriptions:
                await client.subscribe(topic, qos=1)
            yield backhaul
        except aiomqtt.MqttError as error:
            raise BackhaulError(f"{where}: {in_words(error) or error}") from error
        finally:
            await backhaul.finish()
            try:
                await client.__aexit__(None, None, None)
            except aiomqtt.MqttError as error:
                _LOGGER.debug("the session with %s ended without a goodbye: %s", where, error)

    return connect
