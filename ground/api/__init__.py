"""The ground over HTTP: one router per subject, errors as problem details (RFC 9457).

A new subject is a module with a ``router``, named in ``ROUTERS``. Its routes take the segment and who asks as arguments
of the types ``Segment`` and ``Viewer``, ``Researcher``, ``Operator`` or ``Admin`` of ``ground.api.common``, which
declare the role that is needed; the names of their functions become the operation ids of the OpenAPI.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.middleware.trustedhost import TrustedHostMiddleware

from ground.api import (
    access,
    alarms,
    events,
    general,
    jobs,
    ledger,
    orders,
    queues,
    satellites,
    sequences,
    stream,
    telecommands,
    telemetry,
)
from ground.api.guard import Guard, Keeper
from ground.api.limits import BodyLimit
from ground.api.problems import PROBLEMS, add_problem_handlers
from ground.segment import GroundSegment

__all__ = ["ROUTERS", "Keeper", "make_app"]

ROUTERS: Final[tuple[APIRouter, ...]] = (
    general.router,
    jobs.router,
    satellites.router,
    telecommands.router,
    queues.router,
    sequences.router,
    events.router,
    stream.router,
    access.router,
    telemetry.router,
    alarms.router,
    ledger.router,
    orders.router,
)

_HOSTS: Final = ("127.0.0.1", "localhost", "::1", "[::1]", "ground")


def make_app(
    segment: GroundSegment, instance: str = "", hosts: str | Sequence[str] = (), keeper: Keeper | None = None
) -> FastAPI:
    """The HTTP interface of an open segment; ``hosts`` are names under which it is reached besides this machine's.

    Without a keeper everybody who can call the app is an administrator: for the twin and for tests, which call it in
    process, and never for an app that listens.
    """
    # No pages of documentation: they run scripts of a stranger's server with the rights of who reads them.
    app = FastAPI(
        title="Skyrack ground", version="1", docs_url=None, redoc_url=None, generate_unique_id_function=_operation_id
    )
    app.state.segment = segment
    app.state.instance = instance
    app.state.keeper = keeper
    app.add_middleware(BodyLimit)
    app.add_middleware(Guard, keeper=keeper)
    # A name that resolves to this machine, but is none of ours, is a stranger's page that lets itself be rebound.
    names = [hosts] if isinstance(hosts, str) else [*hosts]
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*_HOSTS, *names, *(f"[{name}]" for name in names)])
    add_problem_handlers(app)
    for router in ROUTERS:
        app.include_router(router, responses=PROBLEMS)
    return app


def _operation_id(route: APIRoute) -> str:
    return route.name
