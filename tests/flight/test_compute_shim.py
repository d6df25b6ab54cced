"""The shim alone: where the kernel gives no namespaces, and what its files look like."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import flight
from flight.compute.shim import files, supervise, tree
from flight.compute.shim.files import Control, Order, Status
from flight.compute.shim.launch import environment_of
from flight.compute.shim.supervise import Shim

ROOT = Path(flight.__file__).parent.parent
WITHOUT_NAMESPACES = """
import errno, sys
sys.path.insert(0, sys.argv.pop(1))
from flight.compute.shim import sandbox, supervise
class Refusing:
    def __getattr__(self, name):
        return getattr(libc, name)
    def unshare(self, flags):
        import ctypes
        ctypes.set_errno(errno.EPERM)
        return -1
libc, sandbox._libc = sandbox._libc, Refusing()
supervise.main()
"""


def order(base: Path, program: str, **changes: object) -> Order:
    for name in ("run", "program", "input", "output", "checkpoint"):
        (base / name).mkdir()
    (base / "program" / "job.py").write_text(program)
    values: dict[str, object] = {
        "work_id": "job.1",
        "token": f"token-{base.name}",
        "command": [sys.executable, "job.py"],
        "program_dir": str(base / "program"),
        "input_dir": str(base / "input"),
        "output_dir": str(base / "output"),
        "checkpoint_dir": str(base / "checkpoint"),
        "home_dir": str(base / "home"),
        "path": os.environ["PATH"],
    }
    made = Order(**(values | changes))  # type: ignore[arg-type]
    files.write(base / "run", files.ORDER, made)
    return made


def test_without_namespaces_the_tree_is_ended_all_the_same(tmp_path: Path) -> None:
    program = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(600)
    os._exit(0)
os.wait()
print("still here", flush=True)
sys.exit(5)
"""
    made = order(tmp_path, program)
    command = [sys.executable, "-I", "-S", "-c", WITHOUT_NAMESPACES, str(ROOT), str(tmp_path / "run")]
    subprocess.run(command, check=True, timeout=60)
    status = files.read(tmp_path / "run", files.STATUS, Status)
    assert status is not None
    assert (status.state, status.exit_code) == ("ended", 5)
    assert status.isolation == ["no namespaces (unshare: Operation not permitted): the job sees what its user sees"]
    assert tree.marked(f"SKYRACK_WORK={made.token}") == []
    assert (tmp_path / "run" / files.STDOUT).read_text() == "still here\n"
    assert not (tmp_path / "home").exists()


def test_a_flood_of_output_is_bounded(tmp_path: Path) -> None:
    order(
        tmp_path, "import sys\nfor _ in range(3000): sys.stderr.write('x' * 1023 + '\\n')\nsys.stderr.write('the end')"
    )
    command = [sys.executable, "-I", "-S", "-c", WITHOUT_NAMESPACES, str(ROOT), str(tmp_path / "run")]
    subprocess.run(command, check=True, timeout=60)
    status = files.read(tmp_path / "run", files.STATUS, Status)
    assert status is not None
    assert status.stderr_tail.endswith("the end")
    assert len(status.stderr_tail) <= 4096
    assert (tmp_path / "run" / files.STDERR).stat().st_size <= 1 << 20


def test_files_are_replaced_whole_and_bad_ones_are_nothing(tmp_path: Path) -> None:
    files.write(tmp_path, files.CONTROL, Control(0.5, stop=True), durable=True)
    assert files.read(tmp_path, files.CONTROL, Control) == Control(0.5, stop=True)
    assert files.read(tmp_path, files.STATUS, Status) is None
    (tmp_path / files.STATUS).write_text("{half")
    assert files.read(tmp_path, files.STATUS, Status) is None
    (tmp_path / files.STATUS).write_text('{"state": "ended", "of_a_later_version": 1}')
    assert files.read(tmp_path, files.STATUS, Status) == Status(state="ended")


def test_a_process_is_known_by_more_than_its_id() -> None:
    own = tree.process(os.getpid())
    assert own is not None
    assert tree.is_alive(own.pid, own.start, tree.boot_id())
    assert not tree.is_alive(own.pid, own.start + 1, tree.boot_id())
    assert not tree.is_alive(own.pid, own.start, "another boot")
    assert not tree.is_alive(0, 0, tree.boot_id())


def test_the_environment_is_clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x")
    made = order(tmp_path, "", environment={"MINE": "1", "OMP_NUM_THREADS": "3"}, cores=2)
    environment = environment_of(made)
    assert "SECRET" not in environment
    assert (environment["MINE"], environment["OMP_NUM_THREADS"], environment["MKL_NUM_THREADS"]) == ("1", "3", "2")


@pytest.mark.parametrize("line", [b'{"epoch": 1}', b"[" * 60_000, b'{"progress": 1e999}', b"{}", b"[1]", b"\xff", b"7"])
def test_no_line_of_progress_ends_the_shim(tmp_path: Path, line: bytes) -> None:
    shim = Shim(tmp_path, order(tmp_path, ""))
    shim._hear("progress", line)
    shim._hear("progress", b'{"progress": %s}' % (b"9" * 400))
    shim._hear("progress", b'{"progress": 0.5}')
    assert shim._status.progress_ratio == 0.5


def test_an_end_that_the_disk_had_no_room_for_is_recorded_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shim = Shim(tmp_path / "run", order(tmp_path, ""))
    write, refused = files.write, list[tuple[Any, ...]]()

    def full(*given: Any, **how: Any) -> None:
        if len(refused) < 2:
            refused.append(given)
            raise OSError(errno.ENOSPC, "No space left on device")
        write(*given, **how)

    monkeypatch.setattr(files, "write", full)
    monkeypatch.setattr(supervise, "RETRY_SECONDS", 0.0)
    shim._record(b"")
    found = files.read(tmp_path / "run", files.STATUS, Status)
    assert found is not None
    assert found.state == "ended"
    assert len(refused) == 2
