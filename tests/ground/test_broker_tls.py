"""A real mosquitto with our certificates and our access list: who gets in, and who is heard where."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from ground import broker_files
from ground.broker_commands import broker
from skyrack.backhaul import BackhaulError, down_topic, up_topic
from skyrack.backhaul.mqtt import mqtt_connector
from skyrack.backhaul.tls import TlsFiles
from skyrack.errors import UserError


@dataclass
class Guarded:
    directory: Path
    port: int

    @property
    def url(self) -> str:
        return f"mqtts://localhost:{self.port}"

    def files(self, name: str) -> TlsFiles:
        return TlsFiles(*(str(self.directory / file) for file in ("ca.crt", f"{name}.crt", f"{name}.key")))


def run(*arguments: str) -> str:
    result = CliRunner().invoke(broker, arguments)
    assert result.exit_code == 0, result.output + str(result.exception)
    return result.output


@pytest.fixture
def guarded(tmp_path: Path, mosquitto: str) -> Iterator[Guarded]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    directory = tmp_path / "broker"
    run("certificates", str(directory), "--satellites", "sat-1,sat-2")
    run("config", str(directory), "--port", str(port))
    configuration = directory / "mosquitto.conf"
    if os.geteuid() == 0:
        configuration.write_text(configuration.read_text() + "user root\n")  # else it gives up the right to its files
    process = subprocess.Popen([mosquitto, "-c", str(configuration)], stderr=subprocess.PIPE)
    try:
        end = time.monotonic() + 20
        with socket.socket() as probe:
            while probe.connect_ex(("127.0.0.1", port)) and time.monotonic() < end:
                assert process.poll() is None, process.communicate()[1]
                time.sleep(0.02)
        yield Guarded(directory, port)
    finally:
        process.kill()
        process.communicate()


def test_each_is_heard_on_its_own_topics_only(guarded: Guarded) -> None:
    async def whole() -> None:
        ground = mqtt_connector(
            guarded.url, client_id="g", subscriptions=[down_topic("+", "+")], tls=guarded.files("ground")
        )
        one = mqtt_connector(
            guarded.url,
            client_id="a",
            # It asks for what is not for it as well, and hears nothing of it.
            subscriptions=[up_topic("sat-1"), up_topic("sat-2"), "#"],
            tls=guarded.files("sat-1"),
        )
        async with asyncio.timeout(30), ground() as below:
            for lie in (down_topic("sat-2", "status"), up_topic("sat-2"), up_topic("sat-1")):
                with suppress(BackhaulError):  # some versions of mosquitto end the session of a liar
                    async with one() as above:
                        await above.publish(lie, b"I am another")
            async with one() as above:
                await above.publish(down_topic("sat-1", "status"), b"myself")
                assert await anext(below.messages()) == (down_topic("sat-1", "status"), b"myself")
                await below.publish(up_topic("sat-2"), b"not for sat-1")
                await below.publish(up_topic("sat-1"), b"for sat-1")
                assert await anext(above.messages()) == (up_topic("sat-1"), b"for sat-1")

    asyncio.run(whole())


def test_nobody_ends_the_session_of_another_under_its_client_id(guarded: Guarded) -> None:
    async def whole() -> None:
        ground = mqtt_connector(
            guarded.url, client_id="ground-x", subscriptions=[down_topic("+", "+")], tls=guarded.files("ground")
        )
        thief = mqtt_connector(
            guarded.url, client_id="ground-x", subscriptions=[up_topic("sat-1")], tls=guarded.files("sat-1")
        )
        async with asyncio.timeout(30), ground() as below, thief() as above:
            await above.publish(down_topic("sat-1", "status"), b"here")
            assert await anext(below.messages()) == (down_topic("sat-1", "status"), b"here")

    asyncio.run(whole())


def refusal(url: str, tls: TlsFiles | None) -> str:
    async def whole() -> None:
        connector = mqtt_connector(url, client_id="x", subscriptions=["x"], tls=tls, timeout_seconds=5)
        async with asyncio.timeout(20), connector() as session:
            async for _ in session.messages():
                pass

    with pytest.raises(BackhaulError) as refused:
        asyncio.run(whole())
    return str(refused.value)


def test_a_wrong_authority_is_refused_in_a_sentence(guarded: Guarded, tmp_path: Path) -> None:
    run("certificates", str(tmp_path / "other"), "--satellites", "sat-1")
    stranger = Guarded(tmp_path / "other", guarded.port)
    sentence = refusal(guarded.url, stranger.files("sat-1"))
    assert "the broker's certificate is not believed" in sentence
    assert "ca file" in sentence
    # The broker is believed, and believes not.
    forged = TlsFiles(guarded.files("sat-1").ca, stranger.files("sat-1").certificate, stranger.files("sat-1").key)
    assert guarded.url in refusal(guarded.url, forged)
    assert guarded.url in refusal(guarded.url, TlsFiles(ca=guarded.files("sat-1").ca))
    assert "does not speak TLS" in refusal(f"mqtts://localhost:{plain_port()}", guarded.files("sat-1"))


def plain_port() -> int:
    """A port at which somebody answers something else."""
    server = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        connection, _ = server.accept()
        connection.recv(10)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        connection.close()
        server.close()

    import threading

    threading.Thread(target=answer, daemon=True).start()
    return int(server.getsockname()[1])


def test_files_that_are_no_certificates_are_named(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.pem"
    nothing.write_text("hello")
    for tls, sentence in (
        (TlsFiles(ca=str(nothing)), "nothing.pem: not a certificate of an authority"),
        (TlsFiles(ca=str(tmp_path / "none.pem")), "No such file"),
        (TlsFiles(certificate=str(nothing)), "certificate and key go together"),
        (TlsFiles(certificate=str(nothing), key=str(nothing)), "not a certificate and its key"),
    ):
        with pytest.raises(UserError, match=sentence):
            mqtt_connector("mqtts://localhost", client_id="x", subscriptions=[], tls=tls)
    with pytest.raises(UserError, match="none of mqtts://"):
        mqtt_connector("mqtt://localhost", client_id="x", subscriptions=[], tls=TlsFiles(ca="x"))


def test_certificates_are_kept_and_satellites_added(tmp_path: Path) -> None:
    run("certificates", str(tmp_path), "--satellites", "sat-1")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("*.key")} == {0o600}
    out = run("certificates", str(tmp_path), "--satellites", "sat-1,sat-2", "--host", "broker.example")
    assert "made" in next(line for line in out.splitlines() if "sat-2.crt" in line)
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    for name in ("ground", "../x", "ca"):
        result = CliRunner().invoke(broker, ["certificates", str(tmp_path), "--satellites", name])
        assert isinstance(result.exception, UserError)


def test_what_is_deployed_is_what_the_command_writes() -> None:
    deployed = Path(__file__).parents[2] / "deploy" / "mosquitto"
    assert (deployed / "mosquitto.conf").read_text() == broker_files.configuration()
    assert (deployed / "acl").read_text() == broker_files.access_list()
