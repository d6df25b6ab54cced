from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyrack.errors import UserError
from skyrack.limits import NONE, Level, Limits, LimitSet

TEMPERATURE = Limits(red_low=-20, yellow_low=0, yellow_high=40, red_high=60)


@pytest.mark.parametrize(
    ("value", "level"),
    [
        (-20.1, Level.RED_LOW),
        (-20.0, Level.YELLOW_LOW),
        (0.0, Level.NOMINAL),
        (40.0, Level.NOMINAL),
        (40.1, Level.YELLOW_HIGH),
        (60.0, Level.YELLOW_HIGH),
        (60.1, Level.RED_HIGH),
        (math.nan, Level.RED_HIGH),
        (-math.inf, Level.RED_LOW),
    ],
)
def test_a_value_at_a_limit_is_within_it(value: float, level: Level) -> None:
    assert TEMPERATURE.level(value) is level


numbers = st.none() | st.floats(-1e9, 1e9)


@given(numbers, numbers, numbers, numbers, st.floats(allow_nan=False))
def test_limits_that_may_be_give_one_level_for_every_value(
    a: float | None, b: float | None, c: float | None, d: float | None, value: float
) -> None:
    limits = Limits(a, b, c, d)
    given_values = [side for _, side in limits.items() if side is not None]
    assert (limits.problems() == []) == (given_values == sorted(given_values))
    level = limits.level(value)
    inside = all(value >= low for low in (a, b) if low is not None) and all(
        value <= high for high in (c, d) if high is not None
    )
    assert (level is Level.NOMINAL) == inside
    assert not (level.red and level.yellow)


def test_an_override_replaces_all_limits_of_its_field_and_can_be_taken_back() -> None:
    limits = LimitSet({"A.x": TEMPERATURE, "A.y": NONE})
    changed = limits.override("A.x", Limits(red_high=10)).override("A.y", Limits(yellow_low=1))
    assert changed.level("A.x", 20) is Level.RED_HIGH
    assert changed.level("A.x", -100) is Level.NOMINAL
    assert changed.limited() == {"A.x", "A.y"}
    assert limits.limited() == {"A.x"}
    assert changed.override("A.x", None).of("A.x") == TEMPERATURE


def test_an_override_is_checked() -> None:
    limits = LimitSet({"PowerStatus.load": TEMPERATURE})
    with pytest.raises(UserError, match=r'did you mean "PowerStatus\.load"'):
        limits.override("PowerStatus.lod", Limits())
    with pytest.raises(UserError, match="must rise"):
        limits.override("PowerStatus.load", Limits(red_low=2, red_high=1))
    with pytest.raises(UserError, match="finite"):
        limits.override("PowerStatus.load", Limits(red_low=math.nan))
