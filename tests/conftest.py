"""What tests in every room share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

import pytest
import structlog

# Without a configuration each traceback is drawn with all its variables, which takes a tenth of a second.
structlog.configure(
    processors=[
        structlog.processors.add_log_level,
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)

_SYSTEM_PATHS = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def find_tool(name: str) -> str:
    """Path of a program that a test needs; a person's machine may lack it, the project's own checks may not."""
    found = shutil.which(name, path=_SYSTEM_PATHS)
    if found is not None:
        return found
    sentence = f"{name} is not installed: apt-get install {name}"
    if os.environ.get("CI") == "true":
        pytest.fail(sentence)
    pytest.skip(sentence)


@pytest.fixture
def mosquitto() -> str:
    """Path of a real MQTT broker."""
    return find_tool("mosquitto")


@pytest.fixture(scope="session")
def requires_tool() -> Callable[[str], str]:
    """``requires_tool("mosquitto")`` gives the path of a program, or skips the test (fails where CI=true)."""
    return find_tool
