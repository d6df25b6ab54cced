"""NiceGUI under the ground's app: one page whose parts change as people move about."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI, Request
from nicegui import core, storage, ui

from ground.access import person_of
from ground.api.guard import Keeper
from ground.console import commands, events, jobs, overview, satellites, sequences
from ground.console.elements import Topbar
from ground.console.feed import Feed
from ground.console.scene import Scenery
from ground.console.submit import SubmitDialog, receive_upload
from ground.console.visit import MAY, Visit
from ground.segment import GroundSegment
from skyrack.satellite import ConstellationFile

__all__ = ["Console"]

_ASSETS: Final = Path(__file__).with_name("assets")
_ICON: Final = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" fill="none" stroke="#2f81f7" stroke-width="2" '
    'stroke-linejoin="round"><path d="M12 3l9 5-9 5-9-5zM3 12.5l9 5 9-5M3 17l9 5 9-5"/></svg>'
)
# Before anything is drawn: the theme that was chosen, else the machine's.
_THEME: Final = (
    "<script>document.documentElement.dataset.theme = localStorage.getItem('skyrack-theme') || "
    "(matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light')</script>"
)


class Console:
    """The console of a ground segment."""

    def __init__(self, segment: GroundSegment, constellation: ConstellationFile | None) -> None:
        self.feed = Feed(segment, Scenery(constellation), "")
        self._instance = ""
        self._keeper: Keeper | None = None

    def serve(self, app: FastAPI, prefix: str, state_dir: Path | None) -> None:
        """Mount it."""
        self.feed.prefix = prefix
        self._instance = getattr(app.state, "instance", "")
        self._keeper = getattr(app.state, "keeper", None)
        if state_dir is not None:
            storage.Storage.path = state_dir / "console"
        style = (_ASSETS / "console.css").read_text()
        ui.add_head_html(f"{_THEME}<style>{style}</style>", shared=True)
        core.app.post("/upload", include_in_schema=False)(receive_upload)
        ui.run_with(
            app,
            root=self._root,
            title="Skyrack",
            favicon=_ICON,
            dark=None,
            language="en-US",
            mount_path=prefix,
            tailwind=False,
            binding_refresh_interval=None,
            message_history_length=30,
            reconnect_timeout=10.0,
            gzip_middleware_factory=None,
            show_welcome_message=False,
        )

    async def _root(self, request: Request) -> None:
        person = person_of(request)
        await self.feed.current()
        client = ui.context.client
        keeper = self._keeper
        visit = Visit(client, person, self.feed, keeper.book if keeper else None, keeper.audit if keeper else None)
        router = client.sub_pages_router
        who = {"name": person.name, "role": person.role.value, "may": MAY[person.role]}
        bar = Topbar(visit.prefix, self._instance, who, router.current_path, visit.frame.status)
        visit.on_frame(bar, lambda frame: bar.sync(frame.status))
        router.on_path_changed(bar.here)
        dialog = SubmitDialog(visit)
        bar.on("submit", dialog.open)
        routes: dict[str, Any] = {
            "/": partial(overview.page, visit, dialog),
            "/satellites": partial(satellites.page, visit),
            "/satellites/{name}": partial(satellites.detail, visit),
            "/jobs": partial(jobs.page, visit, dialog),
            "/jobs/{job_id}": partial(jobs.detail, visit),
            "/commands": partial(commands.page, visit),
            "/commands/{command_id}": partial(commands.detail, visit),
            "/sequences/{sequence_id}": partial(sequences.detail, visit),
            "/events": partial(events.page, visit),
        }
        if (job_id := _after(router.current_path, "/jobs/")) is not None:
            await jobs.prefetch(visit, job_id)
        ui.sub_pages(routes, show_404=True).props("id=main")


def _after(path: str, start: str) -> str | None:
    rest = path.partition("?")[0].removeprefix(start)
    return rest if path.startswith(start) and rest else None
