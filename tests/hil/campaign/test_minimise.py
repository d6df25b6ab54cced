"""Delta debugging: what it finds breaks, and nothing of it can be left out."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from hil.campaign.faultfile import fault_file
from hil.campaign.minimise import cost, minimise, simpler_than, smallest
from hil.faults import Fault, LinkOutage, LoadShort, PumpStop, SensorSilent, load_faults

numbers = st.floats(min_value=0.0, max_value=5000.0).map(lambda value: float(f"{value:.4g}"))
durations = numbers.map(lambda value: value + 10.0)
faults = st.one_of(
    st.builds(PumpStop, satellite=st.just("sat-1"), at_seconds=numbers, duration_seconds=durations),
    st.builds(
        SensorSilent,
        satellite=st.just("sat-1"),
        device=st.sampled_from(("battery", "gnss", "array")),
        at_seconds=numbers,
        duration_seconds=durations,
    ),
    st.builds(
        LoadShort,
        satellite=st.just("sat-1"),
        load=st.just("node-1"),
        at_seconds=numbers,
        duration_seconds=durations,
        watts=numbers.map(lambda value: value + 1.0),
    ),
)


@given(st.sets(st.integers(0, 30), min_size=1), st.sets(st.integers(0, 30), min_size=1))
def test_the_smallest_part_breaks_and_nothing_of_it_can_be_left_out(items: set[int], guilty: set[int]) -> None:
    everything = tuple(sorted(items | guilty))
    asked = []

    def breaks(part: tuple[int, ...]) -> bool:
        asked.append(part)
        return guilty <= set(part)

    assert smallest(everything, breaks) == tuple(sorted(guilty))


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.integers(1, 5))
def test_an_oracle_that_no_single_item_satisfies_gets_a_part_that_is_minimal(items: list[int], needed: int) -> None:
    def breaks(part: tuple[int, ...]) -> bool:
        return len(part) >= min(needed, len(items))

    found = smallest(tuple(items), breaks)
    assert breaks(found)
    assert all(not breaks(found[:k] + found[k + 1 :]) for k in range(len(found))) or len(found) == 1


@given(faults)
def test_what_is_simpler_costs_less_so_that_simplifying_ends(fault: Fault) -> None:
    for simpler in simpler_than(fault):
        assert cost(simpler) < cost(fault)
        assert type(simpler) is type(fault)


@settings(max_examples=50)
@given(st.lists(faults, min_size=1, max_size=6), st.integers(0, 5))
def test_what_is_minimised_still_breaks_within_its_tries(drawn: list[Fault], guilty: int) -> None:
    culprit = drawn[guilty % len(drawn)]
    tried: set[tuple[Fault, ...]] = set()

    def breaks(some: tuple[Fault, ...]) -> bool:
        assert some not in tried
        tried.add(some)
        return any(type(fault) is type(culprit) and fault.at_seconds >= culprit.at_seconds * 0.5 for fault in some)

    found = minimise(drawn, breaks, most_tries=40)
    assert len(tried) <= 40
    assert len(found) == 1
    assert type(found[0]) is type(culprit)
    assert cost(found[0]) <= max(map(cost, drawn))


def test_what_breaks_without_any_fault_is_told_so() -> None:
    assert minimise([PumpStop(satellite="sat-1", at_seconds=1.0)], lambda _some: True) == ()


def test_parameters_go_towards_simple_numbers() -> None:
    drawn: list[Fault] = [
        LinkOutage(satellite="sat-1", at_seconds=1234.0, duration_seconds=2222.0, link="optical"),
        LoadShort(satellite="sat-1", at_seconds=987.6, duration_seconds=543.0, load="node-1", watts=2345.0),
    ]

    def breaks(some: tuple[Fault, ...]) -> bool:
        return any(isinstance(fault, LoadShort) and fault.watts > 1500 for fault in some)

    (found,) = minimise(drawn, breaks)
    assert found == LoadShort(satellite="sat-1", at_seconds=1000.0, duration_seconds=30.0, load="node-1", watts=2000.0)


@given(st.lists(faults, max_size=4))
def test_a_fault_file_reads_back_as_it_was(tmp_path_factory: object, drawn: list[Fault]) -> None:
    path = tmp_path_factory.mktemp("faults") / "faults.toml"  # type: ignore[attr-defined]
    path.write_text(fault_file(drawn, "seed 1 broke:\nsomething"), encoding="utf-8")
    assert load_faults(path) == tuple(drawn)
