"""Sequence files: what they say, and what is said of those that are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from ground import sequencefile
from skyrack import files
from skyrack.files import FileError
from skyrack.v1.compute_pb2 import SetDrainRequest

GOOD = """
name = "night"
on_failure = "continue"

[[steps]]
command = "set-drain"
arguments = { draining = true }
at = 2027-01-15T08:00:00Z

[[steps]]
command = "power.SetParameters"
arguments = { values = { reserve_margin_ratio = 0.2, shed_state_of_charge_ratio = 0.4 } }
after = "90 s"
on_failure = "stop"

[[steps]]
command = "Backfill"
arguments = { message_types = ["PowerStatus", "ThermalStatus"] }
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "night.toml"
    path.write_text(text)
    return path


def test_a_file_becomes_a_sequence(tmp_path: Path) -> None:
    loaded = sequencefile.load(write(tmp_path, GOOD))
    first, second, third = loaded.sequence.steps
    assert first.mission_time_seconds == 1.8e9
    assert SetDrainRequest.FromString(first.telecommand.request).draining
    assert (second.telecommand.service, second.after_seconds) == ("power", 90)
    assert [step.continue_on_failure for step in loaded.sequence.steps] == [True, False, True]
    assert third.telecommand.service == "gateway"
    submission = loaded.submission("sat-1")
    assert submission["steps"][1]["arguments"] == {"values": "reserve_margin_ratio=0.2,shed_state_of_charge_ratio=0.4"}


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("draining = true", 'draining = "maybe"', 'night.toml: step 1: draining is "maybe": must be true or false'),
        ("set-drain", "SetDrian", "night.toml: step 1: there is no command SetDrian; did you mean"),
        ("draining = true", "drain = true", "night.toml: step 1: SetDrain has no argument drain"),
        ("power.SetParameters", "SetParameters", "step 2: every service takes SetParameters: say which"),
        ("power.SetParameters", "power.SetDrain", "step 2: compute takes SetDrain, not power"),
        ('"90 s"', '"soon"', 'step 2: after is "soon": must be a duration'),
        ('after = "90 s"', "at = 2027-01-15T07:00:00Z", "step 2: its time 2027-01-15T07:00:00Z lies before"),
        ('after = "90 s"', "at = 2027-01-15T09:00:00", "step 2: at is"),
        ('after = "90 s"', 'after = "90 s"\nat = 2027-01-15T09:00:00Z', "step 2: has both at and after"),
        ('on_failure = "stop"', 'on_failure = "panic"', "steps[1].on_failure"),
        ("[[steps]]", "[[step]]", "night.toml"),
    ],
)
def test_an_error_names_the_file_the_step_and_what_would_be_right(
    tmp_path: Path, old: str, new: str, words: str
) -> None:
    with pytest.raises(FileError) as caught:
        sequencefile.load(write(tmp_path, GOOD.replace(old, new)))
    assert words in str(caught.value)


def test_a_time_that_has_passed_is_refused_when_the_time_is_known(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="step 1: its time 2027-01-15T08:00:00Z lies before its submission"):
        sequencefile.load(write(tmp_path, GOOD), now=1.8e9 + 1)


@pytest.mark.parametrize("name", files.shipped_names("sequences"))
def test_what_is_shipped_is_right(name: str) -> None:
    loaded = sequencefile.load(files.find("sequences", name))
    assert loaded.sequence.name == name
    assert loaded.description
