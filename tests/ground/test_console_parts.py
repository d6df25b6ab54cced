"""What the console is made of, without a browser: uploads, rows, the scene of the map."""

from __future__ import annotations

import io
import math
import zipfile
from pathlib import Path

import pytest

from ground.console.highlights import REPEATED, highlights
from ground.console.scene import heaven
from ground.console.sequence_dialog import begins
from ground.console.sequence_dialog import prepare as prepare_sequence
from ground.console.uploads import Uploaded, prepare
from ground.records import EventRecord
from skyrack.errors import UserError
from skyrack.orbits import sidereal_angle_radians, sun_position

JOB = b"""
name = "mine"
command = ["python3", "work.py"]
[resources]
power_watts = 200
"""


def zip_of(**files: bytes) -> Uploaded:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in files.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), data)
    return Uploaded("job.zip", content.getvalue())


def test_a_zip_of_a_folder_is_a_job() -> None:
    prepared = prepare([zip_of(mine__job_toml=JOB, mine__work_py=b"print()")])
    assert prepared.spec.name == "mine"
    assert prepared.spec.package_bytes == len(prepared.package)


def test_files_of_a_folder_are_a_job() -> None:
    assert prepare([Uploaded("mine/job.toml", JOB), Uploaded("mine/work.py", b"print()")]).spec.name == "mine"


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ([], "there is no job.toml in it"),
        ([Uploaded("../job.toml", JOB)], "leaves its directory"),
        ([Uploaded("/etc/job.toml", JOB)], "absolute path"),
        ([Uploaded("job.zip", b"no zip")], "job.zip cannot be unpacked"),
        ([Uploaded("job.tar.gz", b"no tar")], "job.tar.gz cannot be unpacked"),
        ([Uploaded("job.toml", JOB)], "work.py"),
        ([Uploaded("a/job.toml", JOB), Uploaded("b/job.toml", JOB)], "upload one job at a time"),
        ([Uploaded("job.toml", b"name = 7")], "name"),
    ],
)
def test_what_is_wrong_with_an_upload_is_said_without_paths_of_the_ground(files: list[Uploaded], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as refused:
        prepare(files)
    assert "skyrack-upload" not in str(refused.value)


def test_an_archive_that_unfolds_without_end_is_refused() -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(3):
            archive.writestr(f"zeros-{number}", b"\0" * (40 << 20))
    with pytest.raises(UserError, match="a package holds less"):
        prepare([Uploaded("bomb.zip", content.getvalue())])


def test_the_sun_of_the_map_is_the_sun_of_the_orbits() -> None:
    now = 1_773_964_800.0  # the equinox of March 2026, within a day
    seen = heaven(now)
    x, y, z = sun_position(now)
    assert abs(seen["declination"]) < 0.5
    assert math.isclose(math.radians(seen["ascension"]), math.atan2(y, x))
    assert math.isclose(math.radians(seen["declination"]), math.atan2(z, math.hypot(x, y)))
    assert seen["sidereal"] == sidereal_angle_radians(now)


def event(number: int, name: str, source: str = "gateway") -> EventRecord:
    fields = {"group": "flush"} if name == REPEATED else {}
    return EventRecord(number, "sat-1", source, name, "WARNING", f"{name} {number}", float(number), 0.0, fields)


def test_what_is_told_again_and_again_stands_once_with_a_count() -> None:
    late = [event(number, REPEATED) for number in range(90, 9, -1)]
    others = [event(95, "boot"), event(40, "eclipse")]
    every = [others[0], *late, event(5, REPEATED, "power")]
    found = [row["cells"][2] for row in highlights(others, every, 16)]
    assert found == [
        "sat-1: boot 95",
        "sat-1: gateway ran late 81 times, last in flush",
        "sat-1: eclipse 40",
        f"sat-1: {REPEATED} 5",
    ]


def test_at_most_four_services_are_told_of_as_late() -> None:
    every = [event(number, REPEATED, f"service-{number}") for number in range(9, 0, -1)]
    assert [row["cells"][0] for row in highlights([], every, 16)] == [9.0, 8.0, 7.0, 6.0]


SEQUENCE = 'name = "mine"\n[[steps]]\ncommand = "SetPump"\narguments = { duty_ratio = 0.5, hold_seconds = 60 }\n'


def test_a_pasted_sequence_is_checked_as_a_whole() -> None:
    assert [step["command"] for step in prepare_sequence(SEQUENCE).steps] == ["SetPump"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (SEQUENCE.replace("0.5", "7"), "step 1: SetPump: duty_ratio is 7"),
        (SEQUENCE.replace("SetPump", "SetPomp"), "step 1: .*SetPomp"),
        ("name = ", "the sequence"),
        (SEQUENCE + "at = 2020-01-01T00:00:00Z\n", "step 1: its time 2020-01-01T00:00:00Z lies before"),
        ("#" * 300_000, "a sequence file holds less"),
    ],
)
def test_what_is_wrong_with_a_pasted_sequence_is_said_without_paths_of_the_ground(content: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as refused:
        prepare_sequence(content, now=1.8e9)
    assert "/tmp" not in str(refused.value)


def test_when_a_step_begins_is_said_in_words() -> None:
    assert [begins(None, 0), begins(None, 90), begins(None, 240)] == ["at once", "after 90 s", "after 4 min"]
    assert begins(1.8e9, 0) == "2027-01-15T08:00:00Z"


def test_every_asset_is_served_from_here() -> None:
    assets = Path(__file__).parents[2] / "ground/console/assets"
    for asset in assets.iterdir():
        text = asset.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text, asset
        assert "https://" not in text, asset
