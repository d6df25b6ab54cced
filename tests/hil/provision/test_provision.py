"""Provisioning without a board: keys, what Ansible and ssh say, the unit's start."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flight.compute.shim.sandbox import JOBS_GROUP, join_jobs_group
from hil.boards.address import SshAddress
from hil.provision import layout, playbook
from hil.provision.enrol import enrol, provisioner
from hil.provision.identity import identity
from hil.provision.package import wheel
from hil.provision.playbook import Play, Reader, inventory
from hil.provision.reach import Access, Look, ReachError, explain, look, problem_of
from hil.provision.run import Request, provision_board
from hil.provision.start import split_group
from skyrack.errors import UserError
from skyrack.signing import KeyRing, Right, SigningKey

PI = Access(SshAddress("pi-1.local", "pi", 2222))
GOOD = {
    "machine": "aarch64",
    "any_python": True,
    "python": "/usr/bin/python3.11",
    "free_bytes": 8e9,
    "system": "Debian",
}


def test_the_ground_believes_a_board_once(tmp_path: Path) -> None:
    key = provisioner(tmp_path)
    board = SigningKey.generate()
    assert enrol(tmp_path, "sat-1", board.public)
    version = KeyRing.load(tmp_path / layout.RING).version
    assert not enrol(tmp_path, "sat-1", board.public)
    assert provisioner(tmp_path).key_id == key.key_id
    ring = KeyRing.load(tmp_path / layout.RING)
    assert ring.version == version
    assert ring.may(board.key_id, Right.SATELLITE)
    assert ring.may(key.key_id, Right.PROVISION)
    assert not any(ring.may(key.key_id, right) for right in Right if right is not Right.PROVISION)
    assert oct((tmp_path / "provisioner.key").stat().st_mode)[-3:] == "600"


def test_another_board_takes_a_satellite_only_when_it_is_asked_for(tmp_path: Path) -> None:
    provisioner(tmp_path)
    old, new = SigningKey.generate(), SigningKey.generate()
    enrol(tmp_path, "sat-1", old.public)
    with pytest.raises(UserError, match="--replace-key if this board takes its place"):
        enrol(tmp_path, "sat-1", new.public)
    assert enrol(tmp_path, "sat-1", new.public, replace=True)
    ring = KeyRing.load(tmp_path / layout.RING)
    assert old.key_id in ring.revoked
    with pytest.raises(UserError, match="was revoked"):
        enrol(tmp_path, "sat-1", old.public)
    with pytest.raises(UserError, match="another party's key"):
        enrol(tmp_path, "ground", new.public)


@pytest.mark.parametrize(
    ("said", "meaning"),
    [
        ("ssh: Could not resolve hostname pi-1.local: Name or service not known", "there is no host pi-1.local"),
        ("ssh: connect to host pi-1.local port 2222: Connection refused", "port 2222: enable ssh on the board"),
        ("pi@pi-1.local: Permission denied (publickey,password).", "ssh-copy-id -p 2222 pi@pi-1.local"),
        ("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @", r"ssh-keygen -R '\[pi-1.local\]:2222'"),
        ("Connection timed out during banner exchange", "does not answer|cannot be reached"),
        ("something new", "cannot be reached: something new"),
    ],
)
def test_what_ssh_says_is_one_sentence_with_a_remedy(said: str, meaning: str) -> None:
    assert re.search(meaning, explain(said, PI))


@pytest.mark.parametrize(
    ("facts", "sudo", "said"),
    [
        ({}, False, "may not become root"),
        ({"machine": "armv7l"}, True, "a 64-bit one is needed"),
        ({"any_python": False, "python": ""}, True, "there is no python3 on the board"),
        ({"python": "", "system": "Debian GNU/Linux 11 (bullseye)"}, True, "Debian GNU/Linux 11 .* is too old"),
        ({"free_bytes": 1e8}, True, "only 100 MB are free"),
        ({}, True, "^$"),
    ],
)
def test_why_a_board_cannot_be_provisioned(facts: dict[str, Any], sudo: bool, said: str) -> None:
    assert re.search(said, problem_of(Look(sudo, {**GOOD, **facts}), apt=True, password=False))


def test_the_look_runs_in_a_bare_shell() -> None:
    found = look(Access(None), playbook.look_script())
    assert found.facts["machine"] == os.uname().machine
    assert found.facts["any_python"] is True


def test_nobody_listens_is_said(unused_port: int) -> None:
    with pytest.raises(ReachError, match="nothing listens on 127"):
        look(Access(SshAddress("127.0.0.1", "pi", unused_port)), playbook.look_script())


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


SAID = """
PLAY [Provision a Skyrack board] ***********************************************

TASK [skyrack_board : Directories] *********************************************
ok: [board] => (item=/opt/skyrack)
changed: [board] => (item=/etc/skyrack)
changed: [board] => (item=/etc/skyrack/keys)

TASK [skyrack_board : Digests of what shall be installed] **********************
ok: [board -> localhost] => (item=/tmp/wheel)

TASK [skyrack_board : Install what Skyrack needs] ******************************
fatal: [board]: FAILED! => {"changed": true, "msg": "rc 1", "stderr": "x\\nERROR: No matching distribution for pyzmq"}

PLAY RECAP *********************************************************************
board                      : ok=20   changed=2    unreachable=0    failed=1    skipped=3    rescued=0    ignored=0
"""


def test_what_ansible_says_is_read() -> None:
    tasks: list[str] = []
    reader = Reader(tasks.append)
    for line in SAID.splitlines():
        reader.feed(line)
    outcome = reader.end(2)
    assert tasks == ["Directories", "Digests of what shall be installed", "Install what Skyrack needs"]
    assert outcome.changed == ["Directories"]
    assert outcome.counts["failed"] == 1
    assert outcome.problem.startswith("Install what Skyrack needs: ")
    assert "No matching distribution for pyzmq" in outcome.problem


def test_the_playbook_is_sound_and_names_builtin_modules_only(tmp_path: Path) -> None:
    play = Play(PI, {}, tmp_path)
    command = play.command()
    environment = {**os.environ, "ANSIBLE_LOCAL_TEMP": str(tmp_path), "ANSIBLE_NOCOLOR": "1"}
    done = subprocess.run([*command, "--syntax-check"], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    for file in playbook.directory().rglob("tasks/*.yml"):
        for line in file.read_text().splitlines():
            if line.lstrip(" -").startswith(("community.", "ansible.posix.")):
                pytest.fail(f"{file}: {line}")
    assert playbook.lock().name == "board.lock"


def test_a_board_that_was_provisioned_tells_who_it_is(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "provisioned.json").write_text('{"satellite": "sat-1", "board": "pi-1", "serial": "7"}')
    command = [sys.executable, "-m", "hil.provision.identity"]
    for _ in range(2):
        subprocess.run([*command, "key", str(tmp_path / "keys" / "sat-1.key")], check=True)
    told = identity(tmp_path)
    key = SigningKey.load(tmp_path / "keys" / "sat-1.key")
    assert (told["serial"], told["public_key"], told["key_id"]) == ("7", key.public.hex(), key.key_id)
    assert "PRIVATE" not in str(told)


def test_services_and_jobs_get_groups_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = tmp_path / "skyrack.slice" / "skyrack-flight.service"
    group.mkdir(parents=True)
    (group / "cgroup.subtree_control").touch()
    jobs = split_group("0::/skyrack.slice/skyrack-flight.service\n", tmp_path, pid=7)
    assert jobs == group / "jobs"
    assert (group / "services" / "cgroup.procs").read_text() == "7"
    services, work = (int((group / name / "cpu.weight").read_text()) for name in ("services", "jobs"))
    assert services == 100 * work
    # Started again by exec, it is in the group that it made before.
    assert split_group("0::/skyrack.slice/skyrack-flight.service/services\n", tmp_path, pid=7) == jobs
    assert split_group("5:cpu:/\n", tmp_path) is None
    monkeypatch.setenv(JOBS_GROUP, str(jobs))
    join_jobs_group()
    assert (group / "jobs" / "cgroup.procs").read_text() == str(os.getpid())


@pytest.mark.parametrize("board", ["../../etc", "pi 1", "pi-1; true"])
def test_names_that_are_none_are_said_before_anything_is_asked(board: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f'--board "{board}": a name is lower-case'):
        provision_board(Request(address="local", satellite="sat-1", board=board), tmp_path, print)


def test_a_key_in_a_directory_with_a_blank_is_one_word() -> None:
    access = Access(SshAddress("pi-1"), Path("/home/me/my keys/id"))
    host = inventory(access)["all"]["hosts"]["board"]
    assert shlex.split(host["ansible_ssh_common_args"])[-1] == "/home/me/my keys/id"


def test_a_wheel_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such wheel"):
        wheel(Path("nothing.whl"), tmp_path)
