"""The console: the ground segment in a browser, on the same server as its interface.

Pages are built by NiceGUI; what has many parts (map, tables, plots) is one element each, drawn by a little JavaScript
in ``assets`` from one message. The feed watches the segment and tells every open page what changed, at most twice a
second. Everything is served from here: the console works without any other network.
"""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import RedirectResponse

from ground.segment import GroundSegment
from skyrack.satellite import ConstellationFile

__all__ = ["PREFIX", "attach"]

PREFIX = "/console"


def attach(
    app: FastAPI, segment: GroundSegment, constellation: ConstellationFile | None = None, state_dir: Path | None = None
) -> None:
    """Put the console under ``/console`` of an app, and lead ``/`` there; the app needs its lifespan events.

    NiceGUI is imported here, so that a ground without a console does without it: it costs 0.3 s and 16 MiB. One
    process has one console. ``constellation`` tells where relays and stations are; NiceGUI would keep its files in
    ``state_dir``, and has none to keep.
    """
    from ground.console.host import Console

    @app.get("/", include_in_schema=False)
    async def to_the_console() -> RedirectResponse:
        return RedirectResponse(f"{PREFIX}/", 307)

    Console(segment, constellation).serve(app, PREFIX, state_dir)
