"""Runs the playbook, tells what it does as it goes, and turns its failures into sentences."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hil.provision.reach import Access
from skyrack import files
from skyrack.errors import UserError

HOST = "board"

_TASK = re.compile(r"^(?:TASK|RUNNING HANDLER) \[(?:\S+ : )?(?P<name>.+?)\] \**$")
_OUTCOME = re.compile(r"^(?P<how>ok|changed|skipping|fatal|failed): \[board(?: -> [^\]]*)?\](?P<rest>.*)$")
_RECAP = re.compile(r"^board\s+: (?P<counts>(?:\w+=\d+\s*)+)$")
_REBOOT = "SKYRACK-REBOOT-NEEDED"


@dataclass(slots=True)
class Outcome:
    """What a run of the playbook did. ``problem`` is empty when it went through."""

    changed: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    problem: str = ""
    reboot_needed: bool = False


class Reader:
    """Reads what ansible-playbook prints with its default callback: tasks, their outcomes, the recap."""

    def __init__(self, on_task: Callable[[str], None] = lambda _name: None) -> None:
        self.outcome = Outcome()
        self._task = ""
        self._on_task = on_task
        self._errors: list[str] = []
        self._other: deque[str] = deque(maxlen=1)

    def feed(self, line: str) -> None:
        """One line."""
        if match := _TASK.match(line):
            self._task = match["name"]
            self._on_task(self._task)
        elif match := _OUTCOME.match(line):
            if match["how"] == "changed" and self._task not in self.outcome.changed:
                self.outcome.changed.append(self._task)
            if match["how"] in {"fatal", "failed"} and not self.outcome.problem:
                self.outcome.problem = f"{self._task}: {_reason(match['rest'])}"
        elif match := _RECAP.match(line):
            pairs = (item.split("=") for item in match["counts"].split())
            self.outcome.counts = {name: int(count) for name, count in pairs}
        elif line.startswith(("[ERROR]", "ERROR!")):
            self._errors.append(line.partition(" ")[2].removeprefix("Task failed: ").removeprefix("Module failed: "))
        elif line.strip() and not line.startswith(("PLAY", "[WARNING]", "[DEPRECATION")):
            self._other.append(line.strip())
        if _REBOOT in line:
            self.outcome.reboot_needed = True

    def end(self, code: int) -> Outcome:
        """What came of it, with the exit status."""
        if code != 0 and not self.outcome.problem:
            said = self._errors or self._other or [f"ansible-playbook ended with status {code}"]
            self.outcome.problem = said[-1]
        return self.outcome


def _reason(rest: str) -> str:
    """The sentence in what a module answered."""
    text = rest[rest.find("{") :]
    try:
        told: Mapping[str, Any] = json.loads(text)
    except ValueError:
        return rest.strip(" =>!:") or "no reason was given"
    for key in ("stderr", "module_stderr", "msg"):
        lines = [line.strip() for line in str(told.get(key, "")).splitlines() if line.strip()]
        if lines:
            return " ".join(lines[-2:])[-400:]
    return "no reason was given"


def directory() -> Path:
    """Where the playbook lies: in a checkout, or in a wheel."""
    return files.shipped_directory("board")


def lock() -> Path:
    """The lock of what boards install."""
    shipped = directory() / "board.lock"
    return shipped if shipped.is_file() else directory().parent.parent / "requirements" / "board.lock"


def look_script() -> Path:
    """What looks at a board before Ansible does."""
    return directory() / "roles" / "skyrack_board" / "files" / "look.sh"


def inventory(access: Access) -> dict[str, Any]:
    """The one host: by ssh, or this computer."""
    host: dict[str, Any] = {"ansible_python_interpreter": "auto_silent"}
    if access.address is None:
        host |= {"ansible_connection": "local", "ansible_host": "localhost"}
    else:
        host |= {"ansible_host": access.address.host, "ansible_port": access.address.port}
        if access.address.user:
            host["ansible_user"] = access.address.user
        host["ansible_ssh_common_args"] = shlex.join(access.ssh_options())
    return {"all": {"hosts": {HOST: host}}}


@dataclass(frozen=True, slots=True)
class Play:
    """One run of the playbook: its variables, and files in ``work`` that only this user can read."""

    access: Access
    variables: Mapping[str, Any]
    work: Path
    check: bool = False
    become_password: str = ""

    def command(self) -> list[str]:
        """Write inventory and variables; the command line.

        Raises:
            UserError: ansible-playbook is not installed.
        """
        program = Path(sys.executable).with_name("ansible-playbook")
        if not program.exists():
            raise UserError("ansible-playbook is not installed: pip install 'skyrack[provision]'")
        hosts, variables = self.work / "inventory.json", self.work / "variables.json"
        hosts.write_text(json.dumps(inventory(self.access)), encoding="utf-8")
        variables.write_text(json.dumps(self.variables), encoding="utf-8")
        command = [str(program), "--inventory", str(hosts), "--extra-vars", f"@{variables}"]
        if self.check:
            command.append("--check")
        if self.become_password:
            password = self.work / "password"
            password.touch(mode=0o600)
            password.write_text(self.become_password + "\n", encoding="utf-8")
            command += ["--become-password-file", str(password)]
        return [*command, str(directory() / "provision.yml")]

    def run(self, on_task: Callable[[str], None], log: Path) -> Outcome:
        """Run it; everything that it prints goes to ``log`` too.

        Raises:
            UserError: ansible-playbook is not installed.
        """
        settings = {
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_FORCE_COLOR": "0",
            "ANSIBLE_STDOUT_CALLBACK": "default",
            "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "0",
            "ANSIBLE_RETRY_FILES_ENABLED": "0",
            "ANSIBLE_DEPRECATION_WARNINGS": "0",
            "ANSIBLE_LOCALHOST_WARNING": "0",
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_LOCAL_TEMP": str(self.work / "ansible"),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.work / "control"),
            # What this user has set for other boards is not for this one.
            "ANSIBLE_CONFIG": str(self.work / "ansible.cfg"),
            "LC_ALL": "C.UTF-8",
        }
        (self.work / "ansible.cfg").touch()
        with log.open("w", encoding="utf-8") as copy:
            process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env={**os.environ, **settings},
            )
            reader = Reader(on_task)
            with process:
                for line in _lines(process.stdout, copy.write):
                    reader.feed(line)
        return reader.end(process.returncode)


def _lines(stream: Iterable[str] | None, copy: Callable[[str], object]) -> Iterable[str]:
    for line in stream or ():
        copy(line)
        yield line.rstrip("\n")
