"""A machine under qemu: switched on and off like a board on a desk, spoken to over ssh, its sensors moved over QMP."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.boards import cache, roots

_BOOT_SECONDS = 240.0


@dataclass(frozen=True)
class Model:
    """What qemu is told: the emulator, and arguments for the board, its disk and its network."""

    emulator: str
    arguments: tuple[str, ...]
    disk: tuple[str, ...]
    network: tuple[str, ...]
    command_line: str
    device_tree: str = ""


class Machine:
    """A machine by name. Its files live in the cache, so that any later command finds it."""

    def __init__(self, name: str, model: Model) -> None:
        self.name = name
        self.host = f"skyrack-{name}"
        self.folder = cache.folder() / "run" / name
        self._model = model

    # On and off

    def start(self, boot: Path, *, fresh: bool = True) -> None:
        """Switch it on; ``fresh`` gives it a new copy of the disk. Does not wait for it to boot."""
        if self.on():
            self.stop()
        if fresh:
            shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        # A plain copy: what the guest's card has taken is in a file at once, and outlives qemu as it would a power cut.
        # (Layers of qcow2 keep tables in qemu's memory until a flush, which SD cards are never asked for.)
        disk = self.folder / "disk.raw"
        if not disk.exists():
            subprocess.run(
                ["cp", "--reflink=auto", "--sparse=always", str(boot / "disk.raw"), f"{disk}.part"], check=True
            )
            Path(f"{disk}.part").rename(disk)
        known = self._read_state() if (self.folder / "state.json").exists() else {"port": _free_port()}
        self._write_ssh_files(boot, known["port"])
        (self.folder / "qmp").unlink(missing_ok=True)
        model = self._model
        forward = f"user,id=net0,ipv6=off,hostfwd=tcp:127.0.0.1:{known['port']}-:22"
        tree = ["-dtb", str(boot / "dtb" / model.device_tree)] if model.device_tree else []
        command = [
            *(model.emulator, *model.arguments, "-display", "none", "-monitor", "none"),
            *("-kernel", str(boot / "vmlinuz"), "-initrd", str(boot / "initrd"), *tree),
            *("-append", model.command_line.format(microseconds=round(time.time() * 1e6))),
            *(part.format(disk=disk) for part in model.disk),
            *("-netdev", forward, *model.network),
            *("-qmp", f"unix:{self.folder / 'qmp'},server=on,wait=off"),
        ]
        serial = f"file,id=console,path={self.folder / 'console.log'},append=on"
        command += ["-chardev", serial]
        with (self.folder / "qemu.log").open("ab") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._write_state(known | {"pid": process.pid, "began": time.time(), "command": command})
        deadline = time.monotonic() + 20
        while not (self.folder / "qmp").exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise roots.NotHereError(f"qemu did not start: {(self.folder / 'qemu.log').read_text()[-400:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Cut its power, as pulling the plug does: what the guest had not written is gone."""
        if (pid := self._pid()) is None:
            return
        os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
        deadline = time.monotonic() + 10
        while self._pid() is not None and time.monotonic() < deadline:
            time.sleep(0.05)

    def discard(self) -> None:
        """Switch it off and forget its disk."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def on(self) -> bool:
        """Whether it has power."""
        return self._pid() is not None

    def reset(self) -> None:
        """Press its reset button."""
        self.qmp("system_reset")

    # Words with it

    @property
    def port(self) -> int:
        """Where its ssh is on this machine."""
        port: int = self._read_state()["port"]
        return port

    def wait(self, timeout_seconds: float = _BOOT_SECONDS) -> float:
        """Wait until it takes commands over ssh; seconds since it was switched on.

        Raises:
            TimeoutError: it did not come up; the end of its console is in the sentence.
        """
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            if not self.on():
                raise TimeoutError(f"{self.name} has no power: {(self.folder / 'qemu.log').read_text()[-400:]}")
            # A machine that goes down under the question never answers.
            with contextlib.suppress(subprocess.TimeoutExpired):
                if self._banner() and self.ssh("true", timeout_seconds=30, check=False).returncode == 0:
                    return time.time() - float(self._read_state()["began"])
            time.sleep(0.3)
        raise TimeoutError(f"{self.name} did not come up in {timeout_seconds:.0f} s: {self.console()[-600:]}")

    def ssh(
        self, command: str, *, timeout_seconds: float = 120, check: bool = True, give: bytes | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a shell command on it. Raises CalledProcessError where ``check`` and it fails; its words are in it."""
        call = ["ssh", "-F", str(self.folder / "ssh_config"), "-o", "BatchMode=yes", "-o", "ConnectTimeout=30"]
        result = subprocess.run(
            [*call, self.host, command],
            input=give,
            stdin=None if give is not None else subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_seconds,
            check=False,
        )
        if check and result.returncode != 0:
            raise subprocess.CalledProcessError(result.returncode, command, result.stdout, result.stderr)
        return result

    def send(self, files: dict[Path, str]) -> None:
        """Copy files to it."""
        for local, there in files.items():
            self.ssh(f"cat > {there}", give=local.read_bytes(), timeout_seconds=300)

    def console(self) -> str:
        """What it said on its serial console, over all boots."""
        path = self.folder / "console.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def qmp(self, command: str, **arguments: Any) -> Any:
        """Give qemu itself a command. Raises RuntimeError with qemu's words where it refuses."""
        with self._monitor() as ask:
            return ask(command, arguments)

    @contextlib.contextmanager
    def _monitor(self) -> Iterator[Callable[[str, dict[str, Any]], Any]]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(30)
            connection.connect(str(self.folder / "qmp"))
            lines = connection.makefile("r")
            lines.readline()

            def ask(command: str, arguments: dict[str, Any]) -> Any:
                connection.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
                while True:
                    answer = json.loads(lines.readline() or '{"error": {"desc": "qemu is gone"}}')
                    if "error" in answer:
                        raise RuntimeError(f"qemu: {answer['error']['desc']}")
                    if "return" in answer:
                        return answer["return"]

            ask("qmp_capabilities", {})
            yield ask

    def _banner(self) -> bool:
        # qemu takes the connection whether or not the guest does: only its first words say that it is there.
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    def _write_ssh_files(self, boot: Path, port: int) -> None:
        key = (boot / "host.pub").read_text().split()
        (self.folder / "known_hosts").write_text(f"{self.host} {key[0]} {key[1]}\n")
        config = self.folder / "ssh_config"
        config.write_text(
            f"Host {self.host} 127.0.0.1\n"
            f"  HostName 127.0.0.1\n  Port {port}\n  User {roots.USER}\n"
            f"  IdentityFile {boot / 'id_ed25519'}\n  IdentitiesOnly yes\n"
            f"  UserKnownHostsFile {self.folder / 'known_hosts'}\n  HostKeyAlias {self.host}\n"
            "  StrictHostKeyChecking yes\n  LogLevel ERROR\n"
        )
        tools = self.folder / "bin"
        tools.mkdir(exist_ok=True)
        for name in ("ssh", "scp", "sftp"):
            # Not one of these wrappers, should another machine's be first on PATH.
            path = os.pathsep.join(p for p in os.environ["PATH"].split(os.pathsep) if "/run/" not in p)
            if (real := shutil.which(name, path=path)) is not None:
                (tools / name).write_text(f'#!/bin/sh\nexec {real} -F "{config}" "$@"\n')
                (tools / name).chmod(0o755)

    def _read_state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads((self.folder / "state.json").read_text())
        return state

    def _write_state(self, state: dict[str, Any]) -> None:
        (self.folder / "state.json").write_text(json.dumps(state, indent=1))

    def _pid(self) -> int | None:
        try:
            pid: int = self._read_state()["pid"]
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, KeyError, ValueError):
            return None
        return pid if str(self.folder).encode() in words else None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
