"""The ground over HTTP: one router per subject, errors as problem details (RFC 9457).

A new subject is a module with a ``router``, named in ``ROUTERS``. Its routes take the segment as an argument of type
``ground.api.common.Segment``; the names of their functions become the operation ids of the OpenAPI.
"""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.middleware.trustedhost import TrustedHostMiddleware

from ground.api import events, general, jobs, satellites, telecommands
from ground.api.problems import add_problem_handlers
from ground.segment import GroundSegment

__all__ = ["ROUTERS", "make_app"]

ROUTERS: Final[tuple[APIRouter, ...]] = (
    general.router,
    jobs.router,
    satellites.router,
    telecommands.router,
    events.router,
)


def make_app(segment: GroundSegment, instance: str = "", host: str = "127.0.0.1") -> FastAPI:
    """The HTTP interface of an open segment; ``host`` is where it listens."""
    app = FastAPI(
        title="Skyrack ground", version="1", docs_url="/docs", redoc_url=None, generate_unique_id_function=_operation_id
    )
    app.state.segment = segment
    app.state.instance = instance
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost", "::1", "[::1]", "ground", host])
    add_problem_handlers(app)
    for router in ROUTERS:
        app.include_router(router)
    return app


def _operation_id(route: APIRoute) -> str:
    return route.name
