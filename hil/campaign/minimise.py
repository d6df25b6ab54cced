"""The smallest list of faults that still breaks: delta debugging, then simpler parameters. Pure.

After Zeller and Hildebrandt, Simplifying and Isolating Failure-Inducing Input, IEEE Transactions on Software
Engineering 28(2), 2002 (ddmin), and what property testers call shrinking: every step is kept only where the oracle
says that what is left still breaks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import msgspec

from hil.faults import Fault

T = TypeVar("T")

Breaks = Callable[[tuple[Fault, ...]], bool]

SIMPLE_SECONDS = (60.0, 300.0, 600.0, 1800.0)
"""Times and durations that are tried in place of what was drawn."""
_SHORTER_RATIO = 0.5
_SHORTEST_SECONDS = 10.0


class TriesSpentError(Exception):
    """The oracle was asked as often as was allowed."""


def minimise(faults: Sequence[Fault], breaks: Breaks, most_tries: int = 60) -> tuple[Fault, ...]:
    """The smallest and simplest list found that still breaks.

    Args:
        faults: a list that breaks.
        breaks: whether a list does; asked at most ``most_tries`` times, and never twice for the same.
        most_tries: bound on the work.

    Returns:
        Such a list; ``faults`` themselves where nothing smaller breaks.
    """
    best = tuple(faults)
    known: dict[tuple[Fault, ...], bool] = {best: True}

    def ask(candidate: tuple[Fault, ...]) -> bool:
        nonlocal best
        if candidate not in known:
            if len(known) > most_tries:
                raise TriesSpentError
            known[candidate] = breaks(candidate)
            if known[candidate]:
                best = candidate
        return known[candidate]

    try:
        if ask(()):
            return ()
        simplify(smallest(best, ask), ask)
    except TriesSpentError:
        pass
    return best


def smallest(items: tuple[T, ...], breaks: Callable[[tuple[T, ...]], bool]) -> tuple[T, ...]:
    """ddmin: a part of ``items``, in their order, that breaks and of which no item can be left out."""
    parts = 2
    while len(items) > 1:
        size = -(-len(items) // parts)
        rests = [items[:start] + items[start + size :] for start in range(0, len(items), size)]
        chunks = [items[start : start + size] for start in range(0, len(items), size)]
        for candidate, then in [(chunk, 2) for chunk in chunks] + [(rest, max(parts - 1, 2)) for rest in rests]:
            if len(candidate) < len(items) and candidate and breaks(candidate):
                items, parts = candidate, then
                break
        else:
            if parts >= len(items):
                break
            parts = min(2 * parts, len(items))
    return items


def simplify(faults: tuple[Fault, ...], breaks: Breaks) -> tuple[Fault, ...]:
    """Each fault with shorter durations and rounder numbers, as long as it breaks."""
    for place in range(len(faults)):
        found = True
        while found:
            found = False
            for simpler in simpler_than(faults[place]):
                candidate = (*faults[:place], simpler, *faults[place + 1 :])
                if breaks(candidate):
                    faults, found = candidate, True
                    break
    return faults


def simpler_than(fault: Fault) -> Iterator[Fault]:
    """What may be tried in a fault's place, the simplest first; each is strictly simpler by :func:`cost`."""
    candidates: list[Fault] = []
    duration = fault.duration_seconds
    if duration is not None:
        shorter = (*(value for value in SIMPLE_SECONDS if value < duration), duration * _SHORTER_RATIO)
        candidates += [
            msgspec.structs.replace(fault, duration_seconds=value)
            for value in sorted({rounded(value, 2) for value in shorter})
            if value >= _SHORTEST_SECONDS
        ]
    for name in fault.__struct_fields__:
        value = getattr(fault, name)
        if not isinstance(value, float | int) or isinstance(value, bool):
            continue
        for digits in (1, 2):
            rounder = rounded(value, digits)
            if rounder != value:
                candidates.append(
                    msgspec.structs.replace(fault, **{name: int(rounder) if isinstance(value, int) else rounder})
                )
    own = cost(fault)
    yield from (candidate for candidate in candidates if cost(candidate) < own)


def cost(fault: Fault) -> tuple[int, float]:
    """How far from simple: significant digits of all numbers, then the duration, seconds."""
    digits = 0
    for name in fault.__struct_fields__:
        value = getattr(fault, name)
        if isinstance(value, float | int) and not isinstance(value, bool):
            digits += len(f"{value:.12g}".replace(".", "").strip("-0").split("e")[0])
    return digits, fault.duration_seconds or 0.0


def rounded(value: float, digits: int) -> float:
    """To so many significant digits."""
    return float(f"{value:.{digits}g}")
