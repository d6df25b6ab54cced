"""The udev rules that are shipped: they are rules, what they run is a shell's language, and it does what it is for."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from hil.boards.scan import PERMISSIONS
from hil.devices.host import UDEV_RULES, explain

ROOT = Path(__file__).parents[3]
RULES = sorted((ROOT / UDEV_RULES).glob("*.rules"))

# Of udev(7), those that our rules use: key, operator, quoted value.
_TERM = re.compile(
    r"(ACTION|SUBSYSTEM|KERNEL|TEST|GROUP|MODE|GOTO|LABEL|ENV\{[A-Z_]+\}|RUN)"
    r'(==|!=|\+=|=)"((?:[^"\\]|\\.)*)"'
)
_MATCHES = ("ACTION", "SUBSYSTEM", "KERNEL", "TEST", "ENV")


def lines(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8").replace("\\\n", "")
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


def commands() -> list[str]:
    """What the rules hand to a shell."""
    found = []
    for path in RULES:
        for line in lines(path):
            found += [match[1] for match in re.finditer(r"RUN\+=\"/bin/sh -c '([^']*)'\"", line)]
    return found


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.name)
def test_rules_are_rules(path: Path) -> None:
    labels, goals = set(), set()
    for line in lines(path):
        terms = _TERM.findall(line)
        rest = _TERM.sub("", line)
        assert rest.strip(" ,") == "", line
        for key, operator, value in terms:
            assert (operator in {"==", "!="}) == key.startswith(_MATCHES), line
            labels |= {value} if key == "LABEL" else set()
            goals |= {value} if key == "GOTO" else set()
    assert goals <= labels


@pytest.mark.skipif(shutil.which("udevadm") is None, reason="udevadm is not installed")
def test_udevadm_finds_nothing_wrong() -> None:
    version = subprocess.run(["udevadm", "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.split()[0]) < 254:
        pytest.skip(f"udevadm {version.strip()} has no verify; 254 has")
    verified = subprocess.run(
        ["udevadm", "verify", "--resolve-names=never", *map(str, RULES)], capture_output=True, text=True, check=False
    )
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_what_rules_run_gives_the_group_what_it_needs_and_nothing_more(tmp_path: Path) -> None:
    """Run on files of a temporary directory, with a chgrp that writes down whom it was asked for."""
    device = tmp_path / "device"
    files = (
        "cpufreq/scaling_max_freq",
        "energy_uj",
        "constraint_0_power_limit_uw",
        "constraint_1_power_limit_uw",
        "enabled",
        "max_freq",
        "min_freq",
        "export",
        "unexport",
        *(f"pwm0/{name}" for name in ("period", "duty_cycle", "enable", "polarity")),
        "pwm1",
        "pwm1_enable",
        "temp1_input",
    )
    for name in files:
        (device / name).parent.mkdir(parents=True, exist_ok=True)
        (device / name).touch(mode=0o400)
    told = tmp_path / "told"
    chgrp = tmp_path / "chgrp"
    chgrp.write_text(f'#!/bin/sh\nshift\nfor each; do echo "$PWD/$each" >> {told}; done\n')
    chgrp.chmod(0o755)
    for command in commands():
        script = command.replace("/sys%p", str(device)).replace("$$", "$")
        subprocess.run(
            ["/bin/sh", "-c", script],
            env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
            capture_output=True,
            check=False,
            cwd=tmp_path,
        )
    modes = {name: (device / name).stat().st_mode & 0o070 for name in files}
    assert modes.pop("temp1_input") == 0
    assert modes.pop("energy_uj") == 0o040
    assert set(modes.values()) == {0o020}


@pytest.mark.parametrize("path", [pattern.replace("*", "0") for pattern, _ in PERMISSIONS])
def test_a_sentence_about_a_missing_permission_names_a_rule_file_that_is_shipped(path: str) -> None:
    sentence = explain(PermissionError(13, "Permission denied", path))
    named = re.search(rf"{re.escape(UDEV_RULES)}(\S+\.rules)", sentence)
    assert named is not None, sentence
    assert named[1] in {rule.name for rule in RULES}
