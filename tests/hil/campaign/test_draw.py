"""Campaign files, and what is drawn from them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import get_args

import pytest

from flight.board import SERVICES
from hil.campaign.draw import draw, draw_commands, draw_impairments, main_kind
from hil.campaign.file import Campaign, load_campaign
from hil.faults import Fault
from skyrack import files
from skyrack.files import FileError

SMALL = """
name = "small"
constellation = "demo"
run_seconds = 600
companions = [0, 3]
[[kinds]]
kind = "pump-stop"
at_seconds = {from = 0, to = 500}
duration_seconds = {from = 10, to = 400}
[[kinds]]
kind = "sensor-bias"
at_seconds = {from = 0, to = 500}
duration_seconds = {from = 10, to = 400}
variants = [{device = "battery", bias = {from = -2.0, to = 2.0}}, {device = ["gnss", "array"], bias = 7}]
[[kinds]]
kind = "bit-flip"
at_seconds = {from = 5, to = 5}
variants = [{count = {from = 1, to = 9}, link = ["optical", "antenna"]}]
"""


def campaign(tmp_path: Path, text: str = SMALL) -> Campaign:
    path = tmp_path / "small.toml"
    path.write_text(text, encoding="utf-8")
    return load_campaign(path)


def test_equal_seeds_draw_alike_and_others_do_not(tmp_path: Path) -> None:
    small = campaign(tmp_path)
    assert draw(small, 7) == draw(small, 7)
    assert draw_commands(small, 7, SERVICES) == draw_commands(small, 7, SERVICES)
    assert len({draw(small, seed) for seed in range(30)}) == 30


def test_main_faults_take_turns_over_kinds_and_variants(tmp_path: Path) -> None:
    small = campaign(tmp_path)
    mains = [draw(small, seed)[0] for seed in range(60)]
    assert Counter(fault.kind for fault in mains) == {"pump-stop": 20, "sensor-bias": 20, "bit-flip": 20}
    devices = Counter(getattr(fault, "device", "") == "battery" for fault in mains if fault.kind == "sensor-bias")
    assert devices == {True: 10, False: 10}
    assert main_kind(small, 4).kind == "sensor-bias"


def test_what_is_drawn_keeps_to_its_ranges_and_ends_before_the_run(tmp_path: Path) -> None:
    small = campaign(tmp_path)
    drawn = [fault for seed in range(200) for fault in draw(small, seed)]
    assert {len(draw(small, seed)) for seed in range(60)} == {1, 2, 3, 4}
    for fault in drawn:
        assert 0 <= fault.at_seconds <= 500
        assert fault.at_seconds + (fault.duration_seconds or 0.0) <= 600
        match fault.kind:
            case "sensor-bias":
                assert -2 <= fault.bias <= 2 or fault.device in ("gnss", "array")  # type: ignore[union-attr]
            case "bit-flip":
                assert 1 <= fault.count <= 9  # type: ignore[union-attr]


def test_the_shipped_campaign_covers_every_kind_of_the_catalogue() -> None:
    shipped = load_campaign(files.find("campaigns", "shipped"))
    every = {str(kind.__struct_config__.tag) for kind in get_args(Fault)}
    assert {kind.kind for kind in shipped.file.kinds} == every
    assert {draw(shipped, seed)[0].kind for seed in range(len(every))} == every
    drawn = [draw_impairments(shipped, seed) for seed in range(60)]
    assert any(impairments.loss_ratio == 0 for impairments in drawn)
    assert 0 < max(impairments.loss_ratio for impairments in drawn) <= shipped.file.impairments.loss_ratio


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('kind = "pump-stop"', 'kind = "pump-stopp"', 'did you mean "pump-stop"?'),
        (
            'duration_seconds = {from = 10, to = 400}\n[[kinds]]\nkind = "sensor-bias"',
            '[[kinds]]\nkind = "sensor-bias"',
            "pump-stop lasts: say how long",
        ),
        (
            "at_seconds = {from = 5, to = 5}",
            "at_seconds = {from = 5, to = 5}\nduration_seconds = {from = 1, to = 2}",
            "bit-flip does not last",
        ),
        ("{from = -2.0, to = 2.0}", "{from = 2.0, to = -2.0}", "from must not be above to = -2"),
        ("at_seconds = {from = 5, to = 5}", "at_seconds = {from = 5, to = 600}", "within the run of 600 s"),
        ('device = "battery"', "device = []", "must name something to choose from"),
        ("companions = [0, 3]", "companions = [4, 3]", "must be [least, most]"),
        ("companions = [0, 3]", "satellites = 3", "demo has only 2"),
        ('kind = "sensor-bias"', 'kind = "sensor-stuck"', "bias is -2.0: there is no such key"),
        ("count = {from = 1", "count = {from = 0", "count"),
    ],
)
def test_a_file_that_does_not_add_up_is_refused_in_one_sentence(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in SMALL
    with pytest.raises(FileError) as refused:
        campaign(tmp_path, SMALL.replace(old, new, 1))
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
