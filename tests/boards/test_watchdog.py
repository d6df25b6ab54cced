"""A watchdog of the kernel resets the machine when the flight software's executive dies or hangs, and only then."""

from __future__ import annotations

import contextlib
import subprocess
import time

import pytest

from scripts.boards.board import Board

# Stroked every second or so; long enough for a machine that is emulated on a busy one.
TIMEOUT_SECONDS = 20

# A gateway with nobody to speak to is the least that an executive keeps well.
PREPARE = f"""
set -e
sudo modprobe softdog soft_margin={TIMEOUT_SECONDS}
mkdir -p ~/flight && cd ~/flight && mkdir -p keys
cat > board.toml <<END
satellite = "sat-1"
constellation_file = "demo"
run_dir = "/tmp/flight"
state_dir = "state"
log_dir = "log"
clock_file = "clock.json"
keys_dir = "keys"
services = ["gateway"]
watchdog_device = "/dev/watchdog"
END
~/skyrack/bin/python - <<END
from pathlib import Path
from skyrack.clock import Anchor, write_anchor
from skyrack.signing import provision
write_anchor("clock.json", Anchor.utc())
provision(Path("keys"), ["sat-1"])
END
# Its process, and not sudo's, is what dies below; nothing of it holds this session.
sudo setsid --fork sh -c 'echo $$ > /tmp/executive.pid; exec "$0" "$@"' \\
    ~/skyrack/bin/skyrack flight run --board board.toml --quiet >/tmp/executive.out 2>&1 </dev/null
for try in $(seq 240); do
    [ "$(cat /sys/class/watchdog/watchdog0/state)" = active ] && [ -S /tmp/flight/gateway.pub ] && exit 0
    sleep 0.5
done
cat /tmp/executive.out >&2
exit 1
"""


def fly(board: Board) -> str:
    """Start the flight software under the watchdog; which boot this is."""
    board.sh(PREPARE, timeout_seconds=200)
    return board.boot_id()


def boot_after(board: Board, before: str) -> str:
    """Which boot it is, once it is another one or time is up."""
    deadline = time.monotonic() + TIMEOUT_SECONDS + 400
    boot = before
    while boot == before and time.monotonic() < deadline:
        board.machine.wait()
        # It may go down under the question.
        with contextlib.suppress(subprocess.TimeoutExpired):
            answer = board.machine.ssh("cat /proc/sys/kernel/random/boot_id", timeout_seconds=20, check=False)
            boot = answer.stdout.decode().strip() or before
        time.sleep(1.0)
    return boot


@pytest.mark.parametrize("signal", ["KILL", "STOP"])
def test_an_executive_that_dies_or_hangs_resets_the_machine(kernel: Board, signal: str) -> None:
    before = fly(kernel)
    kernel.sh(f"sudo sync; sudo kill -{signal} $(cat /tmp/executive.pid)")
    assert boot_after(kernel, before) != before


def test_an_executive_that_ends_on_purpose_disarms_the_watchdog(kernel: Board) -> None:
    before = fly(kernel)
    kernel.sh("sudo kill -TERM $(cat /tmp/executive.pid)")
    kernel.sh(
        "for try in $(seq 120); do [ -d /proc/$(cat /tmp/executive.pid) ] || exit 0; sleep 0.5; done; exit 1",
        timeout_seconds=100,
    )
    assert kernel.sh("cat /sys/class/watchdog/watchdog0/state") == "inactive"
    assert kernel.boot_id() == before
