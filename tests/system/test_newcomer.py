"""A newcomer: ``skyrack up``, a job in the browser alone, the same from Python alone, ``skyrack down``."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ground.client import Skyrack

ADDRESS = re.compile(r"http://\S+/\?token=\S+")
EXAMPLE = Path(__file__).parents[2] / "examples/jobs/file-identification"
RATE = "60"
PATIENCE_MILLISECONDS = 70_000
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync")


@pytest.fixture(scope="module")
def playwright_api() -> Any:
    """Playwright; missing is a failure where everything must be there."""
    if os.environ.get("CI"):
        import playwright.sync_api as api

        return api
    return pytest.importorskip("playwright.sync_api", reason="playwright is not installed")


@pytest.fixture(scope="module")
def chromium(requires_tool: Callable[[str], str]) -> str:
    return requires_tool("chromium")


@pytest.fixture(scope="module")
def run(chromium: str, playwright_api: Any, make_bench: Callable[..., Any]) -> Iterator[tuple[Any, str]]:
    """A run as it comes up, and the address that it printed; one satellite is enough for a newcomer."""
    bench = make_bench()
    constellation = str(bench.one_satellite())
    done = bench.skyrack("up", "--name", bench.name, "--rate", RATE, "--constellation", constellation)
    assert done.returncode == 0, done.stderr
    address = ADDRESS.search(done.stdout)
    assert address is not None, done.stdout
    yield bench, address[0]
    bench.down()


@pytest.fixture
def page(run: tuple[Any, str], chromium: str, playwright_api: Any) -> Iterator[Any]:
    with playwright_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        shown = browser.new_page()
        shown.set_default_timeout(PATIENCE_MILLISECONDS)
        playwright_api.expect.set_options(timeout=PATIENCE_MILLISECONDS)
        yield shown
        browser.close()


def assert_files_were_named(results: bytes) -> None:
    """The example says of every file what it is, and how many it got right."""
    found = json.loads(results)
    assert found["files"] >= 10
    assert found["accuracy"] == 1.0


def test_in_the_browser_alone(run: tuple[Any, str], page: Any, playwright_api: Any) -> None:
    expect = playwright_api.expect
    page.goto(run[1])
    page.get_by_role("button", name="Submit a job").click()
    page.locator("[data-example=file-identification]").click()
    page.get_by_role("button", name="Submit", exact=True).click()
    page.wait_for_url("**/console/jobs/*")
    expect(page.locator(".sr-life .steps")).to_contain_text("RUNNING")
    expect(page.locator(".sr-head .state")).to_have_text("completed")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download result").click()
    content = Path(download.value.path()).read_bytes()
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        results = archive.extractfile("results.json")
        assert results is not None, archive.getnames()
        assert_files_were_named(results.read())


def test_from_python_alone(run: tuple[Any, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SKYRACK_GROUND", raising=False)
    monkeypatch.chdir(run[0].directory)

    async def work() -> list[str]:
        async with Skyrack() as sky:
            job = await sky.submit(EXAMPLE)
            states = [step.state async for step in sky.watch(job)]
            fetched = await sky.fetch(job, tmp_path / "out")
        assert tmp_path / "out" / "results.json" in fetched
        return states

    states = asyncio.run(work())
    assert states[-1] == "COMPLETED"
    assert "RUNNING" in states
    assert_files_were_named((tmp_path / "out" / "results.json").read_bytes())
