"""What the console is made of, without a browser: uploads, rows, the scene of the map."""

from __future__ import annotations

import io
import math
import zipfile
from pathlib import Path

import pytest

from ground.console.scene import heaven
from ground.console.uploads import Uploaded, prepare
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


def test_every_asset_is_served_from_here() -> None:
    assets = Path(__file__).parents[2] / "ground/console/assets"
    for asset in assets.iterdir():
        text = asset.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text, asset
        assert "https://" not in text, asset
