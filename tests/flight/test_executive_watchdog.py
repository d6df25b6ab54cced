"""Watchdog device and systemd's protocol, against stand-ins."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from flight.executive.sd_notify import Notifier
from flight.executive.watchdog import Watchdog


def test_strokes_and_magic_close(tmp_path: Path) -> None:
    fifo = tmp_path / "watchdog"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        watchdog = Watchdog(str(fifo))
        watchdog.stroke()
        watchdog.stroke()
        watchdog.disarm()
        watchdog.disarm()
        assert os.read(reader, 100) == b"\0\0V"
        with Watchdog(str(fifo)) as watchdog:
            watchdog.stroke()
        assert os.read(reader, 100) == b"\0V"
        with pytest.raises(RuntimeError), Watchdog(str(fifo)):
            raise RuntimeError
        assert os.read(reader, 100) == b"", "nothing stops it when its owner fails"
    finally:
        os.close(reader)


def test_a_full_pipe_does_not_stop_the_executive(tmp_path: Path) -> None:
    fifo = tmp_path / "watchdog"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    watchdog = Watchdog(str(fifo))
    for _ in range(100_000):
        watchdog.stroke()
    watchdog.abandon()
    os.close(reader)


def test_no_watchdog_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Watchdog(str(tmp_path / "watchdog"))


@pytest.mark.parametrize("abstract", [False, True])
def test_datagrams_to_systemd(tmp_path: Path, abstract: bool) -> None:
    address = f"skyrack-test-{os.getpid()}" if abstract else str(tmp_path / "notify")[-100:]
    if not abstract:
        address = f"/tmp/skyrack-notify-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(f"\0{address}" if abstract else address)
        systemd.settimeout(5)
        try:
            environment = {
                "NOTIFY_SOCKET": f"@{address}" if abstract else address,
                "WATCHDOG_USEC": "2000000",
                "A": "b",
            }
            notifier = Notifier(environment)
            assert environment == {"A": "b"}, "what is started from here must not speak to systemd"
            assert notifier.watchdog_seconds == 2
            notifier.ready()
            notifier.status("two\nlines")
            notifier.watchdog()
            notifier.stopping()
            notifier.close()
            notifier.ready()
            assert [systemd.recv(100) for _ in range(4)] == [
                b"READY=1",
                b"STATUS=two lines",
                b"WATCHDOG=1",
                b"STOPPING=1",
            ]
        finally:
            if not abstract:
                Path(address).unlink()


def test_without_systemd_or_when_it_watches_somebody_else() -> None:
    quiet = Notifier({})
    quiet.ready()
    assert quiet.watchdog_seconds is None
    other = Notifier({"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"})
    other.ready()
    assert other.watchdog_seconds is None
