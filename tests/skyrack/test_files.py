from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyrack.files import FileError, find, load, loads, shipped, shipped_names, suggest

Watts = Annotated[float, msgspec.Meta(ge=0)]


class Node(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    watts: Watts
    kind: Literal["cpu", "gpu"] = "cpu"


class Rack(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    name: str
    main: Node
    devices: dict[str, Node] = {}
    loads: dict[str, Watts] = {}
    nodes: list[Node] = []

    def __post_init__(self) -> None:
        if self.name == "bad":
            raise ValueError("name must be anything but bad")


BASE = 'name = "a"\n[main]\nwatts = 1\n'


@pytest.mark.parametrize(
    ("text", "key", "sentence"),
    [
        ("name = 1", "name", "name is 1: must be text in quotes"),
        ('name = "a"', "main", "main: this key is missing and must be given"),
        (
            'name = "a"\n[main]\nwats = 3',
            "main.wats",
            'main.wats is 3: there is no such key; did you mean "watts"?',
        ),
        ('name = "a"\n[main]\nwatts = -3', "main.watts", "main.watts is -3: must be a number >= 0"),
        ('name = "a"\n[main]\nwatts = "3"', "main.watts", 'main.watts is "3": must be a number'),
        ('name = "a"\n[main]\nwatts = nan', "main.watts", "main.watts is nan: must be a finite number"),
        ('name = "a"\n[main]\nwatts = 1\nkind = "tpu"', "main.kind", 'must be one of "cpu", "gpu"'),
        (BASE + "[devices.one]\nwatts = 1\n[devices.two]\nwatts = -1", "devices.two.watts", "is -1"),
        (BASE + "[loads]\none = 1\ntwo = -1", "loads.two", "is -1"),
        (BASE + "[[nodes]]\nwatts = 1\n[[nodes]]\nwatt = 1", "nodes[1].watt", 'did you mean "watts"?'),
        ('name = "bad"\n[main]\nwatts = 1', "", "name must be anything but bad"),
        ("name =", "", "this is not valid TOML"),
    ],
)
def test_a_mistake_is_one_sentence_with_file_key_value_and_what_would_be_right(
    text: str, key: str, sentence: str
) -> None:
    with pytest.raises(FileError) as caught:
        loads(text, Rack, "rack.toml")
    message = str(caught.value)
    assert message.startswith("rack.toml: ")
    assert sentence in message
    assert caught.value.key == key
    assert "\n" not in message


def test_a_good_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rack.toml"
    path.write_text(BASE)
    assert load(path, Rack) == Rack("a", Node(1.0))


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    bad = [(tmp_path / "none.toml", "no such file"), (tmp_path, "directory"), (tmp_path / "binary.toml", "UTF-8")]
    for path, reason in bad:
        with pytest.raises(FileError, match=reason):
            load(path, Rack)


@given(st.text())
def test_no_text_gets_another_error_than_ours(text: str) -> None:
    with contextlib.suppress(FileError):
        loads(text, Rack, "rack.toml")


def test_shipped_files_are_found_by_name() -> None:
    names = shipped_names("satellites")
    assert names
    assert shipped("satellites", names[0]).is_file()
    assert shipped("satellites", f"{names[0]}.toml") == shipped("satellites", names[0])
    with pytest.raises(FileError, match="satellites"):
        shipped("satellites", "nonesuch")


def test_a_path_wins_over_a_shipped_name(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text("")
    name = shipped_names("satellites")[0]
    assert find("satellites", str(own)) == own
    assert find("satellites", "own.toml", beside=tmp_path / "constellation.toml") == own
    assert find("satellites", name) == shipped("satellites", name)
    with pytest.raises(FileError, match="no such file"):
        find("satellites", "folder/none.toml")


def test_suggest_names_a_close_one_else_all() -> None:
    assert suggest("watt", ["watts", "name"]) == 'did you mean "watts"?'
    assert suggest("zzz", ["b", "a"]) == "known are a, b"
