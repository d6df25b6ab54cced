"""The console's first useful paint: map and table of 100 satellites over 10,000 jobs, in a real browser on loopback.

Beside it stands a page with nothing in it from the same server, which is what any page costs this browser.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any, Final

from hil.bench.ground import Options, Say
from hil.bench.ground.console_child import JOBS, SATELLITES
from skyrack.errors import UserError

__all__ = ["measure"]

LOADS: Final = 7
TARGET_SECONDS: Final = 1.0
_FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# Seconds from the start of the navigation until what is wanted has been painted. Looked at in every frame.
_PAINTED: Final = """(wanted) => new Promise((resolve) => {
    const look = () => {
        if (wanted.every(([selector, count]) => document.querySelectorAll(selector).length >= count)) {
            requestAnimationFrame(() => setTimeout(() => resolve(performance.now() / 1000)));
        } else requestAnimationFrame(look);
    };
    look();
})"""
_USEFUL: Final = [[".sr-map .satellite", SATELLITES], [".sr-grid tbody tr", SATELLITES]]


def measure(_: Options, say: Say) -> dict[str, Any]:
    """Cold: a browser profile that has never been here. Warm: the same profile again.

    Raises:
        UserError: there is no Chromium, or no Playwright.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise UserError("the console is measured in a browser: pip install playwright") from None
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        raise UserError("the console is measured in a browser: apt-get install chromium")
    found: dict[str, list[float]] = {"cold": [], "warm": [], "empty": []}
    with _ground() as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(_FLAGS))
        for number in range(LOADS):
            say(f"visit {number + 1} of {LOADS}")
            context = browser.new_context(viewport={"width": 1440, "height": 900})
            page = context.new_page()
            page.goto(f"{url}/empty", wait_until="commit")
            found["empty"].append(float(page.evaluate(_PAINTED, [["#hello", 1]])))
            for name in ("cold", "warm"):
                page.goto(f"{url}/console/", wait_until="commit")
                found[name].append(float(page.evaluate(_PAINTED, _USEFUL)))
            context.close()
        browser.close()
    cold = median(found["cold"])
    return {
        "satellites": SATELLITES,
        "jobs": JOBS,
        "first_useful_paint_seconds": cold,
        "again_seconds": median(found["warm"]),
        "worst_seconds": max(found["cold"]),
        "empty_page_seconds": median(found["empty"]),
        "target_seconds": TARGET_SECONDS,
        "reached": cold < TARGET_SECONDS,
    }


@contextmanager
def _ground() -> Iterator[str]:
    child = subprocess.Popen(
        [sys.executable, "-m", "hil.bench.ground.console_child"], stdout=subprocess.PIPE, text=True
    )
    try:
        port = child.stdout.readline().strip() if child.stdout else ""
        if not port:
            raise RuntimeError("the ground of the console's bench ended early")
        yield f"http://127.0.0.1:{port}"
    finally:
        child.kill()
        child.wait()
        if child.stdout is not None:
            child.stdout.close()
