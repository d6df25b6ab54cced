"""Machines under qemu for tests: one of each kind for all of them, made when the first test asks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scripts.boards import boards, package, roots
from scripts.boards.board import Board
from scripts.boards.machine import Machine

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.boards)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(1200))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was measured, for people: a figure that nobody sees is none."""
    for report in terminalreporter.getreports("passed"):
        if report.when == "call" and "tests/boards" in report.nodeid:
            for name, value in report.user_properties:
                terminalreporter.write_line(f"measured {report.nodeid.rpartition('::')[2]}: {name} = {value}")


def refuse(reason: str) -> None:
    """Skip a test that this machine cannot do; the project's own checks may not."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def unavailable() -> Callable[[str], None]:
    return refuse


@pytest.fixture(scope="session")
def wheel() -> Path:
    return package.wheel()


@pytest.fixture(scope="session")
def kernel(wheel: Path) -> Iterator[Board]:
    """A computer with i2c-stub, hwmon, gpio-sim and softdog."""
    yield from _switched_on(boards.kernel_machine(f"kernel-{os.getpid()}"), boards.KERNEL, wheel)


@pytest.fixture(scope="session")
def raspberry_pi(wheel: Path) -> Iterator[Board]:
    """A Raspberry Pi 3B with a TMP105."""
    yield from _switched_on(boards.raspberry_pi(f"pi-{os.getpid()}"), boards.RASPBERRY_PI, wheel)


def _switched_on(machine: Machine, recipe: roots.Recipe, wheel: Path) -> Iterator[Board]:
    try:
        machine.start(boards.disk(recipe))
    except roots.NotHereError as problem:
        refuse(str(problem))
    try:
        machine.wait()
        boards.install(machine, wheel)
        yield Board(machine)
    finally:
        machine.discard()
