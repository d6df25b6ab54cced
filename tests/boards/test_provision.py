"""The role for real: over ssh into a bare Debian, twice. Its systemd is not running; its units are verified."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hil.provision import package, playbook
from skyrack.signing import KeyRing, Right

PACKAGES = "python3,python3-venv,python3-apt,openssh-server,sudo,systemd,udev,systemd-timesyncd,ca-certificates"
# In namespaces of its own, so that nothing of it is left when it ends.
ENTER = """set -e
mount --bind "$0" "$0"; mount -t proc proc "$0/proc"; mount -t sysfs -o ro sysfs "$0/sys"; mount --rbind /dev "$0/dev"
mount --make-rslave "$0/dev"; mount -t tmpfs tmpfs "$0/run"; mkdir -p "$0/run/sshd"
exec chroot "$0" /usr/sbin/sshd -D -e -p "$1" -o ListenAddress=127.0.0.1 -o PidFile=none
"""


@dataclass(frozen=True)
class Debian:
    base: Path
    port: int

    def shell(self, command: str) -> str:
        options = ["-o", "BatchMode=yes", "-o", f"UserKnownHostsFile={self.base}/known", "-i", f"{self.base}/key"]
        options += ["-o", "StrictHostKeyChecking=accept-new", "-p", str(self.port)]
        done = subprocess.run(["ssh", *options, "root@127.0.0.1", command], capture_output=True, text=True, check=True)
        return done.stdout

    def provision(self, *arguments: str) -> dict[str, Any]:
        command = [
            str(Path(sys.executable).with_name("skyrack")),
            "hil",
            "provision",
            f"ssh://root@127.0.0.1:{self.port}",
        ]
        command += ["--satellite", "sat-1", "--bench", "laptop", "--identity", str(self.base / "key")]
        command += ["--authorize", str(self.base / "key.pub"), "--keys", str(self.base / "keys"), "--serial", "SR-7"]
        command += ["--ssh-option", f"UserKnownHostsFile={self.base}/known", "--json", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        told: dict[str, Any] = json.loads(done.stdout)
        return told


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Debian]:
    tools = ("mmdebstrap", "unshare", "chroot", "ssh-keygen")
    if os.geteuid() != 0 or any(shutil.which(tool) is None for tool in tools):
        pytest.skip(f"it needs root, and {', '.join(tools)}")
    base = tmp_path_factory.mktemp("debian")
    root = base / "root"
    made = subprocess.run(
        ["mmdebstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(root)],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        pytest.skip(f"no Debian can be made here: {made.stderr.strip().splitlines()[-1]}")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(base / "key")], check=True)
    (root / "root/.ssh").mkdir(mode=0o700, exist_ok=True)
    shutil.copy(base / "key.pub", root / "root/.ssh/authorized_keys")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = int(listener.getsockname()[1])
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", ENTER, str(root), str(port)]
    with (base / "sshd.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 20.0
        while b"Server listening" not in (base / "sshd.log").read_bytes():
            assert time.monotonic() < deadline, (base / "sshd.log").read_text()
            time.sleep(0.1)
        yield Debian(base, port)
    finally:
        server.kill()
        server.wait()


def test_a_bare_debian_becomes_a_board_once(debian: Debian) -> None:
    wheelhouse = debian.base / "wheelhouse"
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary", ":all:", "--require-hashes"]
    subprocess.run([*pip, "-r", str(playbook.lock()), "-d", str(wheelhouse)], check=True)
    # One wheel for all runs: sources that are worked on meanwhile would make another.
    offline = ("--wheel", str(package.wheel(None, debian.base)), "--wheelhouse", str(wheelhouse), "--no-apt")
    foreseen = debian.provision("--check", *offline)
    assert foreseen["changed"]
    assert "absent" in debian.shell("test -e /etc/skyrack || echo absent")

    first = debian.provision(*offline)
    identity = first["identity"]
    assert (identity["serial"], identity["satellite"]) == ("SR-7", "sat-1")
    ring = KeyRing.load(debian.base / "keys" / "keys.json")
    assert ring.may(identity["key_id"], Right.SATELLITE)
    assert not list(debian.base.glob("keys/sat-1.key"))  # the private key is on the board, and nowhere else
    assert debian.shell("stat -c '%a %U' /etc/skyrack/keys/sat-1.key").strip() == "600 skyrack"
    assert json.loads(debian.shell("cat /etc/skyrack/keys/keys.json"))["version"] == ring.version

    assert debian.provision(*offline)["changed"] == []
    debian.shell("systemd-analyze verify /etc/systemd/system/skyrack-flight.service && visudo -c")
    assert "skyrack" in debian.shell("/opt/skyrack/venv/bin/skyrack --version")
