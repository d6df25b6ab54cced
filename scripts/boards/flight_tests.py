"""``scripts/boards/flight-tests``: this tree's tests of the flight software on aarch64, under qemu-user.

Tests run in a copy of the emulated Raspberry Pi's root. What it says last is how many ran, and what could not.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from scripts.boards import boards, cache, package, roots

# What tests/flight imports, of the locks' versions; wheels for aarch64 are on the index.
_FOR_TESTS = (
    *("pytest", "pytest-timeout", "pluggy", "iniconfig", "packaging", "hypothesis", "sortedcontainers", "psutil"),
    *("numpy", "attrs"),
)
# qemu-user is some ten times slower than a board, and shares this machine.
_TIMEOUT_SECONDS = 600


def main() -> int:
    """Run them."""
    parser = argparse.ArgumentParser(prog="scripts/boards/flight-tests", description=__doc__)
    parser.add_argument("--json", type=Path, help="write what was found to this file")
    parser.epilog = "What else is given goes to pytest; without, it is tests/flight."
    arguments, words = parser.parse_known_args()
    try:
        roots.ready_for("arm64")
        skyrack = package.unpacked(package.wheel()) / "tree"
        site = package.packages("arm64", "board")
        tools = package.packages("arm64", "dev", _FOR_TESTS)
        made = roots.made(boards.RASPBERRY_PI)
    except roots.NotHereError as problem:
        cache.say(f"flight-tests: {problem}")
        return 2
    if os.geteuid() != 0:
        cache.say("flight-tests: another root can only be entered by root")
        return 2
    found = run(made / "root", [skyrack, site, tools], words or ["tests/flight"])
    print(json.dumps({key: value for key, value in found.items() if key != "not run"}, indent=1))
    for name, count in found["not run"].items():
        print(f"{count:4} not run: {name}")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(found, indent=1))
    return 0 if found["failed"] == 0 and found["passed"] > 0 else 1


def run(root: Path, packages: list[Path], words: list[str]) -> dict[str, Any]:
    """Run pytest in a root that sees this tree; what became of the tests."""
    began = time.monotonic()
    places = [f"/mnt/{place}" for place in range(len(packages))]
    binds = "\n".join(
        f"mkdir {root}{place}; mount --bind {path} {root}{place}" for place, path in zip(places, packages, strict=True)
    )
    with tempfile.TemporaryDirectory(prefix="skyrack-arm64-") as scratch:
        report = Path(scratch) / "report.xml"
        # A mount namespace of its own: whatever ends this takes the mounts with it.
        script = f"""
set -e
mount -t tmpfs tmpfs {root}/mnt
mkdir -p {root}/mnt/tree {root}/mnt/out {root}/mnt/tmp
mount --bind -o ro {cache.REPOSITORY} {root}/mnt/tree
{binds}
mount --bind {scratch} {root}/mnt/out
mount --bind {root}/mnt/tmp {root / "tmp"}
mount -t proc proc {root}/proc
mount --rbind /dev {root}/dev
mount --rbind /sys {root}/sys
exec chroot {root} /usr/bin/env -i PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin HOME=/tmp LANG=C.UTF-8 \\
    PYTHONPATH={":".join(places)} PYTHONDONTWRITEBYTECODE=1 \\
    sh -c 'cd /mnt/tree && exec python3 -m pytest -q -p no:cacheprovider -o timeout={_TIMEOUT_SECONDS} \\
        --junitxml=/mnt/out/report.xml "$@"' pytest "$@"
"""
        command = ["unshare", "--mount", "--propagation", "private", "nice", "bash", "-c", script, "bash", *words]
        done = subprocess.run(command, stdout=sys.stderr, check=False)
        if not report.exists():
            raise SystemExit(f"pytest did not get to its end (exit status {done.returncode})")
        return _judge(report, time.monotonic() - began)


def _judge(report: Path, seconds: float) -> dict[str, Any]:
    outcomes: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    failed: list[str] = []
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 (pytest wrote it just now)
        kinds = {child.tag for child in case}
        name = f"{case.get('classname')}::{case.get('name')}"
        if kinds & {"failure", "error"}:
            outcomes["failed"] += 1
            failed.append(name)
        elif "skipped" in kinds:
            outcomes["skipped"] += 1
            reasons[str(next(child.get("message") for child in case if child.tag == "skipped"))] += 1
        else:
            outcomes["passed"] += 1
    return {
        "architecture": "aarch64",
        "on": platform.machine(),
        "passed": outcomes["passed"],
        "failed": outcomes["failed"],
        "skipped": outcomes["skipped"],
        "failures": failed,
        "not run": dict(reasons),
        "seconds": round(seconds),
    }


if __name__ == "__main__":
    if shutil.which("unshare") is None:
        sys.exit("flight-tests: unshare is not installed: apt-get install util-linux")
    sys.exit(main())
