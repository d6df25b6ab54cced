"""Who asks, tokens, and the audit log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field

from ground.access import Person, Role, Token, TokenBook
from ground.api.common import Admin, Limit, Model, Viewer, about
from ground.api.guard import Keeper
from ground.audit import AuditProof, AuditRecord
from ground.errors import UnknownError
from ground.records import NewTokenRecord, TokenRecord

__all__ = ["router"]

router = APIRouter(tags=["access"])


def _keeper(request: Request) -> Keeper:
    keeper: Keeper | None = request.app.state.keeper
    if keeper is None:
        raise UnknownError("this ground asks nobody for a token, and keeps no audit log")
    return keeper


_Keeper = Annotated[Keeper, Depends(_keeper)]


class TokenWish(Model):
    """A token to be made."""

    name: str = Field(min_length=1, max_length=64, description="Who will show it: a person or a program")
    role: Role
    lifetime_seconds: float = Field(
        0, ge=0, le=1e10, allow_inf_nan=False, description="Mission seconds until it ends; 0 for one that does not"
    )


@router.get("/v1/me")
async def get_me(person: Viewer) -> Person:
    """Who asks, and what they may do."""
    return person


@router.post("/v1/tokens", status_code=201)
async def make_token(wish: TokenWish, keeper: _Keeper, _: Admin, request: Request) -> NewTokenRecord:
    """Make a token. Its secret is in this answer and nowhere else: the ground keeps its hash."""
    about(request, f"{wish.name} as {wish.role}")
    secret, token = await keeper.book.new(wish.name, wish.role, wish.lifetime_seconds)
    about(request, f"{token.token_id}: {token.name} as {token.role}")
    return NewTokenRecord(secret, _record(keeper.book, token))


@router.get("/v1/tokens")
async def list_tokens(keeper: _Keeper, _: Admin) -> list[TokenRecord]:
    """All tokens there ever were, oldest first, without their secrets."""
    return [_record(keeper.book, token) for token in keeper.book.all()]


@router.delete("/v1/tokens/{token_id}")
async def revoke_token(token_id: str, keeper: _Keeper, _: Admin, request: Request) -> TokenRecord:
    """Take a token out of force, at once, with the sessions that it opened."""
    about(request, token_id)
    token = await keeper.book.revoke(token_id)
    about(request, f"{token.token_id}: {token.name} as {token.role}")
    return _record(keeper.book, token)


@router.get("/v1/audit")
async def list_audit(
    keeper: _Keeper,
    _: Admin,
    after_id: Annotated[int, Query(ge=-1, lt=1 << 62, description="Only rows after this one")] = -1,
    limit: Limit = 100,
) -> Sequence[AuditRecord]:
    """Who did what, oldest first; without ``after_id`` the newest."""
    return await (keeper.audit.newest(limit) if after_id < 0 else keeper.audit.rows(after_id, limit))


@router.get("/v1/audit/proof")
async def verify_audit(keeper: _Keeper, _: Admin) -> AuditProof:
    """Whether every row of the audit log holds the hash of the row before."""
    return await keeper.audit.verify()


def _record(book: TokenBook, token: Token) -> TokenRecord:
    return TokenRecord(
        token_id=token.token_id,
        name=token.name,
        role=token.role.value,
        created_seconds=token.created_seconds,
        end_seconds=token.end_seconds,
        revoked_seconds=token.revoked_seconds,
        is_valid=book.is_current(token.person),
    )
