"""Errors as problem details (RFC 9457)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from ground.access import ForbiddenError
from ground.errors import ConflictError, UnknownError
from skyrack.database import StorageError
from skyrack.errors import UserError

__all__ = ["PROBLEMS", "Problem", "add_problem_handlers", "problem"]


class Problem(BaseModel):
    """What was wrong (RFC 9457)."""

    type: str = Field("about:blank", description="about:blank: the title says it all")
    title: str = Field(description="What kind of problem this is")
    status: int = Field(description="HTTP's status")
    detail: str = Field(description="What was wrong, and what would be right, for a person")


def _described(status: int, title: str, detail: str) -> dict[str, Any]:
    example = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    content = {"application/problem+json": {"schema": Problem.model_json_schema(), "example": example}}
    return {"description": title.capitalize(), "content": content}


PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    status: _described(status, title, detail)
    for status, title, detail in (
        (400, "refused", "there was an error parsing the body"),
        (401, "who are you?", "a token is needed: Authorization: Bearer …"),
        (403, "refused", "this needs the role operator; alice is researcher"),
        (404, "not found", "there is no satellite sat-7; did you mean sat-1?"),
        (409, "conflict", "another job has the id digits-1; choose a new id"),
        (413, "too large", "the body is larger than 1,048,576 bytes"),
        (422, "bad input", "power_watts: Input should be greater than 0"),
        (429, "too many wrong tokens", "wait 3 s before the next"),
        (503, "storage failed", "the disk is full; free some space"),
    )
}
"""What every route may answer in place of what was asked for."""

_STATUSES: tuple[tuple[type[Exception], int, str], ...] = (
    (ForbiddenError, 403, "refused"),
    (UnknownError, 404, "not found"),
    (ConflictError, 409, "conflict"),
    (UserError, 422, "bad input"),
    (StorageError, 503, "storage failed"),
    (OSError, 503, "storage failed"),
)


def problem(status: int, title: str, detail: str) -> Response:
    """The answer that says what was wrong."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return JSONResponse(body, status, media_type="application/problem+json")


def add_problem_handlers(app: FastAPI) -> None:
    """Answer every error of the ground with its problem details."""

    def answer(request: Request, status: int, title: str, detail: str) -> Response:
        request.state.problem = detail  # for the audit log
        return problem(status, title, detail)

    def handler(status: int, title: str) -> Callable[[Request, Exception], Response]:
        return lambda request, error: answer(request, status, title, str(error))

    for kind, status, title in _STATUSES:
        app.add_exception_handler(kind, handler(status, title))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        sentences = [
            f"{'.'.join(map(str, item['loc'][1:])) or item['loc'][0]}: {item['msg']}" for item in error.errors()
        ]
        return answer(request, 422, "bad input", "; ".join(sentences))

    @app.exception_handler(Exception)
    async def broken(request: Request, _: Exception) -> Response:
        return answer(request, 500, "internal error", "this is a fault of the ground; its log says more")

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        return answer(request, error.status_code, "refused", str(error.detail))
