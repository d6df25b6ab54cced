"""A real PostgreSQL server in a directory of its own, which tests may kill and bring back."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

_WAIT_SECONDS = 60.0


def _programs(find: Callable[[str], str]) -> Path:
    """Where initdb and postgres lie: Debian keeps them off the path."""
    for directory in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (directory / "initdb").exists():
            return directory
    return Path(find("initdb")).parent


def _user() -> dict[str, Any]:
    """The server refuses to run as root: then it runs as another user."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    pytest.fail("PostgreSQL refuses to run as root, and there is no other user to run it as")


class PostgresqlServer:
    """``start`` and ``kill`` it as often as it takes; ``close`` ends it and removes what it kept."""

    def __init__(self, directory: Path, find_tool: Callable[[str], str]) -> None:
        self.directory = directory
        self._programs = _programs(find_tool)
        self._as = _user()
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        if self._as:
            os.chown(directory, self._as["user"], self._as["group"])
        self.data = directory / "data"
        subprocess.run(
            [self._programs / "initdb", "-D", self.data, "-U", "skyrack", "-A", "trust", "-E", "UTF8", "--no-sync"],
            check=True,
            capture_output=True,
            cwd=directory,
            **self._as,
        )

    def start(self) -> None:
        """Run, and wait until it answers."""
        options = ("-p", str(self.port), "-k", str(self.directory), "-c", "listen_addresses=127.0.0.1")
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self.data, *options],
                stdout=log,
                stderr=log,
                cwd=self.directory,
                **self._as,
            )
        end = time.monotonic() + _WAIT_SECONDS
        while True:
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=5).close()
            except psycopg.OperationalError:
                if time.monotonic() > end or self._process.poll() is not None:
                    raise
                time.sleep(0.05)
            else:
                return

    def kill(self, number: int = signal.SIGKILL) -> None:
        """End it without a word; its children notice."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(_WAIT_SECONDS)
            self._process = None

    @property
    def is_running(self) -> bool:
        """Whether it was started, and neither killed nor fell."""
        return self._process is not None and self._process.poll() is None

    def url(self, database: str) -> str:
        return f"postgresql://skyrack@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """URL of a database that nobody has used."""
        self._databases += 1
        name = f"test_{self._databases}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.url(name)

    def close(self) -> None:
        self.kill(signal.SIGQUIT)
        shutil.rmtree(self.directory, ignore_errors=True)
