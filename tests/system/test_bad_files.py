"""Files that do not add up: one sentence with file, key, value and what would be right, exit code 2, nothing begun."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from skyrack import files
from skyrack.cli import main

JOB = """
name = "work"
command = ["python3", "work.py"]
[resources]
power_watts = 100
"""


@pytest.fixture
def skyrack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """``skyrack(command, argument...)`` in a directory of its own gives the sentence on standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SKYRACK_GROUND", raising=False)

    def refused(*arguments: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        out, err = capsys.readouterr()
        assert ended.value.code == 2
        assert out == ""
        assert len(err.strip().splitlines()) == 1, err
        return err

    return refused


def assert_says(sentence: str, *words: str) -> None:
    assert [word for word in words if word not in sentence] == [], sentence


@pytest.mark.parametrize(
    ("wrong", "right", "words"),
    [
        ('name = "work"', 'name = "work"\npriorty = 3', ("priorty", '"priority"')),
        ("power_watts = 100", "power_watts = -100", ("resources.power_watts", "-100")),
        ("power_watts = 100", 'power_watts = "much"', ("resources.power_watts", "much")),
        ('"work.py"', '"wrok.py"', ("command[1]", "wrok.py", "no such file")),
        ('"work.py"', '"../work.py"', ("command[1]", "../work.py")),
        ("[resources]", "[resources", ("not valid TOML", "line")),
        ("power_watts = 100", 'power_watts = 100\nmemory = "lots"', ("resources.memory", "lots", "512 MiB")),
    ],
    ids=["unknown-key", "negative-watt", "text-for-number", "no-program", "climbs-out", "no-toml", "no-size"],
)
def test_a_bad_job_file(skyrack: Any, tmp_path: Path, wrong: str, right: str, words: tuple[str, ...]) -> None:
    (tmp_path / "work.py").touch()
    path = tmp_path / "job.toml"
    assert wrong in JOB
    path.write_text(JOB.replace(wrong, right))
    sentence = skyrack("submit", "job.toml")
    assert_says(sentence, "job.toml", *words)


def test_a_job_file_that_is_not_there(skyrack: Any) -> None:
    assert_says(skyrack("submit", "nothing.toml"), "nothing.toml", "no such file")


CONSTELLATION = files.shipped("constellations", "demo").read_text().replace('file = "pathfinder"', 'file = "mine.toml"')
SATELLITE = files.shipped("satellites", "pathfinder").read_text()


@pytest.mark.parametrize("command", ["up", "run", "twin"])
@pytest.mark.parametrize(
    ("which", "wrong", "right", "words"),
    [
        ("flown.toml", "altitude_meters = 550_000", "altitude_meters = -5", ("altitude_meters", "-5")),
        ("flown.toml", "inclination_degrees = 53", "inclination_degrees = 530", ("inclination_degrees", "530", "180")),
        ("flown.toml", 'name = "sat-2"', 'name = "sat-1"', ("sat-1",)),
        ("flown.toml", 'file = "mine.toml"', 'file = "thine"', ("thine",)),
        ("mine.toml", "capacity_watt_hours", "capacity_watthours", ("capacity_watthours", '"capacity_watt_hours"')),
        ("mine.toml", "efficiency_ratio = 0.29", "efficiency_ratio = 1.29", ("array.efficiency_ratio", "1.29")),
    ],
    ids=["below-ground", "beyond-retrograde", "two-of-a-name", "no-such-design", "unknown-key", "more-than-all"],
)
def test_a_constellation_that_does_not_add_up(
    skyrack: Any, tmp_path: Path, command: str, which: str, wrong: str, right: str, words: tuple[str, ...]
) -> None:
    texts = {"flown.toml": CONSTELLATION, "mine.toml": SATELLITE}
    assert wrong in texts[which]
    texts[which] = texts[which].replace(wrong, right)
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    sentence = skyrack(command, "--constellation", "./flown.toml")
    assert_says(sentence, *words)
    # Nothing was begun: no process, no key, no state.
    assert [path for path in tmp_path.rglob("*") if path.suffix in (".json", ".key", ".db")] == []


def test_a_constellation_that_is_not_there(skyrack: Any) -> None:
    assert_says(skyrack("up", "--constellation", "dmeo"), "dmeo", 'did you mean "demo"')


def test_a_broker_that_is_no_address(skyrack: Any) -> None:
    sentence = skyrack("up", "--broker", "carrier-pigeon://x")
    assert_says(sentence, "carrier-pigeon://x", "mqtt://")


def test_a_fault_that_nobody_can_bring_about(skyrack: Any, tmp_path: Path) -> None:
    faults = tmp_path / "faults.toml"
    faults.write_text('[[faults]]\nkind = "clock-jump"\nsatellite = "sat-1"\nseconds = 10\nat_seconds = 10\n')
    assert_says(skyrack("up", "--faults", str(faults)), "clock-jump of sat-1", "the twin has it")
