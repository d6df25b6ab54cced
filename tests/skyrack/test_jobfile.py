"""Job files: what is read, what is refused in which words, and packages that are equal for equal content."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from skyrack import jobfile
from skyrack.archive import ArchiveError, Entry, entries_of, pack, unpack
from skyrack.files import FileError

GOOD = """
name = "train"
command = ["python3", "train.py", "--epochs", "3"]
inputs = ["data"]
checkpoint = true
deadline = "2 h"
retries = 2
[resources]
power_watts = 300
memory = "1 GiB"
expected = "20 min"
[environment]
OMP_NUM_THREADS = "1"
"""
EXAMPLES = Path(__file__).parents[2] / "examples" / "jobs"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text("print('hello')\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "b.csv").write_text("1,2\n")
    (tmp_path / "data" / "a.csv").write_text("3,4\n")
    (tmp_path / "job.toml").write_text(GOOD)
    return tmp_path


def test_a_good_file(directory: Path) -> None:
    spec, tar = jobfile.package(directory / "job.toml")
    assert list(spec.command) == ["python3", "train.py", "--epochs", "3"]
    assert spec.resources.memory_bytes == 1 << 30
    assert spec.resources.expected_seconds == 1200
    assert spec.lifetime_seconds == 7200
    assert spec.attempts == 3
    assert spec.grace_seconds == 10
    assert list(spec.environment) == ["OMP_NUM_THREADS=1"]
    assert spec.package_sha256 == hashlib.sha256(tar).digest()
    names = unpack(tar, directory / "out", 1 << 20)
    assert names == ["input/data/a.csv", "input/data/b.csv", "program/train.py"]
    assert (directory / "out" / "program" / "train.py").read_text() == "print('hello')\n"


def test_submission_names_and_dates(directory: Path) -> None:
    spec, _ = jobfile.package(directory / "job.toml")
    taken = jobfile.submitted(spec, "job-1", "alice", 1000.0)
    assert (taken.job_id, taken.submitter, taken.deadline_seconds) == ("job-1", "alice", 8200.0)
    assert spec.job_id == ""


def test_equal_content_gives_equal_bytes(directory: Path) -> None:
    _, first = jobfile.package(directory / "job.toml")
    for path in (directory / "train.py", directory / "data" / "a.csv"):
        os.utime(path, (1, 1))
    (directory / "data" / "a.csv").chmod(0o600)
    _, second = jobfile.package(directory / "job.toml")
    assert first == second


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("retries = 2", "retires = 2", ["retires", '"retries"']),
        ("power_watts = 300", "power_watts = -300", ["resources.power_watts", "-300"]),
        ('"train.py"', '"trian.py"', ["command[1]", '"trian.py"', "no such file"]),
        ('["data"]', '["dat"]', ["inputs[0]", '"dat"', "no such file"]),
        ('["data"]', '["/etc/passwd"]', ["inputs[0]", "/etc/passwd", "absolute"]),
        ('["data"]', '["../data"]', ["inputs[0]", "../data", "leaves"]),
        ('"20 min"', '"20 parsec"', ["resources.expected", "20 parsec", "20 min"]),
        ('"1 GiB"', "0", ["resources.memory", "0", "512 MiB"]),
        ('deadline = "2 h"', "deadline = -1", ["deadline", "-1"]),
        ("OMP_NUM_THREADS", "SKYRACK_OUTPUT_DIR", ["environment", "SKYRACK_"]),
        ('["python3", "train.py", "--epochs", "3"]', "[]", ["command"]),
    ],
)
def test_bad_files_get_one_sentence(directory: Path, old: str, new: str, words: list[str]) -> None:
    path = directory / "job.toml"
    assert old in GOOD
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(FileError) as caught:
        jobfile.package(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    for word in words:
        assert word in message


def test_links_out_are_refused(directory: Path) -> None:
    (directory / "data" / "secret").symlink_to("/etc/passwd")
    with pytest.raises(FileError, match="links out"):
        jobfile.package(directory / "job.toml")


def test_too_large_a_package_is_refused(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobfile, "PACKAGE_LIMIT_BYTES", 10)
    with pytest.raises(FileError, match="over 10 bytes"):
        jobfile.package(directory / "job.toml")


def test_an_archive_that_climbs_is_refused_whole(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    tar = pack([Entry("a", tmp_path / "f"), Entry("bb/cc/d", tmp_path / "f")], 100)
    evil = tar.replace(b"bb/cc/d", b"../cc/d")
    evil = _fix_checksums(evil)
    with pytest.raises(ArchiveError, match="leaves"):
        unpack(evil, tmp_path / "out", 100)
    assert not (tmp_path / "out" / "a").exists()
    with pytest.raises(ArchiveError, match="more than 1 bytes"):
        unpack(tar, tmp_path / "out", 1)
    with pytest.raises(ArchiveError, match="not a tar"):
        unpack(b"x" * 2048, tmp_path / "out", 100)


def _fix_checksums(tar: bytes) -> bytes:
    blocks = bytearray(tar)
    for start in range(0, len(blocks), 512):
        if blocks[start + 257 : start + 262] == b"ustar":
            blocks[start + 148 : start + 156] = b" " * 8
            blocks[start + 148 : start + 156] = b"%06o\0 " % sum(blocks[start : start + 512])
    return bytes(blocks)


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir()))
def test_shipped_examples_are_good(name: str) -> None:
    spec, _ = jobfile.package(EXAMPLES / name / "job.toml")
    assert spec.name == name


@pytest.mark.parametrize("kind", ["loop", "outside", "bytes"])
def test_outputs_that_cannot_travel_are_refused_with_a_sentence(tmp_path: Path, kind: str) -> None:
    if kind == "loop":
        (tmp_path / "again").symlink_to("again")
    elif kind == "outside":
        (tmp_path / "passwords").symlink_to("/etc/passwd")
    else:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")).touch()
    with pytest.raises(ArchiveError, match=r"links out of|no UTF-8"):
        pack(entries_of(tmp_path), 1 << 20)
